"""Photos of some views that lie in a file, one at a time in memory."""

from collections.abc import Sequence
from typing import overload

import numpy as np

from gs_densify.scene.photos.pixel_file import PixelFile
from gs_densify.scene.scene import Size


class KeptPhotos(Sequence[np.ndarray]):
    """Pixels [H, W, 3] uint8 of some views, which have been made; each is read when asked for."""

    def __init__(self, file: PixelFile, rows: Sequence[int]) -> None:
        """Takes the views `rows` of a file."""
        self.file, self._rows = file, list(rows)

    def __len__(self) -> int:
        return len(self._rows)

    @overload
    def __getitem__(self, index: int) -> np.ndarray: ...
    @overload
    def __getitem__(self, index: slice) -> "KeptPhotos": ...
    def __getitem__(self, index: int | slice) -> "np.ndarray | KeptPhotos":
        """Returns the pixels of a view, or some views."""
        if isinstance(index, slice):
            return KeptPhotos(self.file, self._rows[index])
        return self.file.read(self._rows[index]).pixels

    @property
    def masks(self) -> "KeptMasks":
        """Returns the masks of the same views."""
        return KeptMasks(self.file, self._rows)

    def size(self, index: int) -> Size:
        """Returns width and height of a view."""
        view = self.file.views[self._rows[index]]
        return view.width, view.height

    def length(self, index: int) -> int:
        """Returns the bytes of a view: its pixels, then its mask if it has one."""
        return self.file.length(self._rows[index])

    def read_into(self, index: int, target: np.ndarray) -> None:
        """Reads a view as `PixelFile.read_into` does."""
        self.file.read_into(self._rows[index], target)

    def valid_share(self, index: int) -> float | None:
        """Returns which share of the pixels of a view counts; None where it has no mask."""
        valid, (width, height) = self.file.num_valid(self._rows[index]), self.size(index)
        return None if valid is None else valid / (width * height)


class KeptMasks(Sequence[np.ndarray | None]):
    """Masks [H, W] bool of some views, or None where there is none."""

    def __init__(self, file: PixelFile, rows: Sequence[int]) -> None:
        """Takes the views `rows` of a file."""
        self._file, self._rows = file, list(rows)

    def __len__(self) -> int:
        return len(self._rows)

    @overload
    def __getitem__(self, index: int) -> np.ndarray | None: ...
    @overload
    def __getitem__(self, index: slice) -> "KeptMasks": ...
    def __getitem__(self, index: int | slice) -> "np.ndarray | KeptMasks | None":
        """Returns the mask of a view, or those of some views."""
        if isinstance(index, slice):
            return KeptMasks(self._file, self._rows[index])
        row = self._rows[index]
        return None if self._file.num_valid(row) is None else self._file.read(row).mask
