"""From a study to its cells: one run of gs-train each, with its command line parsed."""

import dataclasses
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from gs_densify.bench.study import Change, Method, Options, SceneEntry, Study, slug
from gs_densify.config.file import by_dotted_name, flags_of, to_mapping
from gs_densify.config.options import TrainConfig
from gs_densify.errors import ConfigError

Parser = Callable[[Sequence[str]], TrainConfig]
"""Reads a command line of gs-train."""


@dataclasses.dataclass(frozen=True)
class Row:
    """Cells that differ in their seed alone: a line of the plan, and of a table of results."""

    scene: SceneEntry
    method: Method
    preset: str | None
    change: Change | None
    seeds: tuple[int, ...]

    @property
    def label(self) -> str:
        """Returns the method's label, and what is changed of it."""
        parts = [self.method.label, *([self.preset] if self.preset else [])]
        return " ".join(parts) + (f" + {self.change.label}" if self.change else "")

    @property
    def folder(self) -> Path:
        """Returns the folder of the row's cells, below that of all cells."""
        name = slug(self.method.label) + (f"-{self.preset}" if self.preset else "")
        name += f"+{slug(self.change.label)}" if self.change else ""
        return Path(slug(self.scene.label)) / name

    @property
    def place(self) -> str:
        """Returns where the study says so."""
        return f"{(self.change or self.method).place}, scene {self.scene.label}"


@dataclasses.dataclass(frozen=True)
class Cell:
    """One run."""

    row: Row
    seed: int
    budget: int | None
    config: TrainConfig
    arguments: tuple[str, ...]
    """Of gs-train, without --out."""

    @property
    def name(self) -> str:
        """Returns the folder of the run below that of all cells, which names it in messages."""
        return (self.row.folder / f"seed{self.seed}").as_posix()


def cells_of(study: Study, parse: Parser) -> list[Cell]:
    """Returns the cells of a study, in the order in which they are run: by scene, then by method.

    Raises:
        ConfigError: there are none, two are one, or gs-train refuses one; with the place.
    """
    for what, entries in (("scenes", study.scenes), ("methods", study.methods)):
        if not entries:
            raise ConfigError(f"{study.where}: no {what}", action=f"name some, or use --{what}")
    cells: list[Cell] = []
    bases: dict[tuple[Any, ...], TrainConfig] = {}
    folders: dict[Path, Row] = {}
    for row in _rows(study):
        if row.folder in folders:
            raise ConfigError(
                f"{row.place}: there is such a row already ({folders[row.folder].place})",
                action="leave one out, or give it another label",
            )
        folders[row.folder] = row
        made = [_cell(study, row, seed, parse) for seed in row.seeds]
        _check_changes(study, row, made[0].config, bases, parse)
        cells += made
    _check_distinct(cells)
    return cells


def _check_distinct(cells: Sequence[Cell]) -> None:
    """Raises ConfigError where two cells would be the same run under two labels."""
    seen: dict[str, Cell] = {}
    for cell in cells:
        first = seen.setdefault(repr(_without_label(cell.config)), cell)
        if first is not cell:
            raise ConfigError(
                f"{cell.row.place}: {cell.name} is the same run as {first.name}",
                action="leave one out",
            )


def _rows(study: Study) -> Iterator[Row]:
    """Yields the base, where there is no sweep without changes, then each change, then sweeps."""
    variants: list[Change | None] = [*study.changes, *study.sweeps]
    if study.changes or not variants:
        variants.insert(0, None)
    for scene in study.scenes:
        for method in study.methods:
            presets = (method.preset,) if method.preset else study.presets or (None,)
            for preset in presets:
                for change in variants:
                    yield Row(scene, method, preset, change, method.seeds or study.seeds)


def _cell(study: Study, row: Row, seed: int, parse: Parser) -> Cell:
    layers = _layers(study, row)
    arguments = _arguments(row, seed, layers)
    try:
        config = parse(arguments)
    except ConfigError as error:
        raise ConfigError(f"{_blamed(layers, error.found_where) or row.place}: {error}") from None
    return Cell(row, seed, study.budget, config, tuple(arguments))


def _layers(study: Study, row: Row) -> list[tuple[str, Options]]:
    """Returns options by the place that sets them; those that come later count for more."""
    budget = {"budget": study.budget} if study.budget else {}
    layers: list[tuple[str, Options]] = [
        (f"{study.where}: budget", budget),
        (f"{study.where}: options", study.options),
        (row.scene.place, row.scene.options),
        (f"{row.method.place}: options", row.method.options),
        ("--options", study.over_options),
    ]
    return [*layers, (row.change.place, row.change.options)] if row.change else layers


def _arguments(row: Row, seed: int, layers: Sequence[tuple[str, Options]]) -> list[str]:
    options: dict[str, Any] = {}
    for _, layer in layers:
        options |= layer
    fixed = ["--scene", row.scene.scene, "--strategy", row.method.strategy, "--seed", str(seed)]
    fixed += ["--label", row.label]
    fixed += ["--preset", row.preset] if row.preset else []
    return [*fixed, *flags_of(options)]


def _blamed(layers: Sequence[tuple[str, Options]], message: str) -> str | None:
    """Returns the place of the option that a message of gs-train names."""
    for place, options in reversed(layers):
        names = "|".join(re.escape(name.replace("_", "-")) for name in options)
        if names and re.search(rf"--({names})(?![\w.-])", message.replace("_", "-")):
            return place
    return None


def _check_changes(
    study: Study,
    row: Row,
    config: TrainConfig,
    bases: dict[tuple[Any, ...], TrainConfig],
    parse: Parser,
) -> None:
    """Raises ConfigError where a change leaves everything as it is, which is then there twice.

    A sweep goes over the base's value, too, where the base is no row of its own.
    """
    if row.change is None or (row.change in study.sweeps and not study.changes):
        return
    base = dataclasses.replace(row, change=None)
    key = (row.scene.label, row.method.label, row.preset)
    if key not in bases:
        bases[key] = _cell(study, base, row.seeds[0], parse).config
    if _without_label(bases[key]) == _without_label(config):
        raise ConfigError(
            f"{row.change.place}: changes nothing of {base.label} on scene {row.scene.label}",
            action="leave it out, or give another value",
        )


def _without_label(config: TrainConfig) -> dict[str, Any]:
    """Returns all that makes a run what it is."""
    return {name: value for name, value in to_mapping(config).items() if name != "label"}


def options_by_name(config: TrainConfig) -> Mapping[str, Any]:
    """Returns all options of a run by dotted name."""
    return by_dotted_name(to_mapping(config))
