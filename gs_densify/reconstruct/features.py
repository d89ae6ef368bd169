"""The stage that finds features in photos."""

import os
from collections.abc import Sequence
from pathlib import Path

import pycolmap

from gs_densify.reconstruct.options import Effort
from gs_densify.reconstruct.wait import in_parts

FEW = 50
"""Features with which a photo can hardly be placed."""
_FOR_EACH_CORE = 4
"""Photos in one call of pycolmap: some cores wait for the last of them."""


def extract_features(database: Path, images: Path, names: Sequence[str], effort: Effort) -> None:
    """Finds the features of photos whose cameras the database has; those that it has are kept."""
    options = pycolmap.FeatureExtractionOptions(max_image_size=effort.image_size)
    options.sift.max_num_features = effort.features
    options.sift.first_octave = effort.first_octave

    def extract(part: Sequence[str], token: pycolmap.CancellationToken) -> None:
        pycolmap.extract_features(
            database,
            images,
            image_names=list(part),
            extraction_options=options,
            cancellation_token=token,
        )

    at_once = _FOR_EACH_CORE * (os.cpu_count() or 1)
    in_parts("features", names, at_once, extract, unit="photo")
