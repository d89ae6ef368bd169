"""gs-train --resume: a run that was cut off ends as if it had never been."""

import fcntl
import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pycolmap
import pytest
import torch
from commands import come_near_to_a_camera, refusal, run
from PIL import Image

from gs_densify.cli.train import command
from gs_densify.config.options import TrainConfig
from gs_densify.errors import GsDensifyError, ResultError
from gs_densify.results import load_results
from gs_densify.results.encode import encode
from gs_densify.runs import session
from gs_densify.runs.loaded_scene import load
from gs_densify.source import module_digest

STOPPING = """
import os
import signal
from dataclasses import dataclass

from gs_densify.strategies.methods.adaptive import AdaptiveStrategy

# A process begun in the background ignores SIGINT, and so do those that it begins.
signal.signal(signal.SIGINT, signal.default_int_handler)


@dataclass
class StoppingStrategy(AdaptiveStrategy):
    \"\"\"Ours, in a process that ends after step 34 where STOP says how.\"\"\"

    def step_post_backward(self, params, optimizers, state, step, info, packed=False):
        super().step_post_backward(params, optimizers, state, step, info, packed)
        if step == 34 and "STOP" in os.environ:
            os.kill(os.getpid(), getattr(signal, os.environ["STOP"]))
"""
FLAGS = "--steps 60 --schedule-factor 0.002 --log-every 10 --evaluation.lpips --device cpu".split()
SMALL = ("--downscale", "2")
STOPS = "--evaluation.steps 20 --checkpoint-every 15".split()


def train(tiny: Path, folder: Path, name: str, *options: str, **environment: str) -> Any:
    """A run in `folder` / `name`, of a strategy whose file is gone afterwards."""
    strategy = folder / "stopping.py"
    strategy.write_text(STOPPING)
    arguments = ["--scene", tiny, "--strategy", strategy, "--out", name, *FLAGS, *STOPS, *options]
    done = run("gs-train", *arguments, cwd=folder, **environment)
    strategy.unlink()
    return done


def figures(folder: Path) -> tuple[Any, ...]:
    """What of a run does not depend on the clock."""
    results = json.loads((folder / "results.json").read_text())
    rows = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    return (
        results["scores"],
        results["counts"],
        [(one["step"], one["scores"]) for one in results["evaluations"]],
        [(one["step"], one["loss"], one["num_gaussians"], one["psnr"]) for one in rows],
        json.loads((folder / "per_view.json").read_text())["views"],
        (folder / "point_cloud.ply").read_bytes(),
    )


def steps_of(folder: Path) -> list[str]:
    return sorted(path.name for path in (folder / "checkpoints").iterdir())


