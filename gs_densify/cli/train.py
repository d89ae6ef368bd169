"""gs-train: train a scene under a strategy and score it on held-out views."""

import importlib
import sys
import time
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from gs_densify.rendering import cuda_driver

if TYPE_CHECKING:
    from gs_densify.config.options import TrainConfig
    from gs_densify.results import Results


def command(argv: Sequence[str], started: float | None = None) -> None:
    """Parses, trains, and says where the files are; the clock runs since `started`."""
    from gs_densify.cli.arguments import wants_quiet
    from gs_densify.distributed.environment import is_follower
    from gs_densify.messages import quiet

    if is_follower():
        from gs_densify.cli.follow import follow

        follow(argv)
        return
    with quiet(wants_quiet(argv)):
        _command(argv, started)


def _command(argv: Sequence[str], started: float | None) -> None:
    from gs_densify.cli import arguments
    from gs_densify.cli.app import importing
    from gs_densify.messages import is_quiet

    with importing():
        config, is_begun = parsed(argv)
        # Late: --help and a wrong option answer without torch.
        importlib.import_module("gs_densify.runs.train")
        from gs_densify.cli.summary import scores_text, wall_time_text
        from gs_densify.report.page import INDEX
        from gs_densify.results.views import load_views

    if arguments.wants_dry_run(argv):
        from gs_densify.runs.forecast import forecast, forecast_text

        print(forecast_text(forecast(config)))
        return
    results, folder = trained(config, argv, started, is_begun=is_begun)
    if is_quiet():
        return
    print(scores_text(results, load_views(folder, results)))
    several = f"{config.gpus} x " if config.gpus > 1 and results.hardware.gpu else ""
    print(
        f"{results.counts.final:,} Gaussians, {results.wall_time.train:.1f} s of training on"
        f" {several}{results.hardware.gpu or 'the CPU'}"
    )
    print(wall_time_text(results.wall_time))
    print(f"page: {folder / INDEX}")
    print(f"files: {folder}")
    if config.budget is not None and results.counts.final != config.budget:
        print(
            f"{arguments.PROGRAM}: the run ends with {results.counts.final:,} Gaussians, not the"
            f" {config.budget:,} of --budget",
            file=sys.stderr,
        )


def parsed(argv: Sequence[str]) -> tuple["TrainConfig", bool]:
    """Returns the configuration that a command line asks for, and whether it names a run that
    has begun.
    """
    from gs_densify.cli.arguments import parse_resumed, parse_train_arguments

    resumed = parse_resumed(argv)
    return (parse_train_arguments(argv), False) if resumed is None else (resumed, True)


def trained(
    config: "TrainConfig",
    argv: Sequence[str],
    started: float | None = None,
    *,
    is_begun: bool,
) -> tuple["Results", Path]:
    """Trains as a command line says that was `parsed`; returns the results and the folder.

    Of the processes that train together this is the first.
    """
    from gs_densify.cli.arguments import PROGRAM
    from gs_densify.cli.follow import follow
    from gs_densify.distributed.start import together
    from gs_densify.entry_points import coming_back
    from gs_densify.report.page import save_run_page
    from gs_densify.runs.train import resume, train

    with coming_back(), together(config.gpus, config.device, follow, argv) as group:
        results, folder = (
            resume(config, started, group)
            if is_begun
            else train(config, [PROGRAM, *argv], started, group)
        )
    save_run_page(folder)
    return results, folder


def main() -> None:
    """Runs gs-train."""
    started = time.perf_counter()  # before tyro, and later torch, are imported
    if not {"-h", "--help", "--help-all", "--version", "--device=cpu", "cpu"} & {
        *sys.argv
    }:  # it would start in vain
        cuda_driver.begin_to_start()
    from gs_densify.cli import app, arguments

    app.run_command(arguments.PROGRAM, partial(command, started=started))


if __name__ == "__main__":
    main()
