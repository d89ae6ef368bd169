"""Digests of a scene notice what moves a number, and nothing else."""

import shutil
from pathlib import Path

import numpy as np
import pycolmap
import pytest
from colmap_files import write_dataset, write_model
from PIL import Image

from gs_densify.scene.digest import joint_digest, photo_digest
from gs_densify.scene.load import load_scene
from gs_densify.scene.photos.decode import Photo
from gs_densify.scene.photos.load import load_photos, load_photos_and_digest
from gs_densify.scene.scene import Scene


def digests(root: Path) -> tuple[str, str]:
    scene = load_scene(root, name="s")
    return scene.model_digest, load_photos_and_digest(scene.views, progress=False)[1]


@pytest.fixture
def scene(tmp_path: Path) -> Scene:
    write_dataset(tmp_path / "scene")
    return load_scene(tmp_path / "scene", name="s")


def test_they_do_not_depend_on_the_place_the_kind_of_file_the_world_or_the_threads(
    scene: Scene, tmp_path: Path
) -> None:
    before = digests(scene.root)
    shutil.copytree(scene.root, tmp_path / "copy")
    model = pycolmap.Reconstruction(scene.root / "sparse/0")
    shutil.rmtree(tmp_path / "copy/sparse/0")
    write_model(tmp_path / "copy/sparse/0", model, kind="legacy")
    assert digests(tmp_path / "copy") == before
    other_world = load_scene(scene.root, name="s", normalize="none", test_every=0)
    assert other_world.model_digest == before[0]
    for workers in (1, 3):
        photos, found = load_photos_and_digest(scene.views, workers=workers, progress=False)
        assert found == before[1]
        for photo, expected in zip(photos, load_photos(scene.views, progress=False), strict=True):
            np.testing.assert_array_equal(photo.pixels, expected.pixels)


def test_a_mask_that_appears_and_one_that_changes_are_noticed(scene: Scene) -> None:
    found = [digests(scene.root)]
    mask = Image.new("L", (scene.views[0].width, scene.views[0].height), 255)
    (scene.root / "masks").mkdir()
    for corner in ((0, 0), (1, 0)):
        mask.putpixel(corner, 0)
        mask.save(scene.root / "masks" / f"{Path(scene.views[0].name).stem}.png")
        found.append(digests(scene.root))
    assert len({photos for _, photos in found}) == 3
    assert len({model for model, _ in found}) == 1


def test_every_pixel_and_the_shape_count(scene: Scene) -> None:
    view, rng = scene.views[0], np.random.default_rng(3)
    pixels = rng.integers(0, 256, (4, 6, 3), np.uint8)
    found = {photo_digest(view, Photo(pixels, None))}
    for place in np.ndindex(pixels.shape):
        other = pixels.copy()
        other[place] ^= 1
        found.add(photo_digest(view, Photo(other, None)))
    found.add(photo_digest(view, Photo(pixels.reshape(6, 4, 3), None)))
    found.add(photo_digest(view, Photo(pixels, np.ones((4, 6), bool))))
    assert len(found) == 1 + pixels.size + 2
    assert joint_digest(sorted(found)) != joint_digest(sorted(found)[::-1])
    turned = np.asfortranarray(pixels)
    assert photo_digest(view, Photo(turned, None)) == photo_digest(view, Photo(pixels, None))
