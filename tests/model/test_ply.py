import math
import re
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from gs_densify.errors import ConfigError, ResultError
from gs_densify.model.files.ply import PlySplats, load_ply, save_ply
from gs_densify.model.geometry import covariances
from gs_densify.model.sh import eval_sh
from gs_densify.model.transform import transform_splats
from gs_densify.scene.normalize import transform_points

# What the reader of the 3DGS code asks for, in its order, at SH degree 3.
INRIA_ORDER = (
    ["x", "y", "z", "nx", "ny", "nz", "f_dc_0", "f_dc_1", "f_dc_2"]
    + [f"f_rest_{i}" for i in range(45)]
    + ["opacity", "scale_0", "scale_1", "scale_2", "rot_0", "rot_1", "rot_2", "rot_3"]
)


def make_splats(count: int = 7, degree: int = 3) -> dict[str, Tensor]:
    return {
        "means": torch.randn(count, 3),
        "scales": torch.randn(count, 3),
        "quats": torch.randn(count, 4),
        "opacities": torch.randn(count),
        "sh0": torch.randn(count, 1, 3),
        "shN": torch.randn(count, (degree + 1) ** 2 - 1, 3),
    }


def similarity(scale: float = 2.5) -> Tensor:
    rotation, _ = torch.linalg.qr(torch.randn(3, 3, dtype=torch.float64))
    rotation[:, 0] *= torch.linalg.det(rotation).sign()
    transform = torch.eye(4, dtype=torch.float64)
    transform[:3, :3] = scale * rotation
    transform[:3, 3] = torch.randn(3, dtype=torch.float64)
    return transform


def refusal(path: Path) -> str:
    with pytest.raises(ResultError) as caught:
        load_ply(path)
    message = str(caught.value)
    assert "\n" not in message and str(path) in message
    return message


def edit_header(path: Path, pattern: str, replacement: str) -> None:
    header, end, body = path.read_bytes().partition(b"end_header\n")
    changed, times = re.subn(pattern, replacement, header.decode())
    assert times > 0
    path.write_bytes(changed.encode() + end + body)


def assert_equal(found: PlySplats, splats: dict[str, Tensor]) -> None:
    assert set(found.splats) == set(splats)
    for name, value in splats.items():
        assert torch.equal(found.splats[name], value), name
        assert found.splats[name].is_contiguous()


@pytest.mark.parametrize("degree", [0, 1, 2, 3])
@pytest.mark.parametrize("count", [0, 1, 7])
def test_every_bit_comes_back(count: int, degree: int, tmp_path: Path) -> None:
    splats = make_splats(count, degree)
    save_ply(tmp_path / "new" / "a.ply", splats, comments=["step 30000", "two  words"])
    found = load_ply(tmp_path / "new" / "a.ply")
    assert_equal(found, splats)
    assert found.sh_degree == degree
    assert found.comments == ("step 30000", "two words")


def test_more_gaussians_than_one_chunk_come_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("gs_densify.model.files.ply.CHUNK", 3)
    splats = make_splats(8, 1)
    save_ply(tmp_path / "a.ply", splats)
    assert_equal(load_ply(tmp_path / "a.ply"), splats)


def test_trainable_parameters_are_written_without_change(tmp_path: Path) -> None:
    splats = make_splats()
    parameters = torch.nn.ParameterDict({k: torch.nn.Parameter(v) for k, v in splats.items()})
    save_ply(tmp_path / "a.ply", parameters)
    assert_equal(load_ply(tmp_path / "a.ply"), splats)


def test_bytes_are_laid_out_as_in_the_3dgs_code(tmp_path: Path) -> None:
    splats = make_splats(2, 3)
    save_ply(tmp_path / "a.ply", splats)
    header, _, body = (tmp_path / "a.ply").read_bytes().partition(b"end_header\n")
    lines = header.decode().splitlines()
    assert lines[:2] == ["ply", "format binary_little_endian 1.0"]
    assert "element vertex 2" in lines
    assert [line for line in lines if line.startswith("property")] == [
        f"property float {name}" for name in INRIA_ORDER
    ]
    rows = np.frombuffer(body, "<f4").reshape(2, 62)
    assert rows[1, 0:3].tolist() == splats["means"][1].tolist()
    assert rows[1, 3:6].tolist() == [0, 0, 0]
    assert rows[1, 6:9].tolist() == splats["sh0"][1, 0].tolist()
    for channel in range(3):  # all coefficients of red, then of green, then of blue
        first = 9 + 15 * channel
        assert rows[1, first : first + 15].tolist() == splats["shN"][1, :, channel].tolist()
    assert rows[1, 54] == splats["opacities"][1]
    assert rows[1, 55:58].tolist() == splats["scales"][1].tolist()
    assert rows[1, 58:62].tolist() == splats["quats"][1].tolist()


