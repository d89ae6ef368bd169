"""The choice of a photo: the window goes to where it was taken, and shows it beside the render."""

from collections.abc import Callable, Sequence

import viser

from gs_densify.evaluation.metrics import BUILTIN
from gs_densify.viewer.paint import Quantity
from gs_densify.viewer.shots import Shot, ranked
from gs_densify.viewer.steering import go_to

NONE = "choose one"


class PhotoChoice:
    """A list of photos, the held-out ones with the worst score first, and a box to compare.

    Args:
        client: the window.
        shots: one at least.
        changed: called after every change.
    """

    def __init__(
        self, client: viser.ClientHandle, shots: Sequence[Shot], changed: Callable[[], None]
    ) -> None:
        self._client, self._changed = client, changed
        self._shots = {_label(shot): shot for shot in ranked(shots)}
        self._chosen = client.gui.add_dropdown(
            "Go to photo",
            [NONE, *self._shots],
            initial_value=NONE,
            hint="Held-out views, the worst score first",
        )
        has_photos = any(shot.view is not None for shot in shots)
        self._beside = (
            client.gui.add_checkbox(
                "Beside its photo", True, hint="Photo, render and error, until the window moves"
            )
            if has_photos
            else None
        )

        @self._chosen.on_update
        def _(_: viser.GuiEvent) -> None:
            self._go()

        if self._beside is not None:
            self._beside.on_update(lambda _: changed())

    def choose(self, shot: Shot) -> None:
        """Goes to a shot, as if it was chosen from the list."""
        self._chosen.value = _label(shot)
        self._go()

    def _go(self) -> None:
        shot = self._shots.get(self._chosen.value)
        if shot is not None:
            go_to(self._client, shot.camera)
        self._changed()

    def beside(self, quantity: Quantity) -> Shot | None:
        """Returns the shot to compare with, where one is chosen and colours are shown."""
        shot = self._shots.get(self._chosen.value)
        is_wanted = self._beside is not None and self._beside.value and quantity == "colour"
        return shot if is_wanted and shot is not None and shot.view is not None else None


def _label(shot: Shot) -> str:
    psnr = BUILTIN["psnr"]
    score = None if shot.scores is None else shot.scores["psnr"]
    if score is not None:
        return f"{shot.name}: {score:.2f} {psnr.unit}"
    return shot.name if shot.kind == "unknown" else f"{shot.name} ({shot.kind})"
