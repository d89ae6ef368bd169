"""The cameras of a scene in a browser window, to be seen and clicked."""

import viser

from gs_densify.scene.scene import Scene, View
from gs_densify.viewer.camera import camera_of
from gs_densify.viewer.steering import go_to

TRAINING = (70, 130, 220)
HELD_OUT = (230, 140, 50)
SIZE = 0.05
"""Length of a frustum, in scene radii."""
LINE = 2.0
"""Width of its lines, in pixels."""


def add_frusta(client: viser.ClientHandle, scene: Scene) -> None:
    """Shows the scene's cameras; a click takes the window to where the photo was taken."""
    root = client.scene.add_frame("/cameras", show_axes=False)
    size = SIZE * scene.scene_scale
    for kind, color in (("train", TRAINING), ("test", HELD_OUT)):
        for i, view in enumerate(getattr(scene, f"{kind}_views")):
            _add_frustum(client, f"/cameras/{kind}{i}", view, size, color)
    shown = client.gui.add_checkbox(
        "Cameras", True, hint="Blue: training views; orange: held out. Click one to go there."
    )

    @shown.on_update
    def _(_: viser.GuiEvent) -> None:
        root.visible = shown.value


def _add_frustum(
    client: viser.ClientHandle, name: str, view: View, size: float, color: tuple[int, int, int]
) -> None:
    camera = camera_of(view)
    frustum = client.scene.add_camera_frustum(
        name,
        camera.fov,
        camera.aspect,
        scale=size,
        thickness=LINE,
        thickness_units="screen",
        color=color,
        wxyz=camera.wxyz,
        position=camera.position,
    )
    frustum.on_click(lambda _: go_to(client, camera))
