"""The two stages of the rasteriser as autograd functions.

Between them lie the projected centres [C, N, 2], as strategies know them from gsplat, and records
[C, N, 12], whose layout and whose "gradient" (sums over pixels) `cuda/layout.h` describes.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from gs_densify.model.adam import UpdateInBackward
from gs_densify.rendering.base import RenderSettings
from gs_densify.rendering.own.build import kernels

TILE_SIZE = 16
MAX_AUX = 5
"""Further channels that a record of gradients has room for."""

RECORD = 12

_VIEWMATS = 8  # their place among the inputs of `Project`
_STORED = ("means", "quats", "scales", "opacities", "sh0", "shN")
"""Names of the first inputs among a model's parameters."""


@dataclass(frozen=True)
class Frame:
    """What a projection depends on besides tensors."""

    width: int
    height: int
    degree: int  # of SH; -1: the colours are RGB
    is_stored: bool  # scales are logarithms and opacities logits
    settings: RenderSettings
    deterministic: bool = False  # backward gives the same bits twice

    @property
    def tiles(self) -> tuple[int, int]:
        """Tiles across and down."""
        return -(-self.width // TILE_SIZE), -(-self.height // TILE_SIZE)


def stream_of(tensor: Tensor) -> int:
    """Returns the handle of the stream that torch uses on the tensor's device."""
    handle: int = torch._C._cuda_getCurrentRawStream(tensor.get_device())
    return handle


def _scene(inputs: tuple[Tensor | None, ...], frame: Frame) -> Any:
    *model, viewmats, Ks = inputs
    settings = frame.settings
    return kernels().Scene(
        *model,
        frame.degree,
        frame.is_stored,
        viewmats,
        Ks,
        frame.width,
        frame.height,
        settings.near_plane,
        min(settings.far_plane, 3e38),
        settings.radius_clip,
        settings.antialiased,
    )


class Project(torch.autograd.Function):
    """Projects N Gaussians into C cameras, with their colours.

    Takes contiguous float32 tensors of CUDA: means [N, 3], quats [N, 4], scales [N, 3], opacities
    [N], coefficient 0 [N, 1, 3] (or RGB) and the others [N, K-1, 3] or None, of which rows alone
    must be contiguous, viewmats [C, 4, 4], Ks [C, 3, 3]. Returns means2d [C, N, 2], records
    [C, N, 12], depths [C, N], radii [C, N, 2], tiles reached [C, N], keys by depth [C, N] and the
    number of all tiles reached [1].

    Where `update` is given, backward makes its steps of parameters among the inputs, which then
    have no gradient.
    """

    @staticmethod
    def forward(
        ctx: Any, frame: Frame, update: UpdateInBackward | None, *inputs: Tensor | None
    ) -> tuple[Tensor, ...]:
        """Projects."""
        means = inputs[0]
        assert means is not None
        ctx.scene = _scene(inputs, frame)
        found = kernels().project(ctx.scene, means, stream_of(means))
        means2d, records, depths, radii, tiles, keys, total = found
        ctx.mark_non_differentiable(radii, tiles, keys, total)
        ctx.set_materialize_grads(False)
        ctx.save_for_backward(*inputs, radii)
        ctx.update = update
        return means2d, records, depths, radii, tiles, keys, total

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *grads: Tensor | None) -> tuple[Tensor | None, ...]:
        """Returns gradients of the model and the matrices of the cameras."""
        *inputs, radii = ctx.saved_tensors
        v_means2d, v_records, v_depths = grads[:3]
        means, base = inputs[0], inputs[4]
        count = radii.shape[:2]
        v_means2d = means.new_zeros(*count, 2) if v_means2d is None else v_means2d.contiguous()
        v_records = means.new_zeros(*count, RECORD) if v_records is None else v_records
        v_depths = None if v_depths is None else v_depths.contiguous()
        *model, v_viewmats = kernels().project_backward(
            ctx.scene,
            radii,
            v_means2d,
            v_records,
            v_depths,
            ctx.needs_input_grad[_VIEWMATS],
            _steps(ctx.update, inputs),
            stream_of(means),
        )
        model[4] = None if model[4] is None else model[4].view(base.shape)
        return None, None, *model, v_viewmats, None


def _steps(update: UpdateInBackward | None, inputs: list[Tensor | None]) -> list[Any]:
    """Returns the step of each of the first inputs; None: its gradient is asked for."""
    if update is None:
        return [None] * len(_STORED)
    taken = update.take(dict(zip(_STORED, inputs, strict=False)))
    return [kernels().Step(*taken[name]) if name in taken else None for name in _STORED]


@lru_cache(maxsize=1)
def _zeros(size: torch.Size, device: torch.device) -> Tensor:
    """Returns zeros that are read only, and kept: most losses do not look at alpha."""
    return torch.zeros(size, device=device)


class Composite(torch.autograd.Function):
    """Composites records front to back.

    Takes means2d, records, further channels [N, M] or None, and the lists of the tiles: Gaussians
    [I], where each tile's begin [tiles + 1], and where entries come from, or None. Returns an
    image [C, H, W, 3], alpha [C, H, W, 1] and the further channels [C, H, W, M] (None without).
    Backward sets `means2d.absgrad` [C, N, 2] where `absgrad` is.
    """

    @staticmethod
    def forward(
        ctx: Any,
        frame: Frame,
        absgrad: bool,
        means2d: Tensor,
        records: Tensor,
        aux: Tensor | None,
        ids: Tensor,
        offsets: Tensor,
        sources: Any,
    ) -> tuple[Tensor | None, ...]:
        """Composites."""
        image, alpha, further, rest, last, states = kernels().composite(
            records,
            aux,
            ids,
            offsets,
            frame.width,
            frame.height,
            any(ctx.needs_input_grad),
            stream_of(records),
        )
        ctx.save_for_backward(records, aux, ids, offsets, image, further, rest, last, states)
        # The very tensor that strategies see: what they read is set on it.
        ctx.means2d = means2d if absgrad else None
        ctx.sources = sources
        ctx.set_materialize_grads(False)
        return image, alpha, further

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *grads: Tensor | None) -> tuple[Tensor | None, ...]:
        """Returns gradients of centres, records and further channels."""
        records, aux, ids, offsets, image, further, rest, last, states = ctx.saved_tensors
        v_image, v_alpha, v_further = grads
        size = rest.shape
        v_image = rest.new_zeros(*size, 3) if v_image is None else v_image.contiguous()
        v_alpha = _zeros(size, rest.device) if v_alpha is None else v_alpha.contiguous()
        if aux is not None:
            shape = *size, aux.shape[1]
            v_further = rest.new_zeros(shape) if v_further is None else v_further.contiguous()
        v_records, v_means2d, absgrad, v_aux = kernels().composite_backward(
            records,
            aux,
            ids,
            offsets,
            image,
            further,
            rest,
            last,
            states,
            v_image,
            v_further,
            v_alpha,
            ctx.means2d is not None,
            ctx.sources,
            stream_of(records),
        )
        if ctx.means2d is not None:
            ctx.means2d.absgrad = absgrad
        return None, None, v_means2d, v_records, v_aux, None, None, None
