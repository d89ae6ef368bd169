"""Records of runs: what is kept, what is left out, and what is refused."""

import dataclasses
import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from made_runs import evaluation_of, made, report_on, runs_in
from results_example import example_results

from gs_densify.errors import ResultError
from gs_densify.report.record import save_records, slug
from gs_densify.report.report import make_report
from gs_densify.results import MetricsRow, Scores, StrategyRecord, ViewScores, load_json
from gs_densify.results.encode import encode
from gs_densify.results.record import (
    RunRecord,
    load_record,
    record_of,
    save_record,
    without_places,
)

FINITE = st.floats(allow_nan=False, allow_infinity=False)
MAYBE = st.none() | FINITE
COUNT = st.integers(0, 2**53)
TERMS = st.lists(st.sampled_from(["l1", "ssim_loss", "opacity_reg"]), unique=True)


@st.composite
def records(draw: st.DrawFn) -> RunRecord:
    terms = draw(TERMS)
    rows = st.builds(
        MetricsRow,
        step=COUNT,
        loss=MAYBE,
        num_gaussians=COUNT,
        train_seconds=FINITE,
        terms=st.fixed_dictionaries(dict.fromkeys(terms, MAYBE)),
        means_lr=MAYBE,
        step_milliseconds=MAYBE,
        device_bytes=st.none() | COUNT,
        psnr=MAYBE,
    )
    scores = st.builds(Scores, psnr=MAYBE, ssim=MAYBE)
    views = st.builds(ViewScores, name=st.text(max_size=9), scores=scores)
    drawn = draw(st.lists(views, max_size=4, unique_by=lambda view: view.name))
    results = example_results()
    return RunRecord(
        results=dataclasses.replace(
            results,
            seed=draw(COUNT),
            protocol=dataclasses.replace(
                results.protocol, test_images=[view.name for view in drawn]
            ),
            scores=Scores(),  # the means of some of these are infinite
            unavailable=dict.fromkeys(Scores(), "not asked for"),
        ),
        views=drawn,
        timeline=draw(st.lists(rows, max_size=4)),
    )


@given(record=records())
def test_records_read_back_to_the_last_bit(
    record: RunRecord, tmp_path_factory: pytest.TempPathFactory
) -> None:
    path = tmp_path_factory.mktemp("r") / "x.run.json"
    save_record(path, record)
    assert load_record(path) == record
    assert path.read_text().count("\n") < 60


def test_a_record_is_what_the_files_of_a_run_hold(tmp_path: Path) -> None:
    run = made(tmp_path, views=[25.0, 27.5])
    record = record_of(run)
    save_record(tmp_path / "x.run.json", record)
    read = load_record(tmp_path / "x.run.json")
    assert encode(read.per_view()) == load_json(run / "per_view.json")
    stored = load_json(run / "results.json")
    del stored["config"]["out"]
    assert encode(read.results) == stored
    lines = (run / "metrics.jsonl").read_text().splitlines()
    assert [encode(row) for row in read.timeline] == [json.loads(line) for line in lines]


def test_no_folder_of_a_machine_is_left(tmp_path: Path) -> None:
    home = "/secret/me"
    results = dataclasses.replace(
        example_results(),
        strategy=StrategyRecord(name=f"{home}/mine.py:Mine", options={"file": f"{home}/a.pt"}),
        config={
            "out": "runs/here",
            "data_root": f"{home}/data",
            "scene": f"{home}/my scenes/fox",
            "strategy": {"name": f"{home}/mine.py:Mine", "ratio": "1/2"},
            "evaluation": {"lpips_weights": f"{home}/w", "lpips": ["lpips_vgg"]},
            "init": {"ply": [f"~{home}/points.ply"]},
        },
        unavailable={
            "lpips_alex": f"the folder '{home}/weights' does not exist",
            "lpips_vgg_01": "not asked for",
        },
        command=[
            *("gs-train", "--out", f"{home}/out", f"--data-root={home}/data", "--seed", "3"),
            *("--data_root", f"{home}/data", "--scene", f"{home}/my scenes/fox", "--label", "a/b"),
            *("--evaluation.lpips-weights", f"{home}/w", f"--strategy={home}/mine.py:Mine"),
        ],
    )
    kept = without_places(results)
    assert "secret" not in json.dumps(encode(kept))
    assert kept.config == {
        "scene": "fox",
        "strategy": {"name": "mine.py:Mine", "ratio": "1/2"},
        "evaluation": {"lpips": ["lpips_vgg"]},
        "init": {"ply": ["points.ply"]},
    }
    assert kept.strategy == StrategyRecord(name="mine.py:Mine", options={"file": "a.pt"})
    assert kept.unavailable["lpips_alex"] == "the folder 'weights' does not exist"
    assert kept.command == [
        *("gs-train", "--seed", "3", "--scene", "fox", "--label", "a/b"),
        "--strategy=mine.py:Mine",
    ]


