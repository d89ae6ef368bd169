"""Trains a list of configurations one after the other in one process: a JSON line for each run.

    python benchmarks/strategies.py OUT --seed 42 --seed 1 "NAME: --scene bonsai ..." ...

Runs land in OUT/NAME_SEED, the lines also in OUT/runs.jsonl. A run that fails is reported in its
line, and the others go on. The first run pays for what is compiled at first use: put a short one
before those whose time matters.
"""

import argparse
import json
import time
from pathlib import Path
from typing import Any

from gs_densify.cli.arguments import PROGRAM, parse_train_arguments
from gs_densify.errors import GsDensifyError
from gs_densify.results import Results
from gs_densify.runs.train import train


def row(out: Path, text: str, seed: int) -> dict[str, Any]:
    """Train one configuration and say how it went."""
    name, _, flags = text.partition(":")
    own = [*flags.split(), "--seed", str(seed)]
    argv = [*own, "--out", str(out / f"{name}_{seed}")]
    started = time.perf_counter()
    try:
        results, _ = train(parse_train_arguments(argv), [PROGRAM, *argv])
    except GsDensifyError as error:
        return {"name": name, "seed": seed, "failed": str(error)}
    return {
        **line(results, name),
        "all_seconds": time.perf_counter() - started,
        "command": " ".join([PROGRAM, *own]),
    }


def line(results: Results, name: str) -> dict[str, Any]:
    """What tables show of a run."""
    scores = results.scores
    return {
        "name": name,
        "seed": results.seed,
        "steps": results.steps,
        "psnr": scores["psnr"],
        "ssim": scores["ssim"],
        "lpips_alex": scores["lpips_alex"],
        "num_gaussians": results.counts.final,
        "train_seconds": results.wall_time.train,
        "first_step_seconds": results.wall_time.first_step,
        "peak_device_bytes": results.peak_memory.device,
        "near_plane": results.protocol.conditions.near_plane,
        "gpu": results.hardware.gpu,
        "torch": results.versions["torch"],
        "created": results.created,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("out", type=Path)
    parser.add_argument("configurations", nargs="+")
    parser.add_argument("--seed", action="append", type=int, help="again for each; default: 42")
    arguments = parser.parse_args()
    arguments.out.mkdir(parents=True, exist_ok=True)
    with (arguments.out / "runs.jsonl").open("a", encoding="utf-8") as file:
        for text in arguments.configurations:
            for seed in arguments.seed or [42]:
                found = json.dumps(row(arguments.out, text, seed))
                print(found, flush=True)
                print(found, file=file, flush=True)


if __name__ == "__main__":
    main()
