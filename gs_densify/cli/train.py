"""gs-train: train a scene under a strategy and score it on held-out views."""

import sys
import time
from collections.abc import Sequence
from functools import partial

from gs_densify.rendering import cuda_driver


def command(argv: Sequence[str], started: float | None = None) -> None:
    """Parses, trains, and says where the files are; the clock runs since `started`."""
    from gs_densify.cli.arguments import wants_quiet
    from gs_densify.messages import quiet

    with quiet(wants_quiet(argv)):
        _command(argv, started)


def _command(argv: Sequence[str], started: float | None) -> None:
    from gs_densify.cli import arguments
    from gs_densify.cli.app import importing
    from gs_densify.messages import is_quiet

    with importing():
        resumed = arguments.parse_resumed(argv)
        config = resumed or arguments.parse_train_arguments(argv)
        # Late: --help and a wrong option answer without torch.
        from gs_densify.cli.summary import scores_text, wall_time_text
        from gs_densify.report.page import save_run_page
        from gs_densify.results.views import load_views
        from gs_densify.runs.train import resume, train

    if arguments.wants_dry_run(argv):
        from gs_densify.runs.forecast import forecast, forecast_text

        print(forecast_text(forecast(config)))
        return
    if resumed is None:
        results, folder = train(config, [arguments.PROGRAM, *argv], started)
    else:
        results, folder = resume(config, started)
    page = save_run_page(folder)
    if is_quiet():
        return
    print(scores_text(results, load_views(folder, results)))
    print(
        f"{results.counts.final:,} Gaussians, {results.wall_time.train:.1f} s of training on"
        f" {results.hardware.gpu or 'the CPU'}"
    )
    print(wall_time_text(results.wall_time))
    print(f"page: {page}")
    print(f"files: {folder}")
    if config.budget is not None and results.counts.final != config.budget:
        print(
            f"{arguments.PROGRAM}: the run ends with {results.counts.final:,} Gaussians, not the"
            f" {config.budget:,} of --budget",
            file=sys.stderr,
        )


def main() -> None:
    """Runs gs-train."""
    started = time.perf_counter()  # before tyro, and later torch, are imported
    if not {"-h", "--help", "--device=cpu", "cpu"} & {*sys.argv}:  # it would start in vain
        cuda_driver.begin_to_start()
    from gs_densify.cli import app, arguments

    app.run_command(arguments.PROGRAM, partial(command, started=started))


if __name__ == "__main__":
    main()