@pytest.fixture(scope="module")
def whole(tiny: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("whole")
    done = train(tiny, folder, "run")
    assert done.returncode == 0, done.stderr
    return folder / "run"


@pytest.fixture(scope="module")
def small(tiny: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("small")
    done = train(tiny, folder, "run", *SMALL)
    assert done.returncode == 0, done.stderr
    return folder / "run"


@pytest.mark.parametrize(
    ("signal", "minutes", "code", "said", "last"),
    [
        ("SIGKILL", "0", -9, "", 30),
        ("SIGKILL", "1e-9", -9, "step 1: saved; should the run be cut off: gs-train --resume", 34),
        ("SIGINT", "5", 130, "interrupted, and saved after step 35; go on with gs-train --r", 35),
        ("SIGUSR1", "5", 75, "told to end, and saved after step 35; go on with gs-train --r", 35),
    ],
)
def test_a_run_that_was_stopped_ends_like_one_that_was_not(
    signal: str,
    minutes: str,
    code: int,
    said: str,
    last: int,
    small: Path,
    tiny: Path,
    tmp_path: Path,
) -> None:
    """Wherever it was between the lines of figures."""
    done = train(tiny, tmp_path, "run", *SMALL, "--checkpoint-minutes", minutes, STOP=signal)
    assert done.returncode == code, done.stderr
    assert said in done.stderr
    assert ("--resume" in done.stderr) == bool(said)
    assert steps_of(tmp_path / "run") == ["step_000020.pt", f"step_0000{last}.pt"]
    done = run("gs-train", "--resume", "run", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert f"goes on after step {last}" in done.stderr
    assert figures(tmp_path / "run") == figures(small)
    assert steps_of(tmp_path / "run") == steps_of(small) == ["step_000020.pt", "step_000060.pt"]
    stored = json.loads((tmp_path / "run" / "results.json").read_text())
    assert stored["resumed_at"] == [last]
    assert stored["resumed_with"] == []
    assert stored["data"] == json.loads((small / "results.json").read_text())["data"]
    assert stored["command"][:2] == ["gs-train", "--scene"]
    assert stored["strategy"]["name"] == str(tmp_path / "stopping.py")
    times = stored["wall_time"]
    assert times["total"] > times["train"] + times["evaluate"] > 0 < times["first_step"]
    assert sum(times["parts"].values()) == pytest.approx(times["total"])


def test_a_checkpoint_that_was_to_be_scored_is_scored_first(whole: Path, tmp_path: Path) -> None:
    folder = tmp_path / "run"
    shutil.copytree(whole, folder)
    for name in ("results.json", "per_view.json", "point_cloud.ply"):
        (folder / name).unlink()
    (folder / "checkpoints" / "step_000060.pt").unlink()
    config = (folder / "config.yml").read_text()
    assert "checkpoint_minutes: 5.0\n" in config
    (folder / "config.yml").write_text(config.replace("minutes: 5.0", "minutes: 0.5"))
    for step in (20, 60):
        done = run("gs-train", "--resume", "run", cwd=tmp_path)
        assert done.returncode == 0, done.stderr
        assert f"goes on after step {step}" in done.stderr
        assert figures(folder) == figures(whole)
        (folder / "results.json").unlink()


def refused(folder: Path, *arguments: object) -> str:
    return refusal(run("gs-train", *arguments, cwd=folder))


@pytest.fixture
def unfinished(whole: Path, tmp_path: Path) -> Path:
    folder = tmp_path / "run"
    shutil.copytree(whole, folder)
    (folder / "results.json").unlink()
    return folder


def test_what_is_no_unfinished_run_is_refused(whole: Path, tmp_path: Path) -> None:
    assert "--resume has no value; expected a path" in refused(tmp_path, "--resume")
    assert "no config.yml; name the folder" in refused(tmp_path, "--resume", "nothing")
    flags = ["--scene", "tiny", *FLAGS]
    assert "--checkpoint-every is 61; it must be between 1 and 60" in refused(
        tmp_path, *flags, "--checkpoint-every", 61
    )
    assert "an evaluation or a checkpoint after step 15 inside" in refused(
        tmp_path, *flags, "--checkpoint-every", 15, "--profile", 10, 20
    )
    (tmp_path / "options.yml").write_text("resume: run\n")
    assert "'resume' is for the command line alone" in refused(
        tmp_path, *flags, "--config", "options.yml"
    )


def test_a_complete_run_is_complete(whole: Path, capsys: pytest.CaptureFixture[str]) -> None:
    command(["--resume", str(whole)])
    said = capsys.readouterr()
    assert f"{whole}: this run is complete; gs-eval scores it again" in said.err
    assert f"files: {whole}" in said.out


@pytest.mark.parametrize("kind", [KeyboardInterrupt, ZeroDivisionError])
def test_what_cuts_a_run_off_amid_its_scores_says_how_to_go_on(
    kind: type[BaseException],
    tiny: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    def score(*arguments: object, **options: object) -> None:
        raise kind

    monkeypatch.setattr(session, "score", score)
    with pytest.raises(kind):
        command(["--scene", str(tiny), "--out", str(tmp_path / "run"), *FLAGS, "--steps", "1"])
    assert f"to go on: gs-train --resume {tmp_path / 'run'}\n" in capsys.readouterr().err
    assert steps_of(tmp_path / "run") == ["step_000001.pt"]


def test_a_run_goes_on_as_it_began_or_not_at_all(unfinished: Path, tiny: Path) -> None:
    folder, config = unfinished.parent, unfinished / "config.yml"
    before = (unfinished / "metrics.jsonl").read_bytes()
    assert "leave out --seed" in refused(folder, "--resume", "run", "--seed", "3")
    assert "leave out --dry-run" in refused(folder, "--resume", "run", "--dry-run")
    text = config.read_text()
    for old, new, said in (
        ("\nsteps: 60\n", "\nsteps: 90\n", "has steps 90, but the run began with 60"),
        ("\nseed: 42\n", "\nseed: 1\n", "has seed 1, but the run began with 42"),
        ("consistency: 0.75", "consistency: 0.5", "has strategy.consistency 0.5"),
    ):
        assert old in text
        config.write_text(text.replace(old, new))
        assert said in refused(folder, "--resume", "run")
    smaller = folder / "smaller"
    shutil.copytree(tiny, smaller)
    for path in (smaller / "images").iterdir():
        photo = Image.open(path)
        photo.resize((photo.width // 2, photo.height // 2)).save(path)
    config.write_text(text.replace(f"scene: {tiny}", f"scene: {smaller}"))
    assert "not those, or not in the sizes, that the run began with" in refused(
        folder, "--resume", "run"
    )
    config.write_text(text)
    held = os.open(unfinished, os.O_RDONLY)
    fcntl.flock(held, fcntl.LOCK_EX)
    assert "another process trains in this folder" in refused(folder, "--resume", "run")
    os.close(held)
    assert (unfinished / "metrics.jsonl").read_bytes() == before


def test_a_run_from_before_there_was_a_near_plane_goes_on_with_gsplats(unfinished: Path) -> None:
    """Nor was there a choice of rasterisers."""
    config, last = unfinished / "config.yml", unfinished / "checkpoints" / "step_000060.pt"
    text = config.read_text()
    for line in ("format: 2\n", "  near_plane: null\n", "  rasterizer: auto\n"):
        assert line in text
        text = text.replace(line, "")
    config.write_text(text)
    contents = torch.load(last, weights_only=True)
    assert contents["run"]["config"]["render"].pop("near_plane") is None
    assert contents["run"]["config"]["render"].pop("rasterizer") == "auto"
    assert contents["run"].pop("found")["near_plane"] == 0.05
    torch.save(contents, last)
    done = run("gs-train", "--resume", "run", cwd=unfinished.parent)
    assert done.returncode == 0, done.stderr
    results = load_results(unfinished / "results.json")
    assert results.protocol.conditions.near_plane == 0.01
    assert results.config["render"]["near_plane"] == 0.01


def test_a_run_of_a_version_that_saved_what_it_found_goes_on_with_it(unfinished: Path) -> None:
    config, last = unfinished / "config.yml", unfinished / "checkpoints" / "step_000060.pt"
    text = config.read_text().replace("format: 2\n", "")
    config.write_text(text.replace("  near_plane: null\n", "  near_plane: 0.03\n"))
    last.unlink()
    before = last.with_name("step_000020.pt")
    contents = torch.load(before, weights_only=True)
    contents["run"]["config"]["render"]["near_plane"] = 0.03
    del contents["run"]["found"]
    torch.save(contents, before)
    done = run("gs-train", "--resume", "run", cwd=unfinished.parent)
    assert done.returncode == 0, done.stderr
    assert load_results(unfinished / "results.json").protocol.conditions.near_plane == 0.03
    assert torch.load(last, weights_only=True)["run"]["found"]["near_plane"] == 0.03


def test_a_run_goes_on_with_the_near_plane_that_it_found(
    whole: Path, unfinished: Path, tiny: Path
) -> None:
    """Also where the SfM points, from which it was found, are others now: of a version that did
    not notice."""
    folder, moved = unfinished.parent, unfinished.parent / "moved"
    shutil.copytree(tiny, moved)
    come_near_to_a_camera(moved)
    assert load(TrainConfig(scene=str(moved))).near_plane < 0.05
    config = unfinished / "config.yml"
    config.write_text(config.read_text().replace(f"scene: {tiny}", f"scene: {moved}"))
    (unfinished / "checkpoints" / "step_000060.pt").unlink()
    assert "another COLMAP model" in refused(folder, "--resume", "run")
    before = unfinished / "checkpoints" / "step_000020.pt"
    contents = torch.load(before, weights_only=True)
    assert contents["run"].pop("data") is not None
    torch.save(contents, before)
    done = run("gs-train", "--resume", "run", cwd=folder)
    assert done.returncode == 0, done.stderr
    results = load_results(unfinished / "results.json")
    assert results.protocol.conditions.near_plane == 0.05
    assert results.data is None
    assert figures(unfinished) == figures(whole)
    kept = torch.load(unfinished / "checkpoints" / "step_000060.pt", weights_only=True)
    assert kept["run"]["found"]["near_plane"] == 0.05


def test_a_checkpoint_from_which_no_run_can_go_on_is_refused(unfinished: Path) -> None:
    folder, last = unfinished.parent, unfinished / "checkpoints" / "step_000060.pt"
    contents = torch.load(last, weights_only=True)
    state = contents.pop("run")
    for changed, said in (
        (contents, "whose runs cannot be resumed"),
        ({**contents, "run": {**state, "evaluations": 3}}, "run: evaluations: 3 is not a list"),
        ({**contents, "run": {**state, "device": "cuda"}}, "began on cuda, and would go on on cpu"),
    ):
        torch.save(changed, last)
        assert said in refused(folder, "--resume", "run")
    for path in last.parent.iterdir():
        path.write_bytes(path.read_bytes()[:1000])
    done = run("gs-train", "--resume", "run", cwd=folder)
    assert done.returncode == 2
    first, second = done.stderr.splitlines()
    assert "step_000060.pt: damaged" in first and "step_000020.pt: damaged" in second
    shutil.rmtree(last.parent)
    said = "cut off before its first checkpoint; begin anew: gs-train --config"
    with pytest.raises(ResultError, match=said):
        command(["--resume", str(unfinished)])


def test_a_run_goes_on_from_the_checkpoint_before_a_damaged_one(
    whole: Path, unfinished: Path
) -> None:
    left = [unfinished / "checkpoints/.step_000060.pt.0123abcd", unfinished / "renders"]
    left += [left.pop() / ".000.png.png.0123abcd", unfinished / ".results.json.0123abcd"]
    for path in left:
        path.write_bytes(b"of a process that was killed")
    last = unfinished / "checkpoints" / "step_000060.pt"
    last.write_bytes(last.read_bytes()[:1000])
    done = run("gs-train", "--resume", "run", cwd=unfinished.parent)
    assert done.returncode == 0, done.stderr
    assert "step_000060.pt: damaged" in done.stderr
    assert "step_000020.pt, the checkpoint before, is taken" in done.stderr
    assert "goes on after step 20" in done.stderr
    assert figures(unfinished) == figures(whole)
    assert steps_of(unfinished) == ["step_000020.pt", "step_000060.pt"]
    assert not any(path.exists() for path in left)


def test_a_checkpoint_that_a_killed_process_was_about_to_remove_goes(unfinished: Path) -> None:
    last = unfinished / "checkpoints" / "step_000060.pt"
    shutil.copy(last.with_name("step_000020.pt"), last.with_name("step_000030.pt"))
    command(["--resume", str(unfinished)])
    assert steps_of(unfinished) == ["step_000020.pt", "step_000060.pt"]


def change_pixel(scene: Path) -> None:
    path = photos_of(scene)[0]
    with Image.open(path) as photo:
        photo.load()
        red, *others = photo.getpixel((3, 2))
        photo.putpixel((3, 2), (red ^ 1, *others))
        photo.save(path)


def swap_photos(scene: Path) -> None:
    first, second = photos_of(scene)[:2]
    first.rename(scene / "aside")
    second.rename(first)
    (scene / "aside").rename(second)


def mask_a_corner(scene: Path) -> None:
    mask = Image.new("L", Image.open(photos_of(scene)[0]).size, 255)
    mask.putpixel((0, 0), 0)
    (scene / "masks").mkdir()
    mask.save(scene / "masks" / f"{photos_of(scene)[0].stem}.png")


def photos_of(scene: Path) -> list[Path]:
    return sorted((scene / "images").iterdir())


def move_camera(model: pycolmap.Reconstruction) -> None:
    pose = min(model.frames.values(), key=lambda frame: frame.frame_id)
    rigid = pose.rig_from_world
    rigid.translation = rigid.translation + np.array([1e-9, 0, 0])
    pose.rig_from_world = rigid


def change_parameter(position: int) -> Callable[[pycolmap.Reconstruction], None]:
    def change(model: pycolmap.Reconstruction) -> None:
        camera = next(iter(model.cameras.values()))
        params = camera.params
        params[position] *= 1 + 1e-12
        camera.params = params

    return change


def move_point(model: pycolmap.Reconstruction) -> None:
    point = next(iter(model.points3D.values()))
    point.xyz = point.xyz + np.array([0, 1e-9, 0])


def colour_point(model: pycolmap.Reconstruction) -> None:
    point = next(iter(model.points3D.values()))
    point.color = point.color ^ np.array([0, 0, 1], np.uint8)


def in_model(change: Callable[[pycolmap.Reconstruction], None]) -> Callable[[Path], None]:
    def apply(scene: Path) -> None:
        model = pycolmap.Reconstruction(scene / "sparse/0")
        change(model)
        model.write_binary(scene / "sparse/0")

    return apply


CHANGES = {
    "a pixel": (change_pixel, "other photos"),
    "a mask": (mask_a_corner, "other photos"),
    "two photos swapped": (swap_photos, "other photos"),
    "a pose": (in_model(move_camera), "another COLMAP model"),
    "a focal length": (in_model(change_parameter(0)), "another COLMAP model"),
    "a principal point": (in_model(change_parameter(-1)), "another COLMAP model"),
    "a point": (in_model(move_point), "another COLMAP model"),
    "a colour": (in_model(colour_point), "another COLMAP model"),
}


@pytest.mark.parametrize("what", CHANGES)
def test_a_run_does_not_go_on_with_other_data(what: str, unfinished: Path, tiny: Path) -> None:
    change, said = CHANGES[what]
    scene, config = unfinished.parent / "changed", unfinished / "config.yml"
    shutil.copytree(tiny, scene)
    config.write_text(config.read_text().replace(f"scene: {tiny}", f"scene: {scene}"))
    before = (unfinished / "metrics.jsonl").read_bytes()
    change(scene)
    with pytest.raises(GsDensifyError, match=f"has {said}"):
        command(["--resume", str(unfinished)])
    assert (unfinished / "metrics.jsonl").read_bytes() == before


def test_a_copy_of_the_data_will_do_and_other_code_is_said(unfinished: Path, tiny: Path) -> None:
    scene, config = unfinished.parent / "copy", unfinished / "config.yml"
    shutil.copytree(tiny, scene)
    config.write_text(config.read_text().replace(f"scene: {tiny}", f"scene: {scene}"))
    checkpoint = unfinished / "checkpoints/step_000060.pt"
    contents = torch.load(checkpoint, weights_only=True)
    began = contents["run"]["code"]
    assert contents["run"]["rasterizer"] == "reference"
    contents["run"]["rasterizer"] = "own"
    torch.save(contents, checkpoint)
    strategy = unfinished / "stopping.py"
    strategy.write_text(f"{strategy.read_text()}\n# mended\n")
    assert contents["run"]["cpu_threads"] == 1
    done = run("gs-train", "--resume", "run", cwd=unfinished.parent, OMP_NUM_THREADS="2")
    assert done.returncode == 0, done.stderr
    assert "goes on with 2 CPU threads, as OMP_NUM_THREADS says, and began with 1" in done.stderr
    assert (
        "goes on with rasteriser 'reference'" in done.stderr and "began with 'own'" in done.stderr
    )
    (said,) = (line for line in done.stderr.splitlines() if "other code" in line)
    assert "goes on with other code of its strategy than it began with" in said
    results = load_results(unfinished / "results.json")
    assert results.hardware.cpu_threads == 2
    assert encode(results.code) == began
    assert [one.package for one in results.resumed_with] == [results.code.package]
    assert results.resumed_with[0].strategy == module_digest(strategy) != results.code.strategy
    assert encode(results.data) == contents["run"]["data"]


UNSTORABLE = """
from collections import deque
from dataclasses import dataclass

from gs_densify.strategies.base import Strategy


@dataclass
class UnstorableStrategy(Strategy):
    \"\"\"Keeps what a checkpoint cannot give back.\"\"\"

    def initialize_state(self, scene_scale=1.0):
        return {"recent": deque([1, 2])}
"""


def test_a_state_that_cannot_be_stored_is_said_when_the_first_checkpoint_is_written(
    tiny: Path, tmp_path: Path
) -> None:
    (tmp_path / "odd.py").write_text(UNSTORABLE)
    flags = ["--scene", tiny, "--strategy", "odd.py", *FLAGS, "--steps", 4]
    flags += ["--schedule-factor", 1]
    done = run("gs-train", *flags, "--checkpoint-every", 2, cwd=tmp_path)
    assert "a checkpoint cannot hold what is in `state`" in refusal(done, 3)
    by_time = ["--checkpoint-minutes", 1e-9]
    done = run("gs-train", *flags, *by_time, "--out", "run", cwd=tmp_path)
    assert done.returncode == 0
    said = "checkpoints of this run cannot be resumed: a checkpoint cannot hold"
    assert done.stderr.count(said) == 1
    assert "--resume" not in done.stderr
    (tmp_path / "run" / "results.json").unlink()
    assert "saved without the strategy's state" in refused(tmp_path, "--resume", "run")
