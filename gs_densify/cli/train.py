"""gs-train: train a scene under a strategy and score it on held-out views."""

import time
from collections.abc import Sequence
from functools import partial


def command(argv: Sequence[str], started: float) -> None:
    """Parse, train, and say where the files are; the clock runs since `started`."""
    from gs_densify.cli import arguments

    resumed = arguments.parse_resumed(argv)
    config = resumed or arguments.parse_train_arguments(argv)
    # Imported late: --help and a wrong option answer without torch.
    if arguments.wants_dry_run(argv):
        from gs_densify.runs.forecast import forecast, forecast_text

        print(forecast_text(forecast(config)))
        return
    from gs_densify.cli.summary import scores_text, wall_time_text
    from gs_densify.runs.train import resume, train

    if resumed is None:
        results, folder = train(config, [arguments.PROGRAM, *argv], started)
    else:
        results, folder = resume(config, started)
    print(scores_text(results.scores, results.unavailable, results.protocol.name))
    print(
        f"{results.counts.final:,} Gaussians, {results.wall_time.train:.1f} s of training on"
        f" {results.hardware.gpu or 'the CPU'}"
    )
    print(wall_time_text(results.wall_time))
    print(f"files: {folder}")


def main() -> None:
    """Entry point of gs-train."""
    started = time.perf_counter()  # before tyro, and later torch, are imported
    from gs_densify.cli import app, arguments

    app.run_command(arguments.PROGRAM, partial(command, started=started))


if __name__ == "__main__":
    main()
