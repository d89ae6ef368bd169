"""The metrics by name, without importing any of them (nor torch) until one is asked for.

A metric of this package is a file in this folder and a line in `BUILTIN`. Another package offers
one as a `Metric` under its name in the entry-point group `gs_densify.metrics`.
"""

import dataclasses
import re
from collections.abc import Iterable

from gs_densify.entry_points import entry_points, load_offered, origin, refuse_clash
from gs_densify.errors import ConfigError
from gs_densify.evaluation.metrics.metric import Compute, Metric, MetricUnavailable, Setting
from gs_densify.results import COST_NAMES, STANDARD_METRICS
from gs_densify.results.protocol import PSNR

__all__ = [
    "ALWAYS",
    "BUILTIN",
    "GROUP",
    "LPIPS",
    "Compute",
    "Metric",
    "MetricUnavailable",
    "Setting",
    "check_further",
    "find_metric",
    "known_names",
    "offered_names",
]

GROUP = "gs_densify.metrics"
_KIND = "metric"

_HERE = "gs_densify.evaluation.metrics"
_SSIM = "Wang et al. 2004, 11x11 Gaussian window of sigma 1.5"
_LPIPS = "Zhang et al. 2018, version 0.1"

BUILTIN = {
    "psnr": Metric(
        label="PSNR",
        unit="dB",
        format=".3f",
        higher_is_better=True,
        computed=PSNR,
        make=f"{_HERE}.psnr:make",
    ),
    "psnr_float": Metric(
        label="PSNR float",
        unit="dB",
        format=".3f",
        higher_is_better=True,
        sees="float",
        computed=PSNR,
        make=f"{_HERE}.psnr:make",
    ),
    "ssim": Metric(label="SSIM", higher_is_better=True, computed=_SSIM, make=f"{_HERE}.ssim:make"),
    "lpips_alex": Metric(
        label="LPIPS alex",
        higher_is_better=False,
        computed=f"{_LPIPS}, AlexNet, inputs in [-1, 1]",
        make=f"{_HERE}.lpips:make_alex",
    ),
    "lpips_vgg": Metric(
        label="LPIPS vgg",
        higher_is_better=False,
        computed=f"{_LPIPS}, VGG-16, inputs in [-1, 1]",
        make=f"{_HERE}.lpips:make_vgg",
    ),
    "lpips_vgg_01": Metric(
        label="LPIPS vgg 01",
        higher_is_better=False,
        computed=f"{_LPIPS}, VGG-16, inputs in [0, 1], as in the code of many splatting papers",
        make=f"{_HERE}.lpips:make_vgg_01",
    ),
}
"""Those of `STANDARD_METRICS`, in their order, then further ones."""

ALWAYS = ("psnr", "psnr_float", "ssim")
"""Computed in every evaluation."""

LPIPS = tuple(name for name in STANDARD_METRICS if name not in ALWAYS)
"""What `--evaluation.lpips` takes; null in files where they were not asked for."""


def offered_names() -> list[str]:
    """Returns the names of the metrics that installed packages offer."""
    return sorted({entry.name for entry in entry_points(GROUP)} - set(BUILTIN))


def known_names() -> list[str]:
    """Returns what `--evaluation.metrics` takes: further metrics of ours, then of packages."""
    return [*(name for name in BUILTIN if name not in STANDARD_METRICS), *offered_names()]


def find_metric(name: str) -> Metric:
    """Returns the metric called `name`.

    Raises:
        ConfigError: where there is none, several are offered, or what is offered is no metric.
    """
    if name in BUILTIN:
        refuse_clash(GROUP, _KIND, name)
        return BUILTIN[name]
    found = load_offered(GROUP, _KIND, name)
    if found is None:
        known = ", ".join(known_names()) or "none"
        raise ConfigError(
            f"has '{name}'",
            expected=f"known: {known}",
            action="install the package that offers it, or leave it out",
            option="evaluation.metrics",
        )
    metric, entry = found
    where = f"metric '{name}' ({origin(entry)})"
    if not isinstance(metric, Metric):
        raise ConfigError(f"{where}: is no gs_densify.evaluation.metrics.Metric")
    if not re.fullmatch(r"[A-Za-z]\w*", name) or name in COST_NAMES:
        raise ConfigError(f"{where}: cannot have this name", action="take letters, digits and _")
    package = entry.value if entry.dist is None else f"{entry.dist.name} {entry.dist.version}"
    return dataclasses.replace(metric, package=package)


def check_further(names: Iterable[str]) -> None:
    """Raises ConfigError where one of `--evaluation.metrics` cannot be asked for."""
    for name in names:
        if name in ALWAYS:
            raise ConfigError(
                f"has '{name}', which is always computed",
                action="leave it out",
                option="evaluation.metrics",
            )
        if name in LPIPS:
            raise ConfigError(
                f"has '{name}'",
                expected="LPIPS variants stand in --evaluation.lpips",
                option="evaluation.metrics",
            )
        find_metric(name)
