"""COLMAP's files as many programs write them: each is read as it is meant, or refused in words."""

import struct
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pycolmap
import pytest
from colmap_files import POINTS, pose_of, reconstruction, write_dataset, write_model
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.spatial.transform import Rotation

from gs_densify.errors import SceneError
from gs_densify.scene.formats.base import SceneModel
from gs_densify.scene.formats.colmap.read import read_model
from gs_densify.scene.load import load_scene

NAMES = ["a b.png", "c.png", "7 8 9.png"]


def text_model(folder: Path) -> Path:
    return write_model(folder, reconstruction(NAMES), kind="txt")


def edit(path: Path, change: Callable[[str], str]) -> None:
    path.write_text(change(path.read_text(encoding="utf-8")), encoding="utf-8")


def refusal(folder: Path) -> str:
    with pytest.raises(SceneError) as caught:
        read_model(folder)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def assert_same(one: SceneModel, other: SceneModel) -> None:
    assert [i.name for i in one.images] == [i.name for i in other.images]
    for first, second in zip(one.images, other.images, strict=True):
        np.testing.assert_allclose(first.cam_from_world, second.cam_from_world, atol=1e-12)
    np.testing.assert_array_equal(one.points, other.points)
    np.testing.assert_array_equal(one.colors, other.colors)


# --- text ----------------------------------------------------------------------------------


