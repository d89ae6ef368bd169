"""Which runs gs-report finds in the places that it is given, and the records that it writes."""

import json
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from report_example import RECORD, RECORDS, made, save_run

from gs_densify.cli.report import command
from gs_densify.errors import ConfigError, GsDensifyError, ResultError
from gs_densify.report.runs import find_runs
from gs_densify.results import (
    EvaluationResults,
    load_per_view,
    load_results,
    read_metrics,
    save_json,
)
from gs_densify.results.record import load_record, record_of, save_record


def paths(*places: Path) -> list[Path]:
    return [run.path for run in find_runs(places).runs]


def save_evaluation(folder: Path) -> None:
    """Writes an evaluation of the recorded model."""
    old = RECORD.results
    save_json(
        folder / "evaluation.json",
        EvaluationResults(
            scene=old.scene,
            strategy="mcmc",
            seed=3,
            step=7000,
            model="somewhere.ply",
            config=old.config,
            protocol=old.protocol,
            scores=old.scores,
            unavailable=old.unavailable,
            num_gaussians=5,
            created=old.created,
            command=["gs-eval"],
        ),
    )
    save_json(folder / "per_view.json", replace(RECORD.per_view(), strategy="mcmc", seed=3))


def test_runs_are_found_at_any_depth_once_and_by_name(tmp_path: Path) -> None:
    deep, near = save_run(tmp_path / "x/y", seed=1), save_run(tmp_path)
    assert paths(tmp_path) == [near, deep]
    assert paths(deep, tmp_path, near, near / "results.json") == [deep, near]
    save_record(tmp_path / "b.run.json", record_of(near))
    assert paths(tmp_path) == [tmp_path / "b.run.json", near, deep]
    assert paths(tmp_path / "b.run.json") == [tmp_path / "b.run.json"]


def test_what_is_set_aside_and_what_lies_in_a_run_is_not_entered(tmp_path: Path) -> None:
    run = save_run(tmp_path)
    for name in ("superseded", "checkpoints", "renders", "compat"):
        save_run(tmp_path / name)
    (tmp_path / "link").symlink_to(tmp_path)
    save_evaluation(run / "evaluations/1")
    assert paths(tmp_path) == [run]
    assert paths(tmp_path / "superseded") == [tmp_path / "superseded/garden_default_0"]
    found = find_runs([run / "evaluations/1"]).runs[0]
    assert (found.strategy, found.seed, found.num_gaussians) == ("mcmc", 3, 5)
    assert found.train_seconds is None and len(found.views) == 37
    assert paths(run, run / "evaluations/1/evaluation.json") == [run, run / "evaluations/1"]


def test_runs_without_results_are_listed_with_their_last_whole_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    done, going, begun = (save_run(tmp_path, seed=n) for n in (0, 1, 2))
    for run in (going, begun):
        (run / "results.json").unlink()
    (begun / "metrics.jsonl").unlink()
    with (going / "metrics.jsonl").open("a") as log:
        log.write('{"step": 400, "lo')
    found = find_runs([tmp_path])
    assert [run.path for run in found.runs] == [done]
    last = RECORD.timeline[2].step
    assert {one.path: one.step for one in found.unfinished} == {going: last, begun: None}
    command([str(tmp_path)])
    said = capsys.readouterr().out
    assert f"not finished, step {last}: {going}" in said
    assert f"not finished, no step: {begun}" in said
    with pytest.raises(ResultError, match="no finished run to report on"):
        command([str(going)])


def test_places_without_runs_and_damaged_files_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ResultError, match="there is no such file or folder"):
        find_runs([tmp_path / "nowhere"])
    (tmp_path / "empty").mkdir()
    with pytest.raises(ResultError, match=r"empty: holds no results.json, evaluation.json or \*"):
        find_runs([tmp_path / "empty"])
    run = save_run(tmp_path)
    (run / "results.json").write_text('{"scene": ')
    with pytest.raises(ResultError, match=r"results.json"):
        find_runs([tmp_path])


def test_files_of_two_evaluations_in_one_folder_are_refused(tmp_path: Path) -> None:
    run = save_run(tmp_path)
    other = save_run(tmp_path / "other", protocol={"name": "inria"})
    shutil.copyfile(other / "per_view.json", run / "per_view.json")
    with pytest.raises(ResultError, match="the files are not of one evaluation"):
        find_runs([run]).runs[0].views  # noqa: B018


def test_a_record_is_the_run_without_names_of_folders(tmp_path: Path) -> None:
    run = save_run(tmp_path / "a", options={"out": "/somewhere"})
    results = load_results(run / "results.json")
    words = [*results.command, "--out", "/somewhere", "--seed", "3"]
    save_json(run / "results.json", replace(results, command=words))
    command([str(tmp_path / "a"), "--record", str(tmp_path / "kept")])
    kept = tmp_path / "kept/garden_default_seed0.run.json"
    assert "/somewhere" not in kept.read_text()
    found = load_record(kept)
    config = {k: v for k, v in results.config.items() if k not in ("out", "data_root")}
    config["evaluation"] = {k: v for k, v in config["evaluation"].items() if k != "lpips_weights"}
    command_line = [*results.command, "--seed", "3"]
    assert found.results == replace(results, config=config, command=command_line)
    assert found.views == load_per_view(run / "per_view.json").views
    assert found.timeline == read_metrics(run / "metrics.jsonl")
    environment = json.loads((tmp_path / "kept/environment.json").read_text())
    assert environment["code"] == ["c1"]
    assert environment["hardware"] == {"NVIDIA H100 80GB HBM3": 1}
    assert environment["versions"]["torch"] == ["2.11.0"]
    with pytest.raises(ConfigError, match="kept is there already; nothing was changed"):
        command([str(tmp_path / "a"), "--record", str(tmp_path / "kept")])


