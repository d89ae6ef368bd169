"""How long gs-report takes for a thousand runs.

    python benchmarks/report_time.py

Copies of a record are written as runs, in the folders and files that gs-train leaves, into a
temporary folder: methods on scenes with seeds whose scores differ a little. Prints the seconds of
each command as a JSON line.
"""

import argparse
import json
import random
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from dataclasses import replace
from itertools import islice, product
from pathlib import Path

from gs_densify.report.report import NAMED_MEANS
from gs_densify.results import MetricsLog, Scores, ViewScores, save_json
from gs_densify.results.names import METRICS, PER_VIEW, RESULTS
from gs_densify.results.record import RunRecord, load_record, save_record

RECORD = Path(__file__).parent / "records/bonsai_30k/adaptive_30k.run.json"
METHODS, SEEDS = 12, 10


def copy_of(record: RunRecord, method: str, scene: str, seed: int) -> RunRecord:
    """The record as another method's, on another scene, with scores a little off."""
    rng = random.Random(f"{method} {scene} {seed}")
    off = rng.gauss(0.0, 0.05)

    def moved(scores: Mapping[str, float | None]) -> Scores:
        more = off + rng.gauss(0.0, 0.2)
        return Scores({n: None if value is None else value + more for n, value in scores.items()})

    old = record.results
    conditions = replace(old.protocol.conditions, seed=seed)
    return replace(
        record,
        results=replace(
            old,
            scene=scene,
            seed=seed,
            config={**old.config, "seed": seed, "scene": scene, "label": method},
            protocol=replace(old.protocol, scene_name=scene, conditions=conditions),
            scores=moved(old.scores),
        ),
        views=[ViewScores(name=view.name, scores=moved(view.scores)) for view in record.views],
    )


def save_run(folder: Path, record: RunRecord) -> None:
    """The record as gs-train leaves a run."""
    save_json(folder / RESULTS, record.results)
    save_json(folder / PER_VIEW, record.per_view())
    with MetricsLog(folder / METRICS) as log:
        for row in record.timeline:
            log.append(row)


def seconds(*arguments: object) -> float:
    """The time of one call of gs-report, its start included."""
    command = [sys.executable, "-m", "gs_densify.cli.report", *map(str, arguments)]
    started = time.perf_counter()
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    return time.perf_counter() - started


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--runs", type=int, default=1000)
    arguments = parser.parse_args()
    record = load_record(RECORD)
    methods = [f"method-{i}" for i in range(METHODS)]
    every = product(range(SEEDS), methods, sorted(NAMED_MEANS["mean_9"]))
    with tempfile.TemporaryDirectory() as name:
        runs, records = Path(name, "runs"), Path(name, "records")
        for seed, method, scene in islice(every, arguments.runs):
            copy = copy_of(record, method, scene, seed)
            save_run(runs / scene / method / str(seed), copy)
            save_record(records / f"{scene}_{method}_{seed}.run.json", copy)
        baseline = ["--baseline", methods[0]]
        marks = ["--marks", 30, 31, 32]
        for folder, flags in product((runs, records), ([], baseline, [*baseline, *marks])):
            found = {
                "of": folder.name,
                "runs": arguments.runs,
                "flags": " ".join(map(str, flags)),
                "seconds": seconds(folder, *flags),
            }
            print(json.dumps(found), flush=True)


if __name__ == "__main__":
    main()
