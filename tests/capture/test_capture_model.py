"""Coverage and model statistics against constructions whose answers are known."""

from pathlib import Path

import numpy as np
import pycolmap
import pytest
from capture_scenes import FOCAL, HEIGHT, WIDTH, cloud, look_at, ring, write_capture
from scipy.spatial.transform import Rotation

from gs_densify.capture.coverage import Coverage, coverage_of, geometry_of
from gs_densify.capture.memory import gpu_memory
from gs_densify.capture.model import CaptureModel, ModelImage, read_capture_model
from gs_densify.results.record import load_record

RECORDS = Path(__file__).parents[2] / "benchmarks/records/bonsai_30k"
MODELS = sorted(set(pycolmap.CameraModelId.__members__) - {"INVALID"})


def model_of(poses: np.ndarray, points: np.ndarray) -> CaptureModel:
    half_angles = (np.arctan(WIDTH / 2 / FOCAL), np.arctan(HEIGHT / 2 / FOCAL))
    images = tuple(
        ModelImage(f"{i:03d}.png", (WIDTH, HEIGHT), pose, half_angles, 0, None)
        for i, pose in enumerate(poses)
    )
    count = len(points)
    return CaptureModel(
        (),
        images,
        points,
        np.zeros((count, 3), np.uint8),
        np.full(count, np.nan),
        np.zeros(count, np.int64),
    )


def coverage(poses: np.ndarray, points: np.ndarray | None = None) -> Coverage:
    geometry = geometry_of(model_of(poses, cloud() if points is None else points))
    assert geometry is not None
    return coverage_of(geometry)


def test_a_ring_with_a_gap() -> None:
    found = coverage(ring(range(0, 300, 10), elevation=0))
    assert found.looking == "inwards" and found.see_middle == 30
    assert found.gap == pytest.approx(70, abs=2) and found.arc == pytest.approx(290, abs=2)
    assert found.gap_between == ("029.png", "000.png")
    assert found.distances == pytest.approx((1, 1), abs=0.03)
    assert found.neighbour_angle == pytest.approx(10, abs=0.3)
    assert found.baseline == pytest.approx(2 * np.sin(np.radians(5)), rel=0.03)


def test_rings_at_two_heights() -> None:
    low, high = ring(range(0, 360, 10)), ring(range(5, 365, 10), elevation=50)
    found = coverage(np.concatenate([low, high]))
    assert found.elevations == pytest.approx((20, 50), abs=2)
    assert found.gap == pytest.approx(5, abs=0.5)


def test_photos_from_one_side() -> None:
    found = coverage(ring(range(-30, 31, 5), elevation=0))
    assert found.looking == "inwards" and found.arc == pytest.approx(60, abs=3)


def test_a_panorama_has_no_baseline_and_looks_outwards() -> None:
    poses = np.stack(
        [
            look_at(np.zeros(3), np.array([np.cos(a), np.sin(a), 0.1]))
            for a in np.radians(range(0, 360, 10))
        ]
    )
    walls = cloud() / np.linalg.norm(cloud(), axis=1, keepdims=True) * 5
    found = coverage(poses, walls)
    assert found.extent < 0.02 and found.baseline < 0.02
    assert found.gap == pytest.approx(10, abs=0.1)


def test_a_room_from_inside() -> None:
    centers = 1.0 * np.stack([[np.cos(a), np.sin(a), 0] for a in np.radians(range(0, 360, 10))])
    poses = np.stack([look_at(center, 5 * center) for center in centers])
    walls = cloud() / np.linalg.norm(cloud(), axis=1, keepdims=True) * 5
    found = coverage(poses, walls)
    assert found.arc == pytest.approx(350, abs=1) and found.looking != "inwards"


