"""Advice of messages, followed to its end: a fault, the refusal with its advice, and the command
with the advice, which is carried out.
"""

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pycolmap
import pytest
from commands import SMOKE
from PIL import Image

from gs_densify.cli import eval as gs_eval
from gs_densify.cli import report as gs_report
from gs_densify.cli import scene as gs_scene
from gs_densify.cli import train as gs_train
from gs_densify.errors import GsDensifyError
from gs_densify.results import load_results

COMMANDS = {
    "gs-train": gs_train.command,
    "gs-eval": gs_eval.command,
    "gs-report": gs_report.command,
    "gs-scene": gs_scene.command,
}
TRAIN = ["gs-train", "--scene", "scene", "--out", "run", *SMOKE, "--steps", "2"]
SCORE = ["gs-eval", "model.ply", "--scene", "scene", "--device", "cpu", "--lpips", "--out", "run"]
INFO = ["gs-scene", "info", "scene"]
CHECK = ["gs-scene", "check", "scene"]
COMPARE = ["gs-eval", "--compare", "other", "scored", "--out", "run"]


def _one_photo(scene: Path) -> None:
    model = pycolmap.Reconstruction(scene / "sparse/0")
    for identifier in sorted(model.reg_image_ids())[1:]:
        model.deregister_frame(model.image(identifier).frame_id)
    model.write_binary(scene / "sparse/0")


def _transparent(scene: Path) -> None:
    for path in (scene / "images").iterdir():
        rgba = np.array(Image.open(path).convert("RGBA"))
        rgba[..., 3] = 0
        Image.fromarray(rgba).save(path)


def _a_photo_missing(scene: Path) -> None:
    (scene / "images/005.png").unlink()


def _masks_of_others(scene: Path) -> None:
    (scene / "masks").mkdir()
    Image.new("L", (96, 64), 255).save(scene / "masks/other.png")


def _odd_masks(scene: Path) -> None:
    (scene / "masks").mkdir()
    for photo in (scene / "images").iterdir():
        Image.new("L", (64, 64), 255).save(scene / "masks" / photo.name)


def _nothing(scene: Path) -> None:
    pass


class Case(NamedTuple):
    """A fault, a command that it makes fail, what the message says, and what is done then."""

    fault: Callable[[Path], None]
    command: list[str]
    advice: str
    followed: list[str]


def _adding(fault: Callable[[Path], None], command: list[str], advice: str, *more: str) -> Case:
    return Case(fault, command, advice, [*command, *more])


SKIP = "train without them: --data.skip-missing"
NO_MASKS = "rename them, or give --data.masks none"
FOUND = ["--downscale", "2", "--data.image-source", "found"]
CASES = [
    _adding(_one_photo, TRAIN, "give --data.test-every 0", "--data.test-every", "0"),
    _adding(_transparent, TRAIN, "give --data.masks invert", "--data.masks", "invert"),
    _adding(_transparent, TRAIN, "invert or none", "--data.masks", "none"),
    _adding(_transparent, SCORE, "--data.masks invert or none", "--data.masks", "none"),
    *(
        _adding(_a_photo_missing, command, SKIP, "--data.skip-missing")
        for command in (TRAIN, SCORE, INFO, CHECK)
    ),
    *(
        _adding(_masks_of_others, command, NO_MASKS, "--data.masks", "none")
        for command in (TRAIN, SCORE, INFO, CHECK)
    ),
    _adding(_odd_masks, TRAIN, "anew, or give --data.masks none", "--data.masks", "none"),
    *(
        _adding(
            _nothing, [*command, *FOUND], "or --data.image-source resized", *FOUND[2:3], "resized"
        )
        for command in (TRAIN, SCORE, INFO)
    ),
    _adding(_nothing, [*TRAIN, *FOUND], "give --downscale 1", "--downscale", "1"),
    _adding(_nothing, [*TRAIN, "--downscale", "8"], "or --loss.ssim 0", "--loss.ssim", "0"),
    _adding(_nothing, [*TRAIN, "--downscale", "8"], "a smaller --downscale", "--downscale", "4"),
    _adding(_nothing, [*TRAIN, "--data.test-every", "1"], "or 0 to hold", "--data.test-every", "0"),
    _adding(
        _nothing, [*TRAIN, "--data.image-source", "resized"], "a factor of 2", "--downscale", "2"
    ),
    _adding(
        _nothing,
        [*TRAIN, "--data.resize-filter", "area"],
        "a --downscale of 2 or more",
        *("--data.image-source", "resized", "--downscale", "2"),
    ),
    _adding(
        _nothing,
        [*TRAIN, "--budget", "500", "--max-gaussians", "400"],
        "leave one",
        "--max-gaussians",
        "None",
    ),
    _adding(_nothing, ["gs-eval", "model.ply", *SCORE[4:]], "add --scene", "--scene", "scene"),
    _adding(_nothing, COMPARE, "or add --force", "--force"),
    Case(
        _nothing,
        COMPARE,
        "the models themselves with one --protocol",
        ["gs-eval", "--compare", "model.ply", "model.ply", "--protocol", "inria", *SCORE[2:]],
    ),
    Case(
        _nothing,
        ["gs-report", "other", "scored", "--allow", "protocols"],
        "give one of them",
        ["gs-report", "other"],
    ),
]


@pytest.fixture(scope="module")
def models(tiny: Path, finished_run: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a model and two evaluations of it that were made in different ways."""
    folder = tmp_path_factory.mktemp("models")
    shutil.copy(finished_run / "point_cloud.ply", folder / "model.ply")
    for name, options in (("other", ["--protocol", "gsplat"]), ("scored", [])):
        gs_eval.command(
            [str(finished_run), *options, "--lpips", "--device", "cpu", "--out", str(folder / name)]
        )
    return folder


@pytest.mark.parametrize("case", CASES, ids=lambda case: f"{case.command[0]}: {case.advice}")
def test_what_a_message_advises_leads_on(
    case: Case, tiny: Path, models: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    shutil.copytree(tiny, "scene")
    for path in models.iterdir():
        Path(path.name).symlink_to(path)
    case.fault(Path("scene"))
    program, *arguments = case.command
    with pytest.raises(GsDensifyError) as refused:
        COMMANDS[program](arguments)
    assert case.advice in str(refused.value)
    assert not Path("run").exists(), "the next command may use the folder"
    COMMANDS[program](case.followed[1:])


def test_a_run_without_scores_says_so_and_is_reported(
    tiny: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    shutil.copytree(tiny, "scene")
    _one_photo(Path("scene"))
    COMMANDS["gs-train"]([*TRAIN[1:], "--data.test-every", "0"])
    assert "not computed: PSNR, SSIM: no view is held out" in capsys.readouterr().out
    assert load_results(Path("run/results.json")).protocol.n_train == 1
    COMMANDS["gs-report"](["run"])
    assert "Gaussians" in capsys.readouterr().out


def test_a_model_is_scored_on_a_scene_without_points(
    tiny: Path, models: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    shutil.copytree(tiny, "scene")
    shutil.copy(models / "model.ply", "model.ply")
    model = pycolmap.Reconstruction("scene/sparse/0")
    for identifier in list(model.points3D):
        model.delete_point3D(identifier)
    model.write_binary("scene/sparse/0")
    with pytest.raises(GsDensifyError, match="gs-train --init random"):
        COMMANDS["gs-train"](TRAIN[1:])
    COMMANDS["gs-eval"](SCORE[1:])
    assert Path("run/evaluation.json").is_file()
