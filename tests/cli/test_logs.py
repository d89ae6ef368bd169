"""gs-train --quiet, and --log-to: what others show of a run."""

import importlib.util
import json
import os
import sys
from pathlib import Path
from typing import Any

import pytest
from commands import refusal, run, start

from gs_densify.results import load_results, read_metrics

pytest.importorskip("tensorboard")
SHORT = "--steps 8 --log-every 2 --evaluation.steps 4 --evaluation.lpips --device cpu".split()


def scalars_of(folder: Path) -> dict[str, list[tuple[int, float]]]:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    events = EventAccumulator(str(folder / "tensorboard"))
    events.Reload()
    return {
        name: [(one.step, one.value) for one in events.Scalars(name)]
        for name in events.Tags()["scalars"]
    }


def expected_of(folder: Path) -> dict[str, list[tuple[int, Any]]]:
    """The scalars that the run's own files say."""
    found: dict[str, list[tuple[int, Any]]] = {}
    for row in read_metrics(folder / "metrics.jsonl"):
        named = {"loss": row.loss, "num_gaussians": row.num_gaussians, "means_lr": row.means_lr}
        named |= {"step_milliseconds": row.step_milliseconds, "device_bytes": row.device_bytes}
        for name, value in {**named, **row.terms}.items():
            if value is not None:
                found.setdefault(f"train/{name}", []).append((row.step, pytest.approx(value)))
    for record in load_results(folder / "results.json").evaluations:
        for name, value in record.scores.items():
            if value is not None:
                found.setdefault(f"test/{name}", []).append((record.step, pytest.approx(value)))
    return found


def test_tensorboard_reads_the_figures_of_the_run_also_of_one_that_went_on(
    tiny: Path, tmp_path: Path
) -> None:
    flags = ["--scene", tiny, *SHORT, "--log-to", "tensorboard"]
    done = run("gs-train", *flags, "--out", "run", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    folder = tmp_path / "run"
    expected = expected_of(folder)
    assert scalars_of(folder) == expected
    assert [step for step, _ in expected["train/loss"]] == [2, 4, 6, 8]
    assert [step for step, _ in expected["test/psnr"]] == [4, 8]
    (folder / "results.json").unlink()
    (folder / "checkpoints/step_000008.pt").unlink()
    done = run("gs-train", "--resume", "run", "--quiet", cwd=tmp_path)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    again, expected = scalars_of(folder), expected_of(folder)
    assert again.keys() == expected.keys()
    for name, values in again.items():
        # Step 4 is scored again, since it is not known whether that was done.
        assert sorted({step: value for step, value in values}.items()) == expected[name]


def test_wandb_logs_offline_and_goes_on_with_its_run(tiny: Path, tmp_path: Path) -> None:
    pytest.importorskip("wandb")
    flags = ["--scene", tiny, *SHORT, "--log-to", "wandb", "--quiet"]
    offline = {"WANDB_MODE": "offline"}
    done = run("gs-train", *flags, "--out", "run", cwd=tmp_path, **offline)
    assert (done.returncode, done.stdout) == (0, ""), done.stderr
    folder = tmp_path / "run" / "wandb"
    run_id = (folder / "run_id.txt").read_text()
    (log,) = folder.glob(f"offline-run-*-{run_id}/run-{run_id}.wandb")
    kept = log.read_bytes()
    assert b"test/psnr" in kept and b"room one/adaptive/42" in kept and b"gs_densify" in kept
    (tmp_path / "run/results.json").unlink()
    (tmp_path / "run/checkpoints/step_000008.pt").unlink()
    done = run("gs-train", "--resume", "run", cwd=tmp_path, **offline)
    assert done.returncode == 0, done.stderr
    assert (folder / "run_id.txt").read_text() == run_id
    logs = folder.glob(f"offline-run-*-{run_id}/run-{run_id}.wandb")
    assert sum(b"test/psnr" in log.read_bytes() for log in logs) == 2


def test_a_log_that_cannot_be_kept_is_refused_before_anything_is_loaded(tmp_path: Path) -> None:
    words = ("gs-train", "--scene", "no/such/scene", "--device", "cpu", "--out", "run")
    assert "--log-to has 'tensorbord'; known: tensorboard, wandb" in refusal(
        run(*words, "--log-to", "tensorbord", cwd=tmp_path)
    )
    (tmp_path / "sitecustomize.py").write_text(
        "import importlib.util as u\n"
        "find = u.find_spec\n"
        "u.find_spec = lambda name, *a: None if name == 'tensorboard' else find(name, *a)\n"
    )
    path = os.pathsep.join([str(tmp_path), *sys.path])
    for further in ([], ["--dry-run"]):
        done = start(*words, "--log-to", "tensorboard", *further, cwd=tmp_path, PYTHONPATH=path)
        assert "'tensorboard', which is not installed; run pip install" in refusal(done)
        assert "'gs-densify[tensorboard]'" in done.stderr
    if importlib.util.find_spec("wandb"):
        home = {"HOME": str(tmp_path), "NETRC": str(tmp_path / "netrc"), "WANDB_API_KEY": ""}
        done = run(*words, "--log-to", "wandb", cwd=tmp_path, **home)
        assert "--log-to wandb: No API key configured" in refusal(done)
    assert not (tmp_path / "run").exists()


def test_quiet_leaves_the_lines_of_the_benchmark_and_errors(tiny: Path, tmp_path: Path) -> None:
    flags = ["--scene", tiny, *SHORT, "--quiet", "--protocol", "mls-bench", "--downscale", 1]
    done = run("gs-train", *flags, "--out", "run", cwd=tmp_path)
    assert (done.returncode, done.stderr) == (0, "")
    assert [line.split()[0] for line in done.stdout.splitlines()] == [
        "Loaded",
        "Initialized",
        "TEST_METRICS:",
    ]
    assert "quiet" not in (tmp_path / "run/config.yml").read_text()
    assert "--quiet" in json.loads((tmp_path / "run/results.json").read_text())["command"]
    assert "holds another run already" in refusal(
        run("gs-train", *flags, "--out", "run", cwd=tmp_path)
    )
