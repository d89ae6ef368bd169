"""What a strategy is told of a step besides what the rasteriser says of it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, cast

from torch import Tensor

from gs_densify.rendering.base import RenderOutput
from gs_densify.strategies.base import StepInfo
from gs_densify.training.batches import Batch
from gs_densify.training.probe import Probe


def step_info(
    output: RenderOutput,
    render: Tensor,
    batch: Batch,
    *,
    means_lr: float,
    num_views: int,
    probe: Probe | None,
) -> StepInfo:
    """Returns the entries of a step; `probe` is None where no process has the whole model."""
    added: StepInfo = {
        "means_lr": means_lr,
        "image": batch.images,
        "render": render,
        "reduction": batch.reduction,
        "views": batch.indices,
        "num_train_views": num_views,
    }
    if probe is not None:
        added["probe"] = probe
    return cast(StepInfo, {**output.info, **added})


def scale_gradients(info: Mapping[str, Any], scales: list[float], *, packed: bool) -> None:
    """Multiplies the image-plane gradients of each view by its scale, in place."""
    means2d = info["means2d"]
    kept = means2d.grad if means2d.retains_grad else None
    for gradient in (kept, getattr(means2d, "absgrad", None)):
        if gradient is None or not scales:
            continue
        if len(set(scales)) == 1:
            gradient.mul_(scales[0])
        else:
            by_view = gradient.new_tensor(scales)
            gradient.mul_(by_view[info["camera_ids"], None] if packed else by_view[:, None, None])
