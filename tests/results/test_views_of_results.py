"""Scores of single views must be those of which the scores beside them are the means."""

import dataclasses
from pathlib import Path

import pytest
from results_example import example_results

from gs_densify.errors import ResultError
from gs_densify.results import PerView, Results, Scores, ViewScores, save_json
from gs_densify.results.record import RecordFile, RunRecord, save_record
from gs_densify.results.scored import load_scored
from gs_densify.results.views import load_views

VIEWS = [
    ViewScores(name=name, scores=Scores(psnr=psnr, psnr_float=psnr, ssim=0.8, lpips_vgg=0.25))
    for name, psnr in (("a/DSC07956.JPG", 26.0), ("\u00fc.png", 29.0))
]


def results() -> Results:
    scores = Scores(psnr=27.5, psnr_float=27.5, ssim=0.8, lpips_vgg=0.25)
    return dataclasses.replace(example_results(), scores=scores)


def saved(folder: Path, views: list[ViewScores] = VIEWS, **header: object) -> Path:
    one = results()
    own = {
        "scene": one.scene,
        "strategy": one.strategy.name,
        "seed": one.seed,
        "step": one.steps,
        "protocol": one.protocol.name,
    }
    save_json(folder / "results.json", one)
    save_json(folder / "per_view.json", PerView(**{**own, **header}, views=views))
    return folder


def test_views_of_one_evaluation_are_read(tmp_path: Path) -> None:
    assert load_scored(saved(tmp_path)).views == VIEWS
    assert load_views(saved(tmp_path, protocol=None), results()) == VIEWS
    assert load_views(saved(tmp_path, VIEWS[::-1]), results()) == VIEWS[::-1]


@pytest.mark.parametrize(
    ("name", "value"),
    [
        *(("scene", "room"), ("strategy", "mcmc"), ("seed", 43), ("step", 7000)),
        ("protocol", "inria"),
    ],
)
def test_views_of_another_evaluation_are_refused(name: str, value: object, tmp_path: Path) -> None:
    with pytest.raises(ResultError, match=f"is of {name} {value}, .* not of one evaluation"):
        load_scored(saved(tmp_path, **{name: value}))


def changed(psnr: float | None) -> ViewScores:
    return ViewScores(name="\u00fc.png", scores=Scores({**VIEWS[1].scores, "psnr": psnr}))


@pytest.mark.parametrize(
    ("views", "said"),
    [
        ([*VIEWS, VIEWS[1]], "has twice \u00fc.png"),
        (VIEWS[1:], "lacks a/DSC07956.JPG"),
        ([], "lacks a/DSC07956.JPG, \u00fc.png"),
        ([*VIEWS, dataclasses.replace(VIEWS[0], name="x")], "other views than those held out: x"),
        ([VIEWS[0], changed(99.0)], "a mean psnr of 62.5, the scores beside it 27.5"),
        ([VIEWS[0], changed(29.001)], "a mean psnr of 27.5005.*, the scores beside it 27.5"),
        ([VIEWS[0], changed(None)], "a mean psnr of None, the scores beside it 27.5"),
    ],
)
def test_other_views_than_those_of_the_means_are_refused(
    views: list[ViewScores], said: str, tmp_path: Path
) -> None:
    with pytest.raises(ResultError, match=said):
        load_scored(saved(tmp_path, views))
    path = tmp_path / "x.run.json"
    save_record(path, RunRecord(results=results(), views=views, timeline=[]))
    with pytest.raises(ResultError, match=said):
        RecordFile(path).views()
