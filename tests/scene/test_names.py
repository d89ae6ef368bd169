"""What names of photos mean, whoever wrote them."""

from pathlib import Path, PurePosixPath

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gs_densify.scene.photos.names import inner_path, photo_files, photo_keys


@pytest.mark.parametrize(
    ("name", "path"),
    [
        ("a.jpg", "a.jpg"),
        ("cam 1/a.jpg", "cam 1/a.jpg"),
        ("./cam//a.jpg", "cam/a.jpg"),
        (r"cam\a.jpg", "cam/a.jpg"),
        (r"C:\photos\a.jpg", "C/photos/a.jpg"),
        ("d:/a.jpg", "d/a.jpg"),
        (r"\\server\share\a.jpg", "server/share/a.jpg"),
        ("/home/me/a.jpg", "home/me/a.jpg"),
        ("../images/a.jpg", "images/a.jpg"),
        ("a/../../x.png", "x.png"),
        ("..", ""),
    ],
)
def test_a_name_means_a_path_below_a_folder(name: str, path: str) -> None:
    assert inner_path(name) == path


@given(st.text(alphabet="ab.:/\\ Cü", max_size=12))
def test_no_name_leads_out_and_paths_mean_themselves(name: str) -> None:
    path = inner_path(name)
    assert not PurePosixPath(path).is_absolute() and ".." not in path.split("/")
    assert ":" in name or inner_path(path) == path


@pytest.mark.parametrize(
    ("name", "key"),
    [("IMG_1.HEIC", "img_1"), ("a.dng", "a"), ("a.CR3", "a"), ("a.3fr", "a"), ("a.exr", "a")],
)
def test_a_suffix_that_pillow_does_not_read_may_be_another_on_disk(name: str, key: str) -> None:
    assert key in photo_keys(name)


def test_a_number_after_a_point_is_no_suffix() -> None:
    assert photo_keys("frame.0001") == {"frame.0001"}


def test_photos_are_found_behind_links_and_once_in_a_circle(tmp_path: Path) -> None:
    root = tmp_path / "images"
    for file in ("store/a.JPG", "images/b.png", "images/notes.txt", "images/._b.png"):
        (tmp_path / file).parent.mkdir(exist_ok=True)
        (tmp_path / file).write_bytes(b"")
    (root / "__MACOSX").mkdir()
    (root / "__MACOSX" / "b.png").write_bytes(b"")
    (root / "cam").symlink_to(tmp_path / "store")
    (root / "again").symlink_to(root)
    found = {path.relative_to(root).as_posix() for path in photo_files(root)}
    assert found == {"b.png", "cam/a.JPG"}
    assert list(photo_files(tmp_path / "none")) == []
