"""The tiny scene: reproducible, geometrically true, and safe to generate twice at once."""

import threading
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from gs_densify.errors import SceneError
from gs_densify.scene.cache import default_cache
from gs_densify.scene.formats.tiny import make as tiny
from gs_densify.scene.formats.tiny.make import (
    HEIGHT,
    WIDTH,
    camera_rays,
    ensure_tiny,
    make_tiny,
    tiny_poses,
    tiny_world,
)
from gs_densify.scene.formats.tiny.raycast import Box, Sphere
from gs_densify.scene.load import load_scene
from gs_densify.scene.photos.load import load_images
from gs_densify.scene.presets import resolve_scene
from gs_densify.scene.scene import Scene


@pytest.fixture(scope="module")
def tiny_root(cached_tiny: Path) -> Path:
    return cached_tiny


def contents(root: Path) -> dict[str, bytes]:
    return {p.relative_to(root).as_posix(): p.read_bytes() for p in root.rglob("*") if p.is_file()}


def pixels_of(pose: np.ndarray, points: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Image coordinates [P, 2] and depths [P]."""
    camera = points @ pose[:3, :3].T + pose[:3, 3]
    uv = tiny.FOCAL * camera[:, :2] / camera[:, 2:] + [WIDTH / 2, HEIGHT / 2]
    return uv, camera[:, 2]


def inside(uv: np.ndarray, depth: np.ndarray) -> np.ndarray:
    return (depth > 0) & (uv >= 0).all(axis=1) & (uv < [WIDTH, HEIGHT]).all(axis=1)


def test_each_run_writes_the_same_bytes(tiny_root: Path, tmp_path: Path) -> None:
    make_tiny(tmp_path)
    first, second = contents(tiny_root), contents(tmp_path)
    assert {"images/000.png", "images/031.png", "sparse/0/points3D.bin"} <= set(first)
    assert first == second


def test_it_is_a_data_set_of_the_announced_size(tiny_root: Path) -> None:
    scene = load_scene(tiny_root, name="tiny")
    assert len(scene.views) == 32 and len(scene.test_views) == 4
    assert scene.image_sizes == scene.colmap_sizes == ((96, 64),)
    assert 500 <= len(scene.points) <= 800 and scene.dropped_points == 0
    assert 1.0 <= scene.scene_scale < 1.5
    poses = np.stack([v.cam_from_world for v in load_scene_in_metres(tiny_root).views])
    np.testing.assert_allclose(poses, tiny_poses(), atol=1e-12)


def load_scene_in_metres(root: Path) -> Scene:
    return load_scene(root, name="tiny", normalize="none")


def test_points_project_onto_photos_where_their_colour_is(tiny_root: Path) -> None:
    scene = load_scene_in_metres(tiny_root)
    images = load_images(scene.views, progress=False)
    world, errors, chance = tiny_world(), [], []
    rng = np.random.default_rng(3)
    for view, image in zip(scene.views, images, strict=True):
        uv, depth = pixels_of(view.cam_from_world, scene.points)
        shown = inside(uv, depth)
        origins, directions = camera_rays(view.cam_from_world, uv[shown])
        distance, _ = world.hit(origins, directions)
        length = np.linalg.norm(scene.points[shown] - origins, axis=1)
        visible = np.abs(distance - length) < 5 * tiny.POINT_NOISE
        column, row = np.floor(uv[shown][visible]).astype(int).T
        colors = scene.colors[shown][visible].astype(int)
        errors.append(np.abs(image[row, column] - colors).mean(axis=1))
        chance.append(np.abs(image[row, column] - rng.permutation(colors)).mean(axis=1))
    error, by_chance = np.median(np.concatenate(errors)), np.median(np.concatenate(chance))
    assert len(np.concatenate(errors)) > 5000, "every point is seen by several views"
    assert error < 4 and by_chance > 8 * error, (error, by_chance)


def test_points_lie_on_surfaces_up_to_their_noise(tiny_root: Path) -> None:
    points = load_scene_in_metres(tiny_root).points.astype(np.float64)
    distances = []
    for surface in tiny_world().surfaces:
        local = points - np.asarray(surface.center)
        if isinstance(surface, Sphere):
            distances.append(np.abs(np.linalg.norm(local, axis=1) - surface.radius))
        else:
            excess = np.abs(local) - surface.half
            outside = np.linalg.norm(excess.clip(0), axis=1)
            distances.append(np.abs(outside + excess.max(axis=1).clip(max=0)))
    nearest = np.min(distances, axis=0)
    assert nearest.max() < 6 * tiny.POINT_NOISE
    assert 0.3 * tiny.POINT_NOISE < nearest.mean() < tiny.POINT_NOISE
    on = np.argmin(distances, axis=0)
    assert (np.bincount(on, minlength=4) >= 15).all(), "every object has points"


def test_every_pixel_of_every_view_shows_something_in_front_of_the_camera() -> None:
    world = tiny_world()
    corners = np.array([[0, 0], [WIDTH, 0], [0, HEIGHT], [WIDTH, HEIGHT], [WIDTH / 2, HEIGHT / 2]])
    seen, depths = set(), []
    for pose in tiny_poses():
        rays = camera_rays(
            pose,
            np.concatenate([corners, np.random.default_rng(0).random((500, 2)) * [WIDTH, HEIGHT]]),
        )
        distance, nearest = world.hit(*rays)
        assert np.isfinite(distance).all() and distance.min() > 0.5
        seen |= set(nearest.tolist())
        depths.append(distance.max() / distance.min())
    assert seen == {0, 1, 2, 3} and min(depths) > 1.5


def test_only_the_glossy_sphere_changes_with_the_view() -> None:
    world, poses = tiny_world(), tiny_poses()
    origins, directions = camera_rays(
        poses[0], np.random.default_rng(1).random((3000, 2)) * [WIDTH, HEIGHT]
    )
    distance, nearest = world.hit(origins, directions)
    points, first = origins + distance[:, None] * directions, world.color(origins, directions)
    other = np.broadcast_to(-poses[8, :3, :3].T @ poses[8, :3, 3], points.shape)
    rays = (points - other) / np.linalg.norm(points - other, axis=1, keepdims=True)
    again, _ = world.hit(other, rays)
    both = np.abs(again - np.linalg.norm(points - other, axis=1)) < 1e-6
    change = np.abs(world.color(other, rays) - first).max(axis=1)
    glossy = nearest == 1
    assert both.sum() > 1500
    assert change[both & ~glossy].max() < 1e-6
    assert change[both & glossy].max() > 0.1


@pytest.mark.parametrize(
    "surface",
    [
        Sphere((0.3, -0.2, 1.0), 0.7, lambda p, n: p),
        Box((0.3, -0.2, 1.0), (0.4, 0.6, 0.3), lambda p, n: p),
        Box((0.0, 0.0, 0.0), (9.0, 8.0, 7.0), lambda p, n: p, inside=True),
    ],
    ids=["sphere", "box", "room"],
)
def test_hits_are_the_first_crossing_that_marching_finds(surface: Sphere | Box) -> None:
    rng = np.random.default_rng(5)
    origins = rng.normal(size=(300, 3)) * [0.3, 0.3, 0.1] - [0.0, 0.0, 2.0]
    directions = rng.normal(size=(300, 3)) * 0.2 + [0, 0, 1.0]
    directions /= np.linalg.norm(directions, axis=1, keepdims=True)
    distance = surface.intersect(origins, directions)

    def is_within(points: np.ndarray) -> np.ndarray:
        local = points - np.asarray(surface.center)
        if isinstance(surface, Sphere):
            return np.linalg.norm(local, axis=-1) < surface.radius
        return (np.abs(local) < surface.half).all(axis=-1)

    t = np.arange(0.0, 30.0, 2e-3)
    for k in range(len(origins)):
        within = is_within(origins[k] + t[:, None] * directions[k])
        crossing = np.flatnonzero(within != within[0])
        if len(crossing) > 0:
            assert distance[k] == pytest.approx(t[crossing[0]], abs=2.1e-3)
            normal = surface.normals(origins[k : k + 1] + distance[k] * directions[k])[0]
            assert np.linalg.norm(normal) == pytest.approx(1) and normal @ directions[k] < 0
        elif np.isfinite(distance[k]):
            point = origins[k] + distance[k] * directions[k]
            assert not is_within(point - 1e-6 * directions[k])  # a graze that marching stepped over
    assert np.isfinite(distance).sum() > 50


# --- where it is written ---------------------------------------------------------------------


def test_a_folder_that_holds_something_is_refused_and_left_alone(tmp_path: Path) -> None:
    (tmp_path / "mine.txt").write_text("keep")
    with pytest.raises(SceneError, match="not an empty folder"):
        make_tiny(tmp_path)
    with pytest.raises(SceneError, match="not an empty folder"):
        make_tiny(tmp_path / "mine.txt")
    assert contents(tmp_path) == {"mine.txt": b"keep"}


def fake_write(out: Path) -> None:
    (out / "images").mkdir(parents=True)
    (out / "images" / "000.png").write_text("done")


def test_the_cache_is_filled_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    calls = []
    monkeypatch.setattr(tiny, "_write", lambda out: (calls.append(out), fake_write(out)))
    first = ensure_tiny(tmp_path / "a" / "cache")
    assert ensure_tiny(tmp_path / "a" / "cache") == first
    assert len(calls) == 1 and first.name == f"tiny-v{tiny.VERSION}"
    assert first.stat().st_mode & 0o777 == 0o755
    source = resolve_scene("tiny", cache=tmp_path / "a" / "cache")
    assert (source.name, source.root, source.downscale) == ("tiny", first, 1)


def test_a_new_version_gets_a_new_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tiny, "_write", fake_write)
    first = ensure_tiny(tmp_path)
    monkeypatch.setattr(tiny, "VERSION", tiny.VERSION + 1)
    assert ensure_tiny(tmp_path) != first


def test_two_that_start_at_once_both_get_a_complete_scene(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    both_are_writing = threading.Barrier(2, timeout=20)

    def write(out: Path) -> None:
        fake_write(out)
        both_are_writing.wait()

    monkeypatch.setattr(tiny, "_write", write)
    found: list[Path] = []
    threads = [
        threading.Thread(target=lambda: found.append(ensure_tiny(tmp_path))) for _ in range(2)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == 2 and found[0] == found[1]
    assert contents(tmp_path) == {f"{found[0].name}/images/000.png": b"done"}, "no leftovers"


def test_a_failure_leaves_nothing_behind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def write(out: Path) -> None:
        fake_write(out)
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(tiny, "_write", write)
    with pytest.raises(SceneError, match="No space left on device"):
        ensure_tiny(tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_a_model_that_was_cut_off_in_writing_is_no_scene(
    tiny_root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def write(out: Path) -> None:
        for file in (tiny_root / "sparse/0").iterdir():
            (out / file.name).write_bytes(file.read_bytes()[: 2000 if "3D" in file.name else None])

    monkeypatch.setattr(tiny, "render", lambda world, pose: np.zeros((2, 2, 3), np.uint8))
    monkeypatch.setattr(tiny, "_sample_points", lambda *_: (None, None))
    monkeypatch.setattr(tiny, "_reconstruction", lambda *_: SimpleNamespace(write_binary=write))
    with pytest.raises(SceneError, match="the model was not written whole"):
        ensure_tiny(tmp_path)
    assert not any(tmp_path.iterdir())


def test_a_cache_that_is_a_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(SceneError, match="GS_CACHE"):
        ensure_tiny(tmp_path / "file")


def test_the_cache_folder_follows_the_environment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("GS_CACHE", "XDG_CACHE_HOME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    assert default_cache() == tmp_path / ".cache" / "gs_densify"
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "x"))
    assert default_cache() == tmp_path / "x" / "gs_densify"
    monkeypatch.setenv("GS_CACHE", str(tmp_path / "own"))
    assert default_cache() == tmp_path / "own"
