"""What a metric is. Imports no torch."""

import dataclasses
import importlib
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gs_densify.results import MetricRecord, SsimBorders

if TYPE_CHECKING:
    import torch
    from torch import Tensor


class MetricUnavailable(Exception):
    """A metric that cannot be computed here; the text is the reason, for the result file."""


@dataclasses.dataclass(frozen=True)
class Setting:
    """What a metric may depend on besides the pictures."""

    ssim_borders: SsimBorders
    lpips_weights: str | Path | None
    """Folder of the LPIPS backbones, see `lpips_weights.find_weights`."""
    device: "torch.device"
    """Where the pictures are."""
    shared: dict[str, Any] = dataclasses.field(default_factory=dict)
    """What several metrics of one evaluation use, e.g. a network, by a name."""
    unknown_weights: dict[str, str] = dataclasses.field(default_factory=dict)
    """Filled by metrics whose network has other weights than the published ones: their digest."""


Compute = Callable[["Tensor", "Tensor", "Tensor | None"], float]
"""Takes a render and its photo [H, W, 3] in [0, 1] and the valid_mask [H, W], True where a pixel
is to be scored, or None where all are; where it is False, the render is the photo already."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Metric(MetricRecord):
    """A metric: what a reader has to know of it, and where it is computed."""

    make: str | Callable[[Setting], Compute]
    """A function that is called once for an evaluation, or `module:function`, imported then. It,
    and what it returns, raise `MetricUnavailable` where the metric cannot be computed."""

    def prepare(self, setting: Setting) -> Compute:
        """Returns the function that scores a view.

        Raises:
            MetricUnavailable: where it cannot be computed at all.
        """
        make = self.make
        if isinstance(make, str):
            module, _, attribute = make.partition(":")
            make = getattr(importlib.import_module(module), attribute)
        return make(setting)

    def record(self) -> MetricRecord:
        """Returns what a result file says of it."""
        names = [item.name for item in dataclasses.fields(MetricRecord)]
        return MetricRecord(**{name: getattr(self, name) for name in names})
