"""The figures of a run by the names that logs of others show them under."""

from collections.abc import Mapping

from gs_densify.results import EvaluationRecord, MetricsRow


def of_row(row: MetricsRow) -> dict[str, float]:
    """Returns what is known in a line of figures, as `train/NAME`."""
    values = {
        "loss": row.loss,
        **row.terms,
        "num_gaussians": row.num_gaussians,
        "means_lr": row.means_lr,
        "step_milliseconds": row.step_milliseconds,
        "device_bytes": row.device_bytes,
    }
    return _known("train", values)


def of_evaluation(record: EvaluationRecord) -> dict[str, float]:
    """Returns the scores that were computed, as `test/NAME`."""
    return _known("test", record.scores)


def _known(group: str, values: Mapping[str, float | None]) -> dict[str, float]:
    return {f"{group}/{name}": value for name, value in values.items() if value is not None}
