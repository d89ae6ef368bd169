"""Score a model on held-out views."""

import math
import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol, TypeVar

import torch
from torch import Tensor
from tqdm import tqdm

from gs_densify.errors import ResultError
from gs_densify.evaluation.lpips import VARIANTS, Lpips
from gs_densify.evaluation.metrics import (
    MetricUnavailable,
    exact_convolutions,
    psnr,
    quantize,
    require_counted,
)
from gs_densify.evaluation.ssim import ssim
from gs_densify.results import METRICS, Quantisation, Scores, SsimBorders, ViewScores

NOT_ASKED = "not asked for"
NOT_HELD_OUT = "no view is held out (data.test_every 0)"


class NamedView(Protocol):
    """Anything with a name: the camera that `render` takes."""

    @property
    def name(self) -> str:
        """The image's name in the COLMAP model."""
        ...


View = TypeVar("View", bound=NamedView)
Metric = Callable[[Tensor, Tensor, Tensor | None], float]
"""Of a picture and its photo [H, W, 3], over the pixels that a mask [H, W] counts."""


@dataclass(frozen=True)
class Scoring:
    """What is measured of a render, and how."""

    quantisation: Quantisation = "uint8-round"
    ssim_borders: SsimBorders = "reflect"
    lpips: tuple[str, ...] = ()
    """Keys of `lpips.VARIANTS`; the others are null."""


@dataclass(frozen=True)
class Evaluation:
    """Scores of each view in the order given, their means, and why a metric is null."""

    views: list[ViewScores]
    scores: Scores
    unavailable: dict[str, str]
    render_seconds: float | None = field(compare=False)
    """Time to render one view, the median over the views: some wait for kernels or for files.
    None where there was no view."""


def unscored(scoring: Scoring) -> Evaluation:
    """The evaluation of a model of which no view is held out: null scores with their reason."""
    not_asked = set(VARIANTS) - set(scoring.lpips)
    reasons = {name: NOT_ASKED if name in not_asked else NOT_HELD_OUT for name in METRICS}
    return Evaluation([], Scores(), reasons, None)


@torch.no_grad()
def evaluate_views(
    render: Callable[[View], Tensor],
    views: Sequence[View],
    images: Sequence[Any],
    scoring: Scoring,
    *,
    masks: Sequence[Any] | None = None,
    weights_dir: str | Path | None = None,
    device: torch.device | str = "cpu",
    progress: bool = False,
    on_view: Callable[[View, Tensor, Tensor], None] | None = None,
) -> Evaluation:
    """Render every view and compare it with its photo.

    psnr, ssim and LPIPS see the render as `scoring` quantises it; psnr_float sees it as it left the
    rasteriser, clamped to [0, 1]. A masked pixel of the render becomes the photo's; PSNR and SSIM
    are means over the counted pixels, LPIPS over the whole picture. One view at a time; sums in
    float64; evaluating the same model again on the same machine gives the same digits.

    Args:
        render: gives [H, W, 3] float on `device`.
        views: the test views.
        images: their photos, uint8 [H, W, 3], arrays or tensors.
        scoring: what is measured, and how.
        masks: for each view bool [H, W], True where a pixel counts, or None where all do.
        weights_dir: folder of the LPIPS backbones, see `lpips.find_weights`.
        device: where the metrics are computed.
        progress: show a bar on stderr.
        on_view: called with (view, photo, render), both [H, W, 3] float in [0, 1], the render
            quantised and with the photo where it is masked, after each view.

    Raises:
        ResultError: where a render is not finite, or there is no view.
        ValueError: where counts or sizes do not fit, or an LPIPS name is unknown.
    """
    masks = [None] * len(views) if masks is None else masks
    _check(views, images, masks, scoring.lpips)
    device = torch.device(device)
    metrics, unavailable = _metrics(scoring, weights_dir, device)
    scored = []
    seconds = []
    bar = tqdm(views, "evaluate", unit="view", disable=not progress)
    with exact_convolutions():
        for view, image, mask in zip(bar, images, masks, strict=True):
            truth = _photo(image, view.name).to(device).float().div(255)
            counted = None if mask is None else _mask(mask, truth, view.name)
            started = time.perf_counter()
            rendered = render(view).to(device)
            _wait(device)
            seconds.append(time.perf_counter() - started)
            pair = _Pair(_finite(rendered, view.name, truth), truth, counted, scoring.quantisation)
            scores = _measure(pair, metrics, unavailable, view.name)
            scored.append(ViewScores(name=view.name, scores=scores))
            if on_view is not None:
                on_view(view, truth, pair.picture)
    return Evaluation(scored, mean_scores(scored), unavailable, statistics.median(seconds))