def _drop_row(value: dict[str, Any]) -> None:
    value["timeline"]["columns"]["loss"].pop()


def _drop_view(value: dict[str, Any]) -> None:
    value["views"]["names"].pop()


def _half_a_step(value: dict[str, Any]) -> None:
    value["timeline"]["columns"]["step"][0] = 1.5


def _text(value: dict[str, Any]) -> None:
    value["views"]["columns"]["psnr"][0] = "27"


def _no_views(value: dict[str, Any]) -> None:
    del value["views"]


def _no_loss(value: dict[str, Any]) -> None:
    del value["timeline"]["columns"]["num_gaussians"]


def _later(value: dict[str, Any]) -> None:
    value["record_version"] = 2


def _no_scene(value: dict[str, Any]) -> None:
    del value["results"]["scene"]


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (_drop_row, "timeline: columns of [1, 2] rows; the file is damaged"),
        (_drop_view, "views: columns of [1, 2] rows; the file is damaged"),
        (_half_a_step, "timeline: step: 1.5 is not an integer"),
        (_text, "views: columns: psnr[0]: '27' is not a number"),
        (_no_views, "views: None is not an object"),
        (_no_loss, "the key 'num_gaussians' is missing"),
        (_later, "is no record of a run"),
        (_no_scene, "results: the key 'scene' is missing"),
    ],
)
def test_damaged_records_are_refused_in_one_line(
    damage: Callable[[dict[str, Any]], None], message: str, tmp_path: Path
) -> None:
    path = tmp_path / "x.run.json"
    save_record(path, record_of(made(tmp_path)))
    value = json.loads(path.read_text())
    damage(value)
    path.write_text(json.dumps(value))
    with pytest.raises(ResultError) as caught:
        load_record(path)
    said = str(caught.value)
    assert said.startswith(f"{path}: ") and message in said and "\n" not in said


def test_a_report_is_kept_as_a_file_a_run(tmp_path: Path) -> None:
    for seed in (0, 1):
        for scene in ("garden", "my room"):
            made(tmp_path / "runs", scene, seed=seed, label="x (a=1)")
    report = report_on(tmp_path / "runs")
    written = save_records(tmp_path / "kept", report, [tmp_path / "runs"])
    names = {f"{scene}_x-a=1_seed{seed}" for scene in ("garden", "my-room") for seed in (0, 1)}
    assert {path.name for path in written} == {f"{name}.run.json" for name in names}
    assert {path.name for path in (tmp_path / "kept").iterdir()} == {
        *(path.name for path in written),
        "environment.json",
    }
    assert load_json(tmp_path / "kept" / "environment.json") == {
        "code": ["c1"],
        "hardware": {"CPU": 4},
        "versions": {"torch": ["2.13.0"]},
    }
    assert str(tmp_path) not in "".join(path.read_text() for path in (tmp_path / "kept").iterdir())
    again = report_on(tmp_path / "kept")
    assert encode(again.tables) == encode(report.tables) and again.notes == report.notes


def test_two_runs_never_share_a_file(tmp_path: Path) -> None:
    made(tmp_path / "runs", label="a b")
    made(tmp_path / "runs", label="a-b")
    with pytest.raises(ResultError, match=r"would both be garden_a-b_seed0\.run\.json; leave one"):
        save_records(tmp_path / "kept", report_on(tmp_path / "runs"), [])
    assert not (tmp_path / "kept").exists()


def test_an_evaluation_is_no_run_to_record(tmp_path: Path) -> None:
    evaluation = evaluation_of(made(tmp_path / "runs"), tmp_path / "e")
    with pytest.raises(ResultError, match="is an evaluation; record runs of gs-train"):
        save_records(tmp_path / "kept", report_on(evaluation), [])
    assert not (tmp_path / "kept").exists()


def test_what_a_study_left_is_copied(tmp_path: Path) -> None:
    studies = [tmp_path / name for name in "ab"]
    for study in studies:
        made(study / "cells")
        (study / "study.yml").write_text(f"name: {study.name}\n")
    report = report_on(studies[0])
    save_records(tmp_path / "kept", report, [studies[0]])
    assert (tmp_path / "kept" / "study.yml").read_text() == "name: a\n"
    with pytest.raises(ResultError, match="are two studies; write a record of each"):
        save_records(tmp_path / "other", make_report(runs_in(studies[0])), studies)


@given(text=st.text(max_size=20))
def test_slugs_are_parts_of_names(text: str) -> None:
    assert re.fullmatch(r"[A-Za-z0-9.+=-]+", slug(text))
