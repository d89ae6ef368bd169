"""Parts of a scene that contradict each other: what is said, and nothing where they agree."""

from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from gs_densify.errors import SceneError
from gs_densify.scene.consistency.colors import all_doubts, looked_at
from gs_densify.scene.consistency.model import check_model
from gs_densify.scene.consistency.readings import READINGS
from gs_densify.scene.consistency.sizes import check_sizes
from gs_densify.scene.consistency.turns import TURNS
from gs_densify.scene.doubt import Doubt
from gs_densify.scene.formats.base import Observations, SceneModel, read_scene_model
from gs_densify.scene.load import load_scene
from gs_densify.scene.photos.decode import Photo
from gs_densify.scene.photos.load import load_photos
from gs_densify.scene.scene import Lens, Scene

OPENGL = np.diag([1.0, -1.0, -1.0, 1.0])


@pytest.fixture(scope="module")
def root(cached_tiny: Path) -> Path:
    return cached_tiny


@pytest.fixture(scope="module")
def model(root: Path) -> SceneModel:
    return read_scene_model(root)


@pytest.fixture(scope="module")
def scene(root: Path) -> Scene:
    return load_scene(root, name="tiny", normalize="none")


@pytest.fixture(scope="module")
def photos(scene: Scene) -> dict[str, Photo]:
    loaded = load_photos(scene.views, progress=False)
    return {view.name: photo for view, photo in zip(scene.views, loaded, strict=True)}


def with_images(model: SceneModel, change: Callable[[int], Mapping]) -> SceneModel:
    images = (replace(image, **change(i)) for i, image in enumerate(model.images))
    return replace(model, images=tuple(images))


def with_poses(model: SceneModel, poses: np.ndarray) -> SceneModel:
    return with_images(model, lambda i: {"cam_from_world": poses[i]})


def observed(model: SceneModel) -> SceneModel:
    """The model with what its photos see of its points, to two pixels."""
    rng = np.random.default_rng(0)

    def see(index: int) -> dict:
        image = model.images[index]
        local = model.points @ image.cam_from_world[:3, :3].T + image.cam_from_world[:3, 3]
        xy = (local @ image.K.T)[:, :2] / local[:, 2:]
        seen = ((xy >= 0) & (xy <= (image.width, image.height))).all(axis=1) & (local[:, 2] > 0)
        noisy = xy[seen] + rng.normal(scale=2.0, size=(int(seen.sum()), 2))
        return {"observations": Observations(np.flatnonzero(seen), noisy)}

    return with_images(model, see)


def poses_of(model: SceneModel) -> np.ndarray:
    return np.stack([image.cam_from_world for image in model.images])


def refusal(model: SceneModel) -> SceneError:
    with pytest.raises(SceneError) as caught:
        check_model(model)
    assert "\n" not in str(caught.value) and caught.value.action
    return caught.value


def written_as_centers(poses: np.ndarray) -> np.ndarray:
    wrong = poses.copy()
    wrong[:, :3, 3] = -np.einsum("nji,nj->ni", poses[:, :3, :3], poses[:, :3, 3])
    return wrong


def written_x_first(poses: np.ndarray) -> np.ndarray:
    wrong = poses.copy()
    x, y, z, w = Rotation.from_matrix(poses[:, :3, :3]).as_quat().T
    wrong[:, :3, :3] = Rotation.from_quat(np.stack([y, z, w, x], axis=1)).as_matrix()
    return wrong


def in_world(*rows: list[float]) -> Callable[[np.ndarray], np.ndarray]:
    """Poses for points whose new coordinates are `rows` times the old ones."""
    new_from_old = np.eye(4)
    new_from_old[:3, :3] = rows
    return lambda poses: poses @ np.linalg.inv(new_from_old)


