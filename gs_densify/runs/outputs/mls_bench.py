"""The lines that the MLS-Bench task `cv-3dgs-densification` prints, for scripts that parse them.

`--protocol mls-bench` sets what that task fixes (see `config.layers`). PSNR is that of the float
render, as gsplat's trainers compute it; best_psnr is the best over all evaluations.
"""

from collections.abc import Callable

from gs_densify.results import MetricsRow, Results
from gs_densify.runs.outputs.base import Output, RunFacts
from gs_densify.training.create import SCENE_SCALE_MARGIN

TRAIN_EVERY = 5000
"""Steps between TRAIN_METRICS lines."""


def _print(line: str) -> None:
    print(line, flush=True)


class MlsBenchLines(Output):
    """Prints the lines of the task."""

    def __init__(self, facts: RunFacts, *, write: Callable[[str], object] = _print) -> None:
        """Takes lines of before the run goes on as printed; `write` gets one line a call."""
        super().__init__(facts)
        self._write = write
        self._printed = facts.resumed_at // TRAIN_EVERY

    def loaded(self) -> None:
        """Prints the numbers of views and the scene's radius, margin included."""
        scene = self.facts.scene
        self._write(
            f"Loaded {len(scene.train_views)} train, {len(scene.test_views)} val images."
            f" Scene scale: {scene.scene_scale * SCENE_SCALE_MARGIN:.2f}"
        )

    def initialized(self, num_gaussians: int) -> None:
        """Prints the number of Gaussians."""
        self._write(f"Initialized {num_gaussians} Gaussians")

    def logged(self, row: MetricsRow) -> None:
        """Prints the first logged step at or after each multiple of `TRAIN_EVERY`."""
        if row.step // TRAIN_EVERY == self._printed:
            return
        self._printed = row.step // TRAIN_EVERY
        self._write(
            f"TRAIN_METRICS: step={row.step}, loss={_number(row.loss)},"
            f" l1={_number(row.terms['l1'])}, ssim_loss={_number(row.terms['ssim_loss'])},"
            f" num_gs={row.num_gaussians}"
        )

    def finished(self, results: Results) -> None:
        """Prints the last evaluation, the best PSNR of all, and the wall time of the whole run."""
        last = results.evaluations[-1]
        floats = [evaluation.scores["psnr_float"] for evaluation in results.evaluations]
        known = [value for value in floats if value is not None]
        self._write(
            f"TEST_METRICS: best_psnr={_number(max(known, default=None))},"
            f" psnr={_number(last.scores['psnr_float'])}, ssim={_number(last.scores['ssim'])},"
            f" lpips={_number(last.scores['lpips_alex'])}, num_gs={last.num_gaussians},"
            f" elapsed={results.wall_time.total:.1f}"
        )


def _number(value: float | None) -> str:
    return "nan" if value is None else f"{value:.4f}"
