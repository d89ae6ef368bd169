"""Damaged data sets, hundreds of them: each is loaded right or refused in one line.

GS_FUZZ sets the number of cases of each test (default 120), e.g. GS_FUZZ=5000 for a long search.
"""

import os
import random
import shutil
from pathlib import Path

import numpy as np
import pytest
from colmap_files import POINTS, reconstruction, replace_files, write_dataset, write_model
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from gs_densify.errors import GsDensifyError
from gs_densify.scene.load import PhotoOptions, load_scene
from gs_densify.scene.photos.load import load_photos
from gs_densify.scene.scene import Scene

many = settings(max_examples=int(os.environ.get("GS_FUZZ", "60")))

NAMES = ("a 1.png", "sub/b.png", "c.jpg", "d.png")
CAMERAS = {
    1: ("PINHOLE", 24, 16, [20.0, 21.0, 12.0, 8.0]),
    2: ("OPENCV", 24, 16, [20.0, 21.0, 12.0, 8.0, 0.1, 0.01, 0.001, 0.002]),
    3: ("SIMPLE_RADIAL_FISHEYE", 24, 16, [20.0, 12.0, 8.0, 0.02]),
}


def value_of(name: str) -> int:
    return 40 * (1 + NAMES.index(name))


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data set whose photos say which they are, with masks and models of every kind aside."""
    root = tmp_path_factory.mktemp("damaged")
    model = reconstruction(NAMES, cameras=CAMERAS, camera_of=[1, 2, 3, 2], points=POINTS[:4])
    for kind in ("bin", "legacy", "txt"):
        write_model(root / "models" / kind, model, kind=kind)
    for name in NAMES:
        for folder, size in (("images", (24, 16)), ("masks", (24, 16))):
            path = root / folder / name
            path.parent.mkdir(parents=True, exist_ok=True)
            value = value_of(name) if folder == "images" else 255
            Image.new("RGB", size, (value,) * 3).save(path)
    shutil.copytree(root / "models" / "bin", root / "sparse" / "0")
    return root


@pytest.fixture(autouse=True)
def own_cache(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("ERROR")
    monkeypatch.setenv("GS_CACHE", str(tmp_path / "cache"))


def load(root: Path, downscale: int = 1, **options) -> tuple[Scene, list[np.ndarray]] | None:
    """The scene and its photos; None where it is refused in one line. Nothing else may come."""
    try:
        scene = load_scene(root, name="s", downscale=downscale, photos=PhotoOptions(**options))
        photos = load_photos(scene.views, workers=1, progress=False)
    except GsDensifyError as error:
        assert "\n" not in str(error) and len(str(error)) > 40
        return None
    return scene, [photo.pixels for photo in photos]


def check(loaded: tuple[Scene, list[np.ndarray]] | None, *, unsure: str = "") -> None:
    """Whatever was loaded is sound, and every photo but ``unsure`` is that of its name."""
    if loaded is None:
        return
    scene, photos = loaded
    assert [v.name for v in scene.views] == sorted({v.name for v in scene.views})
    for view, pixels in zip(scene.views, photos, strict=True):
        assert pixels.shape == (view.height, view.width, 3)
        assert view.name in NAMES, "another name has no photo"
        assert view.name == unsure or np.abs(np.median(pixels) - value_of(view.name)) <= 2
        assert np.isfinite(view.K).all() and view.K[0, 0] > 0 and view.K[1, 1] > 0
        rotation = view.cam_from_world[:3, :3]
        np.testing.assert_allclose(rotation @ rotation.T, np.eye(3), atol=1e-6)


def damaged(data: st.DataObject, content: bytes) -> bytes:
    """The content cut off, or with a few bytes replaced, removed or added."""
    if data.draw(st.booleans()):
        return content[: data.draw(st.integers(0, len(content) - 1))]
    start = data.draw(st.integers(0, len(content) - 1))
    patch = data.draw(st.one_of(st.binary(max_size=9), st.sampled_from([b"\xff" * 8, bytes(8)])))
    return content[:start] + patch + content[start + data.draw(st.integers(0, 9)) :]


def with_model(root: Path, files: dict[str, bytes]) -> Path:
    replace_files(root / "sparse" / "0", files)
    return root


@many
@given(st.data())
@pytest.mark.parametrize("kind", ["bin", "legacy", "txt"])
def test_a_damaged_model(root: Path, kind: str, data: st.DataObject) -> None:
    files = {path.name: path.read_bytes() for path in (root / "models" / kind).iterdir()}
    name = data.draw(st.sampled_from(sorted(files)))
    with_model(root, {**files, name: damaged(data, files[name])})
    check(load(root, skip_missing=data.draw(st.booleans())))


@many
@given(st.data())
def test_a_damaged_photo_or_mask(root: Path, data: st.DataObject) -> None:
    files = {path.name: path.read_bytes() for path in (root / "models" / "bin").iterdir()}
    with_model(root, files)
    name = data.draw(st.sampled_from(NAMES))
    path = root / data.draw(st.sampled_from(["images", "masks"])) / name
    content = path.read_bytes()
    try:
        path.write_bytes(damaged(data, content))
        loaded = load(root, data.draw(st.sampled_from([1, 2])), image_source="auto")
        # Other bytes may be another JPEG; a PNG has checksums.
        check(loaded, unsure=name if name.endswith("jpg") else "")
    finally:
        path.write_bytes(content)


@many
@given(st.integers(0, 2**32 - 1))
def test_permuted_lines_of_text_change_nothing(root: Path, seed: int) -> None:
    shuffled = random.Random(seed)
    files = {path.name: path.read_bytes() for path in (root / "models" / "txt").iterdir()}
    whole = load(with_model(root, files))
    assert whole is not None
    for name, size in (("cameras.txt", 1), ("images.txt", 2), ("points3D.txt", 1)):
        lines = [x for x in files[name].split(b"\n") if not x.startswith(b"#")]
        lines = lines[:-1]  # what follows the last line's end
        records = [b"\n".join(lines[i : i + size]) for i in range(0, len(lines), size)]
        shuffled.shuffle(records)
        files[name] = b"\n".join(records) + b"\n"
    permuted = load(with_model(root, files))
    assert permuted is not None
    check(permuted)
    for one, other in zip(whole[0].views, permuted[0].views, strict=True):
        assert one.name == other.name and one.recipe == other.recipe
        np.testing.assert_array_equal(one.cam_from_world, other.cam_from_world)
        np.testing.assert_array_equal(one.K, other.K)


@many
@given(st.data())
def test_renamed_and_removed_photos(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    """Files under other cases, suffixes and folders: the right one, or none."""
    names = ["a.png", "A.PNG", "a.jpg", "x/a.png", "b.JPG"]
    registered = data.draw(st.lists(st.sampled_from(names), min_size=2, unique=True))
    on_disk = data.draw(st.lists(st.sampled_from([*names, "b.tif", "B.png"]), unique=True))
    root = tmp_path_factory.getbasetemp() / "renamed"
    shutil.rmtree(root, ignore_errors=True)
    write_dataset(root, sorted(registered))
    shutil.rmtree(root / "images")
    (root / "images").mkdir()
    for value, name in enumerate(on_disk):
        (root / "images" / name).parent.mkdir(exist_ok=True)
        Image.new("RGB", (96, 64), (20 * value,) * 3).save(root / "images" / name)
    loaded = load(root, skip_missing=data.draw(st.booleans()))
    if loaded is None:
        return
    seen = [on_disk[round(float(np.median(pixels)) / 20)] for pixels in loaded[1]]
    assert len(seen) == len(set(seen)), "a photo stands for one name only"
    for view, file in zip(loaded[0].views, seen, strict=True):
        assert file == view.name or view.name not in on_disk
        meant, found = (os.path.splitext(name)[0].lower() for name in (view.name, file))
        assert f"/{meant}".endswith(f"/{found}")
        others = [name.lower() for name in registered if name != view.name]
        assert meant == found or not any(name.startswith(f"{found}.") for name in others)
