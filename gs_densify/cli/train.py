"""gs-train: train a scene under a strategy and score it on held-out views."""

import time
from collections.abc import Sequence

from gs_densify.cli.app import run_command
from gs_densify.cli.arguments import (
    PROGRAM,
    parse_resumed,
    parse_train_arguments,
    wants_dry_run,
)


def command(argv: Sequence[str]) -> None:
    """Parse, train, and say where the files are."""
    started = time.perf_counter()
    resumed = parse_resumed(argv)
    config = resumed or parse_train_arguments(argv)
    # Imported late: --help and a wrong option answer without torch.
    if wants_dry_run(argv):
        from gs_densify.training.forecast import forecast, forecast_text

        print(forecast_text(forecast(config)))
        return
    from gs_densify.cli.summary import scores_text
    from gs_densify.training.run import resume, train

    if resumed is None:
        results, folder = train(config, [PROGRAM, *argv], started)
    else:
        results, folder = resume(config, started)
    print(scores_text(results.scores, results.unavailable, results.protocol.name))
    print(
        f"{results.counts.final:,} Gaussians, {results.wall_time.train:.1f} s of training on"
        f" {results.hardware.gpu or 'the CPU'}"
    )
    print(f"files: {folder}")


def main() -> None:
    """Entry point of gs-train."""
    run_command(PROGRAM, command)


if __name__ == "__main__":
    main()
