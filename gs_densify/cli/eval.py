"""gs-eval: score the model of a run again, from its files."""

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Literal

import tyro

from gs_densify.cli.app import run_command
from gs_densify.training.flags import parse

PROGRAM = "gs-eval"


@dataclasses.dataclass(frozen=True, kw_only=True)
class EvalArguments:
    """Score the model of a run on its held-out views again, from the files of the run."""

    run: Annotated[Path, tyro.conf.Positional]
    """Folder that gs-train wrote."""
    step: int | None = None
    """Score the checkpoint after this step (default: the latest)."""
    data_root: Path | None = None
    """Folder that holds the preset scenes (default: the run's, or GS_DATA)."""
    lpips: tuple[str, ...] | None = None
    """LPIPS variants (default: the run's): lpips_alex, lpips_vgg, lpips_vgg_01."""
    lpips_weights: Path | None = None
    """Folder with the LPIPS backbones (default: the run's, GS_LPIPS_WEIGHTS, torch's cache)."""
    pictures: int | None = None
    """Views of which a picture is written (default: the run's); -1: all."""
    device: Literal["auto", "cuda", "cpu"] = "auto"
    """Where to render."""
    out: Path | None = None
    """Folder for the files (default: RUN/evaluations/TIME)."""


def command(argv: Sequence[str]) -> None:
    """Parse, score, compare with the stored scores."""
    arguments: EvalArguments = parse(EvalArguments, argv, program=PROGRAM)
    from gs_densify.cli.summary import scores_text
    from gs_densify.training.evaluate_run import differences, evaluate_run

    report = evaluate_run(_config(arguments), arguments.run, arguments.step, arguments.out)
    print(scores_text(report.evaluation.scores, report.evaluation.unavailable))
    changed = differences(arguments.run, report)
    if changed is None:
        print(f"step {report.step} has no stored scores to compare with")
    elif changed:
        print(f"differs from the stored scores: {'; '.join(changed)}")
    else:
        print("equal to the stored scores to the last digit")
    print(f"files: {report.folder}")


def _config(arguments: EvalArguments):  # type: ignore[no-untyped-def]
    """The run's configuration with what the arguments replace."""
    from gs_densify.training.evaluate_run import run_config

    overrides = {
        "data_root": arguments.data_root,
        "evaluation.lpips": arguments.lpips,
        "evaluation.lpips_weights": arguments.lpips_weights,
        "evaluation.pictures": arguments.pictures,
        "device": arguments.device,
    }
    given = {name: value for name, value in overrides.items() if value is not None}
    return run_config(arguments.run, given)


def main() -> None:
    """Entry point of gs-eval."""
    run_command(PROGRAM, command)


if __name__ == "__main__":
    main()
