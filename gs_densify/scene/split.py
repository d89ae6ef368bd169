"""The split of the field: photos sorted by name, every k-th from the first held out.

Mip-NeRF 360 (Barron et al. 2022) and the splatting papers after it use k = 8.
"""

from gs_densify.errors import SceneError


def is_test_index(index: int, test_every: int) -> bool:
    """Returns whether the ``index``-th name in sorted order is held out; never when ``test_every``
    is 0.
    """
    return test_every > 0 and index % test_every == 0


def check_split(num_views: int, test_every: int, *, scene: str) -> None:
    """Refuses a split that makes no sense or leaves nothing to train on (``SceneError``)."""
    if test_every < 0:
        raise SceneError(
            f"is {test_every}, in scene {scene}",
            expected="expected a number of 0 or more",
            action="give 8 for the usual split or 0 to train on every view",
            option="data.test-every",
        )
    if all(is_test_index(i, test_every) for i in range(num_views)):
        raise SceneError(
            f"scene {scene}: holding out every {test_every}th of {num_views} views leaves none to"
            " train on",
            expected="expected at least one",
            action="give --data.test-every 0 to train on all of them, without scores",
        )
