"""A scene as training sees it: names paired with photos, intrinsics that fit, a split."""

import shutil
from pathlib import Path

import numpy as np
import pytest
from colmap_files import POINTS, pose_of, reconstruction, write_dataset, write_model, write_photo

from gs_densify.errors import SceneError
from gs_densify.scene.load import load_scene
from gs_densify.scene.normalize import camera_centers
from gs_densify.scene.photos.load import load_images
from gs_densify.scene.scene import Scene, View

SHARED = Path(__file__).parents[3] / "shared" / "scenes"


def refusal(root: Path, **options) -> str:
    with pytest.raises(SceneError) as caught:
        load_scene(root, name="s", **options)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def project(view: View, points: np.ndarray) -> np.ndarray:
    """Pixels [P, 2] of world points."""
    camera = points @ view.cam_from_world[:3, :3].T + view.cam_from_world[:3, 3]
    pixels = camera @ view.K.T
    return pixels[:, :2] / pixels[:, 2:]


def points_in_colmap(scene: Scene) -> np.ndarray:
    back = np.linalg.inv(scene.normalized_from_colmap)
    return scene.points @ back[:3, :3].T + back[:3, 3]


def test_photos_belong_to_the_poses_of_their_names(tmp_path: Path) -> None:
    names = ["b.png", "cam 2/a.png", "a.png", "cam 2/b.png"]
    scene = load_scene(write_dataset(tmp_path, names, ids=[4, 2, 9, 1]), name="s", normalize="none")
    assert [view.name for view in scene.views] == sorted(names)
    for view, image in zip(scene.views, load_images(scene.views, progress=False), strict=True):
        position = names.index(view.name)
        assert image[0, 0, 0] == position, "the photo's value is its position"
        np.testing.assert_allclose(view.cam_from_world, pose_of(position), atol=1e-12)


def test_photos_that_colmap_did_not_register_are_ignored(tmp_path: Path) -> None:
    root = write_dataset(tmp_path)
    write_photo(root / "images" / "aa.png", 13, 17)
    (root / "images" / "notes.txt").write_text("not a photo")
    scene = load_scene(root, name="s")
    assert [view.path for view in scene.views] == [root / "images" / f"{n}.png" for n in "abc"]


def test_missing_photos_are_counted_and_the_first_is_named(tmp_path: Path) -> None:
    root = write_dataset(tmp_path)
    (root / "images" / "b.png").unlink()
    (root / "images" / "c.png").unlink()
    assert "lacks 2 of the 3 photos that COLMAP registered, first 'b.png'" in refusal(root)


def test_a_missing_image_folder_is_refused_with_those_that_exist(tmp_path: Path) -> None:
    root = write_dataset(tmp_path)
    shutil.copytree(root / "images", root / "images_8")
    message = refusal(root, downscale=4)
    assert "images_4 does not exist" in message and "has images, images_8" in message
    assert "--downscale 1 or 8" in message
    shutil.rmtree(root / "images")
    shutil.rmtree(root / "images_8")
    assert "has no image folder; expected images/" in refusal(root)


@pytest.mark.parametrize("downscale", [0, -2])
def test_a_downscale_below_one_is_refused(tmp_path: Path, downscale: int) -> None:
    assert f"downscale is {downscale}" in refusal(write_dataset(tmp_path), downscale=downscale)


def test_intrinsics_follow_the_size_on_disk_for_each_photo_and_axis(tmp_path: Path) -> None:
    camera = {1: ("PINHOLE", 5187, 3361, [4000.0, 4100.0, 2593.5, 1680.5])}
    root = tmp_path
    write_model(root / "sparse" / "0", reconstruction(cameras=camera))
    for name, size in {"a.png": (1297, 840), "b.png": (1297, 841), "c.png": (1296, 840)}.items():
        write_photo(root / "images_4" / name, *size)
    scene = load_scene(root, name="s", downscale=4)
    first, second, third = scene.views
    np.testing.assert_allclose(first.K[0, [0, 2]], np.array([4000, 2593.5]) * 1297 / 5187)
    np.testing.assert_allclose(first.K[1, [1, 2]], np.array([4100, 1680.5]) * 840 / 3361)
    assert first.K[0, 2] == pytest.approx(648.5), "the centre stays the centre"
    np.testing.assert_allclose(second.K[1, [1, 2]], np.array([4100, 1680.5]) * 841 / 3361)
    np.testing.assert_allclose(third.K[0, [0, 2]], np.array([4000, 2593.5]) * 1296 / 5187)
    assert scene.image_dir == "images_4" and scene.downscale == 4
    assert scene.image_sizes == ((1296, 840), (1297, 840), (1297, 841))
    assert scene.colmap_sizes == ((5187, 3361),)
    assert scene.model_dir == "sparse/0"


@pytest.mark.parametrize("size", [(64, 96), (96, 60), (90, 64)])
def test_a_cropped_or_rotated_photo_is_refused(tmp_path: Path, size: tuple[int, int]) -> None:
    root = write_dataset(tmp_path)
    write_photo(root / "images" / "b.png", *size)
    message = refusal(root)
    assert "b.png" in message and f"{size[0]}x{size[1]}" in message and "96x64" in message


