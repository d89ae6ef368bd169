"""Our own CUDA rasteriser behind `rendering.base.Rasterizer`.

It follows gsplat 1.5.3's rules (culling, dilation, limits of alpha, order), as the reference does.
How its kernels work, and what was measured, is in docs/rasterizers.md.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from torch import Tensor

from gs_densify.errors import BackendError
from gs_densify.model.adam import UpdateInBackward
from gs_densify.rendering.base import GSPLAT_SETTINGS, RenderOutput, RenderSettings
from gs_densify.rendering.colors import Colors
from gs_densify.rendering.own import build
from gs_densify.rendering.own.room import Room
from gs_densify.rendering.own.stages import (
    MAX_AUX,
    TILE_SIZE,
    Composite,
    Frame,
    Project,
    stream_of,
)


class OwnRasterizer:
    """Renders float32 tensors on a CUDA device.

    `info` has gsplat's keys of its unpacked mode but `isect_ids`. Of what it holds `means2d` and
    `depths` have gradients, `conics` and `opacities` none.

    Raises:
        BackendError: torch sees no CUDA device, or there is no compiler for the kernels.
    """

    name = "own"
    devices = ("cuda",)
    has_packed = False
    deterministic_on = ("cuda",)
    deterministic = False
    unavailable = staticmethod(build.unavailable)

    def __init__(self) -> None:
        reason = self.unavailable()
        if reason is not None:
            raise BackendError(
                f"Rasteriser 'own' was asked for and {reason}",
                expected="it needs an NVIDIA GPU, and nvcc the first time",
                action="install what is missing, or use another rasteriser",
            )
        self._room = Room()

    def start(self, device: torch.device) -> None:
        """Makes a CUDA context and compiles the kernels where that was never done."""
        torch.zeros(1, device=device)
        build.kernels()

    def __call__(self, *args: Any, **options: Any) -> RenderOutput:
        """See `rendering.base.Rasterizer`.

        Raises:
            BackendError: `packed`, or more than five further channels, which gsplat has; gradients
                of `viewmats` where `deterministic` is set.
        """
        return _rendered(*args, **options, is_stored=False, deterministic=self.deterministic)

    def of_stored(
        self,
        *args: Any,
        view: int | None = None,
        update: UpdateInBackward | None = None,
        **options: Any,
    ) -> RenderOutput:
        """See `rendering.base.StoredRasterizer`; raises as a call does.

        Of a `view` that was rendered before, the host does not wait for the length of the lists:
        `info["flatten_ids"]` is longer than it, by `info["num_pairs"]`.
        """
        room = None if view is None or self.deterministic else partial(self._room.of, view)
        return _rendered(
            *args,
            **options,
            is_stored=True,
            deterministic=self.deterministic,
            room=room,
            update=update,
        )


def _rendered(
    means: Tensor,
    quats: Tensor,
    scales: Tensor,
    opacities: Tensor,
    colors: Colors,
    viewmats: Tensor,
    Ks: Tensor,
    width: int,
    height: int,
    *,
    sh_degree: int | None,
    backgrounds: Tensor | None = None,
    absgrad: bool = False,
    aux: Tensor | None = None,
    packed: bool = False,
    settings: RenderSettings = GSPLAT_SETTINGS,
    is_stored: bool,
    deterministic: bool,
    room: Callable[..., tuple[int | None, Tensor]] | None = None,
    update: UpdateInBackward | None = None,
) -> RenderOutput:
    _check(len(means), packed, aux)
    if deterministic and viewmats.requires_grad:
        raise BackendError(
            "Gradients of poses were asked of rasteriser 'own' in its deterministic mode",
            expected="it adds them up in no order",
            action="leave --render.deterministic off",
        )
    degree = -1 if sh_degree is None else sh_degree
    frame = Frame(width, height, degree, is_stored, settings, deterministic)
    base, rest = _parts(colors, degree)
    means2d, records, depths, radii, tiles, keys, total = Project.apply(
        frame,
        update,
        means.contiguous(),
        quats.contiguous(),
        scales.contiguous(),
        opacities.contiguous(),
        base,
        rest,
        viewmats.contiguous(),
        Ks.contiguous(),
    )
    known = (None, None) if room is None else room((width, height), len(means))
    ids, offsets, sources = _ordered(frame, records.detach(), tiles, keys, total, known)
    channels = None if aux is None else aux.contiguous()
    image, alpha, further = Composite.apply(
        frame, absgrad, means2d, records, channels, ids, offsets, sources
    )
    if backgrounds is not None:
        image = image + (1 - alpha) * backgrounds[:, None, None, :]
    info = _info(frame, means2d, records, depths, radii, tiles, ids, offsets)
    if known[0] is not None:
        info["num_pairs"] = total
    return RenderOutput(image, alpha, info, further)


def _ordered(
    frame: Frame,
    records: Tensor,
    tiles: Tensor,
    keys: Tensor,
    total: Tensor,
    known: tuple[int | None, Tensor | None],
) -> tuple[Tensor, Tensor, Any]:
    """Returns the Gaussians of all tiles, front to back, where each tile's begin, and where entries
    come from if `frame` is deterministic, or None.

    `known` is what `Room.of` says of the view.
    """
    try:
        ids, offsets, sources = build.kernels().order(
            records,
            tiles,
            keys,
            total,
            *frame.tiles,
            *known,
            frame.deterministic,
            stream_of(records),
        )
    except RuntimeError as error:
        if "pairs of a tile" not in str(error):
            raise
        raise BackendError(
            f"One image has {error}",
            expected="rasteriser 'own' counts up to 2,147,483,646",
            action="check that Gaussians do not grow without bound, or use a larger --downscale",
        ) from None
    return ids, offsets, sources


def _check(count: int, packed: bool, aux: Tensor | None) -> None:
    if count == 0:
        raise BackendError(
            "The scene holds 0 Gaussians",
            expected="rasteriser 'own' needs at least 1",
            action="check that the strategy's pruning leaves some",
        )
    if packed:
        raise BackendError(
            "Packed mode was asked of rasteriser 'own'",
            expected="it is gsplat's alone",
            action="leave packed off, or use --render.rasterizer gsplat",
        )
    if aux is not None and aux.shape[1] > MAX_AUX:
        raise BackendError(
            f"{aux.shape[1]} further channels were asked of rasteriser 'own'",
            expected=f"it has {MAX_AUX} at most",
            action="use --render.rasterizer gsplat",
        )


def _parts(colors: Colors, degree: int) -> tuple[Tensor, Tensor | None]:
    """Returns coefficient 0 (or RGB) [N, 1, 3] or [N, 3], and the others, or None if not used.

    Raises:
        ValueError: fewer coefficients than `degree` has.
    """
    base, rest = colors if isinstance(colors, tuple) else (colors, None)
    if degree < 0:
        return base.contiguous(), None
    if rest is None and base.shape[1] > 1:
        base, rest = base.contiguous()[:, :1], base.contiguous()[:, 1:]
    if degree == 0:
        return base, None
    if rest is None or rest.shape[1] < (degree + 1) ** 2 - 1:
        held = 1 if rest is None else 1 + rest.shape[1]
        raise ValueError(f"{held} coefficients do not fit SH degree {degree}")
    return base, rest


def _info(
    frame: Frame,
    means2d: Tensor,
    records: Tensor,
    depths: Tensor,
    radii: Tensor,
    tiles: Tensor,
    ids: Tensor,
    offsets: Tensor,
) -> dict[str, Any]:
    fixed = records.detach()
    across, down = frame.tiles
    return {
        "batch_ids": None,
        "camera_ids": None,
        "gaussian_ids": None,
        "radii": radii,
        "means2d": means2d,
        "depths": depths,
        "conics": fixed[..., 2:5],
        "opacities": fixed[..., 5],
        "tile_width": across,
        "tile_height": down,
        "tiles_per_gauss": tiles,
        "flatten_ids": ids,
        "isect_offsets": offsets[:-1].view(len(radii), down, across),
        "width": frame.width,
        "height": frame.height,
        "tile_size": TILE_SIZE,
        "n_batches": 1,
        "n_cameras": len(radii),
    }
