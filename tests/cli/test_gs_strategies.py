"""gs-strategies, strategies from files, and what a broken one leaves behind."""

import contextlib
import io
import json
import re
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from commands import refusal, run

from gs_densify.cli.strategies import command
from gs_densify.cli.train import main
from gs_densify.errors import BackendError, ConfigError, StrategyError
from gs_densify.flags.forms import field_docstrings
from gs_densify.results import load_results
from gs_densify.strategies.adapter import StrategyAdapter
from gs_densify.strategies.registry import BUILTIN, load_strategy_class, options_of
from gs_densify.trace import own_lines

OURS = [name for name, entry in BUILTIN.items() if entry.target.startswith("gs_densify.")]

CUSTOM = '''
"""A header that says what it does."""
from dataclasses import dataclass, field
from gsplat.strategy.base import Strategy
from gsplat.strategy.ops import duplicate

@dataclass
class CustomStrategy(Strategy):
    at: int = 10
    """Step at which
    some are doubled."""
    names: tuple[str, ...] = ("a", "b")
    share: float = 0.5
    limit: float = 1.0
    seen: list = field(init=False, default_factory=list)

    def initialize_state(self, scene_scale: float = 1.0):
        return {}
    def step_pre_backward(self, params, optimizers, state, step, info):
        info["means2d"].retain_grad()
    def step_post_backward(self, params, optimizers, state, step, info, packed=False):
        self.seen.append(step)
        if step == self.at:
            size = info["means2d"].grad.norm(dim=-1).sum(0)
            duplicate(params, optimizers, state, size > size.quantile(1 - self.share))
'''

BREAKING = """
from dataclasses import dataclass
import torch
from gs_densify.strategies import ops
from gs_densify.strategies.base import Strategy

@dataclass
class Breaking(Strategy):
    fault: str = "raise"
    def step_post_backward(self, params, optimizers, state, step, info):
        if step == 0:
            state["seen"] = torch.zeros(ops.count(params))
        if step != 12:
            return
        means = params["means"]
        if self.fault == "raise":
            raise ValueError("no\\nidea")
        if self.fault == "exit":
            raise SystemExit(0)
        if self.fault == "parameter":
            params["scales"] = torch.nn.Parameter(params["scales"][:9].detach())
        if self.fault == "moment":
            moments = optimizers["quats"].state[params["quats"]]
            moments["exp_avg"] = moments["exp_avg"][:9]
        if self.fault == "statistic":
            ops.remove(params, optimizers, {}, means[:, 0] > means[:, 0].median())
        if self.fault == "nan":
            is_first = torch.arange(len(means)) < 4
            params["opacities"].data[is_first] = float("nan")
            ops.duplicate(params, optimizers, state, is_first)
        if self.fault == "all":
            ops.remove(params, optimizers, state, means[:, 0] < float("inf"))
"""
# What the one line says after "strategy '...', step 12, ".
SAID = {
    "raise": r"step_post_backward: ValueError: no idea$",
    "exit": r"step_post_backward: SystemExit: 0$",
    "parameter": r"step_post_backward: 'scales' has 9 rows, 'means' has 640$",
    "moment": r"step_post_backward: 'exp_avg' of the optimiser of 'quats' has shape \(9, 4\), the"
    r" parameter \(640, 4\)$",
    "statistic": r"step_post_backward: statistic 'seen' has 640 rows, the model 320$",
    "nan": r"after step_post_backward: 'opacities' is not finite in 8 of 644 Gaussians$",
    "all": r"step_post_backward: no Gaussian is left$",
}


# The lines above it, where the strategy's own code raised it.
_FILE = 'File "{}", line {}, in step_post_backward'
RAISED = {
    fault: [_FILE.format("FOLDER/breaking.py", 1 + line), BREAKING.splitlines()[line].strip()]
    for fault, line in (("raise", 16), ("exit", 18))
}


