"""The lines of figures of a run."""

import time

import torch
from tqdm import tqdm

from gs_densify.check.miniature import load_miniature, make_trainer
from gs_densify.config.options import TrainConfig
from gs_densify.results import MetricsRow
from gs_densify.strategies.adapter import StrategyAdapter
from gs_densify.strategies.base import Strategy


def test_lines_hold_the_time_that_training_took() -> None:
    config = TrainConfig(scene="tiny", steps=10, log_every=4)
    trainer = make_trainer(config, load_miniature(), StrategyAdapter("nothing", Strategy()))
    rows: list[MetricsRow] = []
    before = time.perf_counter()
    with tqdm(disable=True) as bar:
        trainer.run(6, rows.append, bar)
        first = trainer.progress.first_step_at
        trainer.run(10, rows.append, bar)
    elapsed = time.perf_counter() - before
    assert [row.step for row in rows] == [4, 6, 8, 10]
    seconds = [row.train_seconds for row in rows]
    assert seconds == sorted(seconds) and 0 < seconds[0] and seconds[-1] <= elapsed
    assert first is not None and before < first == trainer.progress.first_step_at
    # A line's mean over its own steps gives, times their number, the time since the line before.
    since, steps = torch.tensor([0, *seconds]).diff(), torch.tensor([4, 2, 2, 2])
    per_step = torch.tensor([row.step_milliseconds for row in rows])
    torch.testing.assert_close(per_step * steps / 1e3, since, rtol=1e-3, atol=1e-6)


def test_lines_count_gaussians_and_no_gpu_memory_on_a_cpu() -> None:
    scene = load_miniature()
    config = TrainConfig(scene="tiny", steps=1)
    trainer = make_trainer(config, scene, StrategyAdapter("nothing", Strategy()))
    rows: list[MetricsRow] = []
    with tqdm(disable=True) as bar:
        trainer.run(1, rows.append, bar)
    assert rows[0].num_gaussians == trainer.progress.peak_gaussians == len(scene.points)
    assert rows[0].device_bytes is None
