"""The controls of one browser window."""

from collections.abc import Callable
from typing import Any

import numpy as np
import viser

from gs_densify.viewer.frusta import add_frusta
from gs_densify.viewer.model import Model
from gs_densify.viewer.paint import QUANTITIES, Look, Painter
from gs_densify.viewer.photos import PhotoChoice
from gs_densify.viewer.start import bulk_of, start_beside
from gs_densify.viewer.steering import level, stand_up

_GUESSED = "as it opened"
_AXES = tuple(zip("xyz", np.eye(3), strict=True))


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
        self._photos = PhotoChoice(client, model.shots, changed) if model.shots else None
        if self._photos is None:
            _add_choice_of_up(client, model)
        else:
            add_frusta(client, model.shots, self._photos.choose)

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
            beside=None if self._photos is None else self._photos.beside(self._quantity.value),
        )

    def drawn(self, width: int, height: int, trouble: str) -> None:
        """Says the size of the picture that is shown, and what is wrong with it, if anything."""
        self._size.content = "\n\n".join(filter(None, [f"{width} x {height} pixels", trouble]))

    def not_drawn(self, trouble: str) -> None:
        """Says why the picture is still the one before."""
        self._size.content = trouble


def _add_choice_of_up(client: viser.ClientHandle, model: Model) -> None:
    """Adds what mends a model whose up was guessed wrongly."""
    axes = {f"{sign}{name}": float(f"{sign}1") * axis for name, axis in _AXES for sign in "+-"}
    chosen = client.gui.add_dropdown(
        "Up",
        [_GUESSED, *axes],
        initial_value=_GUESSED,
        hint="No photo says it: choose another where it is wrong",
    )

    @chosen.on_update
    def _(_: viser.GuiEvent) -> None:
        x, y, z = axes.get(chosen.value, np.array(model.up))
        stand_up(client, (x, y, z), start_beside(bulk_of(model.splats), (x, y, z)))


def _about(model: Model) -> str:
    lines = [f"**{model.title}**", f"{len(model.splats['means']):,} Gaussians"]
    return "\n\n".join([*lines, *model.remarks])
