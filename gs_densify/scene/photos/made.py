"""Which photos are made of others, resized and undistorted, because they are not kept yet."""

import logging
import os
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from gs_densify.scene.photos.prepare import cache_path, photo_cache
from gs_densify.scene.scene import View

_log = logging.getLogger(__name__)


@contextmanager
def saying_what_is_made(views: Sequence[View]) -> Iterator[None]:
    """Says, after its body has read the photos of `views`, which of them it had to make."""
    made = [view for view in views if view.recipe is not None and not cache_path(view).is_file()]
    yield
    if made:
        _log.warning("%s; kept in %s", ", ".join(_what(made)), photo_cache())


def _what(made: Sequence[View]) -> Iterator[str]:
    recipes = [view.recipe for view in made if view.recipe is not None]
    resized = Counter((one.resize_filter, one.size) for one in recipes if one.resize_filter)
    lenses = Counter(one.lens.model for one in recipes if one.lens is not None)
    folder = Path(os.path.commonpath([view.path.parent for view in made]))
    for (name, (width, height)), count in sorted(resized.items()):
        yield f"{count} photos of {folder} resized to {width}x{height} ({name} filter)"
    for model, count in sorted(lenses.items()):
        yield f"{count} photos undistorted ({model})"
