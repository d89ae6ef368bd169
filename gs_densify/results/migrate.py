"""Result files of older schema versions, brought to the current one before they are checked.

Only what the older release is known to have done is filled in; nothing is guessed.
"""

from collections.abc import Callable
from typing import Any

from gs_densify.errors import ResultError
from gs_densify.results.protocol import PSNR
from gs_densify.results.schema import SCHEMA_VERSION, PerView, Results


def to_current(kind: Any, value: dict[str, Any], where: str) -> dict[str, Any]:
    """Returns the plain JSON object of a `kind` as the current schema writes it.

    Raises:
        ResultError: where what the step needs is missing or of another type.
    """
    if value["schema_version"] == SCHEMA_VERSION:
        return value
    step = _FROM_1.get(kind)
    if step is None:
        raise ResultError(f"{where}: no such file was written with schema version 1.")
    try:
        return {**step(value), "schema_version": SCHEMA_VERSION}
    except (KeyError, TypeError, AttributeError) as error:
        raise ResultError(f"{where}: is damaged ({type(error).__name__}: {error}).") from error


def _results_from_1(value: dict[str, Any]) -> dict[str, Any]:
    """Converts version 1: one way of scoring, and conditions outside of the protocol."""
    config = value["config"]
    conditions = {
        "seed": value["seed"],
        "steps": value["steps"],
        "antialiased": config.get("render", {}).get("antialiased", False),
        "gpu": value["hardware"]["gpu"],
        "versions": value["versions"],
    }
    protocol = {
        "name": config.get("protocol", "default"),
        "resize_filter": None,
        "psnr": PSNR,
        "ssim_borders": "reflect",
        "conditions": conditions,
        **value["protocol"],
    }
    return {**value, "protocol": protocol}


def _per_view_from_1(value: dict[str, Any]) -> dict[str, Any]:
    return {"protocol": None, **value}


_FROM_1: dict[Any, Callable[[dict[str, Any]], dict[str, Any]]] = {
    Results: _results_from_1,
    PerView: _per_view_from_1,
}
