"""The trainer of a run at step 0, alike in each of the processes that train together."""

from collections.abc import Iterable, Iterator, Sequence

import numpy as np

from gs_densify.config.parallel import sharers
from gs_densify.config.strategy import most_gaussians, share_of
from gs_densify.distributed.group import Group
from gs_densify.memory.host import release_freed
from gs_densify.runs.prepare import Prepared
from gs_densify.strategies.adapter import StrategyAdapter
from gs_densify.training.create import build_trainer
from gs_densify.training.trainer import Trainer

_RELEASED_BYTES = 2**30
"""Of photos that are let go of before the system gets their memory back, which takes a while."""


def made_trainer(ready: Prepared, group: Group) -> Trainer:
    """Returns a trainer of this process's Gaussians; the training photos are let go of."""
    config, strategy = ready.config, ready.settled.strategy
    loaded, start = ready.loaded, ready.start
    scene, limit, owners = loaded.scene, most_gaussians(config, strategy), sharers(config, group)
    if limit is not None:
        limit = owners.shares(limit)[owners.rank]
    return build_trainer(
        config,
        StrategyAdapter(config.strategy, share_of(strategy, owners), max_gaussians=limit),
        points=start.points,
        colors=start.colors,
        views=scene.train_views,
        photos=_taken(loaded.train_photos),
        masks=loaded.train_masks,
        scene_scale=scene.scene_scale,
        extent=scene.extent,
        near_plane=loaded.near_plane,
        device=ready.device,
        model=start.splats,
        group=group,
    )


def _taken(photos: Sequence[np.ndarray]) -> Iterable[np.ndarray]:
    """Returns the photos; those in memory are let go of one by one as they are asked for, so that
    the host never holds them twice.
    """
    return _popped(photos) if isinstance(photos, list) else photos


def _popped(photos: list[np.ndarray]) -> Iterator[np.ndarray]:
    freed = 0
    while photos:
        size = photos[0].nbytes
        yield photos.pop(0)
        freed += size
        if freed >= _RELEASED_BYTES:
            release_freed()
            freed = 0