@pytest.fixture(scope="module")
def custom(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("plugin") / "custom_strategy.py"
    path.write_text(CUSTOM)
    return path


@pytest.fixture(scope="module")
def broken_runs(tiny: Path, tmp_path_factory: pytest.TempPathFactory) -> dict:
    """One real run for each fault, by fault: (folder, exit code, stdout, stderr)."""
    folder = tmp_path_factory.mktemp("broken")
    (folder / "breaking.py").write_text(BREAKING)
    options = "--steps 20 --evaluation.steps 5 --evaluation.lpips --device cpu --log-every 20"
    options += " --schedule-factor 1"
    arguments = ["--scene", str(tiny), "--strategy", "breaking.py", *options.split()]
    runs = {}
    for fault in SAID:
        given = [*arguments, "--strategy.fault", fault, "--out", fault]
        # A process for the first; the others in this one, since most of the time is torch's import.
        call = _train_in_this_process if runs else _train
        runs[fault] = (folder / fault, *call(given, folder))
    return runs


def _train(arguments: list[str], cwd: Path) -> tuple[int, str, str]:
    done = run("gs-train", *arguments, cwd=cwd)
    return done.returncode, done.stdout, done.stderr


def _train_in_this_process(arguments: list[str], cwd: Path) -> tuple[int, str, str]:
    out, err = io.StringIO(), io.StringIO()
    with (
        pytest.MonkeyPatch.context() as patch,
        contextlib.redirect_stdout(out),
        contextlib.redirect_stderr(err),
        pytest.raises(SystemExit) as stop,
    ):
        patch.chdir(cwd)
        patch.setattr(sys, "argv", ["gs-train", *arguments])
        main()
    return stop.value.code, out.getvalue(), err.getvalue()


@pytest.mark.parametrize("fault", SAID)
def test_a_strategy_that_breaks_the_model_stops_the_run_in_one_line(broken_runs, fault) -> None:
    folder, code, stdout, stderr = broken_runs[fault]
    assert code == 3, stderr
    assert stdout == ""
    lines = stderr.strip().splitlines()
    assert lines[0].startswith("step 5: PSNR")
    assert re.match(f"gs-train: strategy 'breaking.py', step 12, {SAID[fault]}", lines[-1])
    raised = [line.strip().replace(str(folder.parent), "FOLDER") for line in lines[1:-1]]
    assert raised == RAISED.get(fault, [])


def test_debug_shows_all_frames(broken_runs: dict, tmp_path: Path) -> None:
    folder, *_ = broken_runs["raise"]
    given = ["--config", str(folder / "config.yml"), "--out", "again", "--debug"]
    code, _, stderr = _train_in_this_process(given, tmp_path)
    assert code == 3
    *_, last = stderr.splitlines()
    assert last.startswith("gs-train: strategy")
    assert "Traceback (most recent call last)" in stderr and "adapter.py" in stderr
    assert "The above exception was the direct cause" in stderr


def test_lines_are_of_files_that_are_neither_ours_nor_installed(tmp_path: Path) -> None:
    (tmp_path / "helper.py").write_text("import torch\n\ndef help(x):\n    torch.cat(x)\n")
    path = tmp_path / "lines.py"
    path.write_text(
        "from dataclasses import dataclass\n"
        "from helper import help\n"
        "from gs_densify.strategies.base import Strategy\n"
        "@dataclass\n"
        "class Lines(Strategy):\n"
        "    def step_post_backward(self, **rest):\n"
        "        help(3)\n"
    )
    adapter = StrategyAdapter("x", load_strategy_class(str(path))())
    with pytest.raises(StrategyError) as caught:
        adapter._call("step_post_backward", 3)
    said = own_lines(caught.value)
    assert re.findall(r'File "(.*)", line (\d+), in (\w+)', said) == [
        (str(path), "7", "step_post_backward"),
        (str(tmp_path / "helper.py"), "4", "help"),
    ]
    assert "    help(3)" in said and "    torch.cat(x)" in said
    assert own_lines(ValueError("without a cause")) == ""


def test_what_was_saved_before_the_break_is_intact(broken_runs) -> None:
    for folder, *_ in broken_runs.values():
        assert sorted(file.name for file in folder.rglob("*") if file.is_file()) == [
            "breaking.py",
            "config.yml",
            "metrics.jsonl",
            "step_000005.pt",
        ]
        rows = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
        assert rows[-1]["step"] == 5
    done = run("gs-eval", folder, "--out", "scores", cwd=folder)
    assert done.returncode == 0, done.stderr
    assert (folder / "scores" / "per_view.json").is_file()


def test_a_strategy_file_trains_and_its_run_is_repeated_from_the_copy(
    tiny: Path, custom: Path, tmp_path: Path
) -> None:
    options = ["--strategy.names", "x", "y", "--strategy.share", "0.25", "--log-every", "10"]
    options += ["--strategy.limit", "inf", "--data.image-budget", "inf"]
    smoke = "--steps 20 --evaluation.lpips --device cpu".split()
    arguments = ["--scene", tiny, "--strategy", custom, *options, *smoke]
    done = run("gs-train", *arguments, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    (folder,) = (tmp_path / "runs" / tiny.name / "custom_strategy").iterdir()
    first = load_results(folder / "results.json")
    expected = {"at": 10, "names": ["x", "y"], "share": 0.25, "limit": "inf"}
    assert first.strategy.options == expected
    assert first.config["data"]["image_budget"] == "inf"
    assert first.counts.final == 640 + 160
    assert (folder / "custom_strategy.py").read_text() == CUSTOM
    saved = yaml.safe_load((folder / "config.yml").read_text())
    assert saved["strategy"]["name"] == "custom_strategy.py"

    done = run("gs-train", "--config", folder / "config.yml", "--out", "again", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    again = tmp_path / "again"
    assert (again / "point_cloud.ply").read_bytes() == (folder / "point_cloud.ply").read_bytes()
    repeated = load_results(again / "results.json")
    assert (repeated.scores, repeated.strategy.options) == (first.scores, expected)


def test_refusals_before_a_run(tiny: Path, custom: Path, tmp_path: Path) -> None:
    scene = ["--scene", tiny, "--device", "cpu"]
    said = refusal(run("gs-train", *scene, "--strategy", "gsplat-mcmc", cwd=tmp_path))
    assert said.startswith("gs-train: strategy 'gsplat-mcmc' calls gsplat's CUDA code")
    assert "--strategy.seen: no such option" in refusal(
        run("gs-train", *scene, "--strategy", custom, "--strategy.seen", "1", cwd=tmp_path)
    )
    (tmp_path / "bad.py").write_text("def f(:\n")
    done = run("gs-train", *scene, "--strategy", "bad.py", cwd=tmp_path)
    place, code, _, said = done.stderr.splitlines()
    assert "strategy file bad.py, line 1: cannot be imported: SyntaxError" in said
    assert place.endswith('bad.py", line 1') and code.strip() == "def f(:"
    assert list(tmp_path.iterdir()) == [tmp_path / "bad.py"]


def test_help_with_a_file_shows_its_options_only(custom: Path, tmp_path: Path) -> None:
    done = run("gs-train", "--strategy", custom, "--help", cwd=tmp_path)
    assert "Step at which" in done.stdout
    assert "--strategy.share" in done.stdout
    assert "--strategy.seen" not in done.stdout


def test_help_runs_no_file_that_a_configuration_names(tmp_path: Path) -> None:
    strategy = "open('was-run', 'w').close()\n" + CUSTOM
    (tmp_path / "mine.py").write_text(strategy)
    (tmp_path / "run.yml").write_text("scene: tiny\nstrategy: mine.py\nsteps: 20\n")
    for further in ([], ["--strategy", "default"], ["--scene", "garden"]):
        done = run("gs-train", "--config", "run.yml", *further, "--help", cwd=tmp_path)
        assert done.returncode == 0 and "--config" in done.stdout, done.stderr
        assert not (tmp_path / "was-run").exists()


def test_list_needs_no_torch_and_names_every_strategy() -> None:
    code = (
        "import sys; from gs_densify.cli.strategies import command; command(['list']);"
        " print([m for m in ('torch', 'gsplat') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    *lines, loaded = done.stdout.splitlines()
    assert loaded == "[]", done.stderr
    assert [line.split()[0] for line in lines] == list(BUILTIN)
    for line, entry in zip(lines, BUILTIN.values(), strict=True):
        assert line.endswith(f"  {entry.summary}")


def test_show_prints_the_text_the_options_and_the_recipe(custom: Path, capsys) -> None:
    assert command(["show", str(custom)]) == 0
    shown = capsys.readouterr().out
    assert "A header that says what it does." in shown
    assert "  at = 10\n      Step at which some are doubled." in shown
    assert "seen" not in shown
    assert command(["show", "gsplat-mcmc"]) == 0
    shown = capsys.readouterr().out
    assert "Markov Chain Monte Carlo" in shown
    assert "init.opacity = 0.5" in shown


@pytest.mark.parametrize("name", OURS)
def test_every_option_of_a_built_in_strategy_says_what_it_means(name: str) -> None:
    cls = load_strategy_class(name)
    assert set(options_of(cls())) <= set(field_docstrings(cls))


def test_check_prints_each_outcome(custom: Path, capsys) -> None:
    assert command(["check", str(custom)]) == 0
    *lines, last = capsys.readouterr().out.splitlines()
    assert len(lines) == 14
    assert all(line.startswith("ok   ") for line in lines)
    assert last == f"{custom}: 14 passed, 0 failed"


def test_check_says_what_failed_where_and_exits_with_1(tmp_path: Path) -> None:
    (tmp_path / "breaking.py").write_text(BREAKING)
    done = run("gs-strategies", "check", "breaking.py", cwd=tmp_path)
    assert done.returncode == 1, done.stderr
    first, place, code, *lines, last = done.stdout.splitlines()
    assert first.startswith("FAIL rows, moments and statistics stay in step: strategy")
    assert first.endswith("'breaking.py', step 12, step_post_backward: ValueError: no idea")
    assert place.endswith('breaking.py", line 17, in step_post_backward')
    assert code.strip().startswith("raise ValueError(")
    assert all(line.startswith("-    ") for line in lines)
    assert last == "breaking.py: 0 passed, 1 failed, 13 not run"


def test_what_cannot_be_checked_or_shown_is_refused() -> None:
    with pytest.raises(BackendError, match="calls gsplat's CUDA code"):
        command(["check", "gsplat-mcmc"])
    with pytest.raises(ConfigError, match="unknown strategy 'nope'"):
        command(["show", "nope"])
