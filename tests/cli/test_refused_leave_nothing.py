"""A command that is refused after its folder was made leaves the folder to the next one."""

from pathlib import Path

import pytest
from commands import SMOKE

from gs_densify.cli import eval as gs_eval
from gs_densify.cli import train as gs_train
from gs_densify.errors import GsDensifyError

SMALL = ["--downscale", "8", "--evaluation.lpips", "--device", "cpu"]
"""12x8 pixels, which SSIM's window does not fit into: the first step finds that out."""


def test_a_run_refused_at_its_first_step_frees_its_folder(
    tiny: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    run = ["--scene", str(tiny), "--out", "runs/a", *SMOKE, *SMALL]
    with pytest.raises(GsDensifyError, match=r"--loss\.ssim 0"):
        gs_train.command(run)
    assert list(tmp_path.iterdir()) == []
    gs_train.command([*run, "--loss.ssim", "0"])
    assert (tmp_path / "runs/a/results.json").is_file()


def test_a_comparison_that_is_refused_frees_its_folder(
    finished_run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for protocol in ("inria", "gsplat"):
        gs_eval.command([str(finished_run), "--protocol", protocol, "--out", protocol, *SMALL[2:]])
    compare = ["--compare", "inria", "gsplat", "--out", "both"]
    with pytest.raises(GsDensifyError, match=r"--force"):
        gs_eval.command(compare)
    assert not (tmp_path / "both").exists()
    gs_eval.command([*compare, "--force"])
    assert (tmp_path / "both/comparison.json").is_file()
