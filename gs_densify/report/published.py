"""Numbers that others have published, with their source and protocol: they are not ours to rank."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import yaml

from gs_densify.config.yaml_text import load_yaml
from gs_densify.errors import ResultError, reason_of

BUILTIN = Path(__file__).with_name("published.yml")


@dataclass(frozen=True, kw_only=True)
class Published:
    """A method as others measured it."""

    name: str
    """By which --published asks for it."""
    method: str
    source: str
    protocol: str
    scores: Mapping[str, Mapping[str, float]]
    """By the scene, or `mean_7` or `mean_9`, then by the quantity."""

    def values_for(self, table: str) -> Mapping[str, float]:
        """Returns its values for a scene or mean, by the name of the quantity."""
        return self.scores.get(table, {})


@cache
def known(path: Path = BUILTIN) -> dict[str, Published]:
    """Returns the methods in a YAML file, by name.

    Raises:
        ResultError: the file cannot be read, or an entry lacks something.
    """
    try:
        entries = load_yaml(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, yaml.YAMLError) as error:
        raise ResultError(f"{path}: cannot be read ({reason_of(error)})") from None
    if not isinstance(entries, dict):
        raise ResultError(f"{path}: holds no entries", expected="a mapping of names to entries")
    return {str(name): _entry(str(name), entry, path) for name, entry in entries.items()}


def _entry(name: str, entry: Any, path: Path) -> Published:
    texts = ("method", "source", "protocol")
    is_good = isinstance(entry, dict) and {*texts, "scores"} == set(entry)
    if not is_good or not all(isinstance(entry[one], str) for one in texts):
        raise ResultError(
            f"{path}: {name}: is incomplete", expected=f"it needs {', '.join(texts)} and scores"
        )
    scores = entry["scores"]
    if not isinstance(scores, dict) or not all(map(_are_numbers, scores.values())):
        raise ResultError(
            f"{path}: {name}: scores are no numbers",
            expected="a mapping of scenes, mean_7 or mean_9 to quantities and their values",
        )
    return Published(name=name, scores=scores, **{one: entry[one] for one in texts})


def _are_numbers(values: Any) -> bool:
    return isinstance(values, dict) and all(
        isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
        for value in values.values()
    )


def chosen(names: Sequence[str]) -> list[Published]:
    """Returns published methods: `all`, names, or the paths of files with others.

    Raises:
        ResultError: a name that there is not.
    """
    found: dict[str, Published] = {}
    for name in names:
        if name == "all":
            found |= known()
        elif name.endswith((".yml", ".yaml")):
            found |= known(Path(name))
        elif name in known():
            found[name] = known()[name]
        else:
            raise ResultError(
                f"has '{name}'",
                expected=f"all, a YAML file, or some of {', '.join(known())}",
                option="published",
            )
    return list(found.values())
