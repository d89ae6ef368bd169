"""The code of a strategy, as a digest. Imports no torch."""

import inspect
from pathlib import Path

from gs_densify.source import module_digest
from gs_densify.strategies.plugin import digest_of_file, parse_reference
from gs_densify.strategies.registry import load_strategy_class


def strategy_digest(name: str) -> str:
    """Returns a digest of a strategy's file and of what it imports from that file's folder.

    Of a file that `--strategy` names it is that of the code that was loaded, be the file another
    by now. What a strategy shares with others, below `strategies/`, is part of `package_digest`.

    Args:
        name: as `--strategy` takes it: of a built-in strategy or of a package's, or a file's.

    Raises:
        ConfigError: there is no such strategy, or its file cannot be imported.
    """
    reference = parse_reference(name)
    if reference is not None:
        return digest_of_file(reference)
    return module_digest(Path(inspect.getfile(load_strategy_class(name))))
