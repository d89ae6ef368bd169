"""--memory-limit: what is changed for it, that this is said, and that it is kept."""

import dataclasses
from pathlib import Path
from typing import Any

import pytest
import torch

from gs_densify.config.options import (
    EvaluationOptions,
    InitOptions,
    RenderOptions,
    TrainConfig,
)
from gs_densify.config.strategy import strategy_for
from gs_densify.errors import ConfigError
from gs_densify.memory.gpu import limited_to
from gs_densify.memory.sizes import bytes_of
from gs_densify.results import MemoryPlan, load_results
from gs_densify.runs import prepare, step_time
from gs_densify.runs.forecast import forecast, forecast_text
from gs_densify.runs.forecast_memory import memory_of
from gs_densify.runs.loaded_scene import find_scene
from gs_densify.runs.memory_limit import offload_remark, plan_of, within
from gs_densify.runs.start import start_of
from gs_densify.runs.train import resume, train
from gs_densify.training.trainer import Trainer

COUNT = 1_000_000


@pytest.mark.parametrize(
    ("text", "wanted"),
    [("8GB", 8e9), ("7.5 GiB", 7.5 * 2**30), ("600MB", 6e8), ("10B", 10), ("1kb", 1000)],
)
def test_sizes_have_units(text: str, wanted: float) -> None:
    assert bytes_of(text) == wanted


@pytest.mark.parametrize("text", ["8", "8 G", "GB", "-1GB", "0GB", "8XB", "", f"{'9' * 400}GB"])
def test_sizes_without_units_are_refused(text: str) -> None:
    with pytest.raises(ConfigError, match=r"--memory-limit is '.*expected bytes with a unit"):
        TrainConfig(scene="tiny", memory_limit=text)


def _config(limit: str, **values: Any) -> TrainConfig:
    values = {"strategy": "default", "max_gaussians": COUNT, "device": "cpu", **values}
    return TrainConfig(scene="tiny", memory_limit=limit, **values)


def _plan(config: TrainConfig) -> MemoryPlan:
    scene = find_scene(config)
    start = start_of(config, scene)
    plan = plan_of(config, strategy_for(config), scene, start, has_masks=False)
    assert plan is not None
    return plan


def test_the_first_means_is_taken_with_which_all_fit() -> None:
    whole, scene = _config("1TB"), find_scene(_config("1TB"))
    plain = memory_of(whole, scene, COUNT, has_masks=False).total
    offload = dataclasses.replace(whole, render=RenderOptions(offload=True))
    least = memory_of(offload, scene, COUNT, has_masks=False).total
    assert least < 0.4 * plain
    limits = [round(one) for one in (1.2 * plain, 0.9 * plain, 1.3 * least, 0.5 * least)]
    found = {limit: _plan(_config(f"{limit}B")) for limit in limits}
    means = [(one.offload, one.max_gaussians is not None) for one in found.values()]
    assert means == [(False, False), (True, False), (True, False), (True, True)]
    for limit, plan in found.items():
        assert plan.expected <= plan.limit == limit and plan.gaussians <= COUNT
        again = within(_config(f"{limit}B"), plan)
        assert again.render.offload == plan.offload
        assert strategy_for(again) is not None
        assert (again.max_gaussians or 0) >= plan.gaussians
        # What is forecast of the configuration that is trained is what the plan says, and more.
        assert memory_of(again, scene, plan.gaussians, has_masks=False).total <= plan.expected


def test_as_many_are_allowed_as_fit_where_nothing_says_how_many_there_will_be() -> None:
    plan = _plan(_config("1GB", max_gaussians=None))
    assert not plan.offload and plan.max_gaussians is not None
    assert 400_000 < plan.max_gaussians < 550_000


def test_a_budget_comes_down_with_the_limit() -> None:
    config = _config("150MB", strategy="mcmc", max_gaussians=None, budget=COUNT)
    plan = _plan(config)
    again = within(config, plan)
    assert plan.max_gaussians is not None and again.budget == plan.max_gaussians < COUNT
    assert strategy_for(again).budget == plan.max_gaussians


@pytest.mark.parametrize(
    "values",
    [
        {"render": RenderOptions(rasterizer="own")},
        {"render": RenderOptions(packed=True)},
        {"init": InitOptions(sh_degree=0)},
    ],
)
def test_nothing_is_offloaded_where_it_does_not_go(values: dict) -> None:
    plan = _plan(_config("1GB", **values))
    assert not plan.offload and plan.max_gaussians is not None


def test_a_limit_without_room_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"--memory-limit is 20MB; 1,000 Gaussians .* need"):
        _plan(_config("20MB"))


def test_a_dry_run_says_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(step_time, "_milliseconds", lambda *_: 1.0)
    found = forecast(_config("1GB"))
    assert found.config.render.offload and found.last == COUNT
    text = forecast_text(found)
    said = "limit       --memory-limit 1GB: SH coefficients take 0.90 GB of host memory"
    assert f"{said} (render.offload); 1,000,000 are expected to take 0.8" in text
    assert f"about {found.memory.total / 1e9:.2f} GB on a GPU" in text


def test_a_run_trains_as_its_plan_says_and_goes_on_so(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """On a CPU, which has no such limit itself."""
    monkeypatch.setattr(prepare, "check_memory_limit", lambda *_: None)
    config = _config("200MB", max_gaussians=100_000, steps=4, out=tmp_path / "run")
    scored = EvaluationOptions(lpips=(), steps=(2,))
    config = dataclasses.replace(config, evaluation=scored)
    seen = []
    start = Trainer.__init__

    def started(self: Trainer, config: TrainConfig, *args: Any, **options: Any) -> None:
        seen.append((config.render.offload, config.max_gaussians))
        start(self, config, *args, **options)

    monkeypatch.setattr(Trainer, "__init__", started)
    results, folder = train(config, [])
    assert results.memory_plan is not None and results.memory_plan.offload
    assert load_results(folder / "results.json").memory_plan == results.memory_plan
    assert not results.config["render"]["offload"]  # what was asked for
    assert (
        "--memory-limit 200MB: SH coefficients take 0.09 GB of host memory"
        in capsys.readouterr().err
    )
    (folder / "results.json").unlink()
    again, _ = resume(config)
    assert again.memory_plan == results.memory_plan and again.resumed_at
    assert seen == [(True, 100_000)] * 2


@pytest.mark.gpu
def test_the_allocator_gives_no_more() -> None:
    device = torch.device("cuda")
    torch.cuda.empty_cache()
    with limited_to(2**30, device), pytest.raises(torch.cuda.OutOfMemoryError):
        torch.empty(2**30 + 2**22, dtype=torch.uint8, device=device)
    torch.empty(2**30 + 2**22, dtype=torch.uint8, device=device)


def test_offloading_on_a_cpu_says_what_it_does() -> None:
    offloaded, plain = (
        TrainConfig(scene="tiny", render=RenderOptions(offload=one)) for one in (True, False)
    )
    said = offload_remark(offloaded, torch.device("cpu"))
    assert said is not None and "saves no memory on the CPU" in said
    assert offload_remark(plain, torch.device("cpu")) is None
    assert offload_remark(offloaded, torch.device("cuda")) is None