@given(order=st.permutations(range(len(INRIA_ORDER) - 45 + 9)), doubles=st.sets(st.integers(0, 25)))
def test_properties_are_found_by_name(
    order: list[int], doubles: set[int], tmp_path_factory: pytest.TempPathFactory
) -> None:
    names = [n for n in INRIA_ORDER if not n.startswith("f_rest_") or int(n[7:]) < 9]
    table = np.random.default_rng(0).standard_normal((3, len(names))).astype(np.float32)
    columns = [i for i in order if names[i] not in ("nx", "ny", "nz")]
    kinds = ["<f8" if i in doubles else "<f4" for i in columns]
    rows = np.empty(3, np.dtype([(names[i], kind) for i, kind in zip(columns, kinds, strict=True)]))
    lines = ["ply", "format binary_little_endian 1.0", "element vertex 3"]
    for i, kind in zip(columns, kinds, strict=True):
        rows[names[i]] = table[:, i]
        lines.append(f"property {'double' if kind == '<f8' else 'float32'} {names[i]}")
    path = tmp_path_factory.mktemp("order") / "a.ply"
    path.write_bytes("\r\n".join([*lines, "end_header", ""]).encode() + rows.tobytes())
    found = load_ply(path)
    at = {name: torch.tensor(table[:, i]) for i, name in enumerate(names)}
    assert torch.equal(found.splats["means"], torch.stack([at["x"], at["y"], at["z"]], 1))
    assert torch.equal(found.splats["opacities"], at["opacity"])
    assert torch.equal(found.splats["quats"][:, 3], at["rot_3"])
    assert torch.equal(found.splats["shN"][:, 1, 2], at["f_rest_7"])
    assert found.sh_degree == 1 and found.antialiased is None


@pytest.mark.parametrize("antialiased", [True, False])
def test_the_header_says_whether_the_model_is_antialiased(
    antialiased: bool, tmp_path: Path
) -> None:
    path = tmp_path / "a.ply"
    save_ply(path, make_splats(), antialiased=antialiased, comments=["other"])
    word = "mip" if antialiased else "default"
    assert f"\ncomment SplatRenderMode: {word}\n".encode() in path.read_bytes()
    found = load_ply(path)
    assert found.antialiased is antialiased and found.comments == ("other",)


@pytest.mark.parametrize(
    ("comments", "expected"),
    [
        ("comment antialiased 1", True),
        ("comment antialiased 0", False),
        ("comment SplatRenderMode: mip\ncomment antialiased 0", False),
        ("comment antialiased 0\ncomment SplatRenderMode: mip", True),
        ("comment SplatRenderMode: 2dgs", None),
        ("comment", None),
    ],
)
def test_comments_of_other_writers(comments: str, expected: bool | None, tmp_path: Path) -> None:
    path = tmp_path / "a.ply"
    save_ply(path, make_splats())
    edit_header(path, "comment SplatRenderMode: default", comments)
    assert load_ply(path).antialiased is expected


def test_a_comment_cannot_break_the_header(tmp_path: Path) -> None:
    splats = make_splats()
    save_ply(tmp_path / "a.ply", splats, comments=["a\nend_header\nb", "ü"])
    found = load_ply(tmp_path / "a.ply")
    assert_equal(found, splats)
    assert found.comments == ("a end_header b", "\\xfc")


