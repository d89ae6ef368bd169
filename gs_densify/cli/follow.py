"""What gs-train does in the processes that train with the first one."""

import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING, NoReturn

if TYPE_CHECKING:
    from gs_densify.errors import GsDensifyError


def follow(argv: Sequence[str]) -> None:
    """Trains with the process whose arguments are `argv`, and says nothing but errors of its own.

    It ends when that does.
    """
    from gs_densify.cli.arguments import wants_dry_run
    from gs_densify.cli.train import parsed
    from gs_densify.distributed.group import joined
    from gs_densify.distributed.start import end_after_torchrun
    from gs_densify.errors import GsDensifyError, LostProcessError
    from gs_densify.messages import quiet
    from gs_densify.runs import train

    end_after_torchrun()
    with quiet(doubts=True):
        try:
            config, is_begun = parsed(argv)
        except GsDensifyError as error:  # which the first process says
            _end_quietly(error)
        if wants_dry_run(argv):  # the first process forecasts alone
            return
        try:
            with joined(config.device) as group:
                train.follow(config, group, is_begun=is_begun)
        except LostProcessError as error:  # which the first process says, if it is not that
            _end_quietly(error)


def _end_quietly(error: "GsDensifyError") -> NoReturn:
    """Ends with the code of an error, which torchrun's report alone shows."""
    from gs_densify.cli.arguments import PROGRAM
    from gs_densify.distributed import last_word

    last_word.leave(f"{PROGRAM}: {error}")
    sys.exit(error.exit_code)
