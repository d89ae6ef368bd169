"""A rasteriser for models whose SH coefficients are not all at hand: it touches those of what is
seen.
"""

from __future__ import annotations

from dataclasses import replace
from typing import cast

import torch
from torch import Tensor

from gs_densify.model.row_gradients import Rows
from gs_densify.rendering.base import GSPLAT_SETTINGS, RenderOutput, RenderSettings
from gs_densify.rendering.colors import Colors, append_aux
from gs_densify.rendering.renderer import Renderer
from gs_densify.rendering.stages import StagedRasterizer, rendered


class RowsRasterizer:
    """Renders what another rasteriser does, by its stages.

    Of coefficients [N, K-1, 3] those rows alone are read that a view draws, and the gradient is of
    these (`row_gradients`). A call waits for the GPU, to know how many they are.
    """

    def __init__(self, stages: StagedRasterizer) -> None:
        self._stages = stages
        self.name, self.devices = stages.name, stages.devices

    def start(self, device: torch.device) -> None:
        """Starts the rasteriser whose stages are used."""
        self._stages.start(device)

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
        """See `rendering.base.Rasterizer`; there is no packed mode."""
        assert not packed  # no configuration asks for it
        is_in_parts = isinstance(colors, tuple)
        plain = means.new_zeros(1, 3).expand(len(means), 3)
        records = self._stages.project(
            means,
            quats,
            scales,
            opacities,
            plain if is_in_parts else colors,
            viewmats,
            Ks,
            width,
            height,
            sh_degree=None if is_in_parts else sh_degree,
            settings=settings,
        )
        channels = records.channels
        if isinstance(colors, tuple):
            rows = torch.where((records.radii > 0).all(dim=-1).any(dim=0))[0]
            base, rest = colors
            seen = self._stages.seen_colors(
                means.index_select(0, rows),
                (base.index_select(0, rows), Rows.apply(rest, rows)),
                viewmats,
                records.radii[:, rows],
                sh_degree,
            )
            channels = torch.zeros_like(channels).index_copy(1, rows, seen)
        if aux is not None:
            channels = append_aux(channels, aux)
        records = replace(records, channels=channels)
        has_aux = aux is not None
        return rendered(
            self._stages, records, width, height, backgrounds, absgrad=absgrad, has_aux=has_aux
        )


def by_rows(renderer: Renderer) -> Renderer:
    """Returns a renderer of the same images that touches the SH coefficients of what is seen."""
    stages = cast(StagedRasterizer, renderer.rasterizer)
    return Renderer(RowsRasterizer(stages), renderer.settings)
