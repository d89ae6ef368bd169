"""--memory-limit on a GPU: that a run keeps to it."""

from pathlib import Path

import pytest
from commands import start

from gs_densify.results import load_results


@pytest.mark.gpu
@pytest.mark.parametrize(
    ("limit", "options", "offload"),
    [
        ("400MB", "--max-gaussians 100000 --strategy default", False),
        ("200MB", "--budget 100000 --strategy mcmc", True),
        ("180MB", "--budget 100000 --strategy mcmc", True),
    ],
)
def test_a_run_keeps_to_it(limit: str, options: str, offload: bool, tmp_path: Path) -> None:
    """In a process of its own, as torch's allocator counts what other tests keep, too."""
    fixed = "--scene tiny --device cuda --steps 60 --init.source random --init.num-points 90000"
    done = start(
        "gs-train",
        *f"{fixed} --evaluation.lpips --quiet --out run --memory-limit {limit} {options}".split(),
        cwd=tmp_path,
    )
    assert done.returncode == 0, done.stderr
    results = load_results(tmp_path / "run/results.json")
    plan = results.memory_plan
    assert plan is not None and plan.offload == offload
    assert results.peak_memory.device is not None
    assert results.peak_memory.device <= plan.limit
    assert results.counts.peak > 80_000
