"""Photos of many views, decoded in parallel threads and held in memory."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from gs_densify.scene.digest import joint_digest, photo_digest
from gs_densify.scene.photos.decode import Header, Photo, read_header
from gs_densify.scene.photos.made import saying_what_is_made
from gs_densify.scene.photos.prepare import read_view
from gs_densify.scene.photos.threads import in_threads
from gs_densify.scene.scene import Size, View


def load_photos(
    views: Sequence[View], *, workers: int | None = None, progress: bool = True
) -> list[Photo]:
    """Decodes the photos of ``views``, after resizing and undistorting those that need it, which
    is said.

    Args:
        views: the views, whose sizes the photos must have.
        workers: threads; by default one per processor, at most 16.
        progress: say how far it is, see `messages.Progress`.

    Returns:
        One photo per view, in their order: [height, width, 3] uint8 RGB, and the mask
        [height, width] bool of the pixels that count, of which there may be none, or None where all
        do.

    Raises:
        SceneError: a photo or mask that cannot be used (see ``decode``), or has another size than
            its view; a cache that cannot be written.
    """
    with saying_what_is_made(views):
        return in_threads(read_view, views, "photo", workers=workers, progress=progress)


def load_photos_and_digest(
    views: Sequence[View], *, workers: int | None = None, progress: bool = True
) -> tuple[list[Photo], str]:
    """Returns what `load_photos` does, and a digest of names, pixels and masks.

    Each photo's is made by the thread that decodes it.
    """

    def read(view: View) -> tuple[Photo, bytes]:
        photo = read_view(view)
        return photo, photo_digest(view, photo)

    with saying_what_is_made(views):
        found = in_threads(read, views, "photo", workers=workers, progress=progress)
    return [photo for photo, _ in found], joint_digest(digest for _, digest in found)


def load_images(
    views: Sequence[View], *, workers: int | None = None, progress: bool = True
) -> list[np.ndarray]:
    """Returns the pixels alone of ``load_photos``."""
    return [photo.pixels for photo in load_photos(views, workers=workers, progress=progress)]


def read_headers(paths: Sequence[Path], *, workers: int | None = None) -> list[Header]:
    """Returns sizes and transparency of photos; ``SceneError`` names one that is none."""
    return in_threads(read_header, paths, "header", workers=workers, progress=False)


def read_sizes(paths: Sequence[Path], *, workers: int | None = None) -> list[Size]:
    """Returns sizes (width, height) of photos."""
    return [header.size for header in read_headers(paths, workers=workers)]
