"""COLMAP models in every form that they come in, and what is said about damaged ones."""

import logging
import struct
from pathlib import Path

import numpy as np
import pytest
from colmap_files import POINTS, pose_of, reconstruction, replace_files, write_model
from hypothesis import given, settings
from hypothesis import strategies as st

from gs_densify.errors import SceneError
from gs_densify.scene.formats.colmap.find import find_model
from gs_densify.scene.formats.colmap.read import read_model


def refusal(folder: Path) -> str:
    with pytest.raises(SceneError) as caught:
        read_model(folder)
    assert "\n" not in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize("kind", ["bin", "txt", "legacy"])
def test_every_form_gives_the_poses_and_points_that_were_written(tmp_path: Path, kind: str) -> None:
    model = read_model(write_model(tmp_path / "m", reconstruction(), kind=kind))
    assert [image.name for image in model.images] == ["a.png", "b.png", "c.png"]
    for index, image in enumerate(model.images):
        np.testing.assert_allclose(image.cam_from_world, pose_of(index), atol=1e-12)
        np.testing.assert_array_equal(image.K, [[80.0, 0, 48.5], [0, 82.0, 31.5], [0, 0, 1]])
        assert (image.width, image.height, image.camera_id) == (96, 64, 1)
    np.testing.assert_allclose(model.points, POINTS, atol=1e-12)
    assert model.points.dtype == np.float64 and model.colors.dtype == np.uint8
    np.testing.assert_array_equal(model.colors[3], [3, 6, 252])


def test_simple_pinhole_has_one_focal_length(tmp_path: Path) -> None:
    cameras = {4: ("SIMPLE_PINHOLE", 96, 64, [70.0, 48.0, 32.0])}
    model = read_model(write_model(tmp_path / "m", reconstruction(cameras=cameras)))
    np.testing.assert_array_equal(model.images[0].K, [[70, 0, 48], [0, 70, 32], [0, 0, 1]])


@settings(max_examples=25)
@given(st.permutations([3, 8, 1, 40]), st.permutations(range(4)), st.sampled_from(["bin", "txt"]))
def test_ids_and_order_of_images_do_not_matter(
    tmp_path_factory: pytest.TempPathFactory, ids: list[int], order: list[int], kind: str
) -> None:
    names = [f"{k}.png" for k in order]
    folder = tmp_path_factory.mktemp("permuted") / "m"
    model = read_model(write_model(folder, reconstruction(names, ids=ids), kind=kind))
    assert [image.name for image in model.images] == sorted(names)
    for image in model.images:
        expected = pose_of(names.index(image.name))
        np.testing.assert_allclose(image.cam_from_world, expected, atol=1e-12)


@pytest.mark.parametrize("kind", ["bin", "txt", "legacy"])
def test_names_keep_their_folders_and_spaces(tmp_path: Path, kind: str) -> None:
    names = ("left cam/0 1.png", "left cam/0 2.png", "é.png")
    model = read_model(write_model(tmp_path / "m", reconstruction(names), kind=kind))
    assert tuple(image.name for image in model.images) == names


@pytest.mark.parametrize("kind", ["bin", "txt"])
def test_unregistered_images_are_left_out(tmp_path: Path, kind: str) -> None:
    partial = reconstruction(unregistered=["aa.png", "zz.png"])
    model = read_model(write_model(tmp_path / "m", partial, kind=kind))
    assert [image.name for image in model.images] == ["a.png", "b.png", "c.png"]


def test_models_without_a_pinhole_image_are_named_with_their_counts(tmp_path: Path) -> None:
    cameras = {
        1: ("PINHOLE", 96, 64, [80.0, 80.0, 48.0, 32.0]),
        2: ("EQUIRECTANGULAR", 96, 48, [96, 48]),
        3: ("EQUIRECTANGULAR", 96, 48, [96, 48]),
        4: ("SIMPLE_RADIAL", 96, 64, [80.0, 48.0, 32.0, 0.1]),
    }
    model = reconstruction(list("abcdef"), cameras=cameras, camera_of=[1, 2, 2, 3, 4, 1])
    message = refusal(write_model(tmp_path / "m", model))
    assert "camera model EQUIRECTANGULAR (2 cameras, 3 images), which has no pinhole" in message
    assert "SIMPLE_RADIAL" not in message, "it can be undistorted"


def test_a_camera_without_images_may_be_of_any_model(tmp_path: Path) -> None:
    cameras = {1: ("PINHOLE", 96, 64, [80.0] * 4), 2: ("EQUIRECTANGULAR", 96, 48, [96, 48])}
    assert read_model(write_model(tmp_path / "m", reconstruction(cameras=cameras))).images


@pytest.mark.parametrize("kind", ["bin", "txt"])
def test_a_model_without_images_is_refused(tmp_path: Path, kind: str) -> None:
    no_images = reconstruction([])
    assert "0 registered images" in refusal(
        write_model(tmp_path / "no_images", no_images, kind=kind)
    )


