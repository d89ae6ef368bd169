"""The benchmark of gs-report makes runs that gs-report takes."""

import runpy
from pathlib import Path

from report_example import RECORD

from gs_densify.report.runs import load_run

BENCHMARK = Path(__file__).parents[2] / "benchmarks/report_time.py"


def test_the_runs_that_are_made_are_whole(tmp_path: Path) -> None:
    made = runpy.run_path(str(BENCHMARK))
    for number in (0, 101):
        made["write"](tmp_path, made["variant"](RECORD, number))
    first, second = (load_run(folder) for folder in sorted(tmp_path.iterdir()))
    assert (first.results.scene, second.results.scene) == ("scene0", "scene0")
    assert first.views[0].scores["psnr"] != second.views[0].scores["psnr"]
