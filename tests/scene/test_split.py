"""Names in a list mean photos as long as they mean one."""

from pathlib import Path

import pytest

from gs_densify.errors import SceneError
from gs_densify.scene.split import held_out

NAMES = ["cam1/a.jpg", "cam1/b.jpg", "cam2/a.jpg", "cam2/c.HEIC"]
PATH = Path("test.txt")


@pytest.mark.parametrize(
    ("listed", "meant"),
    [
        ("cam1/a.jpg", "cam1/a.jpg"),
        ("cam2\\A.png", "cam2/a.jpg"),
        ("b.jpg", "cam1/b.jpg"),
        ("c", "cam2/c.HEIC"),
        ("/home/me/images/cam1/a.jpg", "cam1/a.jpg"),
    ],
)
def test_a_name_means_a_photo(listed: str, meant: str) -> None:
    assert held_out([listed], NAMES, path=PATH) == {meant}


def test_a_name_that_means_two_photos_is_refused_with_them() -> None:
    with pytest.raises(SceneError, match=r"'a.jpg', which may be cam1/a.jpg, cam2/a.jpg"):
        held_out(["a.jpg"], NAMES, path=PATH)