def test_a_repeated_name_is_refused(tmp_path: Path) -> None:
    model = reconstruction(["a.png", "b.png", "./a.png"])  # it could be trained on and held out
    assert "'a.png' as 2 images" in refusal(write_model(tmp_path / "m", model))


@pytest.mark.parametrize("name", [".", "..", "/", "a/.."])
def test_a_name_that_is_no_path_is_refused(tmp_path: Path, name: str) -> None:
    message = refusal(write_model(tmp_path / "m", reconstruction(["a.png", name])))
    assert f"names the photo {name!r}" in message


@pytest.mark.parametrize("position", range(4, 60, 8))
def test_a_pose_that_is_not_finite_is_refused(tmp_path: Path, position: int) -> None:
    folder = write_model(tmp_path / "m", reconstruction(), kind="legacy")
    content = bytearray((folder / "images.bin").read_bytes())
    content[8 + position : 16 + position] = struct.pack("<d", np.nan)
    (folder / "images.bin").write_bytes(content)
    assert "a rotation and finite numbers" in refusal(folder)


@pytest.mark.parametrize("kind", ["bin", "legacy", "txt"])
def test_a_zero_quaternion_is_not_taken_for_the_identity(tmp_path: Path, kind: str) -> None:
    folder = write_model(tmp_path / "m", reconstruction(["a.png"], points=POINTS[:1]), kind=kind)
    if kind == "txt":
        text = (folder / "frames.txt").read_text().splitlines()
        text[-1] = "1 1 0 0 0 0 1 2 3 1 CAMERA 1 1"
        (folder / "frames.txt").write_text("\n".join(text))
    else:
        path = folder / ("images.bin" if kind == "legacy" else "frames.bin")
        content = bytearray(path.read_bytes())
        start = 12 if kind == "legacy" else 16
        content[start : start + 32] = bytes(32)
        path.write_bytes(content)
    assert "rotation" in refusal(folder)


def test_a_quaternion_of_any_length_is_a_rotation(tmp_path: Path) -> None:
    folder = write_model(tmp_path / "m", reconstruction(), kind="legacy")
    content = bytearray((folder / "images.bin").read_bytes())
    quaternion = 1.7 * np.array(struct.unpack_from("<4d", content, 12))
    struct.pack_into("<4d", content, 12, *quaternion)
    (folder / "images.bin").write_bytes(content)
    poses = [image.cam_from_world for image in read_model(folder).images]
    np.testing.assert_allclose(poses, [pose_of(k) for k in range(3)], atol=1e-12)


@pytest.mark.parametrize("value", [np.nan, np.inf, 0.0, -5.0])
def test_impossible_intrinsics_are_refused(tmp_path: Path, value: float) -> None:
    folder = write_model(tmp_path / "m", reconstruction())
    content = bytearray((folder / "cameras.bin").read_bytes())
    content[8 + 24 : 8 + 32] = struct.pack("<d", value)
    (folder / "cameras.bin").write_bytes(content)
    assert "intrinsics" in refusal(folder)


