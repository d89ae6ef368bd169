"""`gs-report` as it is called."""

import csv
import dataclasses
import io
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from commands import refusal, run
from made_runs import CODE, DATA, evaluation_of, made


@pytest.fixture
def study(tmp_path: Path) -> Path:
    """Two methods on two scenes, and a run that is not finished."""
    folder = tmp_path / "study"
    for scene in ("garden", "room"):
        made(folder / "cells", scene, views=[27.0, 28.0, 29.0])
        made(folder / "cells", scene, strategy="b", views=[27.5, 28.75, 29.0])
    begun = folder / "cells" / "begun"
    begun.mkdir()
    (begun / "config.yml").write_text("format: 2\n")
    (begun / "metrics.jsonl").write_text('{"step": 1200}\n{"step": 13')
    return folder


def test_tables_of_a_folder(study: Path) -> None:
    done = run("gs-report", "study", "--baseline", "adc", cwd=study.parent)
    assert (done.returncode, done.stderr) == (0, "")
    lines = done.stdout.splitlines()
    assert [line for line in lines if line in ("mean of garden, room", "garden", "room")] == [
        *("mean of garden, room", "garden", "room")
    ]
    assert lines[-1] == "not finished, step 1,200: study/cells/begun"
    assert any(line.startswith("b ") and "(+0.42, p = .199)~" in line for line in lines), lines
    assert list(study.parent.iterdir()) == [study]


def test_options_choose_what_is_shown(study: Path) -> None:
    options = ["--scenes", "room", "--strategies", "b", "--metrics", "ssim", "--format", "csv"]
    done = run("gs-report", "study", *options, cwd=study.parent)
    assert done.returncode == 0, done.stderr
    read = list(csv.DictReader(io.StringIO(done.stdout)))
    assert {(line["table"], line["method"]) for line in read} == {("room", "b")}
    assert [line["quantity"] for line in read] == ["ssim", "num_gaussians", "train_seconds"]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ([], "no folder given; name folders of runs or of a study, before options"),
        (["--metrics", "psnr", "study"], "no folder given"),
        (["x" * 300], "cannot be read (File name too long)"),
        (["nowhere"], "nowhere: there is no such file or folder"),
        (["study/cells/begun"], "no finished run to report on"),
        (["study", "--baseline", "c"], "--baseline is 'c'; the methods here: 'adc', 'b'"),
        (["study", "--metrics", "pnsr"], "--metrics has 'pnsr'; known here: psnr"),
        (["study", "--metrics", "lpips_alex"], "lpips_alex was measured in none of these runs"),
        (
            ["study", "--mean", "mean_7"],
            "--mean mean_7 needs bicycle, bonsai, counter, kitchen, st",
        ),
        (["study", "--scenes", "attic"], "--scenes has 'attic'; found: garden, room"),
        (["study", "--strategies", "c"], "--strategies has 'c'; found: adc, b"),
        (["study", "--published", "4dgs"], "--published has '4dgs'; all, a YAML file, or some of"),
        (["study", "--published", "3dgs"], "--published names numbers of mean_9"),
        (["study", "--allow", "everything"], "--allow"),
        (["study", "--format", "xls"], "--format"),
        (["extra"], "differ in more than the seed: lr.means"),
        (["code"], "but the strategy's source differs (s1 | s2)"),
        (["protocols"], "were not scored alike: quantisation: uint8-round | float"),
        (["data"], "are both of scene garden, but the photos differ; train on the same"),
        (["e", "--record", "kept"], "--record e: is an evaluation"),
    ],
)
def test_refusals_are_one_line(arguments: list[str], said: str, study: Path) -> None:
    made(study.parent / "extra", label="x", config={"lr": {"means": 1.0}})
    made(study.parent / "extra", label="x", seed=1, config={"lr": {"means": 2.0}})
    for name, changed in (
        ("code", {"code": dataclasses.replace(CODE, strategy="s2")}),
        ("protocols", {"quantisation": "float"}),
        ("data", {"data": dataclasses.replace(DATA, photos="f2")}),
    ):
        made(study.parent / name)
        made(study.parent / name, seed=1, **changed)
    evaluation_of(study / "cells/garden_adc_0", study.parent / "e")
    before = sorted(study.parent.rglob("*"))
    line = refusal(run("gs-report", *arguments, cwd=study.parent))
    assert line.startswith("gs-report: ") and said in line, line
    assert sorted(study.parent.rglob("*")) == before


