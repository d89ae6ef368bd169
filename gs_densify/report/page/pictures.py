"""Pictures of held-out views as `data:` addresses: of bounded size, and not too many."""

import base64
import io
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from itertools import zip_longest
from pathlib import Path

import numpy as np
from PIL import Image

from gs_densify.evaluation.strip import absolute_error, error_heat, read_strip

LONGEST_SIDE = 800
"""Pixels; larger pictures are reduced."""
MOST_VIEWS = 12
"""Of a scene."""
MOST_BYTES = 24_000_000
"""Of all pictures of a page together, about: no further view is added beyond."""
_QUALITY = 85


@dataclass(frozen=True, kw_only=True)
class ViewPictures:
    """The pictures of one view."""

    width: int
    height: int
    photo: str
    """A `data:` address, as the others."""
    renders: dict[str, str] = field(default_factory=dict)
    """By the label of the method."""
    errors: dict[str, str] = field(default_factory=dict)


Files = Mapping[str, Mapping[str, Path]]
"""Files of `save_comparison` by view, then by the label of the method; the views most worth showing
first."""


def read_pictures(scenes: Mapping[str, Files]) -> dict[str, dict[str, ViewPictures]]:
    """Returns pictures by scene and view: of the first views of each, as many as a page can hold.

    Raises:
        ResultError: a file cannot be read, or is no such picture.
    """
    found: dict[str, dict[str, ViewPictures]] = {scene: {} for scene in scenes}
    size = 0
    with ThreadPoolExecutor(2) as pool:
        for scene, view in _in_turns(
            {scene: list(files)[:MOST_VIEWS] for scene, files in scenes.items()}
        ):
            files = scenes[scene][view]
            parts = dict(zip(files, pool.map(_read, files.values()), strict=True))
            pictures = _of_view(parts)
            size += sum(
                map(len, (pictures.photo, *pictures.renders.values(), *pictures.errors.values()))
            )
            if size > MOST_BYTES:
                break
            found[scene][view] = pictures
    return found


def _in_turns(views: Mapping[str, Sequence[str]]) -> Iterator[tuple[str, str]]:
    """Yields scene and view: the first of each scene, then the second of each, and so on."""
    for row in zip_longest(*views.values()):
        yield from (
            (scene, view) for scene, view in zip(views, row, strict=True) if view is not None
        )


@dataclass(frozen=True)
class _Parts:
    size: tuple[int, int]
    photo: str
    render: str
    error: str


def _of_view(parts: Mapping[str, _Parts]) -> ViewPictures:
    first = next(iter(parts.values()))
    return ViewPictures(
        width=first.size[0],
        height=first.size[1],
        photo=first.photo,
        renders={label: one.render for label, one in parts.items()},
        errors={label: one.error for label, one in parts.items()},
    )


def _read(path: Path) -> _Parts:
    photo, render, _ = read_strip(path, 3)
    error = Image.fromarray(absolute_error(photo, render))
    colored = Image.fromarray(error_heat(np.asarray(_reduced(error))))
    shown, drawn = (_reduced(Image.fromarray(pixels)) for pixels in (photo, render))
    return _Parts(shown.size, _address(shown), _address(drawn), _address(colored))


def _reduced(picture: Image.Image) -> Image.Image:
    factor = LONGEST_SIDE / max(picture.size)
    if factor >= 1:
        return picture
    width, height = (max(1, round(side * factor)) for side in picture.size)
    return picture.resize(
        (width, height), Image.Resampling.BOX if factor < 0.5 else Image.Resampling.LANCZOS
    )


def _address(picture: Image.Image) -> str:
    buffer = io.BytesIO()
    picture.save(buffer, "JPEG", quality=_QUALITY)
    return f"data:image/jpeg;base64,{base64.b64encode(buffer.getvalue()).decode()}"