def test_contradictions_are_refused_in_one_line_and_nothing_is_printed(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    folder = write_model(tmp_path / "m", reconstruction())
    other = write_model(tmp_path / "o", reconstruction(["a.png"], ids=[9]))
    (folder / "images.bin").write_bytes((other / "images.bin").read_bytes())
    assert "frames.bin has no frame of 1 of 1 images, first 'a.png'" in refusal(folder)
    captured = capfd.readouterr()
    assert captured.out == captured.err == ""


# --- damaged files -------------------------------------------------------------------------


@pytest.fixture(scope="module", params=["bin", "legacy", "txt"])
def intact(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory):
    """The files of a model, and a folder to put damaged ones into."""
    base = tmp_path_factory.mktemp("damaged")
    model = reconstruction(["a b.png", "c.png"], points=POINTS[:3], unregistered=["z.png"])
    folder = write_model(base / "intact", model, kind=request.param)
    return {f.name: f.read_bytes() for f in folder.iterdir()}, base / "work"


@settings(max_examples=200)
@pytest.mark.parametrize("intact", ["bin", "legacy"], indirect=True)
@given(st.data())
def test_a_truncated_binary_file_is_always_refused(intact, data: st.DataObject) -> None:
    files, work = intact
    name = data.draw(st.sampled_from(sorted(files)))
    length = data.draw(st.integers(0, len(files[name]) - 1))
    folder = replace_files(work, {**files, name: files[name][:length]})
    assert name in refusal(folder)


@settings(max_examples=200)
@given(st.data())
def test_a_corrupted_file_is_refused_in_one_line_or_gives_a_sound_model(
    intact, data: st.DataObject
) -> None:
    files, work = intact
    name = data.draw(st.sampled_from(sorted(files)))
    content = bytearray(files[name])
    start = data.draw(st.integers(0, len(content) - 1))
    patch = data.draw(st.one_of(st.binary(max_size=9), st.sampled_from([b"\xff" * 8, bytes(8)])))
    removed = data.draw(st.integers(0, 9))
    content[start : start + removed] = patch
    folder = replace_files(work, {**files, name: bytes(content)})
    try:
        model = read_model(folder)
    except SceneError as error:
        assert "\n" not in str(error)
        return
    names = [image.name for image in model.images]
    assert names == sorted(set(names)) and names and len(model.points) == len(model.colors) > 0
    for image in model.images:
        rotation = image.cam_from_world[:3, :3]
        np.testing.assert_allclose(rotation @ rotation.T, np.eye(3), atol=1e-9)
        assert np.isfinite(image.cam_from_world).all() and np.isfinite(image.K).all()


def test_bytes_after_the_last_record_are_refused(tmp_path: Path) -> None:
    folder = write_model(tmp_path / "m", reconstruction())
    with (folder / "points3D.bin").open("ab") as file:
        file.write(b"\0" * 5)
    assert "has 5 bytes after the 12 records" in refusal(folder)


def test_a_count_of_2_to_the_60_is_refused_without_allocating(tmp_path: Path) -> None:
    folder = write_model(tmp_path / "m", reconstruction())
    for name in ("cameras.bin", "images.bin", "points3D.bin", "rigs.bin", "frames.bin"):
        intact_bytes = (folder / name).read_bytes()
        (folder / name).write_bytes(struct.pack("<Q", 2**60) + intact_bytes[8:])
        assert name in refusal(folder)
        (folder / name).write_bytes(intact_bytes)


@pytest.mark.parametrize(
    ("file", "line", "expected"),
    [
        ("cameras", "1 PINHOLE 96 64 80 80 48", "4 parameters for PINHOLE"),
        ("cameras", "1 PINHOLA 96 64 80 80 48 32", "not 'PINHOLA'"),
        ("cameras", "1 PINHOLE 96 0 80 80 48 32", "at least 1x1"),
        ("images", "1 1 0 0 0 1 2 3 1", "CAMERA_ID NAME"),
        ("images", "1 1 0 0 x 1 2 3 1 a.png", "numbers"),
        ("images", "1 1 0 0 0 1 2 3 1 a.png\n5 5", "triples"),
        ("points3D", "1 0 0 1 300 0 0 1", "colours from 0 to 255"),
        ("points3D", "1 0 0 1 0 0 0 1 1", "pairs"),
    ],
)
def test_a_damaged_line_of_text_is_named(
    tmp_path: Path, file: str, line: str, expected: str
) -> None:
    folder = write_model(tmp_path / "m", reconstruction(), kind="txt")
    (folder / f"{file}.txt").write_text(f"# comment\n{line}\n")
    message = refusal(folder)
    assert f"{file}.txt, line " in message and expected in message


# --- which model ---------------------------------------------------------------------------


def write_several(sparse: Path, sizes: dict[str, int], kind: str = "bin") -> None:
    for name, size in sizes.items():
        model = reconstruction([f"{k}.png" for k in range(size)])
        write_model(sparse / name, model, kind=kind)


def test_sparse_0_is_taken_with_a_warning_about_a_larger_one(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    write_several(tmp_path / "sparse", {"0": 2, "1": 5, "2": 3})
    with caplog.at_level(logging.WARNING):
        assert find_model(tmp_path) == tmp_path / "sparse" / "0"
    advised = tmp_path / "sparse" / "1"
    assert f"sparse/0 (2 images); sparse/1 has 5; to use it, give --scene {advised}" in caplog.text
    assert find_model(advised) == advised


def test_a_single_model_gives_no_warning(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    write_several(tmp_path / "sparse", {"0": 2, "1": 2})
    assert find_model(tmp_path) == tmp_path / "sparse" / "0"
    assert not caplog.records


def test_sparse_itself_may_be_the_model(tmp_path: Path) -> None:
    write_model(tmp_path / "sparse", reconstruction())
    (tmp_path / "sparse" / "notes").mkdir()
    assert find_model(tmp_path) == tmp_path / "sparse"


@pytest.mark.parametrize("kind", ["bin", "txt"])
def test_without_sparse_0_the_largest_model_is_taken(tmp_path: Path, kind: str) -> None:
    write_several(tmp_path / "sparse", {"1": 2, "2": 4, "10": 3}, kind)
    assert find_model(tmp_path) == tmp_path / "sparse" / "2"


def test_a_folder_without_a_model_is_refused_with_what_was_looked_for(tmp_path: Path) -> None:
    (tmp_path / "sparse" / "0").mkdir(parents=True)
    (tmp_path / "sparse" / "0" / "cameras.bin").write_bytes(bytes(8))
    with pytest.raises(
        SceneError, match=r"sparse/0, .*sparse or another folder there: found only cameras\.bin;"
    ):
        find_model(tmp_path)
