"""Scores a model of a scene. Training and gs-eval share it: they agree to the last digit."""

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from gs_densify.data.scene import View
from gs_densify.evaluation.evaluate import Evaluation, evaluate_views
from gs_densify.evaluation.pictures import picture_writer
from gs_densify.rendering.base import Rasterizer, render_splats
from gs_densify.splats.model import sh_degree_of
from gs_densify.splats.types import Splats
from gs_densify.training.config import TrainConfig
from gs_densify.training.progress import shows_progress


def view_renderer(
    rasterizer: Rasterizer,
    splats: Splats,
    *,
    antialiased: bool,
    sh_degree: int | None = None,
) -> Callable[[View], Tensor]:
    """A function that renders a view, [H,W,3], on black with all stored SH degrees."""
    device = splats["means"].device
    degree = sh_degree_of(splats) if sh_degree is None else sh_degree

    def render(view: View) -> Tensor:
        output = render_splats(
            rasterizer,
            splats,
            torch.from_numpy(view.cam_from_world).float().to(device)[None],
            torch.from_numpy(view.K).float().to(device)[None],
            view.width,
            view.height,
            sh_degree=degree,
            antialiased=antialiased,
        )
        return output.image[0]

    return render


def score(
    config: TrainConfig,
    rasterizer: Rasterizer,
    splats: Splats,
    views: Sequence[View],
    photos: Sequence[np.ndarray],
    *,
    pictures: Path | None,
) -> Evaluation:
    """Score `splats` on held-out views; pictures go into the folder `pictures`."""
    shown = views if config.evaluation.pictures < 0 else views[: config.evaluation.pictures]
    names = {view.name for view in shown}
    return evaluate_views(
        view_renderer(rasterizer, splats, antialiased=config.render.antialiased),
        views,
        photos,
        lpips_names=config.evaluation.lpips,
        weights_dir=config.evaluation.lpips_weights,
        device=splats["means"].device,
        progress=shows_progress(),
        on_view=None if pictures is None else picture_writer(pictures, names),
    )
