"""Rasterisers by name. None of them is imported, nor is torch, until one is asked for.

A further rasteriser is a file with a class as `base.Rasterizer` says, and a line in the table; a
package offers one in the entry-point group `gs_densify.rasterizers`.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import cache
from typing import TYPE_CHECKING

from gs_densify import messages
from gs_densify.errors import BackendError
from gs_densify.registry import Entry, Registry

if TYPE_CHECKING:
    import torch

    from gs_densify.rendering.base import Rasterizer

RASTERIZERS: Registry[Entry] = Registry(
    "rasteriser",
    "gs_densify.rasterizers",
    {
        "own": Entry(
            "gs_densify.rendering.own.rasterizer:OwnRasterizer",
            "CUDA kernels of our own, compiled at their first use, twice as fast as gsplat's",
        ),
        "gsplat": Entry(
            "gs_densify.rendering.gsplat.rasterizer:GsplatRasterizer",
            "gsplat 1.5.3's CUDA kernels",
        ),
        "reference": Entry(
            "gs_densify.rendering.reference.rasterizer:ReferenceRasterizer",
            "plain torch on any device, far slower",
        ),
    },
)
"""The built-in ones in order of preference."""

AUTO = "auto"


def make_rasterizer(name: str) -> Rasterizer:
    """Returns the rasteriser `name` of `RASTERIZERS`.

    Raises:
        ConfigError: an unknown name.
        BackendError: a rasteriser that cannot run on this machine.
    """
    rasterizer: Rasterizer = RASTERIZERS.load(name)()
    return rasterizer


def rasterizer_for(
    device: torch.device,
    name: str = AUTO,
    *,
    packed: bool = False,
    is_staged: bool = False,
    deterministic: bool = False,
) -> Rasterizer:
    """Returns the rasteriser `name`; for `auto` the first built-in one that runs on `device`.

    A built-in one that cannot be had on this machine, or that has no `packed` mode where that is
    asked for, is passed over by `auto`; the first is said. So is one without the stages of
    `stages.StagedRasterizer` with `is_staged`. A `deterministic` one gives the same gradients, bit
    for bit, from the same arguments.

    Raises:
        ConfigError: an unknown name.
        BackendError: `device` has no rasteriser, or not this one, or it cannot be deterministic.
    """
    chosen = _first_of(device, packed, is_staged) if name == AUTO else name
    if chosen is None:
        raise BackendError(
            f"Device {str(device)!r} has no rasteriser",
            expected="expected cuda or cpu",
            action="pick one of them",
        )
    devices = RASTERIZERS.load(chosen).devices
    if device.type not in devices:
        raise BackendError(
            f"Rasteriser {name!r} runs on {_any_of(devices)}, and the device is the {device.type}",
            expected=f"expected {_any_of([AUTO, *_able(device)])} there",
            action="pick one of them, or another --device",
        )
    if is_staged and not has_stages(chosen):
        staged = [one for one in _able(device) if has_stages(one)]
        raise BackendError(
            f"Rasteriser {name!r} renders no model that several processes share, nor one with"
            " --render.offload",
            expected=f"expected {_any_of([AUTO, *staged])}",
            action="pick one of them",
        )
    rasterizer = make_rasterizer(chosen)
    if deterministic:
        _make_deterministic(rasterizer, device)
    return rasterizer


def _make_deterministic(rasterizer: Rasterizer, device: torch.device) -> None:
    if device.type not in getattr(rasterizer, "deterministic_on", ()):
        raise BackendError(
            f"Rasteriser {rasterizer.name!r} cannot be deterministic on the {device.type}",
            expected="its sums have no order there",
            action="leave --render.deterministic off, or use rasteriser own on an NVIDIA GPU",
        )
    rasterizer.deterministic = True  # type: ignore[attr-defined]


def has_stages(name: str) -> bool:
    """Returns whether a rasteriser has those of `stages.StagedRasterizer`; `auto` finds one."""
    if name == AUTO:
        return True
    return hasattr(RASTERIZERS.load(name), "project")


def _first_of(device: torch.device, packed: bool, is_staged: bool) -> str | None:
    for name in _able(device):
        kind = RASTERIZERS.load(name)
        if is_staged and not has_stages(name):
            continue
        reason = kind.unavailable() if hasattr(kind, "unavailable") else None
        if reason is not None:
            _say_once(f"Rasteriser '{name}' is left out: {reason}")
        elif not packed or getattr(kind, "has_packed", True):
            return name
    return None


@cache
def _say_once(text: str) -> None:
    messages.remark(text)


def _able(device: torch.device) -> Iterator[str]:
    """Yields the names of the built-in rasterisers that run on `device`."""
    for name in RASTERIZERS.builtin:
        if device.type in RASTERIZERS.load(name).devices:
            yield name


def _any_of(names: Sequence[str]) -> str:
    *others, last = names
    return f"{', '.join(others)} or {last}" if others else last
