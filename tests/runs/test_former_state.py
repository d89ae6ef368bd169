"""What checkpoints of before there were named terms and further metrics hold of their run."""

import copy
from pathlib import Path

import torch

from gs_densify.config.file import to_mapping
from gs_densify.config.options import TrainConfig
from gs_densify.results import MetricsRow, Scores
from gs_densify.runs.run_state import require_same, state_in

SCORES = {"psnr": 20.0, "psnr_float": 20.5, "ssim": 0.5}
SCORES |= {"lpips_alex": None, "lpips_vgg": None, "lpips_vgg_01": None}
ROW = {"step": 20, "loss": 0.5, "num_gaussians": 7, "train_seconds": 1.5, "l1": 0.25}
ROW |= {"ssim_loss": 0.75, "means_lr": 1e-3, "step_milliseconds": 2.0}
ROW |= {"device_bytes": None, "psnr": None}


def test_a_former_checkpoint_goes_on(tmp_path: Path) -> None:
    config = to_mapping(TrainConfig(scene="tiny"))
    former = copy.deepcopy(config)
    del former["evaluation"]["metrics"], former["memory_limit"]
    del former["render"]["offload"], former["render"]["deterministic"]
    evaluation = {"step": 10, "scores": SCORES, "num_gaussians": 5, "train_seconds": 1.0}
    state = {
        "command": ["gs-train"],
        "config": former,
        "device": "cpu",
        "scene": "0",
        "num_initial": 5,
        "evaluations": [evaluation],
        "pending": ROW,
    }
    torch.save({"run": state, "strategy_state": {}}, tmp_path / "step.pt")
    contents = torch.load(tmp_path / "step.pt", weights_only=True)
    read = state_in(contents, tmp_path / "step.pt")
    assert read.evaluations[0].scores == Scores(SCORES)
    fixed = {name: value for name, value in ROW.items() if name not in ("l1", "ssim_loss")}
    assert read.rasterizer is None
    assert read.pending == MetricsRow(**fixed, terms={"l1": 0.25, "ssim_loss": 0.75})
    require_same(read, tmp_path, config=config, device="cpu")
