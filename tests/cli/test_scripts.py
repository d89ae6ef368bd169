"""The shell scripts: what they ask of gs-train."""

import os
import re
import subprocess
from pathlib import Path

import pytest

from gs_densify.bench.options import SlurmOptions
from gs_densify.cli.arguments import parse_train_arguments
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


def test_a_job_whose_time_is_over_is_queued_again_and_goes_on(tmp_path: Path) -> None:
    for name, does in (("srun", '"$@"'), ("scontrol", 'echo scontrol "$@"')):
        (tmp_path / name).write_text(f"#!/bin/sh\n{does}\n")
        (tmp_path / name).chmod(0o755)

    def job() -> tuple[int, list[str]]:
        done = subprocess.run(
            [SCRIPTS / "train.sbatch", "my run", "--scene", "tiny"],
            cwd=tmp_path,
            env={"PATH": f"{tmp_path}{os.pathsep}{os.environ['PATH']}", "SLURM_JOB_ID": "7"},
            capture_output=True,
            text=True,
        )
        return done.returncode, done.stdout.splitlines()

    train = tmp_path / "gs-train"
    train.write_text(
        "#!/bin/sh\necho \"$*\"\nmkdir -p 'my run/checkpoints'\n"
        "touch 'my run/checkpoints/step_000012.pt'\nexit 75\n"
    )
    train.chmod(0o755)
    assert job() == (75, ["--scene tiny --out my run", "scontrol requeue 7"])
    train.write_text('#!/bin/sh\necho "$*"\n')
    assert job() == (0, ["--resume my run"])
    train.write_text("#!/bin/sh\nexit 2\n")
    assert job() == (2, []), "what is wrong with the input would be wrong again"


def test_a_job_asks_for_what_gs_bench_asks_for() -> None:
    asked = dict(
        re.findall(r"^#SBATCH --([a-z-]+)=(\S+)$", (SCRIPTS / "train.sbatch").read_text(), re.M)
    )
    ours = SlurmOptions()
    assert asked["gpus-per-node"] == str(ours.gpus)
    assert asked["cpus-per-task"] == str(ours.cpus)
    assert asked["time"] == str(ours.time)
    assert asked["signal"] == f"USR1@{ours.signal_delay}"
