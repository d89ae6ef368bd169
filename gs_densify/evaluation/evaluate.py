"""Score a model on held-out views."""

import math
import statistics
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, Protocol, TypeVar

import torch
from torch import Tensor

from gs_densify.entry_points import described
from gs_densify.errors import ResultError
from gs_densify.evaluation.metrics import (
    BUILTIN,
    LPIPS,
    Compute,
    Metric,
    MetricUnavailable,
    Setting,
    find_metric,
)
from gs_densify.evaluation.metrics.checks import exact_convolutions
from gs_densify.evaluation.quantisation import quantize
from gs_densify.evaluation.scoring import NOT_ASKED, NOT_HELD_OUT, Scoring
from gs_densify.memory.shortage import is_shortage
from gs_densify.messages import tracked
from gs_densify.results import Quantisation, Scores, ViewScores


class NamedView(Protocol):
    """Anything with a name: the camera that `render` takes."""

    @property
    def name(self) -> str:
        """Returns the image's name in the COLMAP model."""
        ...


View = TypeVar("View", bound=NamedView)


@dataclass(frozen=True)
class Evaluation:
    """Scores of each view in the order given, their means, and why a metric is null."""

    views: list[ViewScores]
    scores: Scores
    unavailable: dict[str, str]
    render_seconds: float | None = field(compare=False)
    """Time to render one view, the median over the views: some wait for kernels or for files.
    None where there was no view."""
    unknown_weights: dict[str, str] = field(default_factory=dict)
    """By the names of metrics whose network has not the published weights: their digest."""


def unscored(scoring: Scoring) -> Evaluation:
    """Returns the evaluation of a model without held-out views: null scores with the reason."""
    scores = Scores(dict.fromkeys(scoring.names))
    reasons = {name: NOT_HELD_OUT if name in scoring.names else NOT_ASKED for name in scores}
    return Evaluation([], scores, reasons, None)


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
    on_view: Callable[[View, Tensor, Tensor, Scores], None] | None = None,
) -> Evaluation:
    """Renders every view and compares it with its photo.

    A metric sees the render as `scoring` quantises it, or as it left the rasteriser, clamped to
    [0, 1], as its `sees` says. A masked pixel of the render becomes the photo's; PSNR and SSIM
    are means over the valid pixels, LPIPS over the whole picture. One view at a time; sums in
    float64; evaluating the same model again on the same machine gives the same digits.

    Args:
        render: gives [H, W, 3] float on `device`.
        views: the test views.
        images: their photos, uint8 [H, W, 3], arrays or tensors.
        scoring: what is measured, and how.
        masks: for each view bool [H, W], True where a pixel is scored, or None where all are.
        weights_dir: folder of the LPIPS backbones, see `lpips.find_weights`.
        device: where the metrics are computed.
        progress: say how far it is, see `messages.Progress`.
        on_view: called with (view, photo, render, scores) after each view; the pictures are
            [H, W, 3] float in [0, 1], the render quantised and with the photo where it is masked.

    Raises:
        ResultError: where a render is not finite, or there is no view.
        ConfigError: where a further metric of `scoring` is unknown.
        ValueError: where numbers or sizes do not fit.
    """
    masks = [None] * len(views) if masks is None else masks
    _check(views, images, masks)
    device = torch.device(device)
    setting = Setting(scoring.ssim_borders, weights_dir, device)
    metrics, unavailable = _prepared(scoring.names, setting)
    scored = []
    seconds = []
    shown = tracked(views, "evaluate", len(views), unit="view", shown=progress)
    with exact_convolutions():
        for view, image, mask in zip(shown, images, masks, strict=True):
            truth = _photo(image, view.name).to(device).float().div(255)
            valid_mask = None if mask is None else _mask(mask, truth, view.name)
            started = time.perf_counter()
            rendered = render(view).to(device)
            _wait(device)
            seconds.append(time.perf_counter() - started)
            rendered = _finite(rendered, view.name, truth)
            pair = _Pair(rendered, truth, valid_mask, scoring.quantisation)
            values = _measure(pair, metrics, unavailable, view.name)
            scores = Scores({**dict.fromkeys(scoring.names), **values})
            scored.append(ViewScores(name=view.name, scores=scores))
            if on_view is not None:
                on_view(view, truth, pair.picture, scores)
    return Evaluation(
        scored,
        mean_scores(scored),
        unavailable,
        statistics.median(seconds),
        setting.unknown_weights,
    )