@pytest.mark.parametrize("size", [(96, 64), (97, 64), (12, 8), (13, 8), (11, 8), (960, 640)])
def test_a_size_within_rounding_is_fine(tmp_path: Path, size: tuple[int, int]) -> None:
    root = write_dataset(tmp_path)
    write_photo(root / "images" / "b.png", *size)
    assert (load_scene(root, name="s").views[1].width) == size[0]


def test_normalising_keeps_every_projection_and_can_be_undone(tmp_path: Path) -> None:
    root = write_dataset(tmp_path, [f"{k}.png" for k in "abcdefghi"])
    plain, scene = load_scene(root, name="s", normalize="none"), load_scene(root, name="s")
    np.testing.assert_array_equal(plain.normalized_from_colmap, np.eye(4))
    np.testing.assert_allclose(plain.points, POINTS, rtol=1e-6)
    np.testing.assert_allclose(points_in_colmap(scene), POINTS, atol=1e-5)
    for before, after in zip(plain.views, scene.views, strict=True):
        np.testing.assert_allclose(project(after, scene.points), project(before, POINTS), atol=1e-2)
    centers = camera_centers(np.stack([v.cam_from_world for v in scene.views]))
    distances = np.linalg.norm(centers - centers.mean(axis=0), axis=1)
    assert scene.scene_scale == pytest.approx(distances.max())
    assert distances.mean() == pytest.approx(1)


def test_useless_points_are_dropped_with_their_colours_and_counted(tmp_path: Path) -> None:
    center = -pose_of(0)[:3, :3].T @ pose_of(0)[:3, 3]
    bad = np.array([center, [np.nan, 0, 0], [0, 0, np.inf]])
    points = np.concatenate([POINTS[:4], bad, POINTS[4:]])
    scene = load_scene(write_dataset(tmp_path, points=points), name="s", normalize="none")
    assert scene.dropped_points == 3 and len(scene.points) == 12
    np.testing.assert_array_equal(scene.colors[:, 0], [0, 1, 2, 3, 7, 8, 9, 10, 11, 12, 13, 14])
    assert scene.points.dtype == np.float32 and np.isfinite(scene.points).all()


def test_a_cloud_without_any_useful_point_is_refused(tmp_path: Path) -> None:
    root = write_dataset(tmp_path, points=np.full((3, 3), np.nan))
    assert "none of 3 points is finite" in refusal(root)


def test_every_eighth_name_is_held_out_from_the_first(tmp_path: Path) -> None:
    names = [f"{k:02d}.png" for k in range(18)]
    root = write_dataset(tmp_path, names[::-1])
    scene = load_scene(root, name="s")
    assert [v.name for v in scene.test_views] == ["00.png", "08.png", "16.png"]
    assert {v.name for v in scene.train_views} == set(names) - {"00.png", "08.png", "16.png"}
    everything = load_scene(root, name="s", test_every=0)
    assert len(everything.train_views) == 18 and everything.test_views == ()


@pytest.mark.parametrize("test_every", [1, -1])
def test_a_split_that_leaves_nothing_to_train_on_is_refused(
    tmp_path: Path, test_every: int
) -> None:
    assert "--data.test-every" in refusal(write_dataset(tmp_path), test_every=test_every)


def test_a_single_photo_can_be_trained_on_but_not_held_out(tmp_path: Path) -> None:
    root = write_dataset(tmp_path, ["a.png"])
    assert "none to train on" in refusal(root)
    scene = load_scene(root, name="s", test_every=0)
    assert len(scene.train_views) == 1 and scene.scene_scale > 0


# --- real captures, where they are -----------------------------------------------------------


def real_scene(name: str) -> Path:
    if not (SHARED / name).is_dir():
        pytest.skip(f"no {name} capture beside the repository")
    return SHARED / name


def test_bonsai_loads() -> None:
    scene = load_scene(real_scene("bonsai"), name="bonsai")
    assert (len(scene.views), len(scene.test_views), len(scene.points)) == (292, 37, 91_346)
    assert scene.image_sizes == ((800, 533),)


def test_fountain_loads_and_its_points_lie_on_its_photos() -> None:
    scene = load_scene(real_scene("fountain"), name="fountain")
    assert len(scene.views) == 11 and scene.dropped_points == 0
    images = load_images(scene.views, progress=False)
    errors = []
    for view, image in zip(scene.views, images, strict=True):
        assert image.shape == (1024, 1536, 3)
        x, y = np.floor(project(view, scene.points)).astype(int).T
        inside = (x >= 0) & (x < view.width) & (y >= 0) & (y < view.height)
        seen = image[y[inside], x[inside]].astype(int)
        errors.append(np.abs(seen - scene.colors[inside]).mean(axis=1))
    assert np.median(np.concatenate(errors)) < 20, "chance is about 40"