WRITTEN: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "in OpenGL's axes": lambda poses: OPENGL @ poses,
    "from camera to world": np.linalg.inv,
    "from camera to world in OpenGL's axes": lambda poses: np.linalg.inv(poses) @ OPENGL,
    "rotations with the cameras' centres": written_as_centers,
    "quaternions in the order x y z w": written_x_first,
    "in a world with y and z negated": in_world([1, 0, 0], [0, -1, 0], [0, 0, -1]),
    "in a world in which y is -z": in_world([1, 0, 0], [0, 0, -1], [0, 1, 0]),
    "in a world in which y is z": in_world([1, 0, 0], [0, 0, 1], [0, -1, 0]),
}


# --- a model by itself --------------------------------------------------------------------------


def test_a_model_that_agrees_says_nothing(model: SceneModel) -> None:
    assert check_model(model) == check_model(observed(model)) == []
    assert check_model(replace(model, points=model.points[:0], colors=model.colors[:0])) == []


def test_observations_through_a_lens_agree(model: SceneModel) -> None:
    image = model.images[0]
    lens = Lens("OPENCV", image.width, image.height, (80, 80, 48, 32, -0.2, 0.0, 0.0, 0.0))
    bent = with_images(observed(model), lambda i: {"lens": lens})
    assert check_model(bent) == []


@pytest.mark.parametrize(
    ("K", "found"),
    [
        ([[80, 0, -500], [0, 80, 32]], "principal point at (-500, 32), outside of its 96x64"),
        ([[80, 0, 48], [0, 80, 64]], "principal point at (48, 64), outside"),
        ([[320, 0, 192], [0, 320, 128]], "principal point at (192, 128), outside"),
        ([[1e-3, 0, 48], [0, 1e-3, 32]], "focal length of 0.001 pixels, and 96x64"),
        ([[0.83, 0, 48], [0, 0.83, 32]], "focal length of 0.83 pixels"),
        ([[80, 0, 48], [0, 0.8, 32]], "focal length of 0.8 pixels"),
        ([[1e9, 0, 48], [0, 1e9, 32]], "focal length of 1e+09 pixels"),
    ],
)
def test_impossible_cameras_are_refused(model: SceneModel, K: list, found: str) -> None:
    matrix = np.array([*K, [0, 0, 1]], dtype=np.float64)
    error = refusal(with_images(model, lambda i: {"K": matrix}))
    assert found in error.found and "camera 1" in error.found and "in pixels" in error.action


@pytest.mark.parametrize(
    ("K", "found"),
    [
        ([[80, 0, 24], [0, 80, 16]], "principal point at (24, 16), far from the middle"),
        ([[15, 0, 48], [0, 15, 32]], "focal length of 15 pixels"),
        ([[40, 0, 48], [0, 82, 32]], "focal lengths 40 and 82"),
    ],
)
def test_unlikely_cameras_are_doubted(model: SceneModel, K: list, found: str) -> None:
    matrix = np.array([*K, [0, 0, 1]], dtype=np.float64)
    first = check_model(with_images(model, lambda i: {"K": matrix}))[0]
    assert found in first.found and first.action and not first.photos


def test_readings_and_their_mistakes_are_the_same(model: SceneModel) -> None:
    poses = poses_of(model)
    assert len(READINGS) == len(WRITTEN)
    for reading, (name, write) in zip(READINGS, WRITTEN.items(), strict=True):
        assert reading.name.startswith(name)
        np.testing.assert_allclose(reading.correct(write(poses)), poses, atol=1e-9)


@pytest.mark.parametrize("name", WRITTEN)
def test_observations_tell_in_which_convention_poses_are(model: SceneModel, name: str) -> None:
    whole = observed(model)
    wrong = with_poses(whole, WRITTEN[name](poses_of(model)))
    error = refusal(wrong)
    assert f"the poses seem to be {name}" in error.found
    assert ", or " not in error.found


@pytest.mark.parametrize("name", [*list(WRITTEN)[:2], *list(WRITTEN)[3:4]])
def test_cameras_that_see_next_to_nothing_are_refused(model: SceneModel, name: str) -> None:
    error = refusal(with_poses(model, WRITTEN[name](poses_of(model))))
    assert "of the 640 points before it" in error.found
    assert f"the poses seem to be {name}" in error.found


