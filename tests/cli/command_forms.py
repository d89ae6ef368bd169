"""The options of all commands, as their forms have them."""

from functools import cache
from typing import Any

from gs_densify.cli import arguments, bench, eval, report, scene, strategies, view
from gs_densify.config.options import TrainConfig
from gs_densify.flags.check import ALL, HELP, VERSION
from gs_densify.flags.forms import options_in
from gs_densify.strategies.registry import BUILTIN, load_strategy_class

OF_CLASSES = {
    "Reconstruct": "gs-scene reconstruct",
    "MakeTiny": "gs-scene make-tiny",
    "Info": "gs-scene info",
    "Check": "gs-scene check",
    "Download": "gs-scene download",
    "LpipsWeights": "gs-scene lpips-weights",
}
"""Whose messages a class's are in cli/scene.py."""

FORMS: dict[str, Any] = {
    "gs-eval": eval.EvalArguments,
    "gs-report": report.ReportArguments,
    "gs-view": view.ViewArguments,
    "gs-bench": bench.BenchArguments,
    "gs-strategies list": strategies.List,
    "gs-strategies show": strategies.Show,
    "gs-strategies check": strategies.Check,
    **{command: getattr(scene, name) for name, command in OF_CLASSES.items()},
}


def form_of(command: str, strategy: str = "") -> Any:
    """The form of a command; of gs-train's, with the options of a strategy."""
    if command != "gs-train":
        return FORMS[command]
    return arguments._form(load_strategy_class(strategy), TrainConfig(scene=""))


@cache
def options_of(command: str) -> frozenset[str]:
    """The options that a command has, without dashes; gs-train's with those of all strategies."""
    names = BUILTIN if command == "gs-train" else ("",)
    forms = [form_of(command, name) for name in names]
    flags = {flag for form in forms for one in options_in(form) for flag in one.flags}
    return frozenset(flag.lstrip("-") for flag in flags | {ALL, VERSION, *HELP})