def test_which_way_is_up_is_a_comment_that_moves_with_the_model(tmp_path: Path) -> None:
    splats, up = make_splats(), np.array([0.0, 3.0, 4.0])
    save_ply(tmp_path / "a.ply", splats, up=up)
    np.testing.assert_allclose(load_ply(tmp_path / "a.ply").up, [0, 0.6, 0.8], atol=1e-6)
    assert b"comment Up: 0 0.6 0.8\n" in (tmp_path / "a.ply").read_bytes()
    move = similarity()
    save_ply(tmp_path / "moved.ply", splats, world_transform=move, up=up)
    found = load_ply(tmp_path / "moved.ply")
    tip, foot = (transform_points(move.numpy(), point[None])[0] for point in (up, 0 * up))
    np.testing.assert_allclose(found.up, (tip - foot) / np.linalg.norm(tip - foot), atol=1e-5)
    assert found.antialiased is False


def test_readers_that_know_no_comment_see_the_same_file(tmp_path: Path) -> None:
    splats = make_splats()
    save_ply(tmp_path / "a.ply", splats)
    save_ply(tmp_path / "b.ply", splats, up=np.array([0.0, -1.0, 0.0]))
    without, own = (
        [line for line in path.read_bytes().split(b"\n") if not line.startswith(b"comment ")]
        for path in (tmp_path / "a.ply", tmp_path / "b.ply")
    )
    assert own == without
    assert load_ply(tmp_path / "a.ply").up is None


@pytest.mark.parametrize(
    "comment",
    ["Up: Z", "Up: 0 0 0", "Up: nan 0 1", "Up: 1 2", "up: 0 0 1", "Upwards: 0 0 1", "Up:"],
)
def test_a_comment_of_another_program_says_nothing_of_up(comment: str, tmp_path: Path) -> None:
    save_ply(tmp_path / "a.ply", make_splats(), comments=[comment])
    assert load_ply(tmp_path / "a.ply").up is None


def test_elements_after_the_vertices_are_passed_over(tmp_path: Path) -> None:
    path, splats = tmp_path / "a.ply", make_splats()
    save_ply(path, splats)
    edit_header(path, r"\Z", "element face 1\nproperty list uchar int vertex_indices\n")
    path.write_bytes(path.read_bytes() + b"\x01\x00\x00\x00\x00")
    assert_equal(load_ply(path), splats)


# Refusals


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
@pytest.mark.parametrize("name", ["means", "scales", "quats", "opacities", "sh0", "shN"])
def test_values_that_are_not_finite_are_counted_and_not_written(
    name: str, value: float, tmp_path: Path
) -> None:
    splats = make_splats()
    splats[name][2] = value
    splats[name].view(7, -1)[5, 0] = value
    with pytest.raises(ResultError, match=r"2 of 7 .*number 2"):
        save_ply(tmp_path / "a.ply", splats)
    assert list(tmp_path.iterdir()) == []


def test_values_that_are_not_finite_are_counted_and_not_read(tmp_path: Path) -> None:
    path = tmp_path / "a.ply"
    save_ply(path, make_splats())
    data = bytearray(path.read_bytes())
    data[-4:] = np.float32(math.nan).tobytes()
    path.write_bytes(data)
    assert "1 of 7 Gaussians are not finite in rot_3 (the first is number 6)" in refusal(path)


def test_infinite_logits_of_opacity_are_those_of_one_and_nothing(tmp_path: Path) -> None:
    path, splats = tmp_path / "a.ply", make_splats()
    save_ply(path, splats)
    header = path.read_bytes().index(b"end_header\n") + len(b"end_header\n")
    rows = np.frombuffer(path.read_bytes()[header:], "<f4").reshape(7, -1).copy()
    rows[2, -8], rows[5, -8] = math.inf, -math.inf
    path.write_bytes(path.read_bytes()[:header] + rows.tobytes())
    opacities = load_ply(path).splats["opacities"]
    assert opacities[2].sigmoid() == 1 and 0 < opacities[5].sigmoid() < 1e-8
    rest = torch.ones(7, dtype=torch.bool)
    rest[[2, 5]] = False
    assert torch.equal(opacities[rest], splats["opacities"][rest])
    rows[0, -8] = math.nan
    path.write_bytes(path.read_bytes()[:header] + rows.tobytes())
    assert "1 of 7 Gaussians are not finite in opacity (the first is number 0)" in refusal(path)


