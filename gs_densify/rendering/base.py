"""What every rasteriser takes and gives, and the choice between them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Protocol

import torch
from torch import Tensor

from gs_densify.errors import BackendError
from gs_densify.model.types import Splats
from gs_densify.rendering.colors import Colors

BACKENDS = ("gsplat", "reference")


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
    """Renders activated Gaussians; `name` says which back end it is."""

    name: str

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
        antialiased: bool = False,
        absgrad: bool = False,
        aux: Tensor | None = None,
        packed: bool = False,
        near_plane: float = 0.01,
        far_plane: float = 1e10,
        radius_clip: float = 0.0,
    ) -> RenderOutput:
        """Render N Gaussians into C images of width x height pixels.

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
            antialiased: scale opacity by sqrt(det S / det(S + 0.3 I)) (Mip-Splatting, eq. 9).
            absgrad: set `info["means2d"].absgrad`, the sum over pixels of the absolute gradient
                of the projected centre (AbsGS), during backward.
            aux: [N, M] extra channels, composited with the same weights over zero. With zeros
                that require grad, `(m * out.aux).sum().backward()` leaves sum_p m(p) w_k(p) in
                `aux.grad[k]` and nothing in any other gradient (Rota Bulo et al. 2024, eq. 7).
            packed: keep per-Gaussian entries of `info` for visible pairs only.
            near_plane: Gaussians whose depth is smaller are culled.
            far_plane: Gaussians whose depth is larger are culled.
            radius_clip: Gaussians whose radius in pixels is not larger are culled.

        Raises:
            BackendError: an option that this back end cannot carry out.
        """
        ...


def render_splats(
    rasterizer: Rasterizer,
    splats: Splats,
    viewmats: Tensor,
    Ks: Tensor,
    width: int,
    height: int,
    *,
    sh_degree: int,
    **options: Any,
) -> RenderOutput:
    """Activate the stored parameters and render them.

    Args:
        rasterizer: the back end.
        splats: `means [N,3], quats [N,4], scales [N,3] (log), opacities [N] (logit),
            sh0 [N,1,3], shN [N,K-1,3]`. shN is not touched at degree 0, so its gradient stays None.
        viewmats: [C, 4, 4] world to camera.
        Ks: [C, 3, 3] intrinsics in pixels.
        width: image width in pixels.
        height: image height in pixels.
        sh_degree: 0 to 3.
        **options: the keyword options of `Rasterizer`.

    Raises:
        BackendError: see `Rasterizer`.
    """
    sh0 = splats["sh0"]
    colors = sh0 if sh_degree == 0 else (sh0, splats["shN"])
    return rasterizer(
        splats["means"],
        splats["quats"],
        torch.exp(splats["scales"]),
        torch.sigmoid(splats["opacities"]),
        colors,
        viewmats,
        Ks,
        width,
        height,
        sh_degree=sh_degree,
        **options,
    )


def make_rasterizer(backend: str | torch.device) -> Rasterizer:
    """The rasteriser of a name ("gsplat", "reference") or the usual one of a torch device.

    A CUDA device gets gsplat and a CPU the torch reference.

    Raises:
        BackendError: an unknown name or device, or gsplat where torch sees no CUDA device.
    """
    name = _backend_of(backend) if isinstance(backend, torch.device) else backend
    if name == "reference":
        from gs_densify.rendering.reference.rasterizer import ReferenceRasterizer

        return ReferenceRasterizer()
    if name == "gsplat":
        from gs_densify.rendering.gsplat.rasterizer import GsplatRasterizer

        return GsplatRasterizer()
    raise BackendError(
        f"Rasteriser {name!r} is not known; expected {' or '.join(BACKENDS)}; pick one of them."
    )


def _backend_of(device: torch.device) -> str:
    backends = {"cuda": "gsplat", "cpu": "reference"}
    if device.type not in backends:
        raise BackendError(
            f"Device {str(device)!r} has no rasteriser of its own; expected cuda or cpu; "
            "pick one of them, or name the rasteriser 'reference'."
        )
    return backends[device.type]
