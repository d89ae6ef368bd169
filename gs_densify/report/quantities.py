"""What the columns of a table show: metrics, then what a model costs."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from gs_densify.errors import ResultError
from gs_densify.evaluation.metrics import BUILTIN
from gs_densify.report.runs import Run
from gs_densify.results import COST_NAMES, STANDARD_METRICS
from gs_densify.results.protocol import MetricRecord


@dataclass(frozen=True, kw_only=True)
class Quantity:
    """A column: how a run's value is found, and how it is written."""

    name: str
    record: MetricRecord
    value: Callable[[Run], float | None]
    is_score: bool = True
    """Whether the best is marked and differences are tested: of image quality alone."""

    @property
    def label(self) -> str:
        """Returns the heading."""
        return self.record.label

    @property
    def unit(self) -> str:
        """Returns the unit; empty where there is none."""
        return self.record.unit

    @property
    def higher_is_better(self) -> bool:
        """Returns which end is the better one."""
        return self.record.higher_is_better

    def text(self, value: float | None, *, sign: str = "") -> str:
        """Returns a value without its unit, `-` where there is none."""
        return self.record.text(value, sign=sign)


def _cost(
    name: str, label: str, unit: str, form: str, value: Callable[[Run], float | None]
) -> Quantity:
    record = MetricRecord(
        label=label, unit=unit, format=form, higher_is_better=False, computed="of the whole run"
    )
    return Quantity(name=name, record=record, value=value, is_score=False)


_NUM_GAUSSIANS, _TRAIN_SECONDS, _DEVICE_MEMORY = COST_NAMES
COSTS = (
    _cost(_NUM_GAUSSIANS, "Gaussians", "", ",.0f", lambda run: float(run.num_gaussians)),
    _cost(_TRAIN_SECONDS, "training", "s", ",.1f", lambda run: run.train_seconds),
    _cost(
        _DEVICE_MEMORY,
        "GPU memory",
        "GB",
        ".2f",
        lambda run: None if run.device_bytes is None else run.device_bytes / 1e9,
    ),
)
"""Columns after the metrics."""

_DIGITS = {"psnr": ".2f", "psnr_float": ".2f"}
"""Of tables: a hundredth of a decibel is less than what runs of one seed differ by."""


def quantities_of(runs: Sequence[Run], names: Sequence[str] = ()) -> list[Quantity]:
    """Returns the columns for which any run has a value: those named, or all but `psnr_float`.

    Raises:
        ResultError: a name that there is not, or that no run has a value for.
    """
    known = {one.name: one for one in (*_metrics(runs), *COSTS)}
    for name in names:
        if name not in known:
            raise ResultError(
                f"has '{name}'", expected=f"known here: {', '.join(known)}", option="metrics"
            )
    chosen = (
        [known[name] for name in dict.fromkeys(names)]
        if names
        else [one for name, one in known.items() if name != "psnr_float"]
    )
    measured = [one for one in chosen if any(one.value(run) is not None for run in runs)]
    if names:
        missing = [one.name for one in chosen if one not in measured]
        if missing:
            raise ResultError(
                f"{missing[0]} was measured in none of these runs",
                action="gs-eval scores a run again",
                option="metrics",
            )
        measured += [one for one in COSTS if one.name not in names and _any(one, runs)]
    return measured


def _any(quantity: Quantity, runs: Sequence[Run]) -> bool:
    return any(quantity.value(run) is not None for run in runs)


def _metrics(runs: Sequence[Run]) -> list[Quantity]:
    records: dict[str, MetricRecord] = {name: BUILTIN[name] for name in STANDARD_METRICS}
    for run in runs:
        records |= run.protocol.metrics
    return [_score(name, record) for name, record in records.items()]


def _score(name: str, record: MetricRecord) -> Quantity:
    shown = MetricRecord(
        label=record.label,
        unit=record.unit,
        format=_DIGITS.get(name, record.format),
        higher_is_better=record.higher_is_better,
        computed=record.computed,
    )
    return Quantity(name=name, record=shown, value=lambda run: run.scores.get(name))
