"""Rasterisers by name. None of them is imported, nor is torch, until one is asked for."""

from __future__ import annotations

import importlib
from collections.abc import Iterable
from typing import TYPE_CHECKING, NamedTuple

from gs_densify.errors import BackendError

if TYPE_CHECKING:
    import torch

    from gs_densify.rendering.base import Rasterizer


class Entry(NamedTuple):
    """Where a rasteriser's class is, what it runs on, and what it is in a few words."""

    target: str
    devices: tuple[str, ...]
    """Types of torch devices."""
    summary: str


RASTERIZERS = {
    "gsplat": Entry(
        "gs_densify.rendering.gsplat.rasterizer:GsplatRasterizer",
        ("cuda",),
        "gsplat 1.5.3's CUDA kernels",
    ),
    "reference": Entry(
        "gs_densify.rendering.reference.rasterizer:ReferenceRasterizer",
        ("cpu", "cuda"),
        "plain torch, far slower",
    ),
}
"""In order of preference."""

AUTO = "auto"
CHOICES = (AUTO, *RASTERIZERS)


def rasterizer_for(device: torch.device, name: str = AUTO) -> Rasterizer:
    """Returns the rasteriser `name`; for `auto` the first of `RASTERIZERS` that runs on `device`.

    Raises:
        BackendError: an unknown name, or no such rasteriser on `device`.
    """
    able = [known for known, entry in RASTERIZERS.items() if device.type in entry.devices]
    if not able:
        kinds = dict.fromkeys(kind for entry in RASTERIZERS.values() for kind in entry.devices)
        raise BackendError(
            f"Device {str(device)!r} has no rasteriser; expected {_any_of(kinds)}; pick one of"
            " them."
        )
    chosen = able[0] if name == AUTO else name
    if chosen in RASTERIZERS and chosen not in able:
        raise BackendError(
            f"Rasteriser {name!r} runs on {_any_of(RASTERIZERS[name].devices)}, and the device is"
            f" the {device.type}; expected {_any_of([AUTO, *able])} there; pick one of them, or"
            " another --device."
        )
    return make_rasterizer(chosen)


def make_rasterizer(name: str) -> Rasterizer:
    """Returns the rasteriser `name` of `RASTERIZERS`.

    Raises:
        BackendError: an unknown name, or a rasteriser that cannot run on this machine.
    """
    if name not in RASTERIZERS:
        raise BackendError(
            f"Rasteriser {name!r} is not known; expected {_any_of(RASTERIZERS)}; pick one of them."
        )
    module, _, attribute = RASTERIZERS[name].target.partition(":")
    made: Rasterizer = getattr(importlib.import_module(module), attribute)()
    return made


def _any_of(names: Iterable[str]) -> str:
    *others, last = names
    return f"{', '.join(others)} or {last}" if others else last
