"""The split of the field: photos sorted by name, every k-th from the first held out.

Mip-NeRF 360 (Barron et al. 2022) and the splatting papers after it use k = 8. A list of names is
the other way to say which.
"""

from collections.abc import Sequence
from pathlib import Path

from gs_densify.errors import SceneError, reason_of
from gs_densify.scene.photos.names import ends_of, inner_path, photo_keys
from gs_densify.text_file import read_text


def is_test_index(index: int, test_every: int) -> bool:
    """Returns whether the ``index``-th name in sorted order is held out; never when ``test_every``
    is 0.
    """
    return test_every > 0 and index % test_every == 0


def check_split(
    num_views: int, test_every: int, *, scene: str, needs_training: bool = True
) -> None:
    """Refuses a split that makes no sense, or leaves nothing to train on where that is needed
    (``SceneError``).
    """
    if test_every < 0:
        raise SceneError(
            f"is {test_every}, in scene {scene}",
            expected="expected a number of 0 or more",
            action="give 8 for the usual split or 0 to train on every view",
            option="data.test-every",
        )
    if needs_training and test_every == 1:
        raise SceneError(
            "is 1, which leaves no photo to train on",
            expected="expected at least 2, or 0 to hold none out",
            action="give 8 for the usual split or 0 to train on every view",
            option="data.test-every",
        )
    if needs_training and all(is_test_index(i, test_every) for i in range(num_views)):
        raise SceneError(
            f"scene {scene}: holding out every {test_every}th of {num_views} views leaves none to"
            " train on",
            expected="expected at least one",
            action="give --data.test-every 0 to train on all of them, without scores",
        )


def read_test_list(path: Path) -> tuple[str, ...]:
    """Returns the names in a file, one a line, without empty lines and those that begin with #.

    Raises:
        SceneError: it cannot be read, or holds no name.
    """
    try:
        lines = [line.strip() for line in read_text(path).splitlines()]
    except (OSError, UnicodeDecodeError) as error:
        found = f"cannot be read ({reason_of(error)})"
        raise _refused_list(path, found, "name a text file") from None
    names = tuple(line for line in lines if line and not line.startswith("#"))
    if not names:
        raise _refused_list(path, "holds no name", "list the photos to hold out, one a line")
    return names


def held_out(listed: Sequence[str], names: Sequence[str], *, path: Path) -> frozenset[str]:
    """Returns which of the photos ``names`` are listed: by name, or by one that means the same.

    That is one with other case or suffix, or the end of a path, if it means one photo only.

    Raises:
        SceneError: a name means no photo or several, or none is left to train on.
    """
    found = {_meant(inner_path(name), names, path) for name in listed}
    if len(found) == len(names):
        raise _refused_list(path, f"lists all {len(names)} photos", "leave some to train on")
    return frozenset(found)


def _meant(wanted: str, names: Sequence[str], path: Path) -> str:
    if wanted in names:
        return wanted
    keys = photo_keys(wanted)
    by_key = {name: photo_keys(name) for name in names}
    same = [name for name in names if keys & by_key[name]]
    meant = same or [
        name for name in names if _ends(keys) & by_key[name] or keys & _ends(by_key[name])
    ]
    if len(meant) == 1:
        return meant[0]
    if meant:
        raise _refused_list(
            path, f"lists {wanted!r}, which may be {', '.join(meant)}", "give the whole name"
        )
    raise _refused_list(
        path,
        f"lists {wanted!r}, which is no photo of the model (the first is {names[0]!r})",
        "give COLMAP's names",
    )


def _ends(keys: set[str]) -> set[str]:
    return {end for key in keys for end in ends_of(key)}


def _refused_list(path: Path, found: str, action: str) -> SceneError:
    return SceneError(
        f"{path} {found}",
        expected="expected the names of photos",
        action=action,
        option="data.test-list",
    )
