"""Scores a model of a scene. Training and gs-eval share it: they agree to the last digit."""

from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor

from gs_densify.config.layers import protocol_name
from gs_densify.config.options import TrainConfig
from gs_densify.evaluation.evaluate import Evaluation, evaluate_views, unscored
from gs_densify.evaluation.lpips_weights import check_local
from gs_densify.evaluation.metrics.lpips import VARIANTS
from gs_densify.evaluation.pictures import WorstPictures
from gs_densify.evaluation.protocol import build_protocol
from gs_densify.evaluation.scoring import Scoring
from gs_densify.messages import remark
from gs_densify.rendering.renderer import Renderer
from gs_densify.results import Protocol
from gs_densify.runs.background import Background
from gs_densify.runs.environment import conditions
from gs_densify.runs.loaded_scene import LoadedScene
from gs_densify.scene.presets import PRESETS
from gs_densify.scene.scene import View


def scoring_of(config: TrainConfig) -> Scoring:
    """Returns what a configuration measures, and how."""
    options = config.evaluation
    return Scoring(options.quantisation, options.ssim_borders, options.lpips, options.metrics)


def check_lpips(config: TrainConfig) -> None:
    """Says which weights of LPIPS are not the published ones.

    Raises:
        ConfigError: the folder that is named does not exist, or weights that are here are damaged.
    """
    backbones = dict.fromkeys(VARIANTS[name].backbone for name in config.evaluation.lpips)
    for text in check_local(backbones, config.evaluation.lpips_weights):
        remark(text)


def score(
    config: TrainConfig,
    render: Callable[[View], Tensor],
    loaded: LoadedScene,
    *,
    device: torch.device,
    pictures: Path | None,
) -> Evaluation:
    """Scores a model on the held-out views; pictures of the worst go into the folder `pictures`.

    `render` gives them [H, W, 3] on `device`. Where none is held out, scores are null.
    """
    views = loaded.scene.test_views
    if not views:
        return unscored(scoring_of(config))
    with Background() as writing:
        count = 0 if pictures is None else config.evaluation.pictures
        kept = WorstPictures(pictures or Path(), count, writing.start)
        evaluation = evaluate_views(
            render,
            views,
            loaded.test_photos,
            scoring_of(config),
            masks=loaded.test_masks,
            weights_dir=config.evaluation.lpips_weights,
            device=device,
            progress=True,
            on_view=kept,
        )
        kept.write()
    return evaluation


def protocol_of(
    config: TrainConfig,
    loaded: LoadedScene,
    renderer: Renderer,
    device: torch.device,
    evaluation: Evaluation,
    *,
    seed: int | None,
    steps: int | None,
) -> Protocol:
    """Returns how `evaluation` scored a model of a scene that was trained for `steps` steps.

    Without `seed` it is no run's, and what else it was trained with is not known either.
    """
    return build_protocol(
        loaded.scene,
        scoring_of(config),
        name=protocol_name(config),
        is_official=config.scene in PRESETS,
        conditions=conditions(
            device,
            renderer,
            seed=seed,
            steps=steps,
            normalize=None if seed is None else config.data.normalize,
        ),
        unknown_weights=evaluation.unknown_weights,
    )
