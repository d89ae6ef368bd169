"""The stage that finds cameras, poses and points from matches."""

import shutil
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

from gs_densify.messages import Progress
from gs_densify.reconstruct.options import Mapper
from gs_densify.reconstruct.photos import LEAST
from gs_densify.reconstruct.wait import wait_for
from gs_densify.scene.colmap_library import pycolmap

_JOB = "poses"
_SEED = 0


def find_models(
    database: Path, images: Path, count: int, mapper: Mapper
) -> list[pycolmap.Reconstruction]:
    """Returns the models that the matches of `count` photos give, the largest first."""
    with TemporaryDirectory(dir=database.parent) as folder:
        find = _globally if mapper == "global" else _incrementally
        found = find(database, images, Path(folder), count)
    return sorted(found, key=lambda model: (-model.num_reg_images(), -model.num_points3D()))


def _incrementally(
    database: Path, images: Path, folder: Path, count: int
) -> Sequence[pycolmap.Reconstruction]:
    options = pycolmap.IncrementalPipelineOptions(min_model_size=LEAST, random_seed=_SEED)
    placed = 0
    with Progress(_JOB, count, unit="photo") as progress:

        def show(further: int) -> None:
            """Counts photos that are placed; those of several models may be placed twice."""
            nonlocal placed
            before, placed = placed, min(placed + further, count)
            progress.bar.update(placed - before)

        found = wait_for(
            _JOB,
            lambda token: pycolmap.incremental_mapping(
                database,
                images,
                folder,
                options,
                initial_image_pair_callback=lambda: show(2),
                next_image_callback=lambda: show(1),
                cancellation_token=token,
            ),
        )
    return list(found.values())


def _globally(
    database: Path, images: Path, folder: Path, count: int
) -> Sequence[pycolmap.Reconstruction]:
    options = pycolmap.GlobalPipelineOptions(min_model_size=LEAST, random_seed=_SEED)

    def work(_: pycolmap.CancellationToken) -> dict[int, pycolmap.Reconstruction]:
        copy = Path(shutil.copy(database, folder))  # the calibration changes its matches
        pycolmap.calibrate_view_graph(copy)
        return pycolmap.global_mapping(copy, images, folder, options)

    return list(wait_for(_JOB, work).values())


def posed_names(model: pycolmap.Reconstruction) -> set[str]:
    """Returns the names of the photos that have a pose in a model."""
    return {image.name for image in model.images.values() if image.has_pose}
