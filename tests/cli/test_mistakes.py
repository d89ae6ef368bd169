"""Mistakes that people make are answered in one line that helps; what can be meant is accepted."""

import shlex
import shutil
import sys
from pathlib import Path

import pytest
import torch
import yaml

from gs_densify.bench.file import read_study
from gs_densify.bench.matrix import cells_of
from gs_densify.cli import bench, eval, report, scene, strategies, train, view
from gs_densify.cli.app import run_command
from gs_densify.cli.arguments import parse_train_arguments

COMMANDS = {
    "gs-train": train,
    "gs-eval": eval,
    "gs-bench": bench,
    "gs-report": report,
    "gs-scene": scene,
    "gs-strategies": strategies,
    "gs-view": view,
}
OWN = """from dataclasses import dataclass
from gs_densify.strategies.base import Strategy

@dataclass
class Own(Strategy):
    share: float = 0.1
    every: int = 100
"""


@pytest.fixture(scope="module")
def folder(tiny: Path, finished_run: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What a user may have: a scene, things that are none, runs, a strategy."""
    base = tmp_path_factory.mktemp("mistakes")
    shutil.copytree(tiny, base / "s")
    shutil.copytree(finished_run, base / "run")
    shutil.copytree(finished_run, base / "begun", ignore=shutil.ignore_patterns("*.pt", "res*"))
    shutil.copytree(tiny / "images", base / "photos")
    for name in (
        "blender/transforms_train.json",
        "nerfstudio/transforms.json",
        "video.mp4",
        "studies/a/study.yml",
    ):
        (base / name).parent.mkdir(parents=True, exist_ok=True)
        (base / name).write_text("{}")
    (base / "own.py").write_text(OWN)
    return base


@pytest.fixture
def typed(folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture):
    """What is said to a line that is typed, and the exit code."""
    monkeypatch.chdir(folder)
    monkeypatch.delenv("GS_DATA", raising=False)

    def answer(line: str) -> tuple[str, str, int]:
        program, *words = shlex.split(line)
        monkeypatch.setattr(sys, "argv", [program, *words])
        with pytest.raises(SystemExit) as stop:
            run_command(program, COMMANDS[program].command)
        said = capsys.readouterr()
        assert isinstance(stop.value.code, int)
        return said.out, said.err, stop.value.code

    return answer


TRAIN = "gs-train --scene tiny"
ROWS = [
    ("gs-train tiny", "a scene is given with --scene: gs-train --scene tiny"),
    ("gs-train --scene gardn", "no preset or folder 'gardn'", "did you mean garden?"),
    ("gs-train --scene garden", "no data root is set", "gs-scene download garden --data-root"),
    ("gs-train --scene garden --data-root d", "d/garden)", "download garden --data-root", "/d "),
    ("gs-train --scene photos", "has photos and no COLMAP model", "reconstruct", "photos --out"),
    ("gs-train --scene video.mp4", "is a video", "gs-scene reconstruct video.mp4 --out"),
    ("gs-train --scene nerfstudio", "Nerfstudio data set (transforms.json)", "reconstruct"),
    ("gs-train --scene blender", "Blender data set (transforms_train.json)", "reconstruct"),
    ("gs-train --scene s/images", "holds the photos of a scene", "/s"),
    (f"{TRAIN} --stratgy mcmc", "--stratgy: no such option; did you mean --strategy?"),
    (f"{TRAIN} --strategy mcm", "unknown strategy 'mcm'; did you mean mcmc?"),
    (f"{TRAIN} --strategy no/mine.py", "there is no such file (looked for", "no/mine.py)"),
    (f"{TRAIN} --strategy own.py --strategy.shar 2", "did you mean --strategy.share?"),
    (f"{TRAIN} --strategy own.py --strategy.k 2", "there are --strategy.share, --strategy.every"),
    (f"{TRAIN} --iterations 100", "--iterations: no such option; did you mean --steps?"),
    ("gs-train -s tiny", "-s: no such option; did you mean --scene?"),
    (f"{TRAIN} --random_bkgd", "did you mean --render.background random?"),
    (f"{TRAIN} --eval", "every 8th photo is held out by itself"),
    (f"{TRAIN} --near-plane 1", "did you mean --render.near-plane?"),
    (f"{TRAIN} --steps", "--steps has no value; expected a whole number (7000, 7k, 1M)"),
    (f"{TRAIN} --steps 7,000", "--steps is '7,000'; expected a whole number (7000, 7k, 1M)"),
    (f"{TRAIN} --profile 1", "--profile is '1'; expected 2 whole numbers"),
    (f"{TRAIN} --lr.others-final x", "is 'x'; expected a number or auto"),
    (f"{TRAIN} --render.packed 3", "--render.packed is given '3'; it takes no value"),
    (f"{TRAIN} --preset fst", "expected quality, balanced, fast or compact; did you mean fast?"),
    (f"{TRAIN} --max-gaussians -1", "--max-gaussians is -1; it must be at least 1"),
    (f"{TRAIN} --max-gaussians 0", "--max-gaussians is 0; it must be at least 1"),
    (f"{TRAIN} --device cuda:1", "a run uses one GPU; set CUDA_VISIBLE_DEVICES=1", "--device cuda"),
    (f"{TRAIN} --device cuda", "torch sees no CUDA GPU here", "--device cpu"),
    ("gs-train --scene tiny --data.test-list s", "s cannot be read (Is a directory); expected"),
    (f"{TRAIN} --init ''", "--init.source is '', which is no file or folder"),
    ("gs-train --scene tiny --out ''", "--out is ''; expected a path"),
    ("gs-scene reconstruct '' --out r", "source is ''", "a variable of the shell is not set"),
    ("gs-report ''", "runs is ''", "a variable of the shell is not set"),
    ("gs-bench s", "s: is a folder", "name the file of a study"),
    ("gs-bench studies/a", "studies/a: is a folder", "give studies/a/study.yml"),
    ("gs-train --config run", "--config run: is a folder; give --config run/config.yml"),
    ("gs-train --config s", "--config s: is a folder; name the file of options"),
    ("gs-train --resume begun", "begun", "gs-train --config begun/config.yml"),
    ("gs-eval --compare A B C", "is about A, B, C; two are compared", "gs-report makes tables"),
    ("gs-eval A --compare B", "is about A, B; two are compared, as --compare A B"),
    ("gs-eval A B", "'B' belongs to no option; --compare A B compares two"),
    ("gs-view", "no model given; gs-view MODEL"),
    ("gs-view run --eval", "--eval: no such option; gs-view --help-all shows all"),
    ("gs-view run --prt 80", "--prt: no such option; did you mean --port?"),
    ("gs-view run", "gs-view needs viser", "pip install 'gs-densify[viewer]'"),
    ("gs-scene", "no command given; there are reconstruct"),
    ("gs-scene chek s", "there is no command 'chek'; did you mean check?"),
    ("gs-scene reconstruct photos", "--out is missing; give it: Folder to make"),
    ("gs-bench --methds mcmc", "--methds: no such option; did you mean --methods?"),
    ("gs-bench --scenes tiny --methods mcm --out b", "did you mean mcmc?"),
    ("gs-report run --formt csv", "--formt: no such option; did you mean --format?"),
    ("gs-strategies lst", "there is no command 'lst'; did you mean list?"),
]


@pytest.mark.parametrize("row", ROWS, ids=[row[0] for row in ROWS])
def test_a_mistake_is_answered_in_one_line_that_helps(
    row: tuple[str, ...], typed, monkeypatch: pytest.MonkeyPatch
) -> None:
    line, *helps = row
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    if line == "gs-view run":
        monkeypatch.setitem(sys.modules, "viser", None)
        for name in [one for one in sys.modules if one.startswith("gs_densify.viewer.")]:
            monkeypatch.delitem(sys.modules, name)
    out, said, code = typed(line)
    assert (code, out, said.count("\n")) == (2, "", 1), said
    assert said.startswith(f"{line.split()[0]}: ") and "[bold]" not in said
    assert all(help in said for help in helps), said


def test_a_model_within_a_scene_is_the_scene(typed) -> None:
    out, _, code = typed("gs-scene info s/sparse/0")
    assert code == 0 and "scene s: " in out


def test_a_complete_run_is_not_refused(typed) -> None:
    _, said, code = typed("gs-train --resume run")
    assert code == 0 and "run: this run is complete; gs-eval scores it again" in said


def test_photos_that_are_missing_in_a_size_are_made_and_that_is_said_once(
    typed, caplog: pytest.LogCaptureFixture, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GS_CACHE", str(tmp_path))
    _, said, code = typed(
        "gs-train --scene s --downscale 3 --out small --device cpu --steps 1 --evaluation.lpips"
    )
    assert code == 0, said
    assert caplog.text.count("resized to 32x21") == 1


NUMBERS = {"steps": ("7k", 7000), "max_gaussians": ("1M", 10**6), "seed": ("1e6", 10**6)}


def test_numbers_as_people_write_them_are_taken_from_flags() -> None:
    flags = [w for name, (text, _) in NUMBERS.items() for w in (f"--{name}", text)]
    config = parse_train_arguments(["--scene", "tiny", *flags])
    for name, (_, value) in NUMBERS.items():
        assert getattr(config, name) == value


def test_numbers_as_people_write_them_are_taken_from_files_and_studies(tmp_path: Path) -> None:
    options = {name: text for name, (text, _) in NUMBERS.items() if name != "seed"}
    lines = "".join(f"  {name}: {text}\n" for name, text in options.items())
    path = tmp_path / "options.yml"
    path.write_text(f"scene: tiny\n{lines.replace('  ', '')}lr:\n  means: 1e-3\n")
    config = parse_train_arguments(["--config", str(path)])
    assert (config.steps, config.max_gaussians, config.lr.means) == (7000, 10**6, 1e-3)
    path.write_text(
        f"scenes: [tiny]\nmethods: [mcmc]\noptions:\n{lines}"
        "sweeps:\n  strategy.growth: {from: 1e-3, to: 1e-1, count: 3, scale: log}\n"
    )
    cells = cells_of(read_study(path), parse_train_arguments)
    assert {(c.config.steps, c.config.max_gaussians) for c in cells} == {(7000, 10**6)}
    assert [c.config.strategy_options["growth"] for c in cells] == [0.001, 0.01, 0.1]


@pytest.mark.parametrize(
    ("text", "said"),
    [("stepz: 5", "--stepz: no such option; did you mean"), ("steps: many", "--steps is 'many'")],
)
def test_a_mistake_in_a_file_names_the_file(text: str, said: str, typed, folder: Path) -> None:
    (folder / "wrong.yml").write_text(yaml.safe_dump({"scene": "tiny"}) + text)
    _, answer, code = typed("gs-train --config wrong.yml")
    assert code == 2 and answer.startswith(f"gs-train: wrong.yml: {said}")
