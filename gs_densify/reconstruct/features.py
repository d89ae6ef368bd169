"""The stage that finds features in photos."""

import os
from collections.abc import Sequence
from functools import partial
from pathlib import Path

import pycolmap

from gs_densify.reconstruct.options import Effort
from gs_densify.reconstruct.photos import Placed
from gs_densify.reconstruct.wait import in_parts

FEW = 50
"""Features with which a photo can hardly be placed."""
_FOR_EACH_CORE = 4
"""Photos in one call of pycolmap: some cores wait for the last of them."""


def extract_features(
    database: Path, images: Path, photos: Sequence[Placed], effort: Effort
) -> None:
    """Finds the features of photos whose cameras the database has; those that it has are kept."""
    small: list[str] = []
    large: list[str] = []
    for photo in photos:
        is_small = max(photo.width, photo.height) <= effort.doubled_up_to
        (small if is_small else large).append(photo.name)

    def extract(octave: int, part: Sequence[str], token: pycolmap.CancellationToken) -> None:
        options = pycolmap.FeatureExtractionOptions(max_image_size=effort.image_size)
        options.sift.max_num_features = effort.features
        options.sift.first_octave = octave
        pycolmap.extract_features(
            database,
            images,
            image_names=list(part),
            extraction_options=options,
            cancellation_token=token,
        )

    at_once = _FOR_EACH_CORE * (os.cpu_count() or 1)
    for names, octave in ((small, -1), (large, 0)):
        if names:
            in_parts("features", names, at_once, partial(extract, octave), unit="photo")
