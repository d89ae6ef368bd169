"""Where the photos of a scene are while a run needs them: in host memory, or else in a file."""

import logging
from collections.abc import Sequence
from typing import Protocol

import numpy as np

from gs_densify.memory.host import free_memory
from gs_densify.scene.digest import joint_digest
from gs_densify.scene.photos.decode import Photo
from gs_densify.scene.photos.kept import KeptPhotos
from gs_densify.scene.photos.load import load_photos_and_digest
from gs_densify.scene.photos.pixel_file import PixelFile, pixel_bytes
from gs_densify.scene.scene import View

_log = logging.getLogger(__name__)

_SHARE_OF_FREE = 0.8
"""Of host memory that photos take by default: training needs some, too."""


class ReadyPhotos(Protocol):
    """Photos of some views, wherever they are."""

    digest: str
    """See `digest.joint_digest`, of all views in their order."""

    def is_blank(self, view: View) -> bool:
        """Returns whether no pixel of a view counts."""
        ...

    def photo(self, view: View) -> Photo:
        """Returns pixels and mask of a view."""
        ...

    def pixels(self, views: Sequence[View]) -> Sequence[np.ndarray]:
        """Returns the pixels [H, W, 3] uint8 of some of the views."""
        ...

    def masks(self, views: Sequence[View]) -> Sequence[np.ndarray | None]:
        """Returns the masks [H, W] bool of some of the views; None where every pixel counts."""
        ...


class PhotosInMemory:
    """Photos that have been decoded."""

    def __init__(self, views: Sequence[View], *, workers: int | None) -> None:
        """Decodes the photos of `views`."""
        photos, self.digest = load_photos_and_digest(views, workers=workers)
        self._photos = {view.name: photo for view, photo in zip(views, photos, strict=True)}

    def photo(self, view: View) -> Photo:
        """Returns pixels and mask of a view."""
        return self._photos[view.name]

    def is_blank(self, view: View) -> bool:
        """Returns whether no pixel of a view counts."""
        return self.photo(view).is_blank

    def pixels(self, views: Sequence[View]) -> list[np.ndarray]:
        """Returns the pixels of some of the views."""
        return [self.photo(view).pixels for view in views]

    def masks(self, views: Sequence[View]) -> list[np.ndarray | None]:
        """Returns the masks of some of the views."""
        return [self.photo(view).mask for view in views]


class PhotosOnDisk:
    """Photos in a `PixelFile`."""

    def __init__(
        self,
        every: Sequence[View],
        views: Sequence[View],
        *,
        disk_budget: float,
        workers: int | None,
    ) -> None:
        """Makes those of `views`, some of `every` of a scene, that are not there; says how many."""
        self._file = file = PixelFile(every)
        self._rows = {view.name: row for row, view in enumerate(every)}
        rows = self._rows_of(views)
        missing = len(file.missing(rows))
        file.make(rows, budget=disk_budget, workers=workers)
        self.digest = joint_digest(map(file.digest, rows))
        message = "%d photos (%.3g GB) are read from %s while they are used%s"
        size = sum(map(pixel_bytes, views)) / 1e9
        made = f", into which {missing} were written" if missing else ""
        _log.warning(message, len(views), size, file.path, made)

    def photo(self, view: View) -> Photo:
        """Returns pixels and mask of a view."""
        return self._file.read(self._rows[view.name])

    def is_blank(self, view: View) -> bool:
        """Returns whether no pixel of a view counts."""
        return self._file.num_valid(self._rows[view.name]) == 0

    def pixels(self, views: Sequence[View]) -> KeptPhotos:
        """Returns the pixels of some of the views."""
        return KeptPhotos(self._file, self._rows_of(views))

    def masks(self, views: Sequence[View]) -> Sequence[np.ndarray | None]:
        """Returns the masks of some of the views."""
        return self.pixels(views).masks

    def _rows_of(self, views: Sequence[View]) -> list[int]:
        return [self._rows[view.name] for view in views]


def fit_in_memory(views: Sequence[View], budget: float | None, *, processes: int = 1) -> bool:
    """Returns whether photos fit into `budget` bytes of host memory, or four fifths of what is
    free, of which each of some `processes` that hold them gets as much.
    """
    if budget is None:
        free = free_memory()
        if free is None:
            return True
        budget = _SHARE_OF_FREE * free
    return processes * sum(map(pixel_bytes, views)) <= budget
