"""Small runs of every strategy, what of them does not depend on the clock, and their scores."""

import json
import shutil
from pathlib import Path
from typing import Any

from forks import Ended, run

OPTIONS = [
    *"--scene tiny --downscale 4 --device cpu --evaluation.lpips --evaluation.pictures 1".split(),
    *"--steps 18 --log-every 3 --checkpoint-every 5 --evaluation.steps 8".split(),
]
_OFTEN = ["--schedule-factor", "0.001", "--strategy.refine-every", "4"]
_GROWING = [*_OFTEN, "--strategy.grow-grad2d", "1e-7", "--max-gaussians", "900"]
METHODS = {
    "adaptive": [*_OFTEN, "--budget", "700"],
    "default": _GROWING,
    "gsplat-default": _GROWING,
    "mcmc": [*_OFTEN, "--max-gaussians", "700"],
    "absgs": _GROWING,
    "new-split": [*_OFTEN, "--budget", "700"],
    "taming": [*_OFTEN, "--budget", "700"],
    "edc": _GROWING,
    "mini-splatting": _OFTEN,
}


def arguments(method: str) -> list[str]:
    """Those of gs-train for a run in the folder `run`."""
    return [*OPTIONS, "--strategy", method, *METHODS[method], "--out", "run"]


def figures(run: Path) -> dict[str, Any]:
    """What must be equal to the last bit, by the file that has it."""
    results = json.loads((run / "results.json").read_text())
    rows = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    clocks = ("train_seconds", "step_milliseconds")
    return {
        "results": [results[name] for name in ("scores", "counts", "config", "data", "protocol")],
        "evaluations": [(one["step"], one["scores"]) for one in results["evaluations"]],
        "metrics": [{k: v for k, v in row.items() if k not in clocks} for row in rows],
        "per_view": json.loads((run / "per_view.json").read_text())["views"],
        "model": (run / "point_cloud.ply").read_bytes(),
        "checkpoints": sorted(path.name for path in (run / "checkpoints").iterdir()),
        "files": sorted(
            str(path.relative_to(run)) for path in run.rglob("*") if path.name[0] == "."
        ),
    }


def whole(method: str, folder: Path) -> dict[str, Any]:
    """The figures of a run that nothing interrupts."""
    ended = run("gs-train", *arguments(method), folder=folder)
    assert ended.code == 0, ended.said
    found = figures(folder / "run")
    shutil.rmtree(folder / "run")
    return found


def score(folder: Path) -> Ended:
    """Scores the run in `folder` again in a new process."""
    return run("gs-eval", "run", "--device", "cpu", "--out", "scored", folder=folder)
