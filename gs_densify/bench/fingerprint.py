"""What a cell's numbers depend on, so that it is run again when that is other than it was."""

import dataclasses
import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from gs_densify.bench.matrix import Cell, options_by_name
from gs_densify.results.files import to_json
from gs_densify.source import package_digest
from gs_densify.strategies.plugin import parse_reference
from gs_densify.strategies.source import strategy_digest

_NO_NUMBERS = (
    *("out", "data_root", "device", "profile", "label", "log_to", "checkpoint_minutes"),
    *("data.workers", "data.image_budget", "data.host_budget", "data.disk_budget"),
    *("evaluation.lpips_weights", "evaluation.pictures"),
)
"""Options that change no number of a run. --log-every and --checkpoint-every are none of them: they
end groups of steps that are rendered together."""


@dataclasses.dataclass(frozen=True)
class Fingerprint:
    """Options and code of a cell."""

    options: dict[str, Any]
    """By dotted name, as JSON gives them back."""
    strategy_code: str
    package_code: str

    @property
    def digest(self) -> str:
        """Returns one text for all of it."""
        text = json.dumps(dataclasses.asdict(self), sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()[:16]

    def difference(self, before: "Fingerprint") -> str:
        """Returns in a few words what is other than `before`; empty where nothing is."""
        names = sorted(self.options.keys() | before.options.keys())
        changed = [name for name in names if self.options.get(name) != before.options.get(name)]
        found = [
            f"{name} {before.options.get(name)} -> {self.options.get(name)}" for name in changed[:3]
        ]
        found += [f"{len(changed) - 3} more options"] if len(changed) > 3 else []
        if self.strategy_code != before.strategy_code:
            found.append("other code of the strategy")
        if self.package_code != before.package_code:
            found.append("other code of gs_densify")
        return ", ".join(found)


def fingerprint(cell: Cell) -> Fingerprint:
    """Returns that of a cell; a strategy's file counts by its content, not by its folder."""
    options = {
        name: value
        for name, value in options_by_name(cell.config).items()
        if name not in _NO_NUMBERS
    }
    reference = parse_reference(cell.config.strategy)
    if reference is not None:
        options["strategy.name"] = str(reference._replace(path=Path(reference.path.name)))
    return Fingerprint(
        json.loads(to_json(_plain(options), where=cell.name)),
        strategy_digest(cell.config.strategy),
        package_digest(),
    )


def _plain(options: Mapping[str, Any]) -> dict[str, Any]:
    """Returns the options with numbers that JSON cannot hold as text."""
    return {
        name: str(value) if isinstance(value, float) and value - value != 0 else value
        for name, value in options.items()
    }
