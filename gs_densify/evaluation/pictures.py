"""Pictures of an evaluation, and of the difference of two: photo, renders, error side by side."""

from collections.abc import Callable, Iterable
from pathlib import Path

import imageio.v3 as imageio
import numpy as np
import torch
from torch import Tensor

from gs_densify.errors import ResultError
from gs_densify.evaluation.evaluate import NamedView
from gs_densify.results import atomic_write
from gs_densify.results.names import RENDERS, picture_name
from gs_densify.scene.photos.open import open_picture


def picture_writer(
    folder: str | Path,
    names: set[str] | None = None,
    start: Callable[..., object] = lambda function, *arguments: function(*arguments),
) -> Callable[[NamedView, Tensor, Tensor], None]:
    """Returns an `on_view` for `evaluate_views` that writes the pictures of these views, or all.

    Args:
        folder: for the pictures.
        names: of the views; None for all.
        start: called with a function and its arguments, to call it now or in another thread.
    """

    def write(view: NamedView, truth: Tensor, rendered: Tensor) -> None:
        if names is None or view.name in names:
            start(save_comparison, Path(folder) / picture_name(view.name), truth, rendered)

    return write


def save_comparison(path: str | Path, truth: Tensor, rendered: Tensor) -> None:
    """Writes `photo | render | absolute error` [H, 3W, 3] as a PNG, making its folder.

    Args:
        path: the file.
        truth: [H, W, 3] in [0, 1].
        rendered: [H, W, 3] in [0, 1].

    Raises:
        ResultError: where the file cannot be written.
    """
    strip = torch.cat([truth, rendered, (truth - rendered).abs()], dim=1)
    _write(path, strip.clamp(0, 1).mul(255).round().to(torch.uint8).cpu().numpy())


def save_differences(folder: Path, first: Path, second: Path, view_names: Iterable[str]) -> int:
    """Calls `save_difference` for the views that both have pictures of; returns how many.

    Args:
        folder: for the pictures.
        first: the folder of a run or evaluation, with its pictures in `renders`.
        second: another one.
        view_names: COLMAP's names.
    """
    written = 0
    for name in map(picture_name, view_names):
        pair = [side / RENDERS / name for side in (first, second)]
        if all(path.is_file() for path in pair):
            written += save_difference(folder / name, *pair)
    return written


def save_difference(path: str | Path, first: str | Path, second: str | Path) -> bool:
    """Writes `photo | first | second | which is nearer` of two files of `save_comparison`.

    The last part is the change of the absolute error, four times enlarged: green where the second
    render is nearer to the photo than the first, red where it is farther. Returns False, and writes
    nothing, where the two are not of the same photo.

    Raises:
        ResultError: where a file cannot be read or written.
    """
    photo, a = _photo_and_render(first)
    other_photo, b = _photo_and_render(second)
    if photo.shape != other_photo.shape or not np.array_equal(photo, other_photo):
        return False
    truth = photo.astype(np.int16)
    worse = (np.abs(b - truth).mean(2) - np.abs(a - truth).mean(2)) * 4
    change = np.stack([worse, -worse, np.zeros_like(worse)], axis=2).clip(0, 255)
    strip = np.concatenate([photo, a, b, change.round()], axis=1)
    _write(path, strip.astype(np.uint8))
    return True


def _photo_and_render(path: str | Path) -> tuple[np.ndarray, np.ndarray]:
    """Returns [H, W, 3] uint8 each, of a file of `save_comparison`."""
    try:
        with open_picture(Path(path)) as file:
            strip = np.array(file)
    except Exception as error:  # decoders raise OSError, SyntaxError, ValueError and others
        raise ResultError(f"{path}: cannot be read as a picture ({error})") from error
    if strip.ndim != 3 or strip.shape[1] % 3:
        raise ResultError(f"{path}: {list(strip.shape)} is no picture 'photo, render, error'")
    photo, render, _ = np.split(strip[..., :3], 3, axis=1)
    return photo, render


def _write(path: str | Path, pixels: np.ndarray) -> None:
    with atomic_write(path) as file:
        # Level 6 would take twice the time for a tenth less.
        imageio.imwrite(file, pixels, extension=".png", compress_level=1)