def test_coverage_does_not_depend_on_colmap_s_world() -> None:
    poses, points = ring(range(0, 250, 7), elevation=35), cloud()
    turned = Rotation.from_euler("xyz", [0.4, -1.1, 2.0]).as_matrix()
    scale, shift = 7.3, np.array([100.0, -20.0, 3.0])
    moved = poses.copy()
    moved[:, :3, :3] = poses[:, :3, :3] @ turned.T
    moved[:, :3, 3] = scale * poses[:, :3, 3] - np.einsum("nij,j->ni", moved[:, :3, :3], shift)
    first, second = coverage(poses), coverage(moved, scale * points @ turned.T + shift)
    for name in ("arc", "gap", "neighbour_angle", "baseline", "extent", "see_middle"):
        assert getattr(second, name) == pytest.approx(getattr(first, name), rel=1e-6), name
    assert second.gap_between == first.gap_between


def test_the_middle_is_what_cameras_look_at_not_where_most_points_are() -> None:
    floor = np.random.default_rng(0).uniform([-9, -9, -3.1], [9, 9, -3], (6000, 3))
    geometry = geometry_of(model_of(ring(range(0, 360, 10)), np.vstack([cloud(), floor])))
    assert geometry is not None
    middle = geometry.points[:1500].mean(axis=0)
    assert np.linalg.norm(geometry.middle - middle) < 0.15


def test_without_usable_points_or_cameras_there_is_no_geometry() -> None:
    assert geometry_of(model_of(ring([0, 90]), np.full((4, 3), np.nan))) is None
    assert geometry_of(model_of(np.zeros((0, 4, 4)), cloud())) is None


def test_errors_and_tracks_are_those_of_the_observations(tmp_path: Path) -> None:
    root = write_capture(
        tmp_path, ring(range(0, 50, 10)), errors=[0.5, 0.5, 0.5, 0.5, 4.0], photos=False
    )
    model = read_capture_model(root / "sparse" / "0")
    found = [image.reprojection_error for image in model.images]
    assert found == pytest.approx([0.5, 0.5, 0.5, 0.5, 4.0], abs=1e-3)
    assert [image.num_points for image in model.images] == [1500] * 5
    assert (model.track_lengths == 5).all()
    assert model.errors == pytest.approx(1.2, abs=1e-3)  # the mean of the five


@pytest.mark.parametrize("kind", MODELS)
def test_every_camera_model_is_read(kind: str, tmp_path: Path) -> None:
    camera = pycolmap.Camera.create_from_model_name(1, kind, FOCAL, WIDTH, HEIGHT)
    root = write_capture(tmp_path, ring(range(0, 60, 10)), camera=(kind, camera.params))
    model = read_capture_model(root / "sparse" / "0")
    assert [c.model for c in model.cameras] == [kind] and len(model.images) == 6
    assert geometry_of(model) is not None


def test_the_corner_shift_is_the_lens_formula(tmp_path: Path) -> None:
    k = -0.05
    params = [FOCAL, WIDTH / 2, HEIGHT / 2, k]
    root = write_capture(tmp_path, ring([0, 30]), camera=("SIMPLE_RADIAL", params), photos=False)
    (camera,) = read_capture_model(root / "sparse" / "0").cameras
    # r (1 + k r^2) = distorted radius, by fixed point iteration.
    corner = np.hypot(WIDTH / 2, HEIGHT / 2) / FOCAL
    r = corner
    for _ in range(100):
        r = corner / (1 + k * r * r)
    assert camera.corner_shift == pytest.approx(FOCAL * (r - corner), rel=1e-3)
    assert not camera.is_pinhole


def test_expected_memory_is_near_what_was_measured() -> None:
    """docs/capture.md says how near."""
    expected = {"adaptive": (0.98, 1.02), "default": (1.0, 1.2)}
    for strategy, (least, most) in expected.items():
        results = load_record(RECORDS / f"{strategy}_30k.run.json").results
        sizes = [(800, 533)] * results.protocol.n_train
        found = gpu_memory(sizes, results.counts.peak, 16 * 2**30)
        assert results.peak_memory.device is not None
        ratio = found.total / results.peak_memory.device
        assert least < ratio < most, strategy


def test_photos_beyond_the_budget_stay_in_host_memory() -> None:
    assert gpu_memory([(1000, 1000)] * 10, 1, 30e6).photos == 30_000_000
    over = gpu_memory([(1000, 1000)] * 10, 1, 30e6 - 1)
    assert over.photos == 0 and over.photos_on_host