def test_a_report_on_records_is_that_on_the_runs(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for seed in (0, 1):
        for strategy in ("default", "mcmc"):
            views = {"a": 26.0 + seed, "b": 27.5 * (strategy == "mcmc") + 1}
            save_run(tmp_path / "a", seed=seed, strategy=strategy, views=views, passed={3.0: 9.0})
    flags = ["--baseline", "mcmc", "--marks", "8", "--format", "csv"]
    command([str(tmp_path / "a"), *flags, "--record", str(tmp_path / "kept")])
    of_runs = capsys.readouterr().out
    command([str(tmp_path / "kept"), *flags])
    assert capsys.readouterr().out == of_runs
    shutil.copytree(tmp_path / "kept", tmp_path / "study")
    for name in ("study.yml", "study.json"):
        (tmp_path / "study" / name).write_text("{}\n")
    command([str(tmp_path / "study"), "--record", str(tmp_path / "again")])
    names = {path.name for path in (tmp_path / "study").iterdir()}
    assert {path.name for path in (tmp_path / "again").iterdir()} == names
    save_run(tmp_path / "twin", strategy="mcmc", seed=5, views={"a": 1.0, "b": 2.0})
    (tmp_path / "twin/study.yml").write_text("{}\n")
    with pytest.raises(ResultError, match="are two studies; write a record of each"):
        command([*map(str, (tmp_path / "study", tmp_path / "twin")), "--record", "x"])


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        ({"record_version": 2}, "is no record of a run; a file that gs-report --record wrote"),
        ({"views": {"names": ["a"], "columns": {"psnr": [1.0, 2.0]}}}, "columns of"),
        ({"timeline": {"columns": {"step": ["x"]}}}, "timeline"),
        ({"results": {}}, "is missing; the file is damaged"),
    ],
)
def test_a_damaged_record_is_refused(damage: dict, message: str, tmp_path: Path) -> None:
    value = json.loads((RECORDS / "bonsai_7k/mcmc_7k.run.json").read_text())
    (tmp_path / "x.run.json").write_text(json.dumps(value | damage))
    with pytest.raises(ResultError) as caught:
        load_record(tmp_path / "x.run.json")
    assert message in str(caught.value) and "x.run.json" in str(caught.value)


def test_an_evaluation_has_neither_record_nor_marks(tmp_path: Path) -> None:
    save_evaluation(tmp_path / "e")
    for flags in (["--record", str(tmp_path / "r")], ["--marks", "30"]):
        with pytest.raises(ResultError, match=r"--(record|marks) .*e.*is an evaluation"):
            command([str(tmp_path / "e"), *flags])
    assert not (tmp_path / "r").exists()


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        ([], "no folder given"),
        (["{a}", "--scenes", "room"], "--scenes has 'room'; found: garden"),
        (["{a}", "--strategies", "x"], "--strategies has 'x'; found: default"),
        (["{a}", "--rename", "x=y"], "--rename has 'x=y'; LABEL=NEW with one of 'default'"),
        (["{a}", "--marks", "high"], "--marks"),
        (["{a}", "--published", "nobody"], "--published has 'nobody'; all, a YAML file, or some"),
    ],
)
def test_what_does_not_fit_is_refused_in_one_line(
    flags: list[str], message: str, tmp_path: Path
) -> None:
    save_run(tmp_path)
    with pytest.raises(GsDensifyError) as caught:
        command([flag.format(a=tmp_path) for flag in flags])
    assert message in str(caught.value) and "\n" not in str(caught.value)


def test_scenes_and_strategies_are_chosen_before_anything_is_compared(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    save_run(tmp_path)
    save_run(tmp_path, scene="room", protocol={"name": "inria"})
    save_run(tmp_path, strategy="mcmc", protocol={"name": "inria"})
    command([str(tmp_path), "--scenes", "garden", "--strategies", "default"])
    said = capsys.readouterr().out
    assert said.startswith("garden\n") and "mcmc" not in said and "protocol: default" in said


def test_torch_is_not_imported(tmp_path: Path) -> None:
    made(tmp_path)
    code = (
        "import sys; from gs_densify.cli.report import command; command([sys.argv[1],"
        " '--baseline', 'default', '--marks', '20']); print(*(m for m in ('torch', 'scipy.stats')"
        " if m in sys.modules), file=sys.stderr)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path)], capture_output=True, text=True, check=True
    )
    assert done.stderr.strip() == ""
