"""A term, a trainable, a format and an output of a package that is installed beside ours."""

import json
from pathlib import Path

import numpy as np
import pytest
from commands import SMOKE, refusal, run

PLUGIN = '''
"""One of each, as somebody else's package."""

import numpy as np
import torch

from gs_densify.model.files.base import ModelFile
from gs_densify.model.transform import transform_splats
from gs_densify.runs.outputs.base import Output
from gs_densify.training.modules.base import TrainableModule


def far(inputs):
    return inputs.params["means"].square().sum(dim=1).mean()


def brightness(inputs):
    return inputs.render.mean(dim=(1, 2, 3))


brightness.of_views = True


class Gain(TrainableModule):
    """A factor for each training view."""

    learning_rate = 0.01

    def __init__(self, num_views):
        super().__init__(num_views)
        self.log_gain = torch.nn.Parameter(torch.zeros(num_views))

    def image(self, render, views):
        return render * self.log_gain[list(views)].exp()[:, None, None, None]


class Npz:
    suffix = ".npz"

    def detects(self, path):
        return path.suffix == self.suffix

    def save(self, path, splats, *, world_transform, antialiased):
        splats = transform_splats(splats, world_transform)
        arrays = {name: value.detach().cpu().numpy() for name, value in splats.items()}
        np.savez(path, **arrays)

    def load(self, path):
        with np.load(path) as arrays:
            return ModelFile({name: torch.from_numpy(arrays[name]) for name in arrays}, None)


class Diary(Output):
    """What it hears of, a line each."""

    def logged(self, row):
        self.write(f"logged {row.step}")

    def evaluated(self, record):
        self.write(f"evaluated {record.step} {record.scores['psnr']}")

    def finished(self, results):
        self.write("finished")

    def close(self):
        self.write("closed")

    def write(self, line):
        with (self.facts.folder / "diary.txt").open("a") as file:
            print(line, file=file)
'''

ENTRY_POINTS = """
[gs_densify.loss_terms]
far = somebody:far
brightness = somebody:brightness
broken = somebody:missing

[gs_densify.modules]
gain = somebody:Gain

[gs_densify.formats]
npz = somebody:Npz

[gs_densify.outputs]
diary = somebody:Diary
"""


@pytest.fixture
def installed(tmp_path: Path) -> dict[str, str]:
    """The environment in which the package is installed."""
    site = tmp_path / "site"
    info = site / "somebody-1.0.dist-info"
    info.mkdir(parents=True)
    (site / "somebody.py").write_text(PLUGIN)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: somebody\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text(ENTRY_POINTS)
    root = Path(__file__).parents[2]
    return {"PYTHONPATH": f"{site}:{root}"}


def test_all_of_them_in_one_run_that_is_interrupted_and_scored_again(
    installed: dict[str, str], tmp_path: Path
) -> None:
    options = "--loss.far 0.1 --loss.brightness 0.2 --modules gain --export ply npz".split()
    options += ["--log-to", "diary"]
    done = run(
        "gs-train", "--scene", "tiny", *SMOKE, *options, "--out", "r", cwd=tmp_path, **installed
    )
    assert done.returncode == 0, done.stderr
    rows = [json.loads(line) for line in (tmp_path / "r/metrics.jsonl").read_text().splitlines()]
    assert all(row["loss"] > 0.8 * row["l1"] + 0.2 * row["ssim_loss"] + 0.01 for row in rows)
    psnr = json.loads((tmp_path / "r/results.json").read_text())["scores"]["psnr"]
    assert (tmp_path / "r/diary.txt").read_text().splitlines() == [
        *("logged 20", "logged 40", f"evaluated 40 {psnr}", "finished", "closed"),
    ]
    with np.load(tmp_path / "r/point_cloud.npz") as arrays:
        assert (
            len(arrays["means"])
            == json.loads((tmp_path / "r/results.json").read_text())["counts"]["final"]
        )
    scored = run(
        *("gs-eval", "r/point_cloud.npz", "--scene", "tiny", "--lpips", "--device", "cpu"),
        *("--out", "e"),
        cwd=tmp_path,
        **installed,
    )
    assert scored.returncode == 0, scored.stderr
    stored, again = (
        json.loads((tmp_path / name).read_text())["scores"]["psnr"]
        for name in ("r/results.json", "e/evaluation.json")
    )
    assert abs(stored - again) < 1e-3


def test_help_shows_their_options_and_a_missing_one_is_refused(
    installed: dict[str, str], tmp_path: Path
) -> None:
    shown = run("gs-train", "--help-all", cwd=tmp_path, **installed).stdout
    assert "--loss.far" in shown and "somebody:far" in shown
    start = ("gs-train", "--scene", "tiny", *SMOKE)
    broken = run(*start, "--loss.broken", "1", cwd=tmp_path, **installed)
    assert "'broken' (package somebody): cannot be imported" in refusal(broken)
    unknown = run(*start, "--modules", "gian", cwd=tmp_path, **installed)
    assert "--modules has 'gian'; known: exposure, gain" in refusal(unknown)
    twice = run(*start, "--export", "ply", "ply", cwd=tmp_path, **installed)
    assert "--export has 'ply' twice" in refusal(twice)
    below = run(*start, "--loss.far", "-1", cwd=tmp_path, **installed)
    assert "--loss.far is -1.0; it must be at least 0" in refusal(below)
