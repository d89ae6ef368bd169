"""What every rasteriser takes and gives. Each is in a module of its own: see `rasterizers`."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

import torch
from torch import Tensor

from gs_densify.rendering.colors import Colors
from gs_densify.results.protocol import GSPLAT_NEAR_PLANE


@dataclass(frozen=True)
class RenderSettings:
    """What decides how a model looks besides the camera; it belongs to the model."""

    antialiased: bool = False
    """Opacity is scaled by sqrt(det S / det(S + 0.3 I)) (Mip-Splatting, eq. 9)."""
    near_plane: float = GSPLAT_NEAR_PLANE
    """Gaussians whose depth is smaller are culled, in world units."""
    far_plane: float = 1e10
    """Gaussians whose depth is larger are culled."""
    radius_clip: float = 0.0
    """Gaussians whose radius in pixels is not larger are culled."""


GSPLAT_SETTINGS = RenderSettings()
"""The defaults of gsplat 1.5.3's `rasterization`."""


@dataclass(frozen=True)
class RenderOutput:
    """The images of C cameras and what a densification strategy reads about them.

    Attributes:
        image: [C, H, W, 3] colour over the background, not clamped above.
        alpha: [C, H, W, 1] accumulated opacity, in [0, 1].
        info: gsplat's dictionary (`means2d`, `radii`, `width`, `n_cameras`, ...).
        aux: [C, H, W, M] the extra channels composited over zero; None if none were asked for.
    """

    image: Tensor
    alpha: Tensor
    info: dict[str, Any]
    aux: Tensor | None = None


class Rasterizer(Protocol):
    """Renders activated Gaussians."""

    name: str
    """That of `rasterizers.RASTERIZERS`."""
    devices: tuple[str, ...]
    """Types of the torch devices that it runs on, e.g. "cuda"."""

    def start(self, device: torch.device) -> None:
        """Does what the first image would wait for on `device`; called in a thread, or never."""
        ...

    def __call__(
        self,
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
    ) -> RenderOutput:
        """Renders N Gaussians into C images of width x height pixels.

        Args:
            means: [N, 3] centres in world units.
            quats: [N, 4] rotations, wxyz, of any non-zero length.
            scales: [N, 3] standard deviations in world units (linear, not log).
            opacities: [N] in (0, 1).
            colors: [N, K, 3] SH coefficients, of which the first (sh_degree + 1)^2 are used, or
                the first of them and the others as a pair; [N, 3] RGB where sh_degree is None.
            viewmats: [C, 4, 4] world to camera (x right, y down, z forward).
            Ks: [C, 3, 3] pinhole intrinsics in pixels; the first pixel's centre is (0.5, 0.5).
            width: image width in pixels.
            height: image height in pixels.
            sh_degree: 0 to 3, or None where `colors` is RGB.
            backgrounds: [C, 3]; black where None.
            absgrad: set `info["means2d"].absgrad`, the sum over pixels of the absolute gradient
                of the projected centre (AbsGS), during backward.
            aux: [N, M] extra channels, composited with the same weights over zero. With zeros
                that require grad, `(m * out.aux).sum().backward()` leaves sum_p m(p) w_k(p) in
                `aux.grad[k]` and nothing in any other gradient (Rota Bulo et al. 2024, eq. 7).
            packed: keep per-Gaussian entries of `info` for visible pairs only.
            settings: antialiasing and culling.

        Raises:
            BackendError: an option that this rasteriser cannot carry out.
        """
        ...


class StoredRasterizer(Rasterizer, Protocol):
    """A rasteriser that activates what a model stores by itself, in the kernel that projects."""

    of_stored: Callable[..., RenderOutput]
    """Takes what a call does, with logarithms for scales and logits for opacities, and `view`: the
    index of the only view, where one is rendered again and again as a model changes little, or
    None. What it was the last time tells what room it needs. And `update`: where it is given, the
    backward pass steps those of the parameters that it takes, which get no gradient.
    """
