"""Photos that are left out of a reconstruction: which, why, and what to do."""

from collections.abc import Iterable, Mapping
from typing import NamedTuple

from gs_densify.messages import remark

_NAMED = 5


class Reason(NamedTuple):
    """Why photos are left out."""

    what: str
    """Follows the number of photos."""
    action: str


UNREADABLE = Reason("cannot be read", "copy them again from the camera")
DUPLICATE = Reason("have the same content as others", "nothing to do")
STILL = Reason("show the same as the frame before", "nothing to do: the camera stood still")
FEATURELESS = Reason(
    "show too little detail to be placed",
    "take sharp, well-lit photos with textured things in them, or give --quality high",
)
UNMATCHED = Reason(
    "have nothing in common with others",
    "take more photos between them and the rest, so that each shows half of its neighbour's view",
)
UNPLACED = Reason(
    "could not be placed among the others",
    "take more photos between them and the rest, or give --quality high",
)
SEPARATE = Reason(
    "form models of their own, which nothing connects with the largest",
    "take more photos between them and the rest, or reconstruct them by themselves",
)


def say(reason: Reason, names: Iterable[str], details: Mapping[str, str] | None = None) -> None:
    """Names photos that are left out for a reason in one line, if there are any."""
    names = sorted(names)
    if names:
        remark(f"left out: {listed(names, reason.what, details)}; {reason.action}")


def listed(names: list[str], what: str, details: Mapping[str, str] | None = None) -> str:
    """Returns `3 photos WHAT (a.jpg, b.jpg, c.jpg)`, with the first few names."""
    shown = [f"{name}: {details[name]}" if details else name for name in names[:_NAMED]]
    rest = [f"and {len(names) - _NAMED} more"] * (len(names) > _NAMED)
    verb = {"have": "has", "show": "shows", "form": "forms"}
    if len(names) == 1:
        first, _, others = what.partition(" ")
        what = f"{verb.get(first, first)} {others}"
    return f"{len(names)} photo{'s' * (len(names) > 1)} {what} ({', '.join(shown + rest)})"
