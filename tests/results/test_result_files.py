import copy
import json
import math
import os
import stat
import subprocess
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from results_example import example_results

from gs_densify.errors import ResultError
from gs_densify.results import (
    SCHEMA_VERSION,
    STANDARD_METRICS,
    PerView,
    Results,
    Scores,
    ViewScores,
    load_json,
    load_per_view,
    load_results,
    save_json,
)
from gs_densify.results.decode import decode
from gs_densify.results.encode import encode

FINITE = st.floats(allow_nan=False, allow_infinity=False)


def saved_dict(tmp_path: Path) -> dict[str, Any]:
    save_json(tmp_path / "results.json", example_results())
    return json.loads((tmp_path / "results.json").read_text())


def refusal(path: Path) -> str:
    with pytest.raises(ResultError) as caught:
        load_results(path)
    message = str(caught.value)
    assert "\n" not in message and str(path) in message
    return message


def test_results_read_back_equal_to_what_was_saved(tmp_path: Path) -> None:
    save_json(tmp_path / "deep" / "results.json", example_results())
    assert load_results(tmp_path / "deep" / "results.json") == example_results()


def test_what_is_no_regular_file_is_not_replaced(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "folder").mkdir()
    (tmp_path / "link").symlink_to("pipe")
    for name in ("pipe", "folder", "link"):
        with pytest.raises(ResultError, match="is no regular file, and is not replaced"):
            save_json(tmp_path / name, {})
    assert (tmp_path / "pipe").is_fifo() and (tmp_path / "folder").is_dir()


def test_per_view_reads_back_equal(tmp_path: Path) -> None:
    views = [ViewScores(name="sub/ü.JPG", scores=Scores(psnr=1 / 3, ssim=-0.5))]
    per_view = PerView(
        scene="fox", strategy="mcmc", seed=1, step=10, protocol="default", views=views
    )
    save_json(tmp_path / "per_view.json", per_view)
    assert load_per_view(tmp_path / "per_view.json") == per_view


def test_paths_and_undecodable_names_are_saved(tmp_path: Path) -> None:
    save_json(tmp_path / "x.json", {"path": Path("a/b"), "name": "\udcff.png"})
    assert load_json(tmp_path / "x.json") == {"path": "a/b", "name": "\udcff.png"}


@given(number=FINITE)
def test_floats_keep_every_bit(number: float, tmp_path_factory: pytest.TempPathFactory) -> None:
    path = tmp_path_factory.mktemp("bits") / "value.json"
    save_json(path, {"x": number})
    assert math.copysign(1, load_json(path)["x"]) == math.copysign(1, number)
    assert load_json(path)["x"] == number


@pytest.mark.parametrize("number", [math.nan, math.inf, -math.inf])
def test_a_number_that_is_not_finite_is_named_and_leaves_the_old_file(
    number: float, tmp_path: Path
) -> None:
    path = tmp_path / "x.json"
    save_json(path, {"old": 1})
    with pytest.raises(ResultError, match=r"config\.lrs\[1\] = -?(nan|inf)"):
        save_json(path, {"config": {"lrs": [1.0, number]}})
    assert load_json(path) == {"old": 1}
    assert os.listdir(tmp_path) == ["x.json"]


@pytest.mark.parametrize(
    "text", ["NaN", "[Infinity]", '{"a": -Infinity}', "", "{", "\x00", "[" * 10**5]
)
def test_text_that_is_not_json_is_refused_in_one_line(text: str, tmp_path: Path) -> None:
    path = tmp_path / "results.json"
    path.write_text(text)
    assert "damaged" in refusal(path)


