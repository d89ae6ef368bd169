"""A whole run in one compact file, `NAME.run.json`: results, views and time line in columns.

It holds what `results.json`, `per_view.json` and `metrics.jsonl` hold, in a tenth of the lines:
what tables and plots show can be made again from it, and every number can be traced.
"""

import dataclasses
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePath
from typing import Any

from gs_densify.errors import ResultError
from gs_densify.results.decode import decode
from gs_densify.results.encode import encode
from gs_densify.results.files import (
    atomic_write,
    load_json,
    load_results,
    to_json,
)
from gs_densify.results.log import read_metrics
from gs_densify.results.names import METRICS, RESULTS
from gs_densify.results.schema import (
    MetricsRow,
    PerView,
    Results,
    Scores,
    StrategyRecord,
    ViewScores,
)
from gs_densify.results.views import checked_views, load_views

SUFFIX = ".run.json"
VERSION = 1
_PLACES = ("out", "data_root", "lpips_weights")
"""Options that name folders of a machine, which a record leaves out."""
_PLACE_FLAGS = ("--out", "--data-root", "--lpips-weights", "--evaluation.lpips-weights")
_FOLDERS = re.compile(r"(?<![\w.~/])~?(?:/[^\s/'\"]+)*/(?=[^\s/'\"])")
"""Of an absolute path, all but its last part."""


@dataclass(frozen=True, kw_only=True)
class RunRecord:
    """A run with its views and its time line."""

    results: Results
    views: list[ViewScores]
    timeline: list[MetricsRow]

    def per_view(self) -> PerView:
        """Returns what `per_view.json` holds."""
        results = self.results
        return PerView(
            scene=results.scene,
            strategy=results.strategy.name,
            seed=results.seed,
            step=results.steps,
            protocol=results.protocol.name,
            views=self.views,
        )


@dataclass(frozen=True, kw_only=True)
class _Columns:
    """Rows of one kind, each of their figures as a list."""

    names: list[str] = field(default_factory=list)
    columns: dict[str, list[float | None]] = field(default_factory=dict)


def record_of(run: Path) -> RunRecord:
    """Returns the record of the run in a folder, without the names of folders.

    Raises:
        ResultError: a file of the run is missing or damaged.
    """
    results = load_results(run / RESULTS)
    return RunRecord(
        results=without_places(results),
        views=load_views(run, results),
        timeline=read_metrics(run / METRICS),
    )


def save_record(path: Path, record: RunRecord) -> None:
    """Writes a record: a line for each entry of the results and for each column."""
    scores = _columns([dict(view.scores) for view in record.views])
    rows = _columns([encode(row) for row in record.timeline])
    value = {
        "record_version": VERSION,
        "results": encode(record.results),
        "views": {"names": [view.name for view in record.views], "columns": scores},
        "timeline": {"columns": rows},
    }
    with atomic_write(path) as file:
        file.write(f"{_two_levels(value, path)}\n".encode())


def load_record(path: Path) -> RunRecord:
    """Reads what `save_record` wrote.

    Raises:
        ResultError: the file is missing, damaged, or of a later version.
    """
    file = RecordFile(path)
    return RunRecord(results=file.results, views=file.views(), timeline=file.timeline())


class RecordFile:
    """A record of which views and time line are looked at only when they are asked for."""

    def __init__(self, path: Path) -> None:
        """Reads the file; ResultError where it is missing, damaged, or of a later version."""
        value = load_json(path)
        version = value.get("record_version") if isinstance(value, dict) else None
        if version != VERSION:
            raise ResultError(
                f"{path}: is no record of a run",
                expected=f"a file that gs-report --record wrote, with record_version {VERSION}",
            )
        self.path, self._value = path, value
        self.results = decode(Results, value.get("results"), f"{path}: results")

    def views(self) -> list[ViewScores]:
        """Returns the scores of the test views; ResultError where they are damaged, or not those
        of which the results have the means.
        """
        where = f"{self.path}: views"
        table = decode(_Columns, self._value.get("views"), where)
        rows = _rows(table, len(table.names), where)
        views = [
            ViewScores(name=name, scores=Scores(scores))
            for name, scores in zip(table.names, rows, strict=True)
        ]
        return checked_views(views, self.results, where)

    def timeline(self) -> list[MetricsRow]:
        """Returns the lines of `metrics.jsonl`; ResultError where they are damaged."""
        where = f"{self.path}: timeline"
        table = decode(_Columns, self._value.get("timeline"), where)
        return [
            decode(MetricsRow, _with_whole_numbers(row), where) for row in _rows(table, None, where)
        ]


