"""Trains a list of configurations one after the other in one process, and prints a table as JSON.

    python benchmarks/strategies.py OUT "NAME: --scene bonsai --strategy mcmc ..." ...

Each run lands in OUT/NAME. A run that fails is reported in its row, and the others go on.
"""

import json
import sys
import time
from pathlib import Path
from typing import Any

from gs_densify.cli.arguments import PROGRAM, parse_train_arguments
from gs_densify.errors import GsDensifyError
from gs_densify.training.run import train


def row(out: Path, text: str) -> dict[str, Any]:
    """Train one configuration and say how it went."""
    name, _, flags = text.partition(":")
    argv = [*flags.split(), "--out", str(out / name)]
    started = time.perf_counter()
    try:
        results, _ = train(parse_train_arguments(argv), [PROGRAM, *argv])
    except GsDensifyError as error:
        return {"name": name, "failed": str(error)}
    scores = results.scores
    return {
        "name": name,
        "psnr": scores.psnr,
        "ssim": scores.ssim,
        "lpips_alex": scores.lpips_alex,
        "num_gaussians": results.counts.final,
        "train_seconds": results.wall_time.train,
        "all_seconds": time.perf_counter() - started,
    }


def main() -> None:
    """Run every configuration on the command line."""
    out = Path(sys.argv[1])
    for text in sys.argv[2:]:
        print(json.dumps(row(out, text)), flush=True)


if __name__ == "__main__":
    main()
