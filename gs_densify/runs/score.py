"""Scores a model of a scene. Training and gs-eval share it: they agree to the last digit."""

from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor

from gs_densify.config.layers import protocol_name
from gs_densify.config.options import TrainConfig
from gs_densify.evaluation.evaluate import Evaluation, evaluate_views, unscored
from gs_densify.evaluation.pictures import picture_writer
from gs_densify.evaluation.protocol import build_protocol
from gs_densify.evaluation.scoring import Scoring
from gs_densify.model.init import sh_degree_of
from gs_densify.model.types import Splats
from gs_densify.rendering.base import Rasterizer, render_splats
from gs_densify.results import Protocol
from gs_densify.runs.background import Background
from gs_densify.runs.environment import conditions
from gs_densify.runs.loaded_scene import LoadedScene
from gs_densify.runs.progress_bar import shows_progress
from gs_densify.scene.presets import PRESETS
from gs_densify.scene.scene import View


def view_renderer(
    rasterizer: Rasterizer,
    splats: Splats,
    *,
    antialiased: bool,
    near_plane: float,
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
            near_plane=near_plane,
        )
        return output.image[0]

    return render


def scoring_of(config: TrainConfig) -> Scoring:
    """What a configuration measures, and how."""
    options = config.evaluation
    return Scoring(options.quantisation, options.ssim_borders, options.lpips, options.metrics)


def score(
    config: TrainConfig,
    rasterizer: Rasterizer,
    splats: Splats,
    loaded: LoadedScene,
    *,
    pictures: Path | None,
) -> Evaluation:
    """Score `splats` on the held-out views; pictures go into the folder `pictures`.

    Where none is held out, scores are null.
    """
    views = loaded.scene.test_views
    if not views:
        return unscored(scoring_of(config))
    shown = views if config.evaluation.pictures < 0 else views[: config.evaluation.pictures]
    names = {view.name for view in shown}
    with Background() as writing:
        return evaluate_views(
            view_renderer(
                rasterizer,
                splats,
                antialiased=config.render.antialiased,
                near_plane=loaded.near_plane,
            ),
            views,
            loaded.test_photos,
            scoring_of(config),
            masks=loaded.test_masks,
            weights_dir=config.evaluation.lpips_weights,
            device=splats["means"].device,
            progress=shows_progress(),
            on_view=None if pictures is None else picture_writer(pictures, names, writing.start),
        )


def protocol_of(
    config: TrainConfig,
    loaded: LoadedScene,
    device: torch.device,
    *,
    seed: int | None,
    steps: int | None,
) -> Protocol:
    """How `config` scores a model of a scene that was trained for `steps` steps.

    Without `seed` it is no run's, and what else it was trained with is not known either.
    """
    return build_protocol(
        loaded.scene,
        scoring_of(config),
        name=protocol_name(config),
        is_official=config.scene in PRESETS,
        conditions=conditions(
            device,
            seed=seed,
            steps=steps,
            antialiased=config.render.antialiased,
            near_plane=loaded.near_plane,
            normalize=None if seed is None else config.data.normalize,
        ),
    )