@dataclass(frozen=True)
class _Prepared:
    """A metric that can be computed."""

    compute: Compute
    sees: str


def _measure(
    pair: "_Pair", metrics: dict[str, _Prepared], unavailable: dict[str, str], name: str
) -> dict[str, float]:
    """Returns the metrics of the view `name`; the first reason of one that fails goes to
    `unavailable`.
    """
    values: dict[str, float] = {}
    for metric_name, metric in metrics.items():
        try:
            values[metric_name] = metric.compute(
                pair.seen_as(metric.sees), pair.truth, pair.valid_mask
            )
        except MetricUnavailable as reason:
            unavailable.setdefault(metric_name, f"{name}: {reason}")
    return values


class _Pair:
    """A photo, and the two forms of its render that are scored against it."""

    def __init__(
        self,
        rendered: Tensor,
        truth: Tensor,
        valid_mask: Tensor | None,
        quantisation: Quantisation,
    ) -> None:
        self.truth, self.valid_mask = truth, valid_mask
        self.picture = quantize(rendered, quantisation)
        self._plain = rendered.clamp(0, 1)
        if valid_mask is not None:
            # After quantising: a level of the photo, truncated in float32, may be the one below.
            self.picture = torch.where(valid_mask[..., None], self.picture, truth)
            self._plain = torch.where(valid_mask[..., None], self._plain, truth)

    def seen_as(self, form: str) -> Tensor:
        """Returns [H, W, 3], `quantised` or `float`."""
        return self._plain if form == "float" else self.picture


def mean_scores(views: Sequence[ViewScores]) -> Scores:
    """Returns the mean of each metric over the views; null where a view lacks it."""
    means: dict[str, float | None] = {}
    for name in dict.fromkeys(name for view in views for name in view.scores):
        values = [view.scores.get(name) for view in views]
        known = [value for value in values if value is not None]
        means[name] = math.fsum(known) / len(known) if len(known) == len(views) else None
    return Scores(means)


def _prepared(
    names: Sequence[str], setting: Setting
) -> tuple[dict[str, _Prepared], dict[str, str]]:
    """Returns the metrics, and the reasons of those that cannot be computed."""
    metrics: dict[str, _Prepared] = {}
    unavailable = {name: NOT_ASKED for name in LPIPS if name not in names}
    for name in names:
        metric = find_metric(name)
        prepare = metric.prepare if name in BUILTIN else partial(_prepare_offered, metric)
        try:
            metrics[name] = _Prepared(prepare(setting), metric.sees)
        except MetricUnavailable as reason:
            unavailable[name] = str(reason)
    return metrics, unavailable


def _prepare_offered(metric: Metric, setting: Setting) -> Compute:
    """Returns the function of another package's metric; its faults cost its scores, not the
    training.
    """
    with _as_unavailable():
        compute = metric.prepare(setting)

    def guarded(image: Tensor, target: Tensor, valid_mask: Tensor | None) -> float:
        with _as_unavailable():
            value = float(compute(image, target, valid_mask))
        if not math.isfinite(value):
            raise MetricUnavailable(f"it is {value}")
        return value

    return guarded


@contextmanager
def _as_unavailable() -> Iterator[None]:
    try:
        yield
    except MetricUnavailable:
        raise
    except Exception as error:
        if is_shortage(error):
            raise
        raise MetricUnavailable(f"it fails: {described(error)}") from error


def _check(views: Sequence[Any], images: Sequence[Any], masks: Sequence[Any]) -> None:
    if not views:
        raise ResultError("there is no test view to evaluate", action="lower --data.test-every")
    if not len(views) == len(images) == len(masks):
        raise ValueError(f"{len(views)} views, but {len(images)} images and {len(masks)} masks")


def _wait(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def _mask(mask: Any, truth: Tensor, name: str) -> Tensor:
    valid_mask = torch.as_tensor(mask, device=truth.device)
    if valid_mask.dtype != torch.bool or valid_mask.shape != truth.shape[:2]:
        raise ValueError(
            f"{name}: mask {valid_mask.dtype} {list(valid_mask.shape)}; expected bool"
            f" {list(truth.shape[:2])}"
        )
    return valid_mask


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
            f"view {name}: {bad} of {image[..., 0].numel()} pixels of the render are not finite;"
            " the model has diverged",
            action="lower its learning rates, or go back to a checkpoint",
        )
    return image
