"""Rendering this process's part of the views of several, each of which has the whole model."""

from __future__ import annotations

from typing import Any

from gs_densify.distributed.group import Group
from gs_densify.rendering.base import Rasterizer, RenderOutput
from gs_densify.rendering.renderer import Renderer


def of_part(renderer: Renderer, group: Group) -> Renderer:
    """Returns a renderer as `renderer`, which takes the cameras of all processes of `group`.

    Images, `info` and `backgrounds` are those of this process's part of the views (`Group.part`); a
    process alone has `renderer` itself.
    """
    if group.size == 1:
        return renderer
    return Renderer(_PartRasterizer(renderer.rasterizer, group), renderer.settings)


class _PartRasterizer:
    """A rasteriser of this process's part of the views."""

    def __init__(self, whole: Rasterizer, group: Group) -> None:
        self._whole, self._group = whole, group
        self.name, self.devices, self.start = whole.name, whole.devices, whole.start
        if hasattr(whole, "of_stored"):
            self.of_stored = self._of_stored

    def __call__(self, *args: Any, **options: Any) -> RenderOutput:
        """Renders the part of C views; see `rendering.base.Rasterizer`."""
        return self._render(self._whole, args, options)

    def _of_stored(self, *args: Any, **options: Any) -> RenderOutput:
        return self._render(self._whole.of_stored, args, options)  # type: ignore[attr-defined]

    def _render(self, render: Any, args: tuple[Any, ...], options: dict[str, Any]) -> RenderOutput:
        *model, viewmats, Ks, width, height = args
        part = self._group.part(len(viewmats))
        count = part.stop - part.start
        if count:
            return render(*model, viewmats[part], Ks[part], width, height, **options)
        # A process that the others leave no view: it renders one of theirs, which counts nothing.
        options = {**options, "backgrounds": None}
        output = render(*model, viewmats[:1], Ks[:1], width, height, **options)
        aux = None if output.aux is None else output.aux[:0]
        return RenderOutput(output.image[:0], output.alpha[:0], output.info, aux)
