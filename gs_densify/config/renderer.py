"""The renderer of a run: its rasteriser, with the settings that belong to its model."""

import torch

from gs_densify.config.options import RenderOptions, TrainConfig
from gs_densify.rendering.base import Rasterizer, RenderSettings
from gs_densify.rendering.rasterizers import rasterizer_for
from gs_densify.rendering.renderer import Renderer


def renderer_for(
    config: TrainConfig, near_plane: float, device: torch.device, *, is_staged: bool = False
) -> Renderer:
    """Returns the configured renderer, which draws nothing nearer than `near_plane`.

    With `is_staged` several processes can share what it renders.

    Raises:
        BackendError: the configured rasteriser does not run on `device`.
    """
    options = config.render
    return Renderer(
        rasterizer_of(options, device, is_staged=is_staged),
        RenderSettings(antialiased=options.antialiased, near_plane=near_plane),
    )


def rasterizer_of(
    options: RenderOptions, device: torch.device, *, is_staged: bool = False
) -> Rasterizer:
    """Returns the configured rasteriser; `is_staged` as for a renderer.

    Raises:
        BackendError: it does not run on `device`, or not as configured.
    """
    return rasterizer_for(
        device,
        options.rasterizer,
        packed=options.packed,
        is_staged=is_staged or options.offload,
        deterministic=options.deterministic,
    )