def _measure(
    pair: "_Pair", metrics: dict[str, Metric], unavailable: dict[str, str], name: str
) -> Scores:
    """The metrics of the view `name`; the first reason of one that fails goes to `unavailable`."""
    values: dict[str, float] = {}
    for metric_name, metric in metrics.items():
        try:
            values[metric_name] = metric(pair.seen_by(metric_name), pair.truth, pair.mask)
        except MetricUnavailable as reason:
            unavailable.setdefault(metric_name, f"{name}: {reason}")
    return Scores(**values)


class _Pair:
    """A photo, and the two forms of its render that are scored against it."""

    def __init__(
        self, rendered: Tensor, truth: Tensor, mask: Tensor | None, quantisation: Quantisation
    ) -> None:
        self.truth, self.mask = truth, mask
        self.picture = quantize(rendered, quantisation)
        self._plain = rendered.clamp(0, 1)
        if mask is not None:
            # After quantising: a level of the photo, truncated in float32, may be the one below.
            self.picture = torch.where(mask[..., None], self.picture, truth)
            self._plain = torch.where(mask[..., None], self._plain, truth)

    def seen_by(self, metric: str) -> Tensor:
        """[H, W, 3] for the metric of that name."""
        return self._plain if metric == "psnr_float" else self.picture


def mean_scores(views: Sequence[ViewScores]) -> Scores:
    """Return the mean of each metric over the views; null where a view lacks it."""
    means: dict[str, float | None] = {}
    for name in METRICS:
        values = [getattr(view.scores, name) for view in views]
        known = [value for value in values if value is not None]
        complete = known and len(known) == len(views)
        means[name] = math.fsum(known) / len(known) if complete else None
    return Scores(**means)


def _metrics(
    scoring: Scoring, weights_dir: str | Path | None, device: torch.device
) -> tuple[dict[str, Metric], dict[str, str]]:
    """The metrics, and the reasons of those that cannot be computed."""
    metrics: dict[str, Metric] = {
        "psnr": psnr,
        "psnr_float": psnr,
        "ssim": lambda image, target, mask: ssim(
            image, target, borders=scoring.ssim_borders, mask=mask
        ),
    }
    unavailable = {name: NOT_ASKED for name in VARIANTS if name not in scoring.lpips}
    networks: dict[str, Lpips] = {}
    for name in scoring.lpips:
        variant = VARIANTS[name]
        try:
            if variant.backbone not in networks:
                networks[variant.backbone] = Lpips.load(variant.backbone, weights_dir, device)
            metrics[name] = _lpips_metric(networks[variant.backbone], variant.signed)
        except MetricUnavailable as reason:
            unavailable[name] = str(reason)
    return metrics, unavailable


def _lpips_metric(network: Lpips, signed: bool) -> Metric:
    def metric(image: Tensor, target: Tensor, mask: Tensor | None) -> float:
        if mask is not None:
            require_counted(mask)
        return network(image, target, signed=signed)

    return metric


def _check(
    views: Sequence[Any], images: Sequence[Any], masks: Sequence[Any], lpips_names: Sequence[str]
) -> None:
    if not views:
        raise ResultError("there is no test view to evaluate; lower --test-every.")
    if not len(views) == len(images) == len(masks):
        raise ValueError(f"{len(views)} views, but {len(images)} images and {len(masks)} masks")
    unknown = [name for name in lpips_names if name not in VARIANTS]
    if unknown:
        raise ValueError(f"unknown LPIPS {unknown}; known: {list(VARIANTS)}")


def _wait(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def _mask(mask: Any, truth: Tensor, name: str) -> Tensor:
    counted = torch.as_tensor(mask, device=truth.device)
    if counted.dtype != torch.bool or counted.shape != truth.shape[:2]:
        raise ValueError(
            f"{name}: mask {counted.dtype} {list(counted.shape)}; expected bool"
            f" {list(truth.shape[:2])}"
        )
    return counted


def _photo(image: Any, name: str) -> Tensor:
    # torch.tensor copies, where as_tensor would warn about arrays that are read-only.
    pixels = image if isinstance(image, Tensor) else torch.tensor(image)
    if pixels.dtype != torch.uint8 or pixels.ndim != 3 or pixels.shape[2] != 3:
        raise ValueError(
            f"{name}: photo {pixels.dtype} {list(pixels.shape)}; expected uint8 [H,W,3]"
        )
    return pixels


def _finite(image: Tensor, name: str, truth: Tensor) -> Tensor:
    if image.shape != truth.shape:
        raise ValueError(f"{name}: render {list(image.shape)}, photo {list(truth.shape)}")
    bad = int((~image.isfinite()).any(-1).sum())
    if bad:
        raise ResultError(
            f"view {name}: {bad} of {image[..., 0].numel()} pixels of the render are not finite; "
            "the model has diverged: lower its learning rates, or go back to a checkpoint."
        )
    return image
