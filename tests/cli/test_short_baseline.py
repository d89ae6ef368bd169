"""Cameras within centimetres of one place: their radius says nothing of the subject's size."""

import json
from pathlib import Path

import numpy as np
import pytest
from commands import run

from gs_densify.scene.formats.tiny import make as tiny

RADIUS = 0.1  # metres; the subject is 2.5 m away


@pytest.fixture(scope="module")
def scene(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The tiny room from 24 places around one."""
    turn = 2 * np.pi * np.arange(24) / 24
    around = np.stack([-0.4 * np.cos(turn), np.cos(turn), np.sin(turn)], axis=1)
    centers = np.array([2.3, -0.9, 1.25]) + RADIUS * around
    target = np.array([0.1, 0.0, 0.4])
    poses = np.stack([tiny._look_at(center, target) for center in centers])
    folder = tmp_path_factory.mktemp("short_baseline") / "scene"
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(tiny, "tiny_poses", lambda: poses)
        tiny.make_tiny(folder)
    return folder


def test_adaptive_keeps_the_scene(scene: Path, tmp_path: Path) -> None:
    """With a limit of half the cameras' radius it pruned all that there was: below 16 dB."""
    flags = "--steps 60 --max-gaussians 1500 --evaluation.lpips --device cpu".split()
    found = {}
    for name, limit in (("plain", []), ("limited", ["--strategy.prune-scale3d", 0.5])):
        done = run("gs-train", "--scene", scene, "--out", name, *flags, *limit, cwd=tmp_path)
        assert done.returncode == 0, done.stderr
        found[name] = json.loads((tmp_path / name / "results.json").read_text())
        assert found[name]["counts"]["final"] > found[name]["counts"]["initial"] == 480
        assert found[name]["scores"]["psnr"] > 17.5


@pytest.mark.parametrize("strategy", ["default", "mini-splatting"])
def test_limits_of_size_keep_the_scene(scene: Path, tmp_path: Path, strategy: str) -> None:
    """They were shares of the cameras' radius: all Gaussians were larger, and exit code 3 said
    that none was left."""
    early = {
        "default": "--steps 42 --strategy.refine-start-iter 10 --strategy.refine-every 20"
        " --strategy.reset-every 30 --strategy.pause-refine-after-reset 0 --schedule-factor 1",
        "mini-splatting": "--steps 30 --strategy.prune-scale3d-start-iter 0",
    }
    flags = "--max-gaussians 800 --evaluation.lpips --device cpu".split()
    flags += ["--strategy", strategy, *early[strategy].split()]
    done = run("gs-train", "--scene", scene, "--out", "out", *flags, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    results = json.loads((tmp_path / "out/results.json").read_text())
    assert results["counts"]["final"] > 200
