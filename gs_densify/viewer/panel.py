"""The controls of one browser window."""

from collections.abc import Callable
from typing import Any

import viser

from gs_densify.viewer.model import Model
from gs_densify.viewer.paint import QUANTITIES, Look, Painter
from gs_densify.viewer.steering import level


class Panel:
    """Sliders and buttons in a window; `look` is what they say now.

    Args:
        client: the window.
        model: what is shown.
        painter: draws it.
        changed: called after every change of the look.
    """

    def __init__(
        self,
        client: viser.ClientHandle,
        model: Model,
        painter: Painter,
        changed: Callable[[], None],
    ) -> None:
        gui = client.gui
        gui.add_markdown(_about(model))
        self._size = gui.add_markdown("")
        self._quantity = gui.add_dropdown("Show", QUANTITIES)
        self._degree = self._degree_slider(gui, painter.sh_degree)
        self._scale = gui.add_slider("Size of Gaussians", 0.05, 1.5, 0.05, 1.0)
        self._opacity = gui.add_slider(
            "Least opacity", 0.0, 1.0, 0.01, 0.0, hint="Leave out Gaussians of less"
        )
        self._background = gui.add_rgb("Background", (0, 0, 0))
        inputs = [self._quantity, self._degree, self._scale, self._opacity, self._background]
        for control in filter(None, inputs):
            control.on_update(lambda _: changed())
        here = gui.add_button("Level here", hint="Turn about this picture's vertical")
        here.on_click(lambda _: level(client))

    @staticmethod
    def _degree_slider(gui: viser.GuiApi, most: int) -> Any:
        """Returns None for a model whose colours do not depend on the direction."""
        return gui.add_slider("SH degree", 0, most, 1, most) if most else None

    def look(self) -> Look:
        """Returns what the window shows now."""
        red, green, blue = self._background.value
        return Look(
            sh_degree=int(self._degree.value) if self._degree else 0,
            quantity=self._quantity.value,
            background=(red / 255, green / 255, blue / 255),
            scale=self._scale.value,
            min_opacity=self._opacity.value,
        )

    def drawn(self, width: int, height: int) -> None:
        """Says the size of the picture that is shown."""
        self._size.content = f"{width} x {height} pixels"


def _about(model: Model) -> str:
    lines = [f"**{model.title}**", f"{len(model.splats['means']):,} Gaussians"]
    if model.no_scene is not None:
        lines.append("without the scene's cameras (the terminal says why)")
    return "\n\n".join(lines)
