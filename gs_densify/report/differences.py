"""In which training options methods differ: what stands under every table."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from gs_densify.report.methods import Method, training_options, value_of, varying


@dataclass(frozen=True, kw_only=True)
class OptionDifference:
    """An option that not all methods have alike."""

    name: str
    """Dotted."""
    values: dict[str, list[Any]]
    """By the label of the method: its value, or those of its scenes; [] where a strategy has no
    such option."""


def differences_between(methods: Sequence[Method]) -> list[OptionDifference]:
    """Returns every option of the trainer that differs, and of strategies where two methods of one
    strategy differ in it, or seeds and scenes of one method.

    Options of different strategies are different things, also under one name.
    """
    options = {m.label: [training_options(run) for run in m.runs] for m in methods}
    every = [one for own in options.values() for one in own if one]  # a PLY has no options
    trainer = [
        {name: value for name, value in one.items() if not name.startswith("strategy.")}
        for one in every
    ]
    names = varying(trainer)
    for strategy in dict.fromkeys(method.strategy for method in methods):
        own = [one for m in methods if m.strategy == strategy for one in options[m.label] if one]
        names += [n for n in varying(own) if n.startswith("strategy.") and n not in names]
    return [
        OptionDifference(
            name=name,
            values={label: _distinct(own, name) for label, own in options.items()},
        )
        for name in names
    ]


def _distinct(options: Sequence[dict[str, Any]], name: str) -> list[Any]:
    found: list[Any] = []
    for one in options:
        if one and (name in one or name.startswith("loss.")) and value_of(one, name) not in found:
            found.append(value_of(one, name))
    return found
