"""Pictures of an evaluation, and of the difference of two: photo, renders, error side by side."""

from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

import numpy as np
from torch import Tensor

from gs_densify.evaluation.evaluate import NamedView
from gs_densify.evaluation.metrics import find_metric
from gs_densify.evaluation.strip import Panel, error_panel, read_strip, save_strip
from gs_densify.evaluation.words import in_words
from gs_densify.results import Scores, ViewScores
from gs_densify.results.names import RENDERS, picture_name
from gs_densify.results.views import badness

_CHANGE_GAIN = 4
"""By which the change of the error is enlarged."""


class WorstPictures:
    """An `on_view` for `evaluate_views` that writes pictures of the views with the worst scores.

    Which ones these are is known at the end: `write` is to be called then.
    """

    def __init__(
        self,
        folder: Path,
        count: int,
        start: Callable[..., object] = lambda function, *arguments: function(*arguments),
    ) -> None:
        """Makes one.

        Args:
            folder: for the pictures.
            count: of the views; negative for all.
            start: called with a function and its arguments, to call it now or in another thread.
        """
        self._folder, self._count, self._start = folder, count, start
        self._kept: list[tuple[ViewScores, np.ndarray, np.ndarray]] = []

    def __call__(self, view: NamedView, truth: Tensor, rendered: Tensor, scores: Scores) -> None:
        """Takes a view, its photo and its render [H, W, 3] in [0, 1], and its scores."""
        scored = ViewScores(name=view.name, scores=scores)
        if self._count < 0:
            self._begin(scored, _levels(truth), _levels(rendered))
        elif sum(badness(one) < badness(scored) for one, _, _ in self._kept) < self._count:
            self._kept.append((scored, _levels(truth), _levels(rendered)))
            self._kept = sorted(self._kept, key=lambda one: badness(one[0]))[: self._count]

    def write(self) -> None:
        """Writes what was kept."""
        for one in self._kept:
            self._begin(*one)
        self._kept = []

    def _begin(self, view: ViewScores, photo: np.ndarray, render: np.ndarray) -> None:
        path = self._folder / picture_name(view.name)
        metrics = {name: find_metric(name) for name in view.scores.further()}
        self._start(
            save_comparison, path, photo, render, [view.name, *in_words(view.scores, metrics)]
        )


def save_comparison(
    path: Path, photo: np.ndarray, render: np.ndarray, caption: Sequence[str]
) -> None:
    """Writes `photo | render | error`, uint8 [H, W, 3] each, as a PNG, making its folder.

    Raises:
        ResultError: the file cannot be written.
    """
    panels = [Panel(photo, "photo"), Panel(render, "render"), error_panel(photo, render)]
    save_strip(path, panels, caption)


def save_differences(folder: Path, first: Path, second: Path, view_names: Iterable[str]) -> int:
    """Calls `save_difference` for the views that both have pictures of; returns how many.

    Args:
        folder: for the pictures.
        first: the folder of a run or evaluation, with its pictures in `renders`.
        second: another one.
        view_names: COLMAP's names.
    """
    written = 0
    for view_name in view_names:
        name = picture_name(view_name)
        a, b = (side / RENDERS / name for side in (first, second))
        if a.is_file() and b.is_file():
            written += save_difference(folder / name, a, b, view_name)
    return written


def save_difference(path: Path, first: Path, second: Path, view_name: str) -> bool:
    """Writes `photo | first | second | which is nearer` of two files of `save_comparison`.

    The last part is the change of the absolute error, four times enlarged: green where the second
    render is nearer to the photo than the first, red where it is farther. Returns False, and writes
    nothing, where the two are not of the same photo.

    Raises:
        ResultError: where a file cannot be read or written.
    """
    photo, a, _ = read_strip(first, 3)
    other_photo, b, _ = read_strip(second, 3)
    if photo.shape != other_photo.shape or not np.array_equal(photo, other_photo):
        return False
    truth = photo.astype(np.int16)
    worse = (np.abs(b - truth).mean(2) - np.abs(a - truth).mean(2)) * _CHANGE_GAIN
    change = np.stack([worse, -worse, np.zeros_like(worse)], axis=2).clip(0, 255)
    panels = [
        Panel(photo, "photo"),
        Panel(a, "first"),
        Panel(b, "second"),
        Panel(change.round().astype(np.uint8), "which is nearer"),
    ]
    meaning = f"green: second, red: first, full colour: error changes by {1 / _CHANGE_GAIN}"
    save_strip(path, panels, [view_name, meaning])
    return True


def _levels(image: Tensor) -> np.ndarray:
    return image.clamp(0, 1).mul(255).round().byte().cpu().numpy()
