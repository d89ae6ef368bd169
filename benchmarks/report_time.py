"""Time `gs-report` on the result files of a thousand runs.

    python benchmarks/report_time.py RUN [--runs 1000] [--keep FOLDER]

RUN is the folder of a finished run or a record of one (`*.run.json`). Its files are written many
times into a temporary folder, as 10 scenes, 10 seeds and as many methods as it takes, told apart by
an option, with other scores each. Then `gs-report FOLDER` is timed, alone and with `--baseline`, in
a process of its own: the second and third call, as the first finds nothing in the system's cache.
"""

import argparse
import dataclasses
import json
import math
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from gs_densify.evaluation.evaluate import mean_scores
from gs_densify.results import MetricsLog, Scores, ViewScores, save_json
from gs_densify.results.record import RunRecord, load_record, record_of

SCENES, SEEDS = 10, 10


def main() -> None:
    """Prints a line of JSON for each way of calling."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("run", type=Path)
    parser.add_argument("--runs", type=int, default=1000)
    parser.add_argument("--keep", type=Path, help="a new folder in which the files stay")
    arguments = parser.parse_args()
    if arguments.keep is not None and arguments.keep.exists():
        parser.error(f"{arguments.keep} is there already")
    record = load_record(arguments.run) if arguments.run.is_file() else record_of(arguments.run)
    with tempfile.TemporaryDirectory() as temporary:
        folder = arguments.keep or Path(temporary)
        for number in range(arguments.runs):
            write(folder, variant(record, number))
        for options in ([], ["--baseline", f"{record.results.strategy.name} (method=0)"]):
            seconds = [timed([str(folder), *options]) for _ in range(3)][1:]
            print(json.dumps({"runs": arguments.runs, "options": options, "seconds": seconds}))


def variant(record: RunRecord, number: int) -> RunRecord:
    """Returns the record as another run: scene, seed and method follow from its number."""
    cell, seed = divmod(number, SEEDS)
    method, scene = divmod(cell, SCENES)
    results, name = record.results, f"scene{scene}"
    change = 0.1 * math.sin(number) + 0.2 * method
    config = {**results.config, "seed": seed}
    config["strategy"] = {**dict(config.get("strategy", {})), "method": method}
    views = [
        ViewScores(name=view.name, scores=other(view.scores, change + 0.05 * math.sin(number + i)))
        for i, view in enumerate(record.views)
    ]
    conditions = dataclasses.replace(results.protocol.conditions, seed=seed)
    results = dataclasses.replace(
        results,
        scene=name,
        seed=seed,
        config=config,
        scores=mean_scores(views),
        protocol=dataclasses.replace(results.protocol, scene_name=name, conditions=conditions),
    )
    return RunRecord(results=results, views=views, timeline=record.timeline)


def other(scores: Scores, change: float) -> Scores:
    """Returns scores that are a little better or worse."""
    return Scores({n: None if v is None else v * (1 + change / 100) for n, v in scores.items()})


def write(folder: Path, record: RunRecord) -> None:
    """Writes the files of a run into a folder of its own."""
    results = record.results
    name = f"{results.scene}_method{results.config['strategy']['method']}_seed{results.seed}"
    save_json(folder / name / "results.json", results)
    save_json(folder / name / "per_view.json", record.per_view())
    with MetricsLog(folder / name / "metrics.jsonl") as log:
        for row in record.timeline:
            log.append(row)


def timed(arguments: list[str]) -> float:
    """Returns the seconds of a call of gs-report."""
    started = time.perf_counter()
    command = [sys.executable, "-m", "gs_densify.cli.report", *arguments]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    return round(time.perf_counter() - started, 2)


if __name__ == "__main__":
    main()
