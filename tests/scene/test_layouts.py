"""Data sets as tools lay them out: where the model is, and which photos and masks go with it."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from colmap_files import reconstruction, write_model, write_photo
from PIL import Image

from gs_densify.errors import SceneError
from gs_densify.scene.load import PhotoOptions, load_scene
from gs_densify.scene.photos.load import load_images
from gs_densify.scene.presets import resolve_scene
from gs_densify.scene.scene import Scene

NAMES = ("a.png", "b.png", "c.png")


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GS_CACHE", str(tmp_path / "cache"))


def write(root: Path, model: str, photos: str | None, names: Sequence[str] = NAMES) -> Path:
    """A model in one folder and its photos in another, each photo with its index for a colour."""
    folder = root / model
    if folder == root:
        for file in write_model(root / "made", reconstruction(names)).iterdir():
            file.rename(root / file.name)
    else:
        write_model(folder, reconstruction(names))
    for value, name in enumerate(names if photos is not None else ()):
        write_photo(root / (photos or "") / name, value=value)
    return root


def load(path: Path, **options) -> Scene:
    source = resolve_scene(str(path))
    photos = PhotoOptions(**options)
    return load_scene(source.root, name="s", photos=photos, model_folder=source.model)


def values(scene: Scene) -> list[int]:
    return [int(image[0, 0, 0]) for image in load_images(scene.views, progress=False)]


def refusal(path: Path) -> str:
    with pytest.raises(SceneError) as caught:
        load(path)
    return str(caught.value)


@pytest.mark.parametrize(
    ("model", "photos"),
    [
        ("sparse/0", "images"),
        ("sparse/0", "input"),
        ("sparse/0", ""),
        ("", "images"),
        ("", ""),
        ("colmap/sparse/0", "images"),
        ("colmap/sparse", "colmap/images"),
        ("dense/sparse", "dense/images"),
        ("dense/0/sparse", "dense/0/images"),
        ("distorted/sparse/0", "input"),
        ("colmap", "images"),
        ("recon/out/sparse/0", "images"),
        ("recon/out", "recon/images"),
        ("sparse/0", "photos"),
        ("my model", "shoot/rgb"),
    ],
)
def test_such_a_layout_is_read_from_its_folder(tmp_path: Path, model: str, photos: str) -> None:
    scene = load(write(tmp_path / "house", model, photos))
    assert (scene.model_dir, scene.image_dir) == (model or ".", photos or ".")
    assert values(scene) == [0, 1, 2] and scene.root == tmp_path / "house"


@pytest.mark.parametrize(
    "chosen",
    ["sparse/0", "sparse/1", "colmap/sparse/0", "colmap/sparse", "recon/0"],
)
def test_a_path_to_a_model_chooses_it(tmp_path: Path, chosen: str) -> None:
    root = write(tmp_path / "house", "sparse/0", "images")
    write(root, "sparse/1", None, ["b.png"])
    write(root, "colmap/sparse/0", None, ["b.png", "c.png"])
    write(root, "recon/0", None, ["a.png", "c.png"])
    source = resolve_scene(str(root / chosen))
    scene = load_scene(source.root, name="s", test_every=0, model_folder=source.model)
    expected = {"sparse/0": 3, "sparse/1": 1}.get(chosen, 2)
    assert (source.name, scene.root, len(scene.views)) == ("house", root, expected)


def test_photos_beside_the_model_go_before_those_of_the_data_set(tmp_path: Path) -> None:
    root = write(tmp_path / "house", "dense/sparse", "dense/images")
    for name in NAMES:
        write_photo(root / "images" / name, value=99)
    assert values(load(root)) == [0, 1, 2]


def test_several_models_are_refused_and_each_can_be_named(tmp_path: Path) -> None:
    root = write(tmp_path / "house", "dense/sparse", "dense/images")
    write(root, "colmap/sparse/0", "images")
    message = refusal(root)
    first = root / "colmap" / "sparse" / "0"
    assert f"holds 2 models: {first}, {root / 'dense' / 'sparse'}; expected one" in message
    assert f"path of one: {first}" in message and load(first).image_dir == "images"
    assert values(load(root / "dense" / "sparse")) == [0, 1, 2]
    write(root, "sparse/0", None)
    assert load(root).model_dir == "sparse/0", "the data set's own"


@pytest.mark.parametrize("name", ["cam 1/a.png", "/me/images/cam 1/a.HEIC", "a.png"])
def test_a_folder_of_photos_is_known_by_the_first_of_them(tmp_path: Path, name: str) -> None:
    root = write(tmp_path / "house", "sparse/0", None, [name])
    write_photo(root / "photos 2024" / "cam 1" / "a.png", value=7)
    source = resolve_scene(str(root))
    scene = load_scene(source.root, name="s", test_every=0)
    assert values(scene) == [7]
    write_photo(root / "rejected" / "cam 1" / "a.png")
    with pytest.raises(SceneError, match="in 2 folders: photos 2024"):
        load_scene(source.root, name="s", test_every=0)


def test_the_folder_above_is_named_where_the_photos_are_given(tmp_path: Path) -> None:
    root = write(tmp_path / "house", "sparse/0", "images")
    assert refusal(root / "images").endswith(f"which is the one above; give {root}")


def test_a_data_set_may_be_called_sparse(tmp_path: Path) -> None:
    root = write(tmp_path / "sparse" / "house", "sparse/0", "images")
    assert resolve_scene(str(root)).root == root
    assert resolve_scene(str(root / "sparse" / "0")).root == root


@pytest.mark.parametrize("base", ["", "dense"])
def test_masks_lie_beside_the_model_or_in_the_data_set(tmp_path: Path, base: str) -> None:
    root = write(tmp_path / "house", "dense/sparse", "dense/images")
    (root / base / "masks").mkdir()
    for name in NAMES:
        counts = np.full((64, 96), 255, np.uint8)
        counts[:9] = 0
        Image.fromarray(counts).save(root / base / "masks" / name)
    scene = load(root)
    assert all(view.mask and view.mask.path for view in scene.views)


def test_a_folder_that_is_not_used_for_masks_is_named(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    root = write(tmp_path / "house", "sparse/0", "images")
    write_photo(root / "mask" / "a.png", value=255)
    assert not load(root).masks
    assert f"{root / 'mask'} is not used: masks are read from {root / 'masks'}" in caplog.text
    caplog.clear()
    load(root, masks="none")
    (root / "mask").rename(root / "masks")
    load(root)
    assert "is not used" not in caplog.text
