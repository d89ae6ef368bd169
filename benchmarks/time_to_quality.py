"""Seconds of training until the held-out PSNR passes given marks, for each configuration.

    python benchmarks/time_to_quality.py OUT --marks 29 30 31 31.5 --every 1000 \
        "default: --scene bonsai --downscale 1 --strategy default" ...

Every configuration is trained with an evaluation after every `--every` steps; the time is that of
the first evaluation that reaches the mark, without the time that evaluations take. In place of
flags, a finished run's folder may stand: its evaluations are taken, nothing is trained. Writes
OUT/time_to_quality.json and, where matplotlib is installed, OUT/time_to_quality.png; runs lie in
OUT/NAME without their checkpoints.
"""

import argparse
import json
import shutil
from pathlib import Path
from typing import Any

from gs_densify.cli.arguments import PROGRAM, parse_train_arguments
from gs_densify.results import Results, load_results
from gs_densify.runs.train import train


def run(out: Path, flags: list[str], every: int) -> Results:
    steps = parse_train_arguments(flags).steps
    stops = [str(step) for step in range(every, steps, every)]
    argv = [*flags, "--out", str(out), "--evaluation.steps", *stops]
    results, folder = train(parse_train_arguments(argv), [PROGRAM, *argv])
    shutil.rmtree(folder / "checkpoints")
    return results


def summary(results: Results, marks: list[float]) -> dict[str, Any]:
    curve = [
        {
            "step": e.step,
            "seconds": e.train_seconds,
            "psnr": e.scores["psnr"],
            "ssim": e.scores["ssim"],
        }
        for e in results.evaluations
    ]
    scored = [e for e in curve if e["psnr"] is not None]
    passed = {
        str(mark): next((e["seconds"] for e in scored if e["psnr"] >= mark), None) for mark in marks
    }
    return {"gpu": results.hardware.gpu, "seconds_to": passed, "curve": curve}


def plot(found: dict[str, Any], path: Path) -> None:
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(figsize=(7, 4.5), layout="constrained")
    for name, row in found.items():
        curve = row["curve"]
        seconds, psnr = [e["seconds"] for e in curve], [e["psnr"] for e in curve]
        axes.plot(seconds, psnr, marker=".", label=name)
    axes.set(xlabel="training time (s)", ylabel="held-out PSNR (dB)")
    axes.grid(alpha=0.3)
    axes.legend()
    figure.savefig(path, dpi=120)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("out", type=Path)
    parser.add_argument("configurations", nargs="+")
    parser.add_argument("--marks", nargs="+", type=float, default=[29.0, 30.0, 31.0, 31.49])
    parser.add_argument("--every", type=int, default=1000)
    arguments = parser.parse_args()
    arguments.out.mkdir(parents=True, exist_ok=True)
    found = {}
    for text in arguments.configurations:
        name, _, flags = text.partition(":")
        if flags.lstrip().startswith("--"):
            results = run(arguments.out / name, flags.split(), arguments.every)
        else:
            results = load_results(Path(flags.strip()) / "results.json")
        found[name] = summary(results, arguments.marks)
        print(json.dumps({name: found[name]["seconds_to"]}), flush=True)
        (arguments.out / "time_to_quality.json").write_text(json.dumps(found, indent=2) + "\n")
    try:
        plot(found, arguments.out / "time_to_quality.png")
    except ImportError:
        print("no plot: pip install matplotlib")


if __name__ == "__main__":
    main()
