"""A mask that lets nothing count costs its photo alone."""

import shutil
from pathlib import Path

import pytest
from commands import SMOKE
from PIL import Image

from gs_densify.cli import eval as gs_eval
from gs_densify.cli import train as gs_train
from gs_densify.results import load_results


@pytest.fixture
def scene(tiny: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    shutil.copytree(tiny, "scene")
    return Path("scene")


def test_a_black_mask_leaves_its_view_out_of_training_and_scores(
    scene: Path, caplog: pytest.LogCaptureFixture, capsys: pytest.CaptureFixture[str]
) -> None:
    """That is said also where --quiet keeps back what else there is to say of masks."""
    (scene / "masks").mkdir()
    for index in range(32):
        mask = Image.new("L", (96, 64), 0 if index in (5, 8) else 255)
        mask.save(scene / f"masks/{index:03d}.png")
    gs_train.command(["--scene", "scene", "--out", "run", *SMOKE, "--quiet"])
    assert "'005.png', '008.png' left out, of which the masks let no pixel count" in caplog.text
    assert "alpha channels of" not in caplog.text
    protocol = load_results(Path("run/results.json")).protocol
    assert protocol.test_images == ["000.png", "016.png", "024.png"]
    assert (protocol.n_train, protocol.n_test) == (27, 3)
    gs_eval.command(["run", "--device", "cpu"])
    assert "equal" in capsys.readouterr().out
