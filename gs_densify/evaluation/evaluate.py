"""Score a model on held-out views."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
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
    ssim,
)
from gs_densify.results import METRICS, Scores, ViewScores

NOT_ASKED = "not asked for"


class NamedView(Protocol):
    """Anything with a name: the camera that `render` takes."""

    @property
    def name(self) -> str:
        """The image's name in the COLMAP model."""
        ...


View = TypeVar("View", bound=NamedView)
Metric = Callable[[Tensor, Tensor], float]


@dataclass(frozen=True)
class Evaluation:
    """Scores of each view in the order given, their means, and why a metric is null."""

    views: list[ViewScores]
    scores: Scores
    unavailable: dict[str, str]


@torch.no_grad()
def evaluate_views(
    render: Callable[[View], Tensor],
    views: Sequence[View],
    images: Sequence[Any],
    *,
    lpips_names: Sequence[str] = (),
    weights_dir: str | Path | None = None,
    device: torch.device | str = "cpu",
    progress: bool = False,
    on_view: Callable[[View, Tensor, Tensor], None] | None = None,
) -> Evaluation:
    """Render every view and compare it with its photo.

    psnr, ssim and LPIPS see the render rounded to 8 bits, as a saved picture would be; psnr_float
    sees it as it left the rasteriser, clamped to [0, 1]. One view at a time; sums in float64;
    evaluating the same model again on the same machine gives the same digits.

    Args:
        render: gives [H, W, 3] float on `device`.
        views: the test views.
        images: their photos, uint8 [H, W, 3], arrays or tensors.
        lpips_names: keys of `lpips.VARIANTS`; the others are null.
        weights_dir: folder of the LPIPS backbones, see `lpips.find_weights`.
        device: where the metrics are computed.
        progress: show a bar on stderr.
        on_view: called with (view, photo, render), both [H, W, 3] float in [0, 1] and rounded to
            8 bits, after each view.

    Raises:
        ResultError: where a render is not finite, or there is no view.
        ValueError: where counts or sizes do not fit, or an LPIPS name is unknown.
    """
    _check(views, images, lpips_names)
    device = torch.device(device)
    metrics, unavailable = _metrics(lpips_names, weights_dir, device)
    scored = []
    with exact_convolutions():
        for i, view in enumerate(tqdm(views, "evaluate", unit="view", disable=not progress)):
            truth = _photo(images[i], view.name).to(device).float().div(255)
            rendered = _finite(render(view).to(device), view.name, truth)
            picture = quantize(rendered)
            values: dict[str, float] = {"psnr_float": psnr(rendered.clamp(0, 1), truth)}
            for name, metric in list(metrics.items()):
                try:
                    values[name] = metric(picture, truth)
                except MetricUnavailable as reason:
                    unavailable[name] = f"{view.name}: {reason}"
                    del metrics[name]
            scored.append(ViewScores(name=view.name, scores=Scores(**values)))
            if on_view is not None:
                on_view(view, truth, picture)
    return Evaluation(scored, mean_scores(scored), unavailable)


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
    lpips_names: Sequence[str], weights_dir: str | Path | None, device: torch.device
) -> tuple[dict[str, Metric], dict[str, str]]:
    """The metrics of a rounded render, and the reasons of those that cannot be computed."""
    metrics: dict[str, Metric] = {"psnr": psnr, "ssim": ssim}
    unavailable = {name: NOT_ASKED for name in VARIANTS if name not in lpips_names}
    networks: dict[str, Lpips] = {}
    for name in lpips_names:
        variant = VARIANTS[name]
        try:
            if variant.backbone not in networks:
                networks[variant.backbone] = Lpips.load(variant.backbone, weights_dir, device)
            metrics[name] = _lpips_metric(networks[variant.backbone], variant.signed)
        except MetricUnavailable as reason:
            unavailable[name] = str(reason)
    return metrics, unavailable


def _lpips_metric(network: Lpips, signed: bool) -> Metric:
    return lambda image, target: network(image, target, signed=signed)


def _check(views: Sequence[Any], images: Sequence[Any], lpips_names: Sequence[str]) -> None:
    if not views:
        raise ResultError("there is no test view to evaluate; lower --test-every.")
    if len(views) != len(images):
        raise ValueError(f"{len(views)} views, but {len(images)} images")
    unknown = [name for name in lpips_names if name not in VARIANTS]
    if unknown:
        raise ValueError(f"unknown LPIPS {unknown}; known: {list(VARIANTS)}")


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