@given(cut=st.integers(min_value=0))
def test_a_file_cut_anywhere_is_refused(cut: int, tmp_path_factory: pytest.TempPathFactory) -> None:
    path = tmp_path_factory.mktemp("cut") / "a.ply"
    save_ply(path, make_splats(3, 0))
    whole = path.read_bytes()
    path.write_bytes(whole[: cut % len(whole)])
    refusal(path)


def test_bytes_too_many_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.ply"
    save_ply(path, make_splats())
    path.write_bytes(path.read_bytes() + b"\x00")
    assert "cut off or damaged" in refusal(path)


@pytest.mark.parametrize(
    ("pattern", "replacement", "words"),
    [
        ("binary_little_endian", "binary_big_endian", "binary_big_endian 1.0"),
        ("binary_little_endian", "ascii", "convert the file"),
        ("format .*\n", "", "'none'"),
        ("ply\n", "PLY\n", "does not start"),
        ("element vertex", "element face", "first element is not vertex"),
        ("element vertex", "element face 0\nelement vertex", "first element is not vertex"),
        ("element vertex", "element chunk 0\nelement vertex", "is a compressed PLY"),
        ("element .*\n", "", "first element is not vertex"),
        ("vertex 7", "vertex", "has no count"),
        ("vertex 7", "vertex -7", "has no count"),
        ("vertex 7", "vertex 8", "need 1984: the file is cut off"),
        ("vertex 7", "vertex 999999999999", "cut off"),
        ("float opacity", "float alpha", "opacity are missing"),
        ("float f_rest_44", "float other", "44 f_rest_"),
        ("float scale_2", "float other", "the flat Gaussians of 2DGS, which have two scales"),
        (
            "float (f_dc|opac|f_rest|scale|rot)",
            r"float other_\1",
            "these are points (gs-train --init",
        ),
        ("float f_rest_7\n", "float f_rest_77\n", "f_rest_7 are missing"),
        ("float nx", "float x", "'property float x' is damaged, repeated"),
        ("float nx", "half nx", "'property half nx'"),
        ("float nx", "list uchar int nx", "'property list uchar int nx'"),
        ("property .*\n", "", "x, y, z"),
    ],
)
def test_headers_that_are_not_read_say_why(
    pattern: str, replacement: str, words: str, tmp_path: Path
) -> None:
    path = tmp_path / "a.ply"
    save_ply(path, make_splats())
    edit_header(path, pattern, replacement)
    assert words in refusal(path)


def test_sh_degree_4_is_named(tmp_path: Path) -> None:
    path = tmp_path / "a.ply"
    save_ply(path, make_splats())
    added = "".join(f"property float f_rest_{i}\n" for i in range(45, 72))
    edit_header(path, "property float opacity", f"{added}property float opacity")
    message = refusal(path)
    assert "72 f_rest_*: these are Gaussians of SH degree 4, and the highest is 3 here" in message


WORDS = st.sampled_from(
    "ply format binary_little_endian 1.0 element vertex property float list x f_rest_0 comment "
    "end_header 0 -1 99999999999999 \xff".split(" ")
)


@given(data=st.data())
def test_any_header_is_read_or_refused_in_one_line(
    data: st.DataObject, tmp_path_factory: pytest.TempPathFactory
) -> None:
    path = tmp_path_factory.mktemp("header") / "a.ply"
    splats = make_splats(2, 0)
    save_ply(path, splats)
    header, end, body = path.read_bytes().partition(b"end_header\n")
    lines = header.decode().splitlines()
    for _ in range(data.draw(st.integers(1, 3))):
        place = data.draw(st.integers(0, len(lines) - 1))
        lines[place] = " ".join(data.draw(st.lists(WORDS, max_size=4)))
    path.write_bytes("\n".join([*lines, ""]).encode("latin-1") + end + body)
    try:
        found = load_ply(path)
    except ResultError as error:
        assert "\n" not in str(error)
    else:
        assert len(found.splats["means"]) == 2


@given(junk=st.binary(max_size=200))
def test_any_bytes_are_refused_in_one_line(
    junk: bytes, tmp_path_factory: pytest.TempPathFactory
) -> None:
    path = tmp_path_factory.mktemp("junk") / "a.ply"
    path.write_bytes(junk)
    refusal(path)
    path.write_bytes(b"ply\n" + junk)
    refusal(path)


