"""A GPU that is full: one line that says when, and what to do."""

from pathlib import Path
from typing import NoReturn

import pytest
import torch

from gs_densify.config.options import EvaluationOptions, TrainConfig
from gs_densify.errors import BackendError
from gs_densify.model.init import create_splats
from gs_densify.rendering.reference.rasterizer import ReferenceRasterizer
from gs_densify.runs.train import train
from gs_densify.training.trainer import Trainer


def run_out(*arguments: object, **options: object) -> NoReturn:
    raise torch.cuda.OutOfMemoryError("CUDA out of memory.\nTried to allocate 2.00 GiB. GPU 0 has")


@pytest.mark.parametrize(
    ("owner", "name", "when"),
    [
        ("gs_densify.training.create", create_splats.__name__, "before the first step; use --max"),
        (Trainer, "run", "after step 0 with 640 Gaussians; use --max-gaussians"),
        (ReferenceRasterizer, "__call__", "after step 0 with 640 Gaussians"),
    ],
)
def test_a_full_gpu_is_said_in_one_line(
    owner: object, name: str, when: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    path = [f"{owner}.{name}"] if isinstance(owner, str) else [owner, name]
    monkeypatch.setattr(*path, run_out)
    config = TrainConfig(
        scene="tiny",
        strategy="default",
        device="cpu",
        steps=2,
        out=tmp_path / "run",
        evaluation=EvaluationOptions(lpips=()),
    )
    with pytest.raises(
        BackendError, match=f"^GPU memory ran out, where 2.15 GB more were wanted, {when}"
    ) as caught:
        train(config, [])
    assert "\n" not in str(caught.value)
