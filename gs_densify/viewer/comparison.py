"""A photo beside its render and its error, in a window."""

import dataclasses
from functools import lru_cache

import numpy as np
from PIL import Image

from gs_densify.evaluation.strip import Panel, drawn_strip, error_panel
from gs_densify.evaluation.words import in_words
from gs_densify.model.types import Splats
from gs_densify.rendering.renderer import Renderer
from gs_densify.scene.photos.load import load_photos
from gs_densify.scene.scene import View
from gs_densify.viewer.shots import Shot

_CAPTION = 0.12
"""Share of the window's height that is left to what stands below the pictures."""


def compared(renderer: Renderer, splats: Splats, shot: Shot, width: int, height: int) -> np.ndarray:
    """Returns photo, render and error of a shot that has a photo, uint8 [height, width, 3].

    They are as large as fits: rendered in fewer pixels than the photo has, or enlarged by a whole
    factor.

    Raises:
        SceneError: the photo cannot be read any more.
    """
    assert shot.view is not None
    most_wide, most_high = width / 3, (1 - _CAPTION) * height
    view = _reduced(shot.view, most_wide, most_high)
    factor = max(1, int(min(most_wide / view.width, most_high / view.height)))
    photo, valid = _photo(shot.view, view.width, view.height)
    rendered = renderer.view(splats, view).clamp(0, 1).mul(255).round().byte().cpu().numpy()
    render = np.where(valid[..., None], rendered, photo)
    panels = [Panel(photo, "photo"), Panel(render, "render"), error_panel(photo, render)]
    strip = drawn_strip([_enlarged(panel, factor) for panel in panels], _caption(shot))
    canvas = Image.new("RGB", (width, height))
    canvas.paste(strip, ((width - strip.width) // 2, max(0, (height - strip.height) // 2)))
    return np.asarray(canvas)


def _enlarged(panel: Panel, factor: int) -> Panel:
    pixels = panel.pixels.repeat(factor, axis=0).repeat(factor, axis=1)
    return dataclasses.replace(panel, pixels=pixels)


def _caption(shot: Shot) -> list[str]:
    if shot.scores is None:
        return [shot.name, shot.kind]
    return [shot.name, *in_words(shot.scores, shot.metrics)]


def _reduced(view: View, most_wide: float, most_high: float) -> View:
    """Returns the same view in fewer pixels."""
    scale = min(1.0, most_wide / view.width, most_high / view.height)
    width, height = max(1, int(scale * view.width)), max(1, int(scale * view.height))
    K = np.diag([width / view.width, height / view.height, 1.0]) @ view.K
    return dataclasses.replace(view, K=K, width=width, height=height)


@lru_cache(maxsize=4)
def _photo(view: View, width: int, height: int) -> tuple[np.ndarray, np.ndarray]:
    """Returns a photo [height, width, 3] and which of its pixels count [height, width]."""
    (photo,) = load_photos([view], progress=False)
    mask = np.ones(photo.pixels.shape[:2], bool) if photo.mask is None else photo.mask
    pixels = Image.fromarray(photo.pixels).resize((width, height), Image.Resampling.LANCZOS)
    valid = Image.fromarray(mask).resize((width, height), Image.Resampling.NEAREST)
    return np.asarray(pixels), np.asarray(valid)
