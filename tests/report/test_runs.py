"""Which runs are found in folders, and what is said of those that cannot be read."""

import dataclasses
import json
from pathlib import Path

import pytest
from made_runs import evaluation_of, made, runs_in

from gs_densify.errors import ResultError
from gs_densify.report.runs import Unfinished, find_runs, load_run
from gs_densify.results.record import record_of, save_record


def refusal(*places: Path) -> str:
    with pytest.raises(ResultError) as caught:
        find_runs(places)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_runs_and_records_are_found_at_any_depth(tmp_path: Path) -> None:
    deep = made(tmp_path / "a" / "b" / "c")
    save_record(tmp_path / "z" / "room.run.json", record_of(made(tmp_path / "away", "room")))
    near = made(tmp_path / "z", "stump")
    found = find_runs([tmp_path / "a", tmp_path / "z"])
    assert [run.path for run in found.runs] == [deep, tmp_path / "z" / "room.run.json", near]
    assert [run.scene for run in found.runs] == ["garden", "room", "stump"]
    assert found.unfinished == []


@pytest.mark.parametrize("named", ["folder", "file", "around", "twice"])
def test_a_run_is_named_by_its_folder_its_file_or_what_it_lies_in(
    named: str, tmp_path: Path
) -> None:
    run = made(tmp_path)
    places = {
        "folder": [run],
        "file": [run / "results.json"],
        "around": [tmp_path],
        "twice": [run, tmp_path, run / ".." / run.name],
    }
    assert [one.path.resolve() for one in find_runs(places[named]).runs] == [run.resolve()]


@pytest.mark.parametrize("name", ["superseded", "compat", "checkpoints", "renders"])
def test_what_was_set_aside_is_not_looked_into(name: str, tmp_path: Path) -> None:
    made(tmp_path / "cells" / name)
    made(tmp_path / "cells" / "else", "room")
    assert [run.scene for run in runs_in(tmp_path)] == ["room"]


def test_links_to_folders_are_not_followed(tmp_path: Path) -> None:
    run = made(tmp_path / "runs")
    (tmp_path / "runs" / "again").symlink_to(tmp_path / "runs")
    (tmp_path / "runs" / "other").symlink_to(made(tmp_path / "away", "room"))
    assert [one.path for one in runs_in(tmp_path / "runs")] == [run]
    assert len(runs_in(tmp_path / "runs" / "other")) == 1, "but where they are named"


def test_an_evaluation_counts_only_where_it_is_named_itself(tmp_path: Path) -> None:
    run = made(tmp_path / "runs")
    evaluation = evaluation_of(run, run / "evaluations" / "1")
    alone = evaluation_of(run, tmp_path / "alone" / "1")
    assert [one.path for one in runs_in(tmp_path)] == [run]
    assert "an evaluation has to be named itself" in refusal(alone.parent)
    (read,) = find_runs([evaluation]).runs
    trained = load_run(run)
    assert (read.path, read.results, read.timeline) == (evaluation, None, [])
    assert (read.train_seconds, read.device_bytes) == (None, None)
    for name in ("scene", "strategy", "seed", "steps", "scores", "num_gaussians", "code", "data"):
        assert getattr(read, name) == getattr(trained, name), name
    assert find_runs([evaluation / "evaluation.json"]).runs[0].path == evaluation


def test_files_of_two_evaluations_in_one_folder_are_refused(tmp_path: Path) -> None:
    run = made(tmp_path)
    other = evaluation_of(run, tmp_path / "e")
    for folder in (run, other):
        value = json.loads((folder / "per_view.json").read_text())
        (folder / "per_view.json").write_text(json.dumps({**value, "protocol": "inria"}))
        with pytest.raises(ResultError, match="the files are not of one evaluation"):
            load_run(folder).views  # noqa: B018


@pytest.mark.parametrize(
    ("log", "step"),
    [
        (None, None),
        ("", None),
        ('{"step": 100}\n{"step": 200}\n', 200),
        ('{"step": 100}\n{"step": 20', 100),
        ('{"step": 100}\n{"st', 100),
        ('{"step": 1', None),
        ('{"step": 100}\n[]\n{"loss": 1}\n', 100),
        ('{"step": true}\n', None),
    ],
)
def test_unfinished_runs_are_listed_with_their_last_step(
    log: str | None, step: int | None, tmp_path: Path
) -> None:
    made(tmp_path)
    begun = tmp_path / "begun"
    begun.mkdir()
    (begun / "config.yml").write_text("format: 2\n")
    if log is not None:
        (begun / "metrics.jsonl").write_text(log)
    found = find_runs([tmp_path])
    assert (len(found.runs), found.unfinished) == (1, [Unfinished(begun, step)])
    assert find_runs([begun]).unfinished == found.unfinished


def test_a_damaged_file_is_named_in_one_line(tmp_path: Path) -> None:
    run = made(tmp_path)
    whole = (run / "results.json").read_text()
    (run / "results.json").write_text(whole[:500])
    assert refusal(tmp_path).startswith(f"{run / 'results.json'}: is damaged")
    (run / "results.json").write_text(whole)
    (tmp_path / "x.run.json").write_text('{"record_version": 99}')
    assert refusal(tmp_path).startswith(f"{tmp_path / 'x.run.json'}: is no record of a run")


def test_places_without_runs_are_named(tmp_path: Path) -> None:
    made(tmp_path / "full")
    (tmp_path / "empty").mkdir()
    assert refusal(tmp_path / "full", tmp_path / "empty").startswith(f"{tmp_path / 'empty'}: holds")
    assert "there is no such file or folder" in refusal(tmp_path / "nowhere")


def test_a_folder_that_cannot_be_read_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(folder: Path) -> None:
        raise PermissionError(13, "Permission denied", str(folder))

    made(tmp_path / "locked")
    monkeypatch.setattr(Path, "iterdir", refuse)
    assert refusal(tmp_path) == f"{tmp_path}: cannot be read (Permission denied)"


def test_views_and_time_lines_are_read_when_asked_for(tmp_path: Path) -> None:
    run = made(tmp_path, views=[25.0, 29.0])
    read = load_run(run)
    assert [view.scores["psnr"] for view in read.views] == [25.0, 29.0]
    assert [row.step for row in read.timeline] == [100, 200]
    save_record(tmp_path / "a.run.json", record_of(run))
    record = load_run(tmp_path / "a.run.json")
    assert (record.views, record.timeline) == (read.views, read.timeline)
    assert dataclasses.replace(record.results, config={}) == dataclasses.replace(
        read.results, config={}
    )
    (run / "per_view.json").unlink()
    (run / "metrics.jsonl").unlink()
    again = load_run(run)
    with pytest.raises(ResultError, match="no such file"):
        again.views  # noqa: B018
    with pytest.raises(ResultError, match="no such file"):
        again.timeline  # noqa: B018
