"""Views of which no pixel counts, because masks leave all of them out."""

import logging
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace

from gs_densify.errors import SceneError
from gs_densify.messages import DOUBT
from gs_densify.scene.scene import Scene, View

_log = logging.getLogger(__name__)

_SHOWN = 8
"""Names in a message."""


def without_blank(
    scene: Scene, is_blank: Mapping[str, bool], *, known: Iterable[str] = ()
) -> Scene:
    """Returns the scene with the views left out of which no pixel counts, which is said.

    Args:
        scene: the scene.
        is_blank: of some of its views, by name, whether no pixel counts.
        known: names of views that were blank before; counts for those that are not in `is_blank`.

    Raises:
        SceneError: no view is left to train on, or of those that are held out none.
    """
    blank = frozenset(name for name, found in is_blank.items() if found)
    rest = replace(scene, blank=blank | (frozenset(known) - is_blank.keys()))
    if not blank:
        return rest
    _require_some(scene, scene.train_views, rest.train_views, "to train on")
    _require_some(scene, scene.test_views, rest.test_views, "held out")
    message = "%s: %s left out, of which the masks let no pixel count"
    _log.log(DOUBT, message, scene.root, _listed(sorted(blank)))
    return rest


def _require_some(scene: Scene, views: Sequence[View], left: Sequence[View], what: str) -> None:
    if left or not views:
        return
    is_inverted = any(view.mask is not None and view.mask.invert for view in views)
    expected, other = ("white (255) or opaque", "invert")
    if is_inverted:
        expected, other = ("black (0) or transparent", "auto")
    raise SceneError(
        f"{scene.root}: masks let no pixel of the {len(views)} photos count that are {what}, first"
        f" {views[0].name!r}",
        expected=f"expected masks that are {expected} where photos count",
        action=f"give --data.masks {other} or none, or mend the masks",
    )


def _listed(names: Sequence[str]) -> str:
    shown = ", ".join(map(repr, names[:_SHOWN]))
    return shown + (f" and {len(names) - _SHOWN} more photos" if len(names) > _SHOWN else "")