def test_points_elsewhere_are_refused(model: SceneModel) -> None:
    error = refusal(replace(model, points=model.points + np.array([500.0, 0, 0])))
    assert "0.0% of the 640 points before it" in error.found
    assert "one reconstruction" in error.action


def test_cameras_that_see_few_points_are_doubted(model: SceneModel) -> None:
    K = np.array([[800, 0, 48], [0, 800, 32], [0, 0, 1]], dtype=np.float64)
    first = check_model(with_images(model, lambda i: {"K": K}))[0]
    assert "of the 640 points before it" in first.found
    assert "focal lengths in pixels" in first.action


def test_points_that_no_run_starts_from_are_doubted_only(model: SceneModel) -> None:
    far = replace(model, points=model.points + np.array([500.0, 0, 0]))
    assert "--init random" in refusal(far).action
    (doubt,) = check_model(far, needs_points=False)
    assert "0.0% of the 640 points before it" in doubt.found


def test_a_photo_that_sees_no_point_is_named(model: SceneModel) -> None:
    poses = poses_of(model)
    poses[5] = OPENGL @ poses[5]
    (doubt,) = check_model(with_poses(model, poses))
    assert doubt.photos == ("005.png",) and "1 photo has no point" in doubt.found


def test_points_in_another_unit_are_doubted(model: SceneModel) -> None:
    for factor in (0.001, 0.01):
        found = check_model(replace(model, points=factor * model.points))
        assert "all appear in one spot of the pictures" in found[0].found


def test_points_that_photos_observed_elsewhere_are_doubted_or_refused(model: SceneModel) -> None:
    whole = observed(model)
    (doubt,) = check_model(replace(whole, points=1.6 * model.points))
    assert "project far from where photos observed them" in doubt.found
    error = refusal(replace(whole, points=model.points + np.array([0, 3.0, 0])))
    assert "project far from where" in error.found and "out of their pictures" in error.found


