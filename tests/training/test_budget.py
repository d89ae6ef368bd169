"""--budget: every strategy ends with the number that was asked for."""

from pathlib import Path

import pytest

from gs_densify.cli.arguments import parse_train_arguments
from gs_densify.cli.train import command
from gs_densify.results import load_results
from gs_densify.runs.train import train
from gs_densify.strategies.registry import BUILTIN

FLAGS = (
    "--scene tiny --downscale 4 --steps 40 --strategy.refine-every 4 --device cpu"
    " --evaluation.lpips --evaluation.pictures 0 --export"
).split()
OURS = [name for name in BUILTIN if not name.startswith("gsplat")]


def _counts(name: str, out: Path, *flags: str):
    argv = [*FLAGS, "--strategy", name, "--out", str(out), *flags]
    return train(parse_train_arguments(argv), argv)[0].counts


@pytest.mark.parametrize("name", OURS)
def test_every_strategy_ends_at_its_budget(name: str, tmp_path: Path) -> None:
    counts = _counts(name, tmp_path / "r", "--budget", "1500")
    assert counts.initial == 640
    assert abs(counts.final - 1500) <= 7, "half a percent"
    assert counts.peak <= (3000 if name == "mini-splatting" else 1500)


@pytest.mark.parametrize(
    ("name", "flags"),
    [
        ("default", ["--strategy.reset-every", "15"]),
        ("absgs", ["--strategy.reset-every", "15"]),
        ("new-split", ["--strategy.reset-every", "15"]),
        ("adaptive", ["--strategy.reset-every", "10", "--strategy.recovery", "2"]),
    ],
)
def test_growth_makes_up_for_resets(name: str, flags: list[str], tmp_path: Path) -> None:
    longer = ["--steps", "60", "--strategy.refine-every", "5", "--budget", "1500"]
    assert abs(_counts(name, tmp_path / "r", *longer, *flags).final - 1500) <= 7


@pytest.mark.parametrize("name", ["default", "mini-splatting"])
def test_a_scene_with_more_points_than_the_budget_ends_at_it(name: str, tmp_path: Path) -> None:
    counts = _counts(name, tmp_path / "r", "--budget", "300")
    assert counts.final == 300
    assert counts.initial == (640 if name == "mini-splatting" else 300)


def test_a_run_that_does_not_get_there_says_so(
    tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    flags = [*FLAGS, "--steps", "6", "--schedule-factor", "0.002", "--strategy", "default"]
    command([*flags, "--budget", "1500", "--out", str(tmp_path / "r")])
    final = load_results(tmp_path / "r/results.json").counts.final
    assert 640 <= final < 1500
    assert f"the run ends with {final:,} Gaussians, not the 1,500 of --budget" in (
        capsys.readouterr().err
    )
