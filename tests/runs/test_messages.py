"""What is said on stderr while a long job goes on."""

import dataclasses
import logging
import warnings
from pathlib import Path
from typing import Any

import pytest

from gs_densify.config.options import EvaluationOptions, TrainConfig
from gs_densify.messages import Progress, duration, is_quiet, quiet, remark, tracked
from gs_densify.runs.train import train


class Clock:
    """A clock that stands still unless it is moved."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


def lines_of(capsys: Any, times: list[tuple[float, int]], **options: Any) -> list[str]:
    """What is said at these times since the beginning, and steps."""
    clock = Clock()
    with Progress("train", 30_000, unit="step", clock=clock, **options) as progress:
        for seconds, step in times:
            clock.now = 1000.0 + seconds
            progress.bar.set_postfix_str("412,000 Gaussians")
            progress.bar.update(step - progress.bar.n)
    return capsys.readouterr().err.splitlines()


def test_a_line_each_half_minute_says_how_far_how_fast_and_how_long(capsys: Any) -> None:
    assert lines_of(capsys, [(29, 9_000), (30, 9_360), (59.9, 10_000), (61, 10_500)]) == [
        "train: step 9,360 of 30,000 (31 %), 312 steps/s, 66 s left, 412,000 Gaussians",
        "train: step 10,500 of 30,000 (35 %), 37 steps/s, 9 min left, 412,000 Gaussians",
    ]


def test_what_was_done_before_is_not_counted_and_slow_steps_have_digits(capsys: Any) -> None:
    assert lines_of(capsys, [(100, 4_150), (200, 4_150), (1_000, 4_160)], initial=4_000) == [
        "train: step 4,150 of 30,000 (14 %), 1.5 steps/s, 4.8 h left, 412,000 Gaussians",
        "train: step 4,160 of 30,000 (14 %), 0.011 steps/s, 26.9 days left, 412,000 Gaussians",
    ]


@pytest.mark.parametrize(
    ("seconds", "said"),
    [
        (7.4, "7 s"),
        (119, "119 s"),
        (130, "2 min"),
        (5400, "90 min"),
        (8000, "2.2 h"),
        (60 * 3912.9, "2.7 days"),
    ],
)
def test_a_time_is_said_in_the_unit_that_suits_it(seconds: float, said: str) -> None:
    assert duration(seconds) == said


def test_a_bar_moves_between_lines_of_figures(capsys: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stderr.isatty", lambda: True, raising=False)
    with Progress("train", 30_000, unit="step") as progress:
        assert (progress.bar.miniters, progress.bar.mininterval) == (1, 0.5)
        progress.bar.mininterval = 0
        progress.bar.update(3)
    assert " 3/30000" in capsys.readouterr().err


def test_short_jobs_quiet_ones_and_terminals_have_no_lines(
    capsys: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert lines_of(capsys, [(1, 10_000), (29, 30_000)]) == []
    assert lines_of(capsys, [(100, 10_000)], shown=False) == []
    with quiet():
        assert lines_of(capsys, [(100, 10_000)]) == []
    monkeypatch.setattr("sys.stderr.isatty", lambda: True, raising=False)
    bar = "".join(lines_of(capsys, [(100, 10_000)]))
    assert "train:" in bar and "0/30000" in bar and " left" not in bar
    with quiet():
        assert lines_of(capsys, [(100, 10_000)]) == []


def test_items_are_tracked_in_order(capsys: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gs_densify.messages.SECONDS", 0.0)
    assert list(tracked("abc", "photos", 3, unit="photo", leave=False)) == [*"abc"]
    first, second = capsys.readouterr().err.splitlines()
    assert first.startswith("photos: photo 1 of 3 (33 %), ")
    assert second.startswith("photos: photo 2 of 3 (67 %), ")


def test_quiet_keeps_back_remarks_and_warnings_and_ends_with_its_block(
    capsys: Any, caplog: pytest.LogCaptureFixture
) -> None:
    log = logging.getLogger("gs_densify.scene.load")
    with pytest.raises(KeyError), quiet():
        assert is_quiet()
        remark("not this")
        log.warning("nor this")
        log.error("an error")
        warnings.warn("nor that", stacklevel=1)
        raise KeyError
    with quiet(False):
        remark("but this")
        log.warning("and this")
    assert not is_quiet()
    assert capsys.readouterr().err == "but this\n"
    assert caplog.messages == ["an error", "and this"]


def test_a_run_without_a_terminal_says_its_steps_and_gaussians(
    capsys: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr("gs_densify.messages.SECONDS", 0.0)
    evaluation = EvaluationOptions(lpips=(), pictures=0)
    config = TrainConfig(
        scene="tiny", strategy="default", device="cpu", steps=6, log_every=2, evaluation=evaluation
    )
    results, _ = train(dataclasses.replace(config, out=tmp_path / "run"), [])
    said = capsys.readouterr().err.splitlines()
    photos, steps, views = (
        [line for line in said if line.startswith(job)] for job in ("photos:", "train:", "evaluate")
    )
    assert (len(photos), len(views)) == (31, 3)
    assert [line.split(" (")[0] for line in steps] == [
        f"train: step {step} of 6" for step in (1, 2, 3, 4, 5)
    ]
    assert " left, loss " in steps[-1]
    assert f", {results.counts.final} Gaussians, " in steps[-1]
