"""The shell scripts: what they ask of gs-train."""

import os
import re
import subprocess
from pathlib import Path

import pytest

from gs_densify.bench.options import SlurmOptions
from gs_densify.cli.arguments import parse_train_arguments
from gs_densify.runs.held_folder import locked
from gs_densify.scene.presets import MIPNERF360

SCRIPTS = Path(__file__).parents[2] / "scripts"


def call(script: str, *options: str, cwd: Path, **variables: str) -> subprocess.CompletedProcess:
    """Run a script with a gs-train that prints its arguments, one a line."""
    shim = cwd / "gs-train"
    shim.write_text("#!/bin/sh\nprintf '%s\\n' \"$@\"\n")
    shim.chmod(0o755)
    environment = {"PATH": f"{cwd}{os.pathsep}{os.environ['PATH']}", **variables}
    return subprocess.run(
        [SCRIPTS / script, *options], cwd=cwd, env=environment, capture_output=True, text=True
    )


@pytest.mark.parametrize("scene", MIPNERF360)
def test_each_scene_has_a_script(scene: str, tmp_path: Path) -> None:
    done = call(f"train_{scene}.sh", "--seed", "7", cwd=tmp_path)
    config = parse_train_arguments(done.stdout.splitlines())
    assert (config.scene, config.seed, config.steps) == (scene, 7, 30_000)
    assert config.strategy == "adaptive", "gs-train's own default"
    assert config.evaluation.steps == (7_000,)


def test_a_preset_shortens_them(tmp_path: Path) -> None:
    done = call("train_garden.sh", "--preset", "fast", cwd=tmp_path)
    assert parse_train_arguments(done.stdout.splitlines()).steps == 9_000


def test_the_strategy_is_a_variable_or_an_option(tmp_path: Path) -> None:
    done = call("train_garden.sh", cwd=tmp_path, STRATEGY="mcmc")
    assert parse_train_arguments(done.stdout.splitlines()).strategy == "mcmc"
    done = call("train_garden.sh", "--strategy", "absgs", cwd=tmp_path)
    assert parse_train_arguments(done.stdout.splitlines()).strategy == "absgs"
    done = call("train.sh", cwd=tmp_path)
    assert done.returncode and "expected the name of a scene" in done.stderr


class Slurm:
    """Slurm's commands and a gs-train in a folder, for a job that trains in `my run` there."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.run = folder, folder / "my run"
        self._command("srun", '"$@"')
        self._command("scontrol", 'echo scontrol "$@"')

    def _command(self, name: str, does: str) -> None:
        (self.folder / name).write_text(f"#!/bin/sh\n{does}\n")
        (self.folder / name).chmod(0o755)

    def job(self, gs_train: str) -> tuple[int, list[str]]:
        """Start the job, whose gs-train does that, and return its code and what was printed."""
        self._command("gs-train", gs_train)
        done = subprocess.run(
            [SCRIPTS / "train.sbatch", "my run", "--scene", "tiny"],
            cwd=self.folder,
            env={"PATH": f"{self.folder}{os.pathsep}{os.environ['PATH']}", "SLURM_JOB_ID": "7"},
            capture_output=True,
            text=True,
        )
        return done.returncode, done.stdout.splitlines()


@pytest.fixture
def slurm(tmp_path: Path) -> Slurm:
    return Slurm(tmp_path)


def test_a_job_whose_time_is_over_is_queued_again_and_goes_on(slurm: Slurm) -> None:
    assert slurm.job(
        "echo \"$*\"\nmkdir -p 'my run/checkpoints'\n"
        "touch 'my run/config.yml' 'my run/checkpoints/step_000012.pt'\nexit 75"
    ) == (75, ["--scene tiny --out my run", "scontrol requeue 7"])
    assert slurm.job('echo "$*"') == (0, ["--resume my run"])
    assert slurm.job("exit 2") == (2, []), "what is wrong with the input would be wrong again"


def test_a_job_that_died_before_its_first_checkpoint_begins_anew(slurm: Slurm) -> None:
    slurm.job("mkdir 'my run'; echo first > 'my run/config.yml'; exit 137")
    again = (0, ["--scene tiny --out my run", "free"])
    assert slurm.job("echo \"$*\"; [ -e 'my run' ] || echo free") == again
    (kept,) = slurm.folder.glob("my run.died-*")
    assert (kept / "config.yml").read_text() == "first\n"


def test_a_job_takes_no_folder_that_is_trained_in_or_complete(slurm: Slurm) -> None:
    slurm.run.mkdir()
    (slurm.run / "config.yml").touch()
    with locked(slurm.run):
        assert slurm.job("ls 'my run'") == (0, ["config.yml"])
    (slurm.run / "results.json").touch()
    assert slurm.job("ls 'my run'") == (0, ["config.yml", "results.json"])


def test_a_job_asks_for_what_gs_bench_asks_for() -> None:
    asked = dict(
        re.findall(r"^#SBATCH --([a-z-]+)=(\S+)$", (SCRIPTS / "train.sbatch").read_text(), re.M)
    )
    ours = SlurmOptions()
    assert asked["gpus-per-node"] == str(ours.gpus)
    assert asked["cpus-per-task"] == str(ours.cpus)
    assert asked["time"] == str(ours.time)
    assert asked["signal"] == f"USR1@{ours.signal_delay}"
