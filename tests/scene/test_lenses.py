"""Photos through every lens that COLMAP knows, against a texture whose pinhole image is known."""

import threading
from pathlib import Path

import numpy as np
import pycolmap
import pytest
from colmap_files import reconstruction, write_dataset, write_model
from PIL import Image
from scipy.ndimage import map_coordinates

from gs_densify.errors import SceneError
from gs_densify.scene.load import load_scene
from gs_densify.scene.photos.lens import lens_of, undistortion
from gs_densify.scene.photos.load import load_photos
from gs_densify.scene.photos.prepare import cache_path
from gs_densify.scene.scene import Scene

SHARED = Path(__file__).parents[3] / "shared" / "scenes"

# Principal points off the centre by 4 and 3 pixels: a reader that assumes the centre is far off.
LENSES = {
    "SIMPLE_RADIAL": [160, 84, 57, -0.1],
    "SIMPLE_RADIAL_FISHEYE": [100, 84, 57, 0.02],
    "RADIAL": [160, 84, 57, 0.1, 0.02],
    "RADIAL_FISHEYE": [100, 84, 57, 0.02, 0.01],
    "OPENCV": [160, 150, 84, 57, -0.1, 0.02, 0.001, 0.002],
    "OPENCV_FISHEYE": [100, 95, 84, 57, 0.02, 0.01, 0.001, 0.001],
    "FULL_OPENCV": [160, 150, 84, 57, -0.1, 0.02, 0.001, 0.002, 0, 0.01, 0.01, 0],
    "FOV": [160, 150, 84, 57, 0.5],
    "THIN_PRISM_FISHEYE": [100, 95, 84, 57, 0.02, 0.01, 0.001, 0.001, 0, 0, 0.001, 0.002],
    "RAD_TAN_THIN_PRISM_FISHEYE": [
        *[100, 95, 84, 57, 0.02, 0.01, 0, 0, 0, 0],
        *[0.001, 0.001, 0.001, 0, 0.001, 0],
    ],
    "SIMPLE_DIVISION": [160, 84, 57, -0.1],
    "DIVISION": [160, 150, 84, 57, -0.1],
    "SIMPLE_FISHEYE": [100, 84, 57],
    "FISHEYE": [100, 95, 84, 57],
    "EUCM": [100, 95, 84, 57, 0.6, 1.1],
}


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("GS_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


def texture(rays: np.ndarray) -> np.ndarray:
    """Colours [P, 3] in 0 to 255 of directions x / z, y / z [P, 2]; smooth over several pixels."""
    x, y = rays.T
    waves = [np.sin(9 * x + 2 * y), np.sin(8 * y - x), np.sin(5 * x + 6 * y + 1)]
    return 127.5 + 100 * np.stack(waves, axis=1)


def pixel_centers(width: int, height: int) -> np.ndarray:
    x, y = np.meshgrid(np.arange(width) + 0.5, np.arange(height) + 0.5)
    return np.stack([x, y], axis=-1).reshape(-1, 2)


def camera_of(model: str, params: list, width: int = 160, height: int = 120) -> pycolmap.Camera:
    return pycolmap.Camera(model=model, width=width, height=height, params=params)


def photograph(camera: pycolmap.Camera, size: tuple[int, int]) -> np.ndarray:
    """What the camera sees of the texture, [H, W, 3] uint8, in ``size`` pixels."""
    scale = np.array([camera.width, camera.height]) / size
    rays = np.asarray(camera.cam_from_img(pixel_centers(*size) * scale))
    pixels = np.nan_to_num(texture(rays))
    return np.rint(pixels).astype(np.uint8).reshape(size[1], size[0], 3)


def one_lens_scene(root: Path, camera: pycolmap.Camera, size: tuple[int, int]) -> Path:
    """Three views through one camera, each a photo of the texture."""
    model = camera.model.name, camera.width, camera.height, camera.params
    write_model(root / "sparse" / "0", reconstruction(cameras={1: model}))
    for name in "abc":
        (root / "images").mkdir(exist_ok=True)
        Image.fromarray(photograph(camera, size)).save(root / "images" / f"{name}.png")
    return root


def errors(scene: Scene) -> np.ndarray:
    """Differences of the first view's counted pixels from what its pinhole sees, [P, 3]."""
    view = scene.views[0]
    photo = load_photos([view], progress=False)[0]
    rays = (pixel_centers(view.width, view.height) - view.K[:2, 2]) / np.diag(view.K)[:2]
    counted = slice(None) if photo.mask is None else photo.mask.ravel()
    return np.abs(photo.pixels.reshape(-1, 3) - texture(rays))[counted]


# 90x68 is no exact fraction of 160x120: each axis has its own scale.
@pytest.mark.parametrize("size", [(160, 120), (90, 68)])
@pytest.mark.parametrize("model", LENSES)
def test_undistorted_pixels_lie_where_the_pinhole_has_them(
    tmp_path: Path, model: str, size: tuple[int, int]
) -> None:
    scene = load_scene(one_lens_scene(tmp_path, camera_of(model, LENSES[model]), size), name="s")
    assert scene.undistorted and scene.views[0].colmap_size == (160, 120)
    found = errors(scene)
    # A shift by half a pixel at 90x68 would be 4 levels on average.
    assert found.mean() < 0.8 and np.quantile(found, 0.99) < 4
    assert len(found) > 0.97 * scene.views[0].width * scene.views[0].height
    assert min(scene.views[0].width / size[0], scene.views[0].height / size[1]) > 0.8


def test_every_model_is_either_undistorted_or_refused() -> None:
    known = set(pycolmap.CameraModelId.__members__) - {"INVALID", "PINHOLE", "SIMPLE_PINHOLE"}
    assert known - set(LENSES) <= {"EQUIRECTANGULAR"}


@pytest.mark.parametrize("model", ["OPENCV", "SIMPLE_RADIAL", "OPENCV_FISHEYE"])
def test_the_result_is_that_of_pycolmap(tmp_path: Path, model: str) -> None:
    camera = camera_of(model, LENSES[model])
    scene = load_scene(one_lens_scene(tmp_path, camera, (160, 120)), name="s")
    bitmap, pinhole = pycolmap.undistort_image(
        pycolmap.UndistortCameraOptions(),
        pycolmap.Bitmap.from_array(photograph(camera, (160, 120))),
        camera,
    )
    photo = load_photos(scene.views[:1], progress=False)[0]
    np.testing.assert_array_equal(photo.pixels, bitmap.to_array())
    np.testing.assert_allclose(scene.views[0].K, pinhole.calibration_matrix())
    assert photo.mask is None or 0.999 < photo.mask.mean() < 1, "a bent border lacks a few pixels"


@pytest.mark.parametrize(
    ("model", "params"),
    [("OPENCV", [160, 150, 84, 57, 0, 0, 0, 0]), ("SIMPLE_RADIAL", [160, 84, 57, 0])],
)
def test_a_lens_without_distortion_leaves_photos_alone(
    tmp_path: Path, own_cache: Path, model: str, params: list
) -> None:
    scene = load_scene(one_lens_scene(tmp_path, camera_of(model, params), (160, 120)), name="s")
    assert not scene.undistorted and scene.views[0].recipe is None
    assert errors(scene).max() <= 0.51 and not own_cache.exists()
    assert scene.views[0].K[0, 2] == 84 and scene.views[0].K[1, 2] == 57


@pytest.mark.parametrize(
    "params",
    [
        [80, 80, 84, 57, -0.3, 0.02, 0.0, 0.0],  # folds back outside of a ring
        [100, 100, 84, 57, 0.3, 0.3, 0.02, 0.02],
    ],
)
def test_pixels_without_a_source_are_masked(tmp_path: Path, params: list) -> None:
    scene = load_scene(one_lens_scene(tmp_path, camera_of("OPENCV", params), (160, 120)), name="s")
    view = scene.views[0]
    blank = not undistortion(view.recipe.lens, (160, 120)).valid.all()
    assert blank == scene.masks == (load_photos([view], progress=False)[0].mask is not None)
    found = errors(scene)
    # Close to a fold the photo itself holds waves finer than its pixels.
    assert np.quantile(found, 0.8) < 12, "no counted pixel comes from elsewhere"


def test_a_fold_is_masked(tmp_path: Path) -> None:
    lens = lens_of(camera_of("OPENCV", [80, 80, 84, 57, -0.3, 0.02, 0.0, 0.0]))
    bend = undistortion(lens, (160, 120))
    assert bend.has_blank and 0.2 < bend.valid.mean() < 0.99
    white = bend.apply(np.full((120, 160), 255, np.uint8))
    assert (white[bend.valid] == 255).all(), "a valid pixel has a source"
    assert (white[~bend.valid] == 255).any(), "sources that a fold shows twice are left out"


@pytest.mark.parametrize(
    "extra", [[1e30, 0, 0, 0], [np.nan, 0, 0, 0], [1e17, 0, 0, 1e17], [0.1, 0, 900, 900]]
)
def test_parameters_of_no_lens_are_refused(tmp_path: Path, extra: list) -> None:
    cameras = {1: ("OPENCV", 96, 64, [80.0, 82.0, 48.5, 31.5, *extra])}
    with pytest.raises(SceneError, match=r"parameters of a real lens|expected finite"):
        load_scene(write_dataset(tmp_path, cameras=cameras), name="s")


def test_cameras_with_and_without_a_lens_share_a_scene(tmp_path: Path) -> None:
    cameras = {
        1: ("PINHOLE", 96, 64, [80.0, 82.0, 48.5, 31.5]),
        2: ("RADIAL", 96, 64, [80.0, 48.5, 31.5, 0.1, 0]),
    }
    root = write_dataset(tmp_path, cameras=cameras, camera_of=[1, 2, 1])
    views = load_scene(root, name="s").views
    assert [view.recipe is None for view in views] == [True, False, True]
    sizes = [photo.pixels.shape[1::-1] for photo in load_photos(views, progress=False)]
    assert sizes == [(view.width, view.height) for view in views] and sizes[0] != sizes[1]


# --- the cache -----------------------------------------------------------------------------------


@pytest.fixture
def lens_scene(tmp_path: Path) -> Scene:
    camera = camera_of("OPENCV", LENSES["OPENCV"])
    return load_scene(one_lens_scene(tmp_path, camera, (160, 120)), name="s")


def test_photos_are_prepared_once(lens_scene: Scene, own_cache: Path) -> None:
    assert not own_cache.exists(), "loading a scene makes no pixels"
    first = load_photos(lens_scene.views, progress=False)
    before = {path: path.stat().st_mtime_ns for path in own_cache.rglob("*.png")}
    assert len(before) == 3
    again = load_photos(lens_scene.views, progress=False)
    assert {path: path.stat().st_mtime_ns for path in own_cache.rglob("*.png")} == before
    for one, other in zip(first, again, strict=True):
        np.testing.assert_array_equal(one.pixels, other.pixels)


@pytest.mark.parametrize("damage", [b"", b"no image", None])
def test_a_damaged_cache_is_made_again(lens_scene: Scene, damage: bytes | None) -> None:
    view = lens_scene.views[0]
    whole = load_photos([view], progress=False)[0].pixels
    path = cache_path(view)
    path.write_bytes(path.read_bytes()[:-300] if damage is None else damage)
    np.testing.assert_array_equal(load_photos([view], progress=False)[0].pixels, whole)
    np.testing.assert_array_equal(np.asarray(Image.open(path)), whole)


def test_a_photo_or_camera_that_changed_is_prepared_again(lens_scene: Scene) -> None:
    view = lens_scene.views[0]
    load_photos([view], progress=False)
    Image.new("RGB", (160, 120), (9, 9, 9)).save(view.path)
    assert (load_photos([view], progress=False)[0].pixels == 9).all()


def test_two_that_start_at_once_both_get_the_photos(lens_scene: Scene, own_cache: Path) -> None:
    start, results = threading.Barrier(2, timeout=20), []

    def load() -> None:
        start.wait()
        results.append(load_photos(lens_scene.views, progress=False))

    threads = [threading.Thread(target=load) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for one, other in zip(*results, strict=True):
        np.testing.assert_array_equal(one.pixels, other.pixels)
    assert len([path for path in own_cache.rglob("*") if path.is_file()]) == 3, "no leftovers"


def test_a_cache_that_cannot_be_written_is_refused(
    lens_scene: Scene, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("GS_CACHE", str(tmp_path / "file"))
    with pytest.raises(SceneError, match="set GS_CACHE to a folder of yours"):
        load_photos(lens_scene.views, progress=False)


# --- a real capture, where it is -----------------------------------------------------------------


def test_points_of_fox_show_the_same_colours_before_and_after() -> None:
    if not (SHARED / "fox").is_dir():
        pytest.skip("no fox capture beside the repository")
    scene = load_scene(SHARED / "fox", name="fox", normalize="none")
    assert len(scene.views) == 50 and scene.undistorted and not scene.masks
    model = pycolmap.Reconstruction(SHARED / "fox" / "sparse" / "0")
    (camera,) = model.cameras.values()
    view = scene.views[17]
    local = scene.points @ view.cam_from_world[:3, :3].T + view.cam_from_world[:3, 3]
    pinhole = local[:, :2] / local[:, 2:] * np.diag(view.K)[:2] + view.K[:2, 2]
    lens = np.asarray(camera.img_from_cam(local.astype(np.float64)))
    limit = [view.width - 2, view.height - 2]
    inside = (local[:, 2] > 0) & ((pinhole > 2) & (pinhole < limit)).all(axis=1)
    assert inside.sum() > 1000
    moved = np.linalg.norm((lens - pinhole)[inside], axis=1)
    assert np.median(moved) > 5, "the lens moves points by far more than the test allows"
    photo = load_photos([view], progress=False)[0].pixels
    before = sample(np.asarray(Image.open(view.path)), lens[inside])
    assert np.median(np.abs(sample(photo, pinhole[inside]) - before)) < 2
    assert np.median(np.abs(sample(photo, pinhole[inside] + 1.5) - before)) > 3


def sample(photo: np.ndarray, xy: np.ndarray) -> np.ndarray:
    """Colours [P, 3] at image points [P, 2], interpolated."""
    rows, columns = xy[:, 1] - 0.5, xy[:, 0] - 0.5
    return np.stack(
        [map_coordinates(photo[..., k].astype(float), [rows, columns], order=1) for k in range(3)],
        axis=1,
    )
