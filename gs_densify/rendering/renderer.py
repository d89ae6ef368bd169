"""A rasteriser with the settings of a model: it renders stored parameters."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor

from gs_densify.model.adam import UpdateInBackward
from gs_densify.model.init import sh_degree_of
from gs_densify.model.types import Splats
from gs_densify.rendering.base import GSPLAT_SETTINGS, Rasterizer, RenderOutput, RenderSettings
from gs_densify.scene.scene import View


@dataclass(frozen=True)
class Renderer:
    """Renders the Gaussians of a model as it was trained: the same settings for every image."""

    rasterizer: Rasterizer
    settings: RenderSettings = GSPLAT_SETTINGS

    def __call__(
        self,
        splats: Splats,
        viewmats: Tensor,
        Ks: Tensor,
        width: int,
        height: int,
        *,
        sh_degree: int,
        backgrounds: Tensor | None = None,
        absgrad: bool = False,
        aux: Tensor | None = None,
        packed: bool = False,
        view: int | None = None,
        update: UpdateInBackward | None = None,
    ) -> RenderOutput:
        """Activates the stored parameters and renders them into C images.

        Args:
            splats: `means [N,3], quats [N,4], scales [N,3] (log), opacities [N] (logit), sh0
                [N,1,3], shN [N,K-1,3]`. shN is not touched at degree 0: its gradient stays None.
            viewmats: [C, 4, 4] world to camera.
            Ks: [C, 3, 3] intrinsics in pixels.
            width: image width in pixels.
            height: image height in pixels.
            sh_degree: 0 to 3.
            backgrounds: [C, 3]; black where None.
            absgrad: as for `base.Rasterizer`, like the two below.
            aux: [N, M] extra channels.
            packed: the layout of `info`, which is no setting: training alone asks for it.
            view: the index of a training view rendered alone (`StoredRasterizer.of_stored`).
            update: steps that the backward pass may make (likewise).

        Raises:
            BackendError: an option that the rasteriser cannot carry out.
        """
        sh0, scales, opacities = splats["sh0"], splats["scales"], splats["opacities"]
        of_stored: Callable[..., RenderOutput] | None = getattr(self.rasterizer, "of_stored", None)
        if of_stored is None:
            scales, opacities = torch.exp(scales), torch.sigmoid(opacities)
            render: Callable[..., RenderOutput] = self.rasterizer
        else:
            render = partial(of_stored, view=view, update=update)
        return render(
            splats["means"],
            splats["quats"],
            scales,
            opacities,
            sh0 if sh_degree == 0 else (sh0, splats["shN"]),
            viewmats,
            Ks,
            width,
            height,
            sh_degree=sh_degree,
            backgrounds=backgrounds,
            absgrad=absgrad,
            aux=aux,
            packed=packed,
            settings=self.settings,
        )

    def view(self, splats: Splats, view: View) -> Tensor:
        """Returns what is scored: `view` [H, W, 3] on black, with all SH degrees of the model."""
        return self.images(splats, view)[0]

    def images(self, splats: Splats, view: View) -> Tensor:
        """Returns what is scored of a view, [1, H, W, 3], or [0, H, W, 3] where another process
        renders it.
        """
        device = splats["means"].device
        output = self(
            splats,
            torch.from_numpy(view.cam_from_world).float().to(device)[None],
            torch.from_numpy(view.K).float().to(device)[None],
            view.width,
            view.height,
            sh_degree=sh_degree_of(splats),
        )
        return output.image
