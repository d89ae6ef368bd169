"""The stage that finds features in photos."""

import os
from collections.abc import Sequence
from pathlib import Path

from gs_densify.memory.host import free_memory
from gs_densify.reconstruct.options import Effort
from gs_densify.reconstruct.photos import Placed
from gs_densify.reconstruct.wait import in_parts
from gs_densify.scene.colmap_library import pycolmap

FEW = 50
"""Features with which a photo can hardly be placed."""
_FOR_EACH_CORE = 4
"""Photos in one call of pycolmap: some cores wait for the last of them."""
_BYTES_PER_PIXEL = 80
"""Memory that the search takes, measured at 2 and 31 megapixels."""
_SHARE_OF_MEMORY = 0.6


def extract_features(
    database: Path, images: Path, photos: Sequence[Placed], effort: Effort
) -> None:
    """Finds the features of photos whose cameras the database has; those that it has are kept."""
    for doubled in (True, False):
        chosen = [photo for photo in photos if is_doubled(photo, effort) == doubled]
        if chosen:
            _extract(database, images, chosen, effort, doubled=doubled)


def is_doubled(photo: Placed, effort: Effort) -> bool:
    """Returns whether a photo is looked at at twice its size, too."""
    longer_side = min(max(photo.width, photo.height), effort.image_size)
    return longer_side <= effort.doubled_up_to


def _extract(
    database: Path, images: Path, photos: Sequence[Placed], effort: Effort, *, doubled: bool
) -> None:
    pixels = max(_pixels(photo, effort) for photo in photos) * (4 if doubled else 1)
    threads = threads_for(pixels, free_memory())
    options = pycolmap.FeatureExtractionOptions(
        max_image_size=effort.image_size, num_threads=threads
    )
    options.sift.max_num_features = effort.features
    options.sift.first_octave = -1 if doubled else 0

    def extract(part: Sequence[str], token: pycolmap.CancellationToken) -> None:
        pycolmap.extract_features(
            database,
            images,
            image_names=list(part),
            extraction_options=options,
            cancellation_token=token,
        )

    names = [photo.name for photo in photos]
    in_parts("features", names, _FOR_EACH_CORE * threads, extract, unit="photo")


def _pixels(photo: Placed, effort: Effort) -> float:
    scale = min(1.0, effort.image_size / max(photo.width, photo.height))
    return scale**2 * photo.width * photo.height


def threads_for(pixels: float, free: int | None, cores: int | None = None) -> int:
    """Returns how many photos of a number of pixels are searched at once, by cores and memory.

    Args:
        pixels: at the size at which features are looked for.
        free: bytes of memory; None where it is not known.
        cores: None for those of the machine.
    """
    cores = cores or os.cpu_count() or 1
    if free is None:
        return cores
    return max(1, min(cores, int(_SHARE_OF_MEMORY * free / (_BYTES_PER_PIXEL * pixels))))