@settings(max_examples=20)
@given(data=st.data())
def test_lines_of_2d_points_may_be_left_out(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    folder = text_model(tmp_path_factory.mktemp("lines") / "m")
    whole = read_model(folder)
    lines = (folder / "images.txt").read_text().splitlines()
    kept = [line for line in lines if line.startswith("#")]
    for image, points in zip(*[iter(lines[len(kept) :])] * 2, strict=True):
        kept += [image, points] if data.draw(st.booleans()) else [image]
    (folder / "images.txt").write_text("\n".join(kept) + "\n" * data.draw(st.integers(0, 3)))
    assert_same(read_model(folder), whole)


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16"])
@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_marks_and_line_ends_of_windows_are_read(tmp_path: Path, encoding: str, end: str) -> None:
    folder = text_model(tmp_path / "m")
    whole = read_model(folder)
    for path in folder.iterdir():
        path.write_bytes(path.read_text().replace("\n", end).encode(encoding))
    assert_same(read_model(folder), whole)


@pytest.mark.parametrize("number", ["nan", "-nan(ind)", "1.#QNAN", "inf"])
def test_points_that_are_no_numbers_are_dropped_from_text_as_from_binary(
    tmp_path: Path, number: str
) -> None:
    root = write_dataset(tmp_path)
    model = pycolmap.Reconstruction(root / "sparse/0")
    for path in (root / "sparse/0").iterdir():
        path.unlink()
    model.write_text(root / "sparse/0")
    path = root / "sparse/0/points3D.txt"
    lines = path.read_text().splitlines()
    fields = lines[4].split()
    lines[4] = " ".join([fields[0], number, *fields[2:]])
    path.write_text("\n".join(lines))
    scene = load_scene(root, name="s")
    assert (scene.dropped_points, len(scene.points)) == (1, len(POINTS) - 1)


def test_a_name_in_another_encoding_is_said_with_its_line(tmp_path: Path) -> None:
    folder = text_model(tmp_path / "m")
    content = (folder / "images.txt").read_text()
    (folder / "images.txt").write_bytes(content.replace("c.png", "é.png").encode("latin-1"))
    line = 1 + [("c.png" in line) for line in content.splitlines()].index(True)
    message = refusal(folder)
    assert f"images.txt, line {line}: not UTF-8 text" in message
    assert "iconv -f ENCODING -t UTF-8" in message
    converted = (folder / "images.txt").read_bytes().decode("latin-1").encode()
    (folder / "images.txt").write_bytes(converted)
    assert "é.png" in [image.name for image in read_model(folder).images]


def test_a_name_in_another_encoding_in_binary_is_said_with_what_to_do(tmp_path: Path) -> None:
    folder = write_model(tmp_path / "m", reconstruction(["aé.png", "b.png"]))
    path = folder / "images.bin"
    path.write_bytes(path.read_bytes().replace("é".encode(), b"\xe9"))
    message = refusal(folder)
    assert "images.bin" in message and "'a\ufffd.png'" in message and "iconv" in message


# --- rigs, frames, and what else refers to another file -----------------------------------------


def rig_of_two(folder: Path, kind: str, *, seed: int = 0) -> pycolmap.Reconstruction:
    """Two cameras a moment, at two moments."""
    rng = np.random.default_rng(seed)
    model = pycolmap.Reconstruction()
    rig = pycolmap.Rig(rig_id=5)
    for camera_id in (3, 8):
        model.add_camera(
            pycolmap.Camera(
                model="PINHOLE", width=96, height=64, params=[80, 80, 48, 32], camera_id=camera_id
            )
        )
        sensor = pycolmap.sensor_t(pycolmap.SensorType.CAMERA, camera_id)
        if camera_id == 3:
            rig.add_ref_sensor(sensor)
        else:
            rig.add_sensor(sensor, rigid(rng))
    model.add_rig(rig)
    for frame_id in (1, 2):
        frame = pycolmap.Frame(frame_id=frame_id, rig_id=5)
        images = []
        for camera_id in (3, 8):
            image_id = 10 * frame_id + camera_id
            name = f"{frame_id}/{camera_id}.png"
            image = pycolmap.Image(name=name, camera_id=camera_id, image_id=image_id)
            image.frame_id = frame_id
            frame.add_data_id(image.data_id)
            images.append(image)
        frame.rig_from_world = rigid(rng)
        model.add_frame(frame)
        for image in images:
            model.add_image(image)
        model.register_frame(frame_id)
    for point in POINTS:
        model.add_point3D(point, pycolmap.Track(), np.array([1, 2, 3], np.uint8))
    write_model(folder, model, kind=kind)
    return model


def rigid(rng: np.random.Generator) -> pycolmap.Rigid3d:
    matrix = Rotation.random(random_state=int(rng.integers(2**31))).as_matrix()
    return pycolmap.Rigid3d(pycolmap.Rotation3d(matrix), rng.normal(size=3))


@settings(max_examples=10)
@given(seed=st.integers(0, 2**32 - 1), kind=st.sampled_from(["bin", "txt"]))
def test_cameras_of_a_rig_are_where_pycolmap_has_them(
    tmp_path_factory: pytest.TempPathFactory, seed: int, kind: str
) -> None:
    folder = tmp_path_factory.mktemp("rig") / "m"
    model = rig_of_two(folder, kind, seed=seed)
    images = read_model(folder).images
    assert [image.name for image in images] == ["1/3.png", "1/8.png", "2/3.png", "2/8.png"]
    for image in images:
        expected = model.find_image_with_name(image.name).cam_from_world().matrix()
        np.testing.assert_allclose(image.cam_from_world[:3], expected, atol=1e-9)


@pytest.mark.parametrize(
    ("file", "old", "new", "found"),
    [
        ("frames", "\n1 5 ", "\n1 6 ", "rigs.txt lacks rig 6"),
        ("rigs", "CAMERA 8", "CAMERA 9", "rigs.txt lacks camera 8 in its rig"),
        ("frames", "CAMERA 8 18", "CAMERA 3 18", "gives '1/8.png' the camera 3, images.txt 8"),
        ("frames", "CAMERA 8 18", "CAMERA 8 77", "has no frame of 1 of 4 images, first '1/8.png'"),
        ("frames", "CAMERA 8 18", "IMU 8 18", "has no frame of 1 of 4 images, first '1/8.png'"),
        ("rigs", "CAMERA 8 1 ", "CAMERA 8 0 ", "rigs.txt, line "),
        ("frames", "CAMERA 8 18", "RADAR 8 18", "frames.txt, line "),
        ("frames", "\n1 5 ", "\n2 5 ", "frames.txt, line "),
        ("frames", " 2 CAMERA", " 3 CAMERA", "frames.txt, line "),
        ("images", " 3 1/3.png", " 4 1/3.png", "cameras.txt does not hold"),
    ],
)
def test_references_that_lead_nowhere_are_named(
    tmp_path: Path, file: str, old: str, new: str, found: str
) -> None:
    rig_of_two(tmp_path / "m", "txt")
    edit(tmp_path / f"m/{file}.txt", lambda text: text.replace(old, new, 1))
    message = refusal(tmp_path / "m")
    assert found in message
    if "line" not in found and file != "images":
        assert "remove rigs.txt and frames.txt" in message
        for name in ("rigs", "frames"):
            (tmp_path / f"m/{name}.txt").unlink()
        assert len(read_model(tmp_path / "m").images) == 4


@pytest.mark.parametrize("name", ["rigs", "frames"])
@pytest.mark.parametrize("kind", ["bin", "txt"])
def test_one_of_rigs_and_frames_alone_says_nothing(tmp_path: Path, name: str, kind: str) -> None:
    folder = write_model(tmp_path / "m", reconstruction(), kind=kind)
    whole = read_model(folder)
    (folder / f"{name}.{kind}").unlink()
    assert_same(read_model(folder), whole)


def test_images_and_points_that_were_removed_by_hand_are_not_missed(tmp_path: Path) -> None:
    folder = text_model(tmp_path / "m")
    edit(folder / "images.txt", lambda text: "\n".join(text.splitlines()[:-2]))
    edit(folder / "points3D.txt", lambda text: "\n".join(text.splitlines()[:-3]))
    model = read_model(folder)
    assert len(model.images) == 2 and len(model.points) == len(POINTS) - 3
    for image in model.images:
        assert sorted(image.observations.points) == list(range(len(POINTS) - 3))


@pytest.mark.parametrize("kind", ["bin", "txt"])
def test_observations_name_the_points_and_the_pixels(tmp_path: Path, kind: str) -> None:
    folder = write_model(tmp_path / "m", reconstruction(), kind="txt")
    at_5 = " ".join(f"5 5 {k + 1}" for k in range(len(POINTS)))
    apart = " ".join(f"{k} {2.5 * k} {k + 1}" for k in range(len(POINTS))) + " 3 3 -1"
    edit(folder / "images.txt", lambda text: text.replace(at_5, apart))
    assert apart in (folder / "images.txt").read_text()
    if kind == "bin":
        model = pycolmap.Reconstruction(folder)
        folder = write_model(tmp_path / "binary", model)
    first, second, third = (image.observations for image in read_model(folder).images)
    for found in (first, second):
        np.testing.assert_array_equal(found.points, np.arange(len(POINTS)))
        np.testing.assert_array_equal(found.xy[:, 1], 2.5 * found.points)
    assert len(third.points) == 0


@pytest.mark.parametrize("name", ["cameras", "images", "points3D", "rigs", "frames"])
def test_a_repeated_id_is_refused_in_binary_too(tmp_path: Path, name: str) -> None:
    folder = write_model(tmp_path / "m", reconstruction(["a.png"], points=POINTS[:1]))
    path = folder / f"{name}.bin"
    content = path.read_bytes()
    path.write_bytes(struct.pack("<Q", 2) + 2 * content[8:])
    if name == "points3D":
        assert len(read_model(folder).points) == 2
    else:
        assert f"{name}.bin lists the id 1 twice" in refusal(folder)


def test_the_pose_of_an_image_is_its_own_without_frames(tmp_path: Path) -> None:
    folder = write_model(tmp_path / "m", reconstruction(), kind="legacy")
    for index, image in enumerate(read_model(folder).images):
        np.testing.assert_allclose(image.cam_from_world, pose_of(index), atol=1e-12)


# --- two poses of a photo -----------------------------------------------------------------------


@pytest.fixture
def moved(tmp_path: Path) -> tuple[Path, Path]:
    """A model, and the same one in another world."""
    model = reconstruction()
    before = write_model(tmp_path / "before", model)
    turn = pycolmap.Rotation3d(Rotation.from_euler("xyz", [20, 30, 40], degrees=True).as_matrix())
    model.transform(pycolmap.Sim3d(5.0, turn, np.array([10.0, -4.0, 7.0])))
    return before, write_model(tmp_path / "after", model)


def test_frames_that_an_older_tool_left_are_named_and_can_be_removed(
    moved: tuple[Path, Path],
) -> None:
    before, after = moved
    whole = read_model(after)
    (after / "frames.bin").write_bytes((before / "frames.bin").read_bytes())
    message = refusal(after)
    assert "frames.bin and images.bin" in message and "place 3 of 3 photos differently" in message
    assert "the points fit images: remove rigs.bin and frames.bin" in message
    for name in ("rigs.bin", "frames.bin"):
        (after / name).unlink()
    assert_same(read_model(after), whole)


def test_images_that_were_left_are_named_and_can_be_written_anew(moved: tuple[Path, Path]) -> None:
    before, after = moved
    whole = read_model(after)
    (after / "images.bin").write_bytes((before / "images.bin").read_bytes())
    assert "the points fit frames: write images.bin anew with colmap model_con" in refusal(after)
    pycolmap.Reconstruction(after).write(after)  # what model_converter does
    assert_same(read_model(after), whole)


def test_a_single_photo_that_was_moved_a_little_is_named(tmp_path: Path) -> None:
    folder = write_model(tmp_path / "m", reconstruction(), kind="txt")
    edit(folder / "images.txt", lambda text: text.replace(" 4 1 b.png", " 4.002 1 b.png"))
    assert "1 of 3 photos differently, first 'b.png'" in refusal(folder)
    edit(folder / "images.txt", lambda text: text.replace(" 4.002 1", " 4.000002 1"))
    assert len(read_model(folder).images) == 3
