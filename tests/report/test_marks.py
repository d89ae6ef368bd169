"""Seconds until a PSNR, other labels for methods, and the records of this project."""

import statistics
from pathlib import Path

import pytest
from report_example import RECORDS, made

from gs_densify.errors import ResultError
from gs_densify.report.methods import methods_of
from gs_densify.report.report import make_report
from gs_densify.report.runs import Run, find_runs


def refusal(runs: list[Run], **options: object) -> str:
    with pytest.raises(ResultError) as caught:
        make_report(runs, **options)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def labels(runs: list[Run], **options: object) -> list[str]:
    return [method.label for method in make_report(runs, **options).methods]


def test_labels_can_be_shown_otherwise(tmp_path: Path) -> None:
    runs = [made(tmp_path / name, options={"preset": name}) for name in ("fast", "compact")]
    pairs = ["default (fast)=a = b", "default (compact)=default"]
    assert labels(runs, rename=pairs, baseline="a = b") == ["a = b", "default"]
    said = refusal(runs, rename=["default (slow)=a"])
    assert "--rename has 'default (slow)=a'; LABEL=NEW with one of 'default (fast)'" in said
    for useless in ("default (fast)", "default (fast)="):
        assert f"--rename has '{useless}'" in refusal(runs, rename=[useless])
    clash = ["default (fast)=x", "default (compact)=x"]
    assert "both called 'x'" in refusal(runs, rename=clash)


def test_labels_with_equals_signs_are_told_by_the_longest(tmp_path: Path) -> None:
    runs = [made(tmp_path / str(n), options={"steps": n}) for n in (1, 2)]
    assert labels(runs, rename=["default (steps=1)=one"]) == ["one", "default (steps=2)"]
    assert "--rename has 'defaults=a'" in refusal(runs[:1], rename=["defaults=a"])


def test_marks_are_the_first_evaluations_that_have_them(tmp_path: Path) -> None:
    runs = [
        made(tmp_path, seed=0, passed={5.0: 24.0, 10.0: 26.0, 20.0: 25.0}),
        made(tmp_path, seed=1, passed={6.0: 25.0, 12.0: 25.9, 24.0: 26.5}),
        made(tmp_path, strategy="mcmc", passed={7.0: 25.0}),
    ]
    (found,) = make_report(runs, marks=[27, 26, 25, 25]).marks
    assert (found.name, found.marks) == ("garden", [25, 26, 27])
    rows = {row.label: row for row in found.rows}
    assert [one.mean for one in rows["default"].seconds] == [8.0, 17.0, None]
    assert rows["default"].seconds[0].std == pytest.approx(statistics.stdev([10.0, 6.0]))
    assert [one.mean for one in rows["mcmc"].seconds] == [7.0, None, None]
    assert rows["default"].is_evaluated_alike
    uneven = make_report([runs[0], made(tmp_path, seed=2, passed={1.0: 20.0})], marks=[20]).marks
    assert not uneven[0].rows[0].is_evaluated_alike
    assert make_report(runs).marks == []
    for mark in (float("nan"), float("inf")):
        assert refusal(runs, marks=[25, mark]) == f"--marks has {mark}; finite PSNRs in dB"


@pytest.mark.parametrize("record", sorted(RECORDS.glob("*/*.run.json")), ids=lambda p: p.name)
def test_every_record_is_read_and_is_whole(record: Path) -> None:
    (run,) = find_runs([record]).runs
    assert [view.name for view in run.views] == run.protocol.test_images
    mean = statistics.fmean(view.scores["psnr"] or 0.0 for view in run.views)
    assert run.scores["psnr"] == pytest.approx(mean)
    assert run.timeline[-1].step == run.steps
    (method,) = methods_of([run])
    assert method.strategy == run.strategy
