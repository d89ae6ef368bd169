"""The cameras of photos in a browser window, to be seen and clicked."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import numpy as np
from scipy.spatial import cKDTree

from gs_densify.viewer.shots import Kind, Shot

if TYPE_CHECKING:
    import viser

COLORS: dict[Kind, tuple[int, int, int]] = {
    "training": (70, 130, 220),
    "held out": (230, 140, 50),
    "unknown": (170, 170, 170),
}
LINE = 1.0
"""Width of the lines of a frustum, in pixels."""
_OF_SPACING, _OF_EXTENT = 0.3, 0.02
"""Length of a frustum: in distances of neighbours, at most in distances of the outermost camera."""


def add_frusta(
    client: viser.ClientHandle, shots: Sequence[Shot], choose: Callable[[Shot], None]
) -> None:
    """Adds the cameras, which are hidden at first; a click on one of them chooses it."""
    root = client.scene.add_frame("/cameras", show_axes=False, visible=False)
    size = frustum_size(np.array([shot.camera.position for shot in shots]))
    for i, shot in enumerate(shots):
        _add_frustum(client, f"/cameras/{i}", shot, size, choose)
    shown = client.gui.add_checkbox(
        "Cameras", False, hint="Blue: training views; orange: held out. A click chooses the photo."
    )

    @shown.on_update
    def _(_: viser.GuiEvent) -> None:
        root.visible = shown.value


def frustum_size(centers: np.ndarray) -> float:
    """Returns a length with which cameras at `centers` [N, 3] neither touch nor cover the model."""
    extent = float(np.linalg.norm(centers - centers.mean(axis=0), axis=1).max())
    if not extent:
        return _OF_EXTENT
    distances, _ = cKDTree(np.unique(centers, axis=0)).query(centers, k=2)
    return min(_OF_SPACING * float(np.median(distances[:, 1])), _OF_EXTENT * extent)


def _add_frustum(
    client: viser.ClientHandle,
    name: str,
    shot: Shot,
    size: float,
    choose: Callable[[Shot], None],
) -> None:
    camera = shot.camera
    frustum = client.scene.add_camera_frustum(
        name,
        camera.fov,
        camera.aspect,
        scale=size,
        thickness=LINE,
        thickness_units="screen",
        color=COLORS[shot.kind],
        wxyz=camera.wxyz,
        position=camera.position,
    )
    frustum.on_click(lambda _: choose(shot))
