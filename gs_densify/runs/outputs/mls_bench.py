"""The lines that the MLS-Bench task `cv-3dgs-densification` prints, for scripts that parse them.

`--protocol mls-bench` sets what that task fixes (see `presets`). PSNR is that of
the float render, as gsplat's trainers compute it; best_psnr is the best over all evaluations.
"""

from collections.abc import Callable, Sequence

from gs_densify.config.options import TrainConfig
from gs_densify.results import EvaluationRecord, MetricsRow

TRAIN_EVERY = 5000
"""Steps between TRAIN_METRICS lines."""


class MlsBenchLines:
    """Prints through `write`, one line a call."""

    def __init__(self, write: Callable[[str], object], *, step: int = 0) -> None:
        """Lines of the progress up to `step` were printed before."""
        self._write = write
        self._printed = step // TRAIN_EVERY

    def loaded(self, num_train: int, num_test: int, scene_scale: float) -> None:
        """After the scene was read; `scene_scale` in world units, margin included."""
        self._write(
            f"Loaded {num_train} train, {num_test} val images. Scene scale: {scene_scale:.2f}"
        )

    def initialized(self, num_gaussians: int) -> None:
        """After the SfM points became Gaussians."""
        self._write(f"Initialized {num_gaussians} Gaussians")

    def progress(self, row: MetricsRow) -> None:
        """The first logged step at or after each multiple of `TRAIN_EVERY`."""
        if row.step // TRAIN_EVERY == self._printed:
            return
        self._printed = row.step // TRAIN_EVERY
        self._write(
            f"TRAIN_METRICS: step={row.step}, loss={_number(row.loss)},"
            f" l1={_number(row.terms['l1'])}, ssim_loss={_number(row.terms['ssim_loss'])},"
            f" num_gs={row.num_gaussians}"
        )

    def finished(self, evaluations: Sequence[EvaluationRecord], seconds: float) -> None:
        """The last evaluation, the best PSNR of all, and the wall time of the whole run."""
        last = evaluations[-1]
        floats = [evaluation.scores["psnr_float"] for evaluation in evaluations]
        known = [value for value in floats if value is not None]
        self._write(
            f"TEST_METRICS: best_psnr={_number(max(known, default=None))},"
            f" psnr={_number(last.scores['psnr_float'])}, ssim={_number(last.scores['ssim'])},"
            f" lpips={_number(last.scores['lpips_alex'])}, num_gs={last.num_gaussians},"
            f" elapsed={seconds:.1f}"
        )


def lines_of(config: TrainConfig, *, step: int = 0) -> MlsBenchLines:
    """Lines to stdout under that protocol; under any other they go nowhere."""
    if config.protocol == "mls-bench":
        return MlsBenchLines(lambda line: print(line, flush=True), step=step)
    return MlsBenchLines(lambda line: None)


def _number(value: float | None) -> str:
    return "nan" if value is None else f"{value:.4f}"