def without_places(results: Results) -> Results:
    """Returns results in which no folder of a machine is named: of an absolute path, such as that
    of a scene or of a strategy's file, the last part stays.
    """
    strategy = results.strategy
    return dataclasses.replace(
        results,
        config=_placeless(results.config),
        strategy=StrategyRecord(name=_last(strategy.name), options=_placeless(strategy.options)),
        unavailable={name: _last(reason) for name, reason in results.unavailable.items()},
        command=without_place_flags(results.command),
    )


def _placeless(value: Any) -> Any:
    if isinstance(value, str):
        return _last(value)
    if isinstance(value, Mapping):
        return {name: _placeless(item) for name, item in value.items() if name not in _PLACES}
    return [_placeless(item) for item in value] if isinstance(value, list) else value


def _last(text: str) -> str:
    return str(PurePath(text).name) if PurePath(text).is_absolute() else _FOLDERS.sub("", text)


def without_place_flags(command: Sequence[str]) -> list[str]:
    """Returns a command line without the options that name folders, and of other absolute paths the
    last part.
    """
    kept, skip = [], False
    for word in command:
        flag, equals, value = word.partition("=")
        is_place = not skip and flag.replace("_", "-") in _PLACE_FLAGS
        if not skip and not is_place:
            kept.append(f"{flag}={_last(value)}" if equals else _last(word))
        skip = is_place and not equals
    return kept


def _columns(rows: Sequence[Mapping[str, Any]]) -> dict[str, list[Any]]:
    names = dict.fromkeys(name for row in rows for name in row)
    return {name: [row.get(name) for row in rows] for name in names}


def _rows(table: _Columns, count: int | None, where: str) -> list[dict[str, Any]]:
    """Returns the rows of a table, of which there must be `count`, where that is known."""
    lengths = {len(column) for column in table.columns.values()}
    lengths |= set() if count is None else {count}
    if len(lengths) > 1:
        raise ResultError(
            f"{where}: columns of {sorted(lengths, key=str)} rows; the file is damaged"
        )
    length = lengths.pop() if lengths else 0
    return [{name: column[i] for name, column in table.columns.items()} for i in range(length or 0)]


_WHOLE = tuple(item.name for item in dataclasses.fields(MetricsRow) if "int" in str(item.type))


def _with_whole_numbers(row: Mapping[str, Any]) -> dict[str, Any]:
    """Returns a row of the time line whose counts are integers again, where they were."""
    return {
        name: int(value) if name in _WHOLE and value is not None and value.is_integer() else value
        for name, value in row.items()
    }


def _two_levels(value: Mapping[str, Any], path: Path) -> str:
    """Returns JSON with a line for each entry of the first two levels."""
    lines = []
    for name, item in value.items():
        head = to_json(name, where=str(path))
        if isinstance(item, Mapping):
            inner = ",\n".join(
                f"  {to_json(key, where=str(path))}: {_line(one, path, key)}"
                for key, one in item.items()
            )
            lines.append(f" {head}: {{\n{inner}\n }}")
        else:
            lines.append(f" {head}: {to_json(item, where=str(path))}")
    return "{\n" + ",\n".join(lines) + "\n}"


def _line(item: Any, path: Path, key: str) -> str:
    if key == "columns":
        inner = ",\n".join(
            f"   {to_json(name, where=str(path))}: {to_json(column, where=str(path))}"
            for name, column in item.items()
        )
        return f"{{\n{inner}\n  }}"
    return to_json(item, where=str(path))