def test_cameras_that_were_scaled_without_what_they_observed_are_doubted(model: SceneModel) -> None:
    half = np.diag([0.5, 0.5, 1.0])

    def scale(index: int) -> dict:
        image = whole.images[index]
        return {"K": half @ image.K, "width": image.width // 2, "height": image.height // 2}

    whole = observed(model)
    (doubt,) = check_model(with_images(whole, scale))
    assert "in photos 2 times the size" in doubt.found


def test_a_photo_with_the_pose_of_another_is_named(model: SceneModel) -> None:
    poses = poses_of(model)
    poses[3] = poses[19]
    (doubt,) = check_model(with_poses(observed(model), poses))
    assert doubt.photos == ("003.png",) and "remove them from the model" in doubt.action


# --- sizes --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("size", "factor", "is_odd"),
    [
        ((1600, 1200), 1, False),
        ((1616, 1212), 1, True),
        ((1601, 1201), 1, False),
        ((800, 600), 1, False),
        ((400, 300), 4, False),
        ((401, 301), 4, False),
        ((404, 303), 4, True),
        ((533, 400), 3, False),
    ],
)
def test_sizes_that_are_a_little_off_are_doubted(
    model: SceneModel, size: tuple[int, int], factor: int, is_odd: bool
) -> None:
    images = [replace(image, width=1600, height=1200) for image in model.images[:2]]
    found = check_sizes(images, [size, size], factor)
    assert bool(found) == is_odd
    if is_odd:
        assert f"{size[0]}x{size[1]}" in found[0].found and not found[0].photos
        one = check_sizes(images, [(1600 // factor, 1200 // factor), size], factor)
        assert one[0].photos == (images[1].name,)


# --- photos -------------------------------------------------------------------------------------


def doubts(scene: Scene, photos: Mapping[str, Photo]) -> list[Doubt]:
    return all_doubts(scene, lambda view: photos[view.name])


def color_refusal(scene: Scene, photos: Mapping[str, Photo]) -> SceneError:
    with pytest.raises(SceneError) as caught:
        doubts(scene, photos)
    assert "\n" not in str(caught.value) and caught.value.action
    return caught.value


def moved(scene: Scene, write: Callable[[np.ndarray], np.ndarray]) -> Scene:
    poses = write(np.stack([view.cam_from_world for view in scene.views]))
    views = (replace(v, cam_from_world=pose) for v, pose in zip(scene.views, poses, strict=True))
    return replace(scene, views=tuple(views))


def square(scene: Scene, photos: Mapping[str, Photo]) -> tuple[Scene, dict[str, Photo]]:
    """The middle of all photos."""
    crop = np.array([[1.0, 0, -16], [0, 1, 0], [0, 0, 1]])
    views = tuple(replace(view, width=64, K=crop @ view.K) for view in scene.views)
    cut = {name: Photo(photo.pixels[:, 16:80], None) for name, photo in photos.items()}
    return replace(scene, views=views), cut


def test_photos_that_show_the_points_say_nothing(scene: Scene, photos: dict[str, Photo]) -> None:
    assert doubts(scene, photos) == []


@pytest.mark.parametrize(
    "change",
    [
        lambda pixels: (pixels * 0.4).astype(np.uint8),
        lambda pixels: np.repeat(pixels.mean(axis=2, keepdims=True), 3, axis=2).astype(np.uint8),
        lambda pixels: np.repeat(np.repeat(pixels, 3, axis=0), 3, axis=1),
    ],
    ids=["dark", "grey", "large"],
)
def test_exposure_grey_and_size_do_not_matter(
    scene: Scene, photos: dict[str, Photo], change: Callable[[np.ndarray], np.ndarray]
) -> None:
    changed = {name: Photo(change(photo.pixels), None) for name, photo in photos.items()}
    assert doubts(scene, changed) == []


def test_points_of_one_color_or_few_say_nothing(scene: Scene, photos: dict[str, Photo]) -> None:
    strange = {name: Photo(photo.pixels[::-1], None) for name, photo in photos.items()}
    assert doubts(replace(scene, colors=np.zeros_like(scene.colors)), strange) == []
    few = replace(scene, points=scene.points[:40], colors=scene.colors[:40])
    assert doubts(few, strange) == []
    same = replace(scene, points=np.full_like(scene.points, 0.3))
    assert doubts(same, strange) == []


def test_masked_pixels_do_not_count(scene: Scene, photos: dict[str, Photo]) -> None:
    strange = {
        name: Photo(photo.pixels[::-1], np.zeros(photo.pixels.shape[:2], bool))
        for name, photo in photos.items()
    }
    assert doubts(scene, strange) == []


@pytest.mark.parametrize("turn", TURNS, ids=lambda turn: turn.name)
def test_photos_that_were_turned_are_said_to_be(
    scene: Scene, photos: dict[str, Photo], turn
) -> None:
    if turn.swaps_sides:
        scene, photos = square(scene, photos)
    turned = {
        "turned by 180 degrees": lambda p: p[::-1, ::-1],
        "mirrored": lambda p: p[:, ::-1],
        "upside down and mirrored": lambda p: p[::-1],
        "turned by 90 degrees clockwise": lambda p: np.rot90(p, -1),
        "turned by 90 degrees counterclockwise": lambda p: np.rot90(p),
    }[turn.name]
    wrong = {name: Photo(turned(photo.pixels), None) for name, photo in photos.items()}
    error = color_refusal(scene, wrong)
    assert f"the photos seem to be {turn.name}" in error.found and "turn" in error.action


@pytest.mark.parametrize("name", [*list(WRITTEN)[2:3], *list(WRITTEN)[4:]])
def test_colors_tell_in_which_convention_poses_are(
    scene: Scene, photos: dict[str, Photo], name: str
) -> None:
    error = color_refusal(moved(scene, WRITTEN[name]), photos)
    assert f"the poses seem to be {name}" in error.found and error.action


@pytest.mark.parametrize("world", ["cameras", "focus"])
def test_conventions_are_those_of_colmap_s_world(
    root: Path, photos: dict[str, Photo], scene: Scene, world, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = read_scene_model(root)
    wrong = with_poses(model, written_x_first(poses_of(model)))
    monkeypatch.setattr("gs_densify.scene.load.read_scene_model", lambda root: wrong)
    error = color_refusal(load_scene(root, name="tiny", normalize=world), photos)
    assert "quaternions in the order x y z w" in error.found


@pytest.mark.parametrize("step", [1, 2, 11])
def test_photos_under_other_names_are_named(
    scene: Scene, photos: dict[str, Photo], step: int
) -> None:
    names = [view.name for view in scene.views]
    shifted = {name: photos[names[(i + step) % 32]] for i, name in enumerate(names)}
    found = color_refusal(scene, shifted).found
    name, other = found.split(" seems to be the photo ")
    index, real = int(name[-8:-5]), int(other[1:4])
    assert (real - index) % 32 == step


def test_two_photos_with_each_other_s_name_are_named(
    scene: Scene, photos: dict[str, Photo]
) -> None:
    names = [view.name for view in looked_at(scene)]
    first, second = names[2], names[9]
    swapped = {**photos, first: photos[second], second: photos[first]}
    found = doubts(scene, swapped)
    assert {frozenset(doubt.photos) for doubt in found} == {frozenset((first, second))}


def test_one_turned_photo_is_named(scene: Scene, photos: dict[str, Photo]) -> None:
    name = looked_at(scene)[3].name
    turned = {**photos, name: Photo(photos[name].pixels[::-1, ::-1], None)}
    (doubt,) = doubts(scene, turned)
    assert doubt.photos == (name,) and "turned by 180 degrees" in doubt.found


@pytest.mark.parametrize("factor", [0.25, 0.5, 2.0, 4.0])
def test_points_of_another_scale_are_doubted(
    scene: Scene, photos: dict[str, Photo], factor: float
) -> None:
    (doubt,) = doubts(replace(scene, points=factor * scene.points), photos)
    assert "do not show the colours of the points" in doubt.found
    assert "one reconstruction" in doubt.action and not doubt.photos


def test_photos_of_something_else_are_doubted(scene: Scene, photos: dict[str, Photo]) -> None:
    rng = np.random.default_rng(0)
    noise = {name: Photo(rng.integers(0, 256, (64, 96, 3), np.uint8), None) for name in photos}
    (doubt,) = doubts(scene, noise)
    assert "by chance it is 50%" in doubt.found


def test_what_concerns_all_photos_comes_first(scene: Scene, photos: dict[str, Photo]) -> None:
    one = Doubt("one", "do", ("000.png",))
    found = doubts(replace(scene, doubts=(one,), points=2.0 * scene.points), photos)
    assert [doubt.photos for doubt in found] == [(), ("000.png",)]


@pytest.mark.parametrize("chosen", [slice(1, None, 2), slice(22, None)], ids=["second", "last"])
def test_photos_with_poses_of_another_reconstruction_are_counted(
    scene: Scene, photos: dict[str, Photo], chosen: slice
) -> None:
    turn = np.eye(4)
    turn[:3, :3] = Rotation.from_euler("z", 30, degrees=True).as_matrix()
    turn[0, 3] = 0.3

    def move(poses: np.ndarray) -> np.ndarray:
        found = poses.copy()
        found[chosen] = poses[chosen] @ turn
        return found

    (doubt,) = doubts(moved(scene, move), photos)
    others = {view.name for view in scene.views[chosen]}
    assert "of 24 photos that were looked at do not show" in doubt.found
    assert doubt.photos and set(doubt.photos) <= others
