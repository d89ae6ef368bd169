"""Pictures of held-out views as `data:` addresses: of bounded size, and not too many."""

import base64
import io
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from itertools import zip_longest
from pathlib import Path

from PIL import Image

from gs_densify.errors import ResultError
from gs_densify.scene.photos.open import open_picture

LONGEST_SIDE = 800
"""Pixels; larger pictures are reduced."""
MOST_VIEWS = 12
"""Of a scene."""
MOST_BYTES = 24_000_000
"""Of all pictures of a page together, about: no further view is added beyond."""
ERROR_GAIN = 4
"""By which absolute errors are enlarged: they are nearly black otherwise."""
_QUALITY, _ERROR_QUALITY = 85, 70


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
    try:
        with open_picture(path) as file:
            strip = file.convert("RGB")
    except Exception as problem:  # decoders raise OSError, SyntaxError, ValueError and others
        raise ResultError(f"{path}: cannot be read as a picture ({problem})") from problem
    width, rest = divmod(strip.width, 3)
    if rest or not width:
        raise ResultError(
            f"{path}: {strip.width} pixels are no 'photo, render, error' side by side"
        )
    photo, render, error = (
        _reduced(strip.crop((i * width, 0, (i + 1) * width, strip.height))) for i in range(3)
    )
    enlarged = error.point([min(255, ERROR_GAIN * level) for level in range(256)] * 3)
    return _Parts(photo.size, _address(photo), _address(render), _address(enlarged, _ERROR_QUALITY))


def _reduced(picture: Image.Image) -> Image.Image:
    factor = LONGEST_SIDE / max(picture.size)
    if factor >= 1:
        return picture
    width, height = (max(1, round(side * factor)) for side in picture.size)
    return picture.resize(
        (width, height), Image.Resampling.BOX if factor < 0.5 else Image.Resampling.LANCZOS
    )


def _address(picture: Image.Image, quality: int = _QUALITY) -> str:
    buffer = io.BytesIO()
    picture.save(buffer, "JPEG", quality=quality)
    return f"data:image/jpeg;base64,{base64.b64encode(buffer.getvalue()).decode()}"
