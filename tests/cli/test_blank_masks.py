"""Masks and alpha channels that let nothing count cost those photos alone, and the words that say
so lead to a run.
"""

import shutil
from pathlib import Path

import numpy as np
import pytest
from commands import SMOKE
from PIL import Image

from gs_densify.cli import eval as gs_eval
from gs_densify.cli import train as gs_train
from gs_densify.errors import SceneError
from gs_densify.results import load_results


@pytest.fixture
def scene(tiny: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    shutil.copytree(tiny, "scene")
    return Path("scene")


def _train(*options: str) -> None:
    gs_train.command(["--scene", "scene", "--out", "run", *SMOKE, *options])


def test_a_black_mask_leaves_its_view_out_of_training_and_scores(
    scene: Path, caplog: pytest.LogCaptureFixture, capsys: pytest.CaptureFixture[str]
) -> None:
    (scene / "masks").mkdir()
    for index in range(32):
        mask = Image.new("L", (96, 64), 0 if index in (5, 8) else 255)
        mask.save(scene / f"masks/{index:03d}.png")
    _train()
    assert "'005.png', '008.png' left out, of which the masks let no pixel count" in caplog.text
    protocol = load_results(Path("run/results.json")).protocol
    assert protocol.test_images == ["000.png", "016.png", "024.png"]
    assert (protocol.n_train, protocol.n_test) == (27, 3)
    gs_eval.command(["run", "--device", "cpu"])
    assert "equal" in capsys.readouterr().out


@pytest.mark.parametrize("choice", ["none", "invert"])
def test_all_of_photos_that_are_transparent_can_be_used(scene: Path, choice: str) -> None:
    for path in (scene / "images").iterdir():
        rgba = np.array(Image.open(path).convert("RGBA"))
        rgba[..., 3] = 0
        Image.fromarray(rgba).save(path)
    with pytest.raises(SceneError, match=r"give --data\.masks invert or none"):
        _train()
    _train("--data.masks", choice)
    psnr = load_results(Path("run/results.json")).scores["psnr"]
    assert psnr is not None and psnr > 8