def test_a_failed_write_leaves_the_old_file_and_no_other(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "results.json"
    save_json(path, {"old": 1})

    def full_disk(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full_disk)
    with pytest.raises(ResultError, match="No space left"):
        save_json(path, {"new": 2})
    assert load_json(path) == {"old": 1}
    assert os.listdir(tmp_path) == ["results.json"]


def test_saved_files_follow_the_umask(tmp_path: Path) -> None:
    before = os.umask(0o027)
    try:
        save_json(tmp_path / "x.json", 1)
    finally:
        os.umask(before)
    assert stat.S_IMODE((tmp_path / "x.json").stat().st_mode) == 0o640


def test_the_umask_is_not_set_even_for_a_moment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is the process's: of two threads that set it and back, one would keep the other's."""
    monkeypatch.setattr(os, "umask", lambda mask: pytest.fail(f"umask set to {mask:o}"))
    save_json(tmp_path / "x.json", 1)


def test_missing_file_folder_and_unwritable_place_are_refused(tmp_path: Path) -> None:
    assert "no such file" in refusal(tmp_path / "none.json")
    assert "cannot be read" in refusal(tmp_path)
    (tmp_path / "file").touch()
    with pytest.raises(ResultError, match="cannot be written"):
        save_json(tmp_path / "file" / "x.json", 1)


@pytest.mark.parametrize("version", [0, SCHEMA_VERSION + 1, "1", True, 1.0, None])
def test_another_version_is_refused(version: object, tmp_path: Path) -> None:
    value = saved_dict(tmp_path) | {"schema_version": version}
    save_json(tmp_path / "results.json", value)
    assert "version" in refusal(tmp_path / "results.json")


def places(value: Any, path: tuple = ()) -> list[tuple]:
    """Every key that the schema, not a free dictionary, asks for."""
    free = {"config", "options", "versions", "unavailable", "lpips"}
    found = []
    if isinstance(value, dict):
        for key, item in value.items():
            found.append((*path, key))
            if key not in free:
                found += places(item, (*path, key))
    elif isinstance(value, list) and value:
        found += places(value[0], (*path, 0))
    return found


PLACES = places(json.loads(json.dumps(asdict(example_results()))))


@pytest.mark.parametrize("place", PLACES, ids=str)
def test_every_field_is_checked(place: tuple, tmp_path: Path) -> None:
    """No value of the schema may be an object with an unknown key."""
    value = saved_dict(tmp_path)
    inner = value
    for key in place[:-1]:
        inner = inner[key]
    if place[-1] in {"config", "options"}:
        inner[place[-1]] = [1]
    else:
        inner[place[-1]] = {"no such key": [1]}
    save_json(tmp_path / "results.json", value)
    refusal(tmp_path / "results.json")


@pytest.mark.parametrize("key", ["scene", "protocol", "scores", "counts", "command", "versions"])
def test_a_missing_key_is_named(key: str, tmp_path: Path) -> None:
    value = saved_dict(tmp_path)
    del value[key]
    save_json(tmp_path / "results.json", value)
    assert repr(key) in refusal(tmp_path / "results.json")


def test_an_unknown_key_is_named(tmp_path: Path) -> None:
    value = saved_dict(tmp_path)
    value["counts"]["extra"] = 1
    save_json(tmp_path / "results.json", value)
    assert "counts: unknown key 'extra'" in refusal(tmp_path / "results.json")


@pytest.mark.parametrize(
    ("place", "value"),
    [
        (("wall_time", "load"), 10**400),
        (("seed",), 1.5),
        (("seed",), True),
        (("steps",), "7"),
        (("protocol", "masks"), 0),
        (("protocol", "background"), [0, 0]),
        (("scene",), None),
    ],
)
def test_values_are_not_converted(place: tuple, value: object, tmp_path: Path) -> None:
    whole = saved_dict(tmp_path)
    inner = whole
    for key in place[:-1]:
        inner = inner[key]
    inner[place[-1]] = value
    save_json(tmp_path / "results.json", whole)
    assert place[-1] in refusal(tmp_path / "results.json")


def test_a_null_score_must_have_a_reason(tmp_path: Path) -> None:
    value = saved_dict(tmp_path)
    without = copy.deepcopy(value)
    del without["unavailable"]["lpips_alex"]
    save_json(tmp_path / "results.json", without)
    assert "lpips_alex" in refusal(tmp_path / "results.json")
    value["unavailable"]["psnr"] = "a reason for a score that is there"
    save_json(tmp_path / "results.json", value)
    assert "psnr" in refusal(tmp_path / "results.json")


def test_a_further_score_needs_its_description(tmp_path: Path) -> None:
    value = saved_dict(tmp_path)
    value["scores"]["mae"] = 0.5
    save_json(tmp_path / "results.json", value)
    assert "do not describe the score 'mae'" in refusal(tmp_path / "results.json")
    value["protocol"]["metrics"] = {
        "mae": {"label": "MAE", "higher_is_better": False, "computed": "mean of |a - b|"}
    }
    save_json(tmp_path / "results.json", value)
    read = load_results(tmp_path / "results.json")
    assert read.scores["mae"] == 0.5 and list(read.scores) == [*STANDARD_METRICS, "mae"]
    value["protocol"]["metrics"]["mae"]["format"] = "{:.3f}"
    save_json(tmp_path / "results.json", value)
    assert "is not like '.3f'" in refusal(tmp_path / "results.json")


def test_scores_that_a_file_leaves_out_are_null(tmp_path: Path) -> None:
    value = saved_dict(tmp_path)
    del value["scores"]["lpips_vgg_01"]
    save_json(tmp_path / "results.json", value)
    assert load_results(tmp_path / "results.json") == example_results()


def test_what_is_encoded_is_read_back_without_a_file() -> None:
    """Checkpoints hold it so, and may hold nothing but plain values."""
    plain = encode(example_results())
    assert type(plain["scores"]) is dict and type(plain["protocol"]["background"]) is list
    assert decode(Results, plain, "here") == example_results()


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | FINITE | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3)
    ),
    max_leaves=6,
)


@given(data=st.data())
def test_any_damage_is_either_harmless_or_one_line(
    data: st.DataObject, tmp_path_factory: pytest.TempPathFactory
) -> None:
    folder = tmp_path_factory.mktemp("damage")
    value = saved_dict(folder)
    place = data.draw(st.sampled_from(places(value)))
    inner = value
    for key in place[:-1]:
        inner = inner[key]
    inner[place[-1]] = data.draw(JSON)
    path = folder / "results.json"
    save_json(path, value)
    try:
        load_results(path)
    except ResultError as error:
        assert "\n" not in str(error)


@given(cut=st.integers(min_value=0, max_value=2000))
def test_a_file_cut_anywhere_is_refused(cut: int, tmp_path_factory: pytest.TempPathFactory) -> None:
    path = tmp_path_factory.mktemp("cut") / "results.json"
    save_json(path, example_results())
    whole = path.read_bytes()
    path.write_bytes(whole[: min(cut, len(whole) - 2)])
    refusal(path)


def test_results_are_read_without_torch_or_numpy() -> None:
    code = "import sys, gs_densify.results; print('torch' in sys.modules, 'numpy' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["False", "False"]