def test_missing_files_and_folders_are_refused(tmp_path: Path) -> None:
    assert "cannot be read" in refusal(tmp_path / "none.ply")
    assert "cannot be read" in refusal(tmp_path)


# Similarities


def test_covariances_and_means_move_with_the_world() -> None:
    splats, transform = make_splats(20), similarity(0.3)
    moved = transform_splats(splats, transform)
    scaled_rotation = transform[:3, :3].float()
    assert torch.allclose(
        moved["means"], splats["means"] @ scaled_rotation.T + transform[:3, 3].float(), atol=1e-5
    )
    before = covariances(splats["quats"], splats["scales"].exp())
    after = covariances(moved["quats"], moved["scales"].exp())
    expected = scaled_rotation @ before @ scaled_rotation.T
    assert torch.allclose(after, expected, rtol=1e-4, atol=1e-5)
    assert torch.equal(moved["opacities"], splats["opacities"])


@pytest.mark.parametrize("degree", [0, 1, 2, 3])
def test_colours_turn_with_the_world(degree: int) -> None:
    splats, transform = make_splats(20, degree), similarity(4.0)
    moved = transform_splats(splats, transform)
    dirs = torch.nn.functional.normalize(torch.randn(20, 3), dim=-1)
    turned = dirs @ (transform[:3, :3] / 4.0).float().T
    before = eval_sh(degree, dirs, torch.cat([splats["sh0"], splats["shN"]], 1))
    after = eval_sh(degree, turned, torch.cat([moved["sh0"], moved["shN"]], 1))
    assert torch.allclose(before, after, atol=1e-4)


def test_the_inverse_similarity_takes_everything_back() -> None:
    splats, transform = make_splats(20), similarity()
    back = transform_splats(transform_splats(splats, transform), torch.linalg.inv(transform))
    for name, value in splats.items():
        found = back[name]
        if name == "quats":  # q and -q are one rotation
            found = found * (found * value).sum(1, keepdim=True).sign()
        assert torch.allclose(found, value, atol=1e-5), name


def test_the_identity_changes_nothing() -> None:
    splats = make_splats()
    for name, value in transform_splats(splats, torch.eye(4)).items():
        assert torch.allclose(value, splats[name], atol=1e-6), name


def test_positions_keep_their_digits_far_from_the_origin() -> None:
    splats = make_splats(50)
    transform = torch.eye(4, dtype=torch.float64)
    transform[:3, :3] *= 1e3
    transform[:3, 3] = torch.tensor([500_000.0, 4_000_000.0, 0.0])
    moved = transform_splats(splats, transform)["means"]
    exact = splats["means"].double() * 1e3 + transform[:3, 3]
    assert torch.equal(moved, exact.float())


def test_the_export_is_in_the_transformed_frame(tmp_path: Path) -> None:
    splats, transform = make_splats(), similarity()
    for given_as in (transform, transform.numpy()):
        save_ply(tmp_path / "a.ply", splats, world_transform=given_as)
        assert_equal(load_ply(tmp_path / "a.ply"), transform_splats(splats, transform))


def not_similarities() -> dict[str, Tensor]:
    eye = torch.eye(4)
    return {
        "reflection": torch.diag(torch.tensor([-1.0, 1, 1, 1])),
        "stretch": torch.diag(torch.tensor([1.0, 1, 2, 1])),
        "singular": torch.diag(torch.tensor([0.0, 0, 0, 1])),
        "shear": eye + torch.tensor([[0, 0.1, 0, 0]] + [[0.0] * 4] * 3),
        "projective": eye + torch.tensor([[0.0] * 4] * 3 + [[0.1, 0, 0, 0]]),
        "nan": eye * math.nan,
        "3x3": torch.eye(3),
    }


@pytest.mark.parametrize("name", not_similarities())
def test_other_maps_than_similarities_are_refused(name: str) -> None:
    with pytest.raises(ConfigError, match="similarity") as caught:
        transform_splats(make_splats(), not_similarities()[name])
    assert "\n" not in str(caught.value)
