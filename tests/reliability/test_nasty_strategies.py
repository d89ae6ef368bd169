"""Strategies that break what they can: each ends in words that blame it, or trains on rightly."""

import dataclasses
import re
import shutil
from pathlib import Path

import pytest
import torch
from forks import run
from long_form import cases
from nasty import AFTER, BEFORE, CONFIG, GOES_ON, MORE, is_scaled, text_of
from small_runs import score
from tqdm import tqdm

from gs_densify.check.battery import miniature_config
from gs_densify.check.miniature import Miniature, load_miniature, make_trainer
from gs_densify.config.file import with_overrides
from gs_densify.config.strategy import strategy_for
from gs_densify.errors import ConfigError, GsDensifyError, StrategyError
from gs_densify.strategies.adapter import StrategyAdapter

STEPS = 3


@pytest.fixture(scope="module")
def scene() -> Miniature:
    scene = load_miniature()
    return dataclasses.replace(scene, points=scene.points[::4], colors=scene.colors[::4])


def _ends(
    folder: Path, scene: Miniature, *, after: str = "pass", before: str = "pass", more: str = ""
) -> GsDensifyError | None:
    """How a run of a few steps ends: with the error, or None. Anything else is raised."""

    path = folder / "nasty.py"
    path.write_text(text_of(after, before, more))
    try:
        config = with_overrides(
            miniature_config(str(path)), {"steps": STEPS, "schedule_factor": None, "log_every": 2}
        )
        if is_scaled(more):
            config = with_overrides(config, {"schedule_factor": 0.5})
        adapter = StrategyAdapter(str(path), strategy_for(config))
        trainer = make_trainer(config, scene, adapter)
        trainer.run(STEPS, lambda row: None, tqdm(disable=True))
    except GsDensifyError as error:
        assert "\n" not in str(error)
        return error
    finally:
        torch.set_default_dtype(torch.float32)
        torch.set_grad_enabled(True)
    assert trainer.progress.step == STEPS
    assert all(value.isfinite().all() for value in trainer.splats.values())
    return None


def _check(found: GsDensifyError | None, said: str | None, kind: type[GsDensifyError]) -> None:
    if said is None:
        assert found is None, found
    else:
        assert isinstance(found, kind), found
        assert re.search(said, str(found)), found


@pytest.mark.parametrize(("code", "said"), AFTER.values(), ids=AFTER)
def test_what_is_done_after_the_backward_pass(code, said, scene, tmp_path) -> None:
    _check(_ends(tmp_path, scene, after=code), said, StrategyError)


@pytest.mark.parametrize(("code", "said"), BEFORE.values(), ids=BEFORE)
def test_what_is_done_before_the_backward_pass(code, said, scene, tmp_path) -> None:
    _check(_ends(tmp_path, scene, before=code), said, StrategyError)


@pytest.mark.parametrize(("code", "said"), MORE.values(), ids=MORE)
def test_members_that_do_not_fit(code, said, scene, tmp_path) -> None:
    _check(_ends(tmp_path, scene, more=code), said, StrategyError)


@pytest.mark.parametrize(("code", "said"), CONFIG.values(), ids=CONFIG)
def test_what_is_refused_before_a_run(code, said, scene, tmp_path) -> None:
    _check(_ends(tmp_path, scene, more=code), said, ConfigError)


@pytest.mark.parametrize("code", GOES_ON.values(), ids=GOES_ON)
def test_what_goes_on(code, scene, tmp_path) -> None:
    assert _ends(tmp_path, scene, more=code) is None


def _all_of_them() -> dict[str, dict[str, str]]:
    """The code of each by a name of its own; what is done late is done early, too."""
    found = {f"after: {name}": {"after": code} for name, (code, _) in AFTER.items()}
    found |= {f"before: {name}": {"before": code} for name, (code, _) in BEFORE.items()}
    found |= {f"member: {name}": {"more": code} for name, (code, _) in MORE.items()}
    found |= {f"config: {name}": {"more": code} for name, (code, _) in CONFIG.items()}
    found |= {f"goes on: {name}": {"more": code} for name, code in GOES_ON.items()}
    return found | {f"early: {name}": {"before": code} for name, (code, _) in AFTER.items()}


def _check_run(folder: Path, code: dict[str, str]) -> int:
    """Trains and scores in processes; returns the code of the former."""
    (folder / "nasty.py").write_text(text_of(**code))
    factor = "0.5" if is_scaled(code.get("more", "")) else "1"
    options = "--scene tiny --downscale 4 --device cpu --evaluation.lpips --evaluation.pictures 0"
    options += " --steps 4 --log-every 2 --out run --strategy nasty.py"
    ended = run("gs-train", *options.split(), "--schedule-factor", factor, folder=folder)
    assert "Traceback (most" not in ended.err and ended.code in (0, 2, 3), ended.said
    if ended.code == 0:
        again = score(folder)
        assert "equal to the stored scores to the last digit" in again.out, again.said
    assert (folder / "run" / "results.json").is_file() == (ended.code == 0)
    shutil.rmtree(folder / "run", ignore_errors=True)
    shutil.rmtree(folder / "scored", ignore_errors=True)
    return ended.code


@pytest.mark.long
def test_each_ends_with_equal_scores_or_in_words(here: Path) -> None:
    """With 0 and the scores that gs-eval computes again, or with 2 or 3."""
    codes: dict[int, int] = {}
    for name, code in list(_all_of_them().items())[: cases("GS_STRATEGIES", 1000)]:
        try:
            ended = _check_run(here, code)
        except AssertionError as error:
            raise AssertionError(f"{name}: {error}") from error
        codes[ended] = codes.get(ended, 0) + 1
    print(f"\n{sum(codes.values())} strategies, by exit code: {codes}")
