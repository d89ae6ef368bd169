"""The protocol block: how scores were made, and whether two of them may be compared."""

import re
from dataclasses import dataclass, field, fields
from typing import Any, Literal

Quantisation = Literal["uint8-round", "uint8-truncate", "float"]
"""What becomes of a render before it is scored: the nearest of 256 levels, the level below, or
nothing but clamping to [0, 1]."""

SsimBorders = Literal["reflect", "valid", "zero"]
"""Where SSIM's window leaves the picture: mirrored, left out of the mean, or taken as black."""

PSNR = "10 log10(1 / MSE), MSE over the pixels and channels of a view, mean over the views"


GSPLAT_NEAR_PLANE = 0.01
"""Depth below which gsplat 1.5.3 draws nothing unless told otherwise."""


@dataclass(frozen=True, kw_only=True)
class ImageSize:
    """A size, in pixels, and how many images of the scene have it."""

    width: int
    height: int
    count: int

    def __str__(self) -> str:
        """Returns e.g. `185 of 1297x840`."""
        return f"{self.count} of {self.width}x{self.height}"


@dataclass(frozen=True, kw_only=True)
class LpipsRecord:
    """How one LPIPS variant was computed."""

    network: str
    input_range: str
    package: str
    weights: str | None = None
    """Start of the digest of the network's weights where they are not the published ones; null
    where they are, and in older files, for which nobody looked."""


@dataclass(frozen=True, kw_only=True)
class MetricRecord:
    """What a reader has to know of a metric that not every file has, and how it was computed."""

    label: str
    """Its name in tables."""
    unit: str = ""
    format: str = ".4f"
    """How many digits mean something, as Python's `format` takes it: `.3f`, `.2e`, `.1%`."""
    higher_is_better: bool
    sees: str = "quantised"
    """The render as the protocol quantises it (`quantised`), or as it left the rasteriser, clamped
    to [0, 1] (`float`)."""
    computed: str
    """How, in words: what differs here is not compared."""
    package: str = "gs_densify"
    """Whose code it was, with its version."""

    def __post_init__(self) -> None:
        """Refuses a format that is none, and a render that there is not."""
        if not re.fullmatch(r",?\.[0-9][efg%]", self.format):
            raise ValueError(f"format {self.format!r} is not like '.3f'")
        if self.sees not in ("quantised", "float"):
            raise ValueError(f"sees {self.sees!r}; it must be 'quantised' or 'float'")

    def text(self, value: float | None, *, sign: str = "") -> str:
        """Returns a value without its unit, or `-`; with `sign` `+` also the sign of a positive."""
        return "-" if value is None else format(value, f"{sign}{self.format}")


@dataclass(frozen=True, kw_only=True)
class Conditions:
    """What moves a number besides the way of scoring. Runs that are compared may differ in it."""

    seed: int | None
    """Null where the model came without one."""
    steps: int | None
    """Optimiser steps of the training; null where they are not known."""
    antialiased: bool
    """Rendered with Mip-Splatting's opacity compensation."""
    near_plane: float = GSPLAT_NEAR_PLANE
    """Depth below which nothing is drawn, in the run's world; older files, in which it is not,
    were made with this one."""
    normalize: str | None = None
    """The world that the model was trained in, as `--data.normalize` names it: rates and thresholds
    depend on it. Null where it is not known; of a run of before there were names, `config` says it:
    true is `cameras`, false `none`."""
    rasterizer: str | None = None
    """Name of the rasteriser that rendered the views; null in older files: gsplat where there is a
    GPU, else the reference."""
    gpu: str | None
    versions: dict[str, str | None]
    """As in `Results.versions`."""


@dataclass(frozen=True, kw_only=True)
class Protocol:
    """How scores were made: everything that moves a number."""

    name: str
    """The `--protocol`, with the options of it that were changed."""
    scene_name: str
    image_dir: str
    image_source: str
    """`official`: the downscaled images of the data set; `resized`: made from its originals;
    `as found`: whatever the folder holds."""
    resize_filter: str | None
    """Null unless the images were resized."""
    downscale: int
    sizes: list[ImageSize]
    undistorted: bool
    masks: bool
    test_every: int
    split_rule: str
    """In words, e.g. `names sorted; every 8th from the first is a test view`."""
    test_images: list[str]
    n_train: int
    n_test: int
    quantisation: str
    """One of `Quantisation`."""
    background: tuple[float, float, float]
    psnr: str
    ssim_borders: str
    """One of `SsimBorders`."""
    ssim: str
    """The implementation, in words."""
    lpips: dict[str, LpipsRecord] = field(default_factory=dict)
    metrics: dict[str, MetricRecord] = field(default_factory=dict)
    """The metrics besides those that every file names."""
    color_corrected: bool = False
    """Renders fitted to the colours of the photo before they are scored; never done here."""
    conditions: Conditions


_WORDING = ("ssim", "conditions", "lpips", "metrics")
"""Circumstances, and texts about what `ssim_borders` says; LPIPS and further metrics are compared
by their parts."""

_OF_A_SCENE = (
    *("scene_name", "image_dir", "downscale", "sizes", "undistorted", "masks"),
    *("test_images", "n_train", "n_test"),
)


def protocol_differences(
    first: Protocol, second: Protocol, *, across_scenes: bool = False
) -> list[str]:
    """Returns what forbids to compare scores of the two, `name: first | second` each; [] where
    nothing.

    With `across_scenes`, what belongs to a scene may differ. An LPIPS variant or further metric
    that only one of them has is no contradiction: there is nothing to compare.
    """
    skipped = {*_WORDING, *(_OF_A_SCENE if across_scenes else ())}
    pairs = {
        item.name: (getattr(first, item.name), getattr(second, item.name))
        for item in fields(Protocol)
        if item.name not in skipped
    }
    for name in first.lpips.keys() & second.lpips.keys():
        pairs[name] = (_lpips_identity(first.lpips[name]), _lpips_identity(second.lpips[name]))
    for name in first.metrics.keys() & second.metrics.keys():
        pairs[name] = (_identity(first.metrics[name]), _identity(second.metrics[name]))
    return [_difference(name, a, b) for name, (a, b) in pairs.items() if a != b]


def _lpips_identity(record: LpipsRecord) -> str:
    weights = "" if record.weights is None else f", unknown weights {record.weights}"
    return f"{record.network}, inputs in {record.input_range}{weights}"


def _identity(record: MetricRecord) -> tuple[str, str, str]:
    return record.unit, record.sees, record.computed


def _difference(name: str, first: Any, second: Any) -> str:
    if isinstance(first, list):
        first, second = (
            _listed([item for item in one if item not in other])
            for one, other in ((first, second), (second, first))
        )
    return f"{name}: {first} | {second}"


def _listed(items: list[Any]) -> str:
    """Returns the first of what only one of two lists has."""
    if not items:
        return "no other"
    more = f" and {len(items) - 3} more" if len(items) > 3 else ""
    return ", ".join(map(str, items[:3])) + more
