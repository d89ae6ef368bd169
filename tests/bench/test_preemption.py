"""submitit's protocol: a job that is taken away goes on where it saved its state."""

import json
import os
import signal
import time
from pathlib import Path

import pytest

from gs_densify.bench.executors.base import Job
from gs_densify.bench.executors.submitit_jobs import SubmititExecutor
from gs_densify.bench.options import SlurmOptions

WAITING = """
import signal
import threading
from dataclasses import dataclass
from pathlib import Path

from gs_densify.strategies.base import Strategy


@dataclass
class WaitingStrategy(Strategy):
    \"\"\"Waits at step 7 until it has been told to end, the first time.\"\"\"

    mark: str = ""

    def step_post_backward(self, params, optimizers, state, step, info, packed=False):
        if step == 7 and not Path(self.mark).exists():
            told, former = threading.Event(), signal.getsignal(signal.SIGTERM)
            signal.signal(signal.SIGTERM, lambda *which: (former(*which), told.set()))
            Path(self.mark).touch()
            told.wait(300)
"""
FLAGS = "--scene tiny --steps 20 --schedule-factor 1 --log-every 5 --evaluation.lpips --device cpu"


def test_a_job_that_is_taken_away_goes_on(tmp_path: Path) -> None:
    pytest.importorskip("submitit")
    (tmp_path / "waiting.py").write_text(WAITING)
    mark = tmp_path / "waits"
    flags = [*FLAGS.split(), "--strategy", str(tmp_path / "waiting.py")]
    flags += ["--strategy.mark", str(mark), "--checkpoint-every", "20"]
    job = Job("cell", tuple(flags), tmp_path / "run", tmp_path / "log", {}, None)
    executor = SubmititExecutor("local", tmp_path / "jobs", SlurmOptions())
    handle = executor.start(job)
    until = time.monotonic() + 300
    while not mark.exists() and time.monotonic() < until:
        time.sleep(0.05)
    controller = handle.job_id
    task = Path(f"/proc/{controller}/task/{controller}/children").read_text().split()[0]
    os.kill(int(task), signal.SIGUSR2)
    while executor.poll(handle) is None and time.monotonic() < until:
        time.sleep(0.1)
    assert executor.poll(handle) == 0, job.log.read_text()
    results = json.loads((tmp_path / "run/results.json").read_text())
    assert results["resumed_at"] == [8]
    assert "saved after step 8" in job.log.read_text()
