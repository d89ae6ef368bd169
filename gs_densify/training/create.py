"""Puts a trainer together, as every run does."""

from collections.abc import Iterable, Sequence

import numpy as np
import torch

from gs_densify.config.options import TrainConfig
from gs_densify.config.parallel import sharers
from gs_densify.config.renderer import renderer_for
from gs_densify.distributed.group import ALONE, Group
from gs_densify.model.init import create_splats, sh_degree_of, to_parameters, with_sh_degree
from gs_densify.model.shards import share_of_rows
from gs_densify.model.thinning import thinned
from gs_densify.model.types import Splats
from gs_densify.scene.scene import View
from gs_densify.strategies.adapter import StrategyAdapter
from gs_densify.training.batches import ViewStore
from gs_densify.training.seed import seed_everything, seed_of
from gs_densify.training.trainer import Trainer

SCENE_SCALE_MARGIN = 1.1  # gsplat's trainer and Inria's both widen the cameras' radius so


def build_trainer(
    config: TrainConfig,
    adapter: StrategyAdapter,
    *,
    points: np.ndarray,
    colors: np.ndarray | None,
    views: Sequence[View],
    photos: Iterable[np.ndarray],
    scene_scale: float,
    near_plane: float,
    device: torch.device,
    extent: float | None = None,
    masks: Sequence[np.ndarray | None] = (),
    model: Splats | None = None,
    group: Group = ALONE,
) -> Trainer:
    """Returns a seeded trainer at step 0.

    Args:
        config: the run's configuration.
        adapter: the strategy.
        points: [P,3], the Gaussians' first means, in the scene's world.
        colors: [P,3] uint8; None with a `model`.
        views: the training views.
        photos: their pixels, uint8 [H,W,3].
        scene_scale: the scene's radius, without margin.
        near_plane: depth below which nothing is drawn, in the scene's world.
        device: where to train.
        extent: what the strategy measures sizes by, without margin; None: the radius.
        masks: for each view bool [H,W], True where a pixel counts, or None; none for no masks.
        model: the first Gaussians themselves, in the scene's world; None: they are made.
        group: the processes that train together; where they share the Gaussians, each takes some
            at random.
    """
    owners = sharers(config, group)
    renderer = renderer_for(config, near_plane, device, is_staged=owners.size > 1)
    seed_everything(config.seed)
    most = adapter.max_gaussians
    most = None if most is None else round(owners.total(most)[0])
    if most is not None and len(points) > most:
        # Before the first scales are made, which follow from the distances between those that stay.
        kept = thinned(torch.from_numpy(points), most)
        points, colors = points[kept.numpy()], None if colors is None else colors[kept.numpy()]
        model = None if model is None else {name: rows[kept] for name, rows in model.items()}
    values: Splats
    if model is not None:
        values = with_sh_degree(model, config.init.sh_degree)
    else:
        assert colors is not None
        values = create_splats(
            points,
            colors,
            scene_scale=scene_scale,
            sh_degree=config.init.sh_degree,
            init_opacity=config.init.opacity,
            init_scale=config.init.scale,
            device=device if owners.size == 1 else torch.device("cpu"),
        )
    if owners.size > 1:
        mine = share_of_rows(len(points), owners)
        values = {name: rows[mine.to(rows.device)] for name, rows in values.items()}
    splats = to_parameters(dict(values), device)
    if not owners.is_first:
        seed_everything(seed_of(config.seed, owners.rank))
    return Trainer(
        config,
        splats,
        ViewStore(views, photos, device, budget=config.data.image_budget * 2**30, masks=masks),
        renderer,
        adapter,
        scene_scale=scene_scale * SCENE_SCALE_MARGIN,
        extent=None if extent is None else extent * SCENE_SCALE_MARGIN,
        first_sh_degree=0 if model is None else sh_degree_of(model),
        group=group,
    )