def test_what_is_allowed_to_differ_is_said_under_the_table(tmp_path: Path) -> None:
    made(tmp_path / "runs")
    changed = {
        "code": dataclasses.replace(CODE, strategy="s2"),
        "data": dataclasses.replace(DATA, photos="f2"),
        "quantisation": "float",
    }
    made(tmp_path / "runs", seed=1, **changed)
    done = run("gs-report", "runs", "--allow", "protocols", "code", "data", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    for line in (
        "NOT SCORED ALIKE: quantisation: uint8-round | float",
        "NOT THE SAME DATA: garden: the photos differ",
        "NOT THE SAME CODE: adc: the strategy's source differs (s1 | s2)",
    ):
        assert line in done.stdout.splitlines()


@pytest.mark.parametrize("option", ["--html", "--plots", "--record"])
def test_nothing_is_written_over(option: str, study: Path) -> None:
    place = study.parent / "there"
    for make in (lambda: place.write_text("mine"), lambda: (place.mkdir(), _fill(place))):
        make()
        line = refusal(run("gs-report", "study", option, "there", cwd=study.parent))
        assert f"{option} there is there already; nothing was changed" in line
        kept = place if place.is_file() else place / "notes.txt"
        assert kept.read_text() == "mine" and len(list(place.parent.iterdir())) == 2
        if place.is_file():
            place.unlink()
            place.symlink_to("nowhere")
            assert "is there already" in refusal(
                run("gs-report", "study", option, "there", cwd=study.parent)
            )
            place.unlink()
        else:
            assert list(place.iterdir()) == [kept]


def _fill(folder: Path) -> None:
    (folder / "notes.txt").write_text("mine")


def test_records_are_written_and_reported_on(study: Path) -> None:
    done = run("gs-report", "study", "--record", "kept", cwd=study.parent)
    assert (done.returncode, done.stderr) == (0, "records: 4 in kept\n")
    again = run("gs-report", "kept", "--format", "json", cwd=study.parent)
    first = run("gs-report", "study", "--format", "json", cwd=study.parent)
    assert json.loads(again.stdout)["tables"] == json.loads(first.stdout)["tables"]


def test_published_numbers_of_one_s_own(study: Path) -> None:
    text = "x: {method: X, source: s, protocol: p, scores: {garden: {psnr: 31.5}}}\n"
    (study.parent / "own.yml").write_text(text)
    done = run("gs-report", "study", "--published", "own.yml", cwd=study.parent)
    assert done.returncode == 0, done.stderr
    rows = [line.split() for line in done.stdout.splitlines()]
    assert any(words[:3] == ["X", "[published]", "31.50"] for words in rows)
    assert "X, published: s; p" in done.stdout.splitlines()


@pytest.mark.parametrize("options", [[], ["--baseline", "adc"], ["--record", "kept"]])
def test_torch_is_never_imported(options: list[str], study: Path) -> None:
    code = (
        "import sys; from gs_densify.cli.report import command; command(sys.argv[1:]);"
        "print(sorted({'torch', 'matplotlib', 'scipy.stats', 'pycolmap'} & set(sys.modules)),"
        " file=sys.stderr)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, "study", *options],
        cwd=study.parent,
        capture_output=True,
        text=True,
        check=True,
        env=dict(os.environ),
    )
    assert done.stderr.splitlines()[-1] == "[]" and "garden" in done.stdout
