"""The report itself: tables of methods on scenes, what differs between them, and what is missing.

It is plain data, which `formats/`, `plots/` and `page/` show.
"""

from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace

from gs_densify.errors import ResultError
from gs_densify.report.differences import OptionDifference, differences_between
from gs_densify.report.marks import MarksTable, marks_tables
from gs_densify.report.methods import Method, differing_code, methods_of
from gs_densify.report.published import Published
from gs_densify.report.quantities import Quantity, quantities_of
from gs_densify.report.runs import Run, Unfinished
from gs_densify.report.statistics import Difference, Spread, paired, paired_by_name, spread
from gs_densify.results.protocol import protocol_differences

_SEVEN = ("bicycle", "bonsai", "counter", "garden", "kitchen", "room", "stump")
NAMED_MEANS: Mapping[str, frozenset[str]] = {
    "mean_7": frozenset(_SEVEN),
    "mean_9": frozenset((*_SEVEN, "flowers", "treehill")),
}
"""The two sets of Mip-NeRF 360 scenes that tables average over: 1.5 dB apart for one method."""

ALLOWANCES = ("protocols", "code", "data")
"""What may differ where it is said that it may: how runs were scored, the code of one method's
seeds, and what the photos and poses of one scene are."""


@dataclass(frozen=True, kw_only=True)
class Cell:
    """A quantity of a method on a scene, or over scenes."""

    spread: Spread
    rank: int | None = None
    """1 for the best of the table, 2 for the second; null for others, and for what is no score."""
    difference: Difference | None = None
    """From the baseline: over the views of a scene, or over scenes; null without one."""


@dataclass(frozen=True, kw_only=True)
class Row:
    """A method in a table."""

    label: str
    cells: dict[str, Cell]
    """By the name of the quantity."""
    seeds: list[int | None]
    published: Published | None = None
    """Where the numbers are others': whose, and how they were made."""


@dataclass(frozen=True, kw_only=True)
class Table:
    """A scene, or a mean over scenes."""

    name: str
    scenes: list[str]
    rows: list[Row]
    is_mean: bool = False


@dataclass(frozen=True, kw_only=True)
class Report:
    """Everything that a report shows."""

    protocols: list[str]
    """Names; one, unless mixing them was allowed."""
    quantities: list[Quantity]
    methods: list[Method]
    tables: list[Table]
    """The means first, then the scenes by name."""
    baseline: str | None
    differences: list[OptionDifference]
    notes: list[str]
    """What a reader has to know to call the comparison fair."""
    unfinished: list[Unfinished] = field(default_factory=list)
    marks: list[MarksTable] = field(default_factory=list)
    """By scene; empty where no marks were asked for."""

    @property
    def scenes(self) -> list[str]:
        """Returns the scenes, by name."""
        return [table.name for table in self.tables if not table.is_mean]


def make_report(
    runs: Sequence[Run],
    *,
    unfinished: Sequence[Unfinished] = (),
    metrics: Sequence[str] = (),
    baseline: str | None = None,
    mean: str | None = None,
    allow: Collection[str] = (),
    published: Sequence[Published] = (),
    rename: Sequence[str] = (),
    marks: Sequence[float] = (),
) -> Report:
    """Returns the report on runs.

    Args:
        runs: one for each method, scene and seed.
        unfinished: runs without results, which are listed.
        metrics: the columns, by name; all that were measured by default.
        baseline: label of the method from which differences are taken.
        mean: `mean_7` or `mean_9`, refused where one of its scenes is missing; by default, where
            the scenes are those of a named mean, it and those of fewer of them, else `mean`.
        allow: some of `ALLOWANCES`.
        published: rows of others, for the tables whose scenes they are of.
        rename: labels to show in place of those that are found, each as `FOUND=SHOWN`.
        marks: PSNRs; how long a method trains until it passes them is found.

    Raises:
        ResultError: where runs do not belong together; the text names them and what differs.
    """
    if not runs:
        raise ResultError(
            "no finished run to report on", action="wait for one, or name other folders"
        )
    notes = _check_alike(runs, allow)
    methods = methods_of(runs, allow=allow, rename=rename)
    base = _baseline(methods, baseline)
    quantities = quantities_of(runs, metrics)
    scenes = sorted({run.scene for run in runs})
    means = _means(methods, scenes, mean)
    tables = [
        *(_mean_table(name, of, methods, quantities, base) for name, of in means.items()),
        *(_scene_table(scene, methods, quantities, base) for scene in scenes),
    ]
    tables = [_with_published(_ranked(table, quantities), published) for table in tables]
    _check_published(published, tables)
    return Report(
        protocols=sorted({run.protocol.name for run in runs}),
        quantities=quantities,
        methods=methods,
        tables=tables,
        baseline=None if base is None else base.label,
        differences=differences_between(methods),
        notes=[*notes, *_notes(methods, scenes, means)],
        unfinished=list(unfinished),
        marks=marks_tables(methods, scenes, marks),
    )


def _check_alike(runs: Sequence[Run], allow: Collection[str]) -> list[str]:
    """Returns what was allowed to differ, and does; refuses what was not."""
    allowed: dict[str, None] = {}
    first_of: dict[str, Run] = {}
    with_data: dict[str, Run] = {}
    with_metric: dict[str, Run] = {}
    for run in runs:
        for other in _references(run, runs[0], first_of, with_metric):
            across = other.scene != run.scene
            differ = protocol_differences(other.protocol, run.protocol, across_scenes=across)
            if differ and "protocols" not in allow:
                raise ResultError(
                    f"{other.path} and {run.path} were not scored alike: {'; '.join(differ)}",
                    action="add --allow protocols, or score them with one gs-eval --protocol",
                )
            allowed |= dict.fromkeys(f"NOT SCORED ALIKE: {one}" for one in differ)
        if run.data is None:
            continue
        on_scene = with_data.setdefault(run.scene, run)
        what = _differing_data(on_scene, run)
        if what is not None and "data" not in allow:
            raise ResultError(
                f"{on_scene.path} and {run.path} are both of scene {run.scene}, but {what}",
                action="train on the same data, or add --allow data",
            )
        if what is not None:
            allowed[f"NOT THE SAME DATA: {run.scene}: {what}"] = None
    return list(allowed)


def _references(
    run: Run, first: Run, first_of: dict[str, Run], with_metric: dict[str, Run]
) -> list[Run]:
    """Returns the runs that one has to be scored like: the first, the first of its scene, and for
    each metric the first that has it, as others say nothing of how it is computed.
    """
    names = (*run.protocol.lpips, *run.protocol.metrics)
    found = [first, first_of.setdefault(run.scene, run)]
    found += [with_metric.setdefault(name, run) for name in names]
    return list({id(one): one for one in found if one is not run}.values())


def _differing_data(first: Run, other: Run) -> str | None:
    if first.data is None or other.data is None or first.data == other.data:
        return None
    parts = {"COLMAP model": "model", "photos": "photos"}
    differ = [
        words
        for words, name in parts.items()
        if getattr(first.data, name) != getattr(other.data, name)
    ]
    return f"the {' and the '.join(differ)} differ"


def _baseline(methods: Sequence[Method], label: str | None) -> Method | None:
    if label is None:
        return None
    for method in methods:
        if method.label == label:
            return method
    known = ", ".join(f"'{method.label}'" for method in methods)
    raise ResultError(f"is '{label}'", expected=f"the methods here: {known}", option="baseline")


def _means(
    methods: Sequence[Method], scenes: Sequence[str], wanted: str | None
) -> dict[str, list[str]]:
    """Returns the scenes of each mean that can be formed, or of the one that is wanted.

    A mean is over the scenes that all methods have, so that rows are comparable.
    """
    common = set(scenes).intersection(*(method.scenes for method in methods))
    if wanted is not None:
        missing = sorted(NAMED_MEANS[wanted] - common)
        if missing:
            raise ResultError(
                f"{wanted} needs {', '.join(missing)} of every method, too",
                action="add runs of them",
                option="mean",
            )
        return {wanted: sorted(NAMED_MEANS[wanted])}
    if common in NAMED_MEANS.values():
        return {name: sorted(each) for name, each in NAMED_MEANS.items() if each <= common}
    return {"mean": sorted(common)} if len(common) > 1 else {}


def _scene_table(
    scene: str, methods: Sequence[Method], quantities: Sequence[Quantity], base: Method | None
) -> Table:
    rows = []
    for method in methods:
        runs = method.on(scene)
        if not runs:
            continue
        other = [] if base is None or base is method else base.on(scene)
        cells = {
            one.name: Cell(
                spread=spread([one.value(run) for run in runs]),
                difference=_over_views(one, runs, other) if other and one.is_score else None,
            )
            for one in quantities
        }
        rows.append(Row(label=method.label, cells=cells, seeds=[run.seed for run in runs]))
    return Table(name=scene, scenes=[scene], rows=rows)


def _over_views(
    quantity: Quantity, method: Sequence[Run], base: Sequence[Run]
) -> Difference | None:
    return paired_by_name(view_means(quantity, method), view_means(quantity, base))


def view_means(quantity: Quantity, runs: Sequence[Run]) -> dict[str, float]:
    """Returns the mean over seeds of each view that all of them have a value for."""
    values: dict[str, list[float]] = {}
    for run in runs:
        for view in run.views:
            value = view.scores.get(quantity.name)
            if value is not None:
                values.setdefault(view.name, []).append(value)
    return {name: sum(v) / len(v) for name, v in values.items() if len(v) == len(runs)}


def _mean_table(
    name: str,
    scenes: list[str],
    methods: Sequence[Method],
    quantities: Sequence[Quantity],
    base: Method | None,
) -> Table:
    rows = []
    of_base = None if base is None else _of_mean(base, scenes)[1]
    for method in methods:
        seeds, by_scene = _of_mean(method, scenes)
        cells = {}
        for one in quantities:
            difference = None
            if of_base is not None and base is not method and one.is_score:
                difference = _over_scenes(one, by_scene, of_base)
            cells[one.name] = Cell(spread=_mean_spread(one, by_scene, seeds), difference=difference)
        rows.append(Row(label=method.label, cells=cells, seeds=seeds))
    return Table(name=name, scenes=scenes, rows=rows, is_mean=True)


def _of_mean(
    method: Method, scenes: Sequence[str]
) -> tuple[list[int | None], dict[str, list[Run]]]:
    """Returns the seeds that every scene has, and the runs of these; where there are none, all."""
    by_scene = {scene: method.on(scene) for scene in scenes}
    seeds = _common_seeds(by_scene.values())
    if not seeds:
        return seeds, by_scene
    return seeds, {s: [run for run in runs if run.seed in seeds] for s, runs in by_scene.items()}


def _common_seeds(scenes: Iterable[Sequence[Run]]) -> list[int | None]:
    """Returns the seeds that every scene has, in the order of the first."""
    first, *others = [[run.seed for run in runs] for runs in scenes]
    return [seed for seed in first if all(seed in seeds for seeds in others)]


def _mean_spread(
    quantity: Quantity, by_scene: Mapping[str, Sequence[Run]], seeds: Sequence[int | None]
) -> Spread:
    """Returns the mean over scenes for each seed that all have, over those seeds; where there is
    none, the mean over scenes of the means over each scene's seeds.
    """
    if seeds:
        return spread(
            [
                spread(
                    [
                        quantity.value(run)
                        for runs in by_scene.values()
                        for run in runs
                        if run.seed == seed
                    ]
                ).mean
                for seed in seeds
            ]
        )
    means = [spread([quantity.value(run) for run in runs]).mean for runs in by_scene.values()]
    return Spread(mean=spread(means).mean, std=None, n=1)


def _over_scenes(
    quantity: Quantity,
    method: Mapping[str, Sequence[Run]],
    base: Mapping[str, Sequence[Run]],
) -> Difference | None:
    pairs = [
        (
            spread([quantity.value(run) for run in method[scene]]).mean,
            spread([quantity.value(run) for run in base[scene]]).mean,
        )
        for scene in method
    ]
    known = [(a, b) for a, b in pairs if a is not None and b is not None]
    if len(known) < len(pairs):
        return None
    return paired([a for a, _ in known], [b for _, b in known])


def _ranked(table: Table, quantities: Sequence[Quantity]) -> Table:
    """Returns the table with its best and second best scores marked, best method first."""
    ranks = {one.name: _ranks(table.rows, one) for one in quantities if one.is_score}
    rows = [
        replace(
            row,
            cells={
                name: replace(cell, rank=ranks[name].get(row.label)) if name in ranks else cell
                for name, cell in row.cells.items()
            },
        )
        for row in table.rows
    ]
    first = next((one for one in quantities if one.is_score), None)
    if first is not None:
        rows.sort(key=lambda row: _key(row.cells[first.name], first))
    return replace(table, rows=rows)


def _key(cell: Cell, quantity: Quantity) -> tuple[bool, float]:
    mean = cell.spread.mean
    if mean is None:
        return True, 0.0
    return False, -mean if quantity.higher_is_better else mean


def _ranks(rows: Sequence[Row], quantity: Quantity) -> dict[str, int]:
    """Returns 1 and 2 for the methods with the best and second best value as tables write it."""
    values = {
        row.label: quantity.text(mean)
        for row in rows
        if (mean := row.cells[quantity.name].spread.mean) is not None
    }
    if len(values) < 2:
        return {}
    means = {row.label: row.cells[quantity.name].spread.mean or 0.0 for row in rows}
    ordered = sorted(values, key=lambda label: means[label], reverse=quantity.higher_is_better)
    places = list(dict.fromkeys(values[label] for label in ordered))[:2]
    return {label: places.index(text) + 1 for label, text in values.items() if text in places}


def _with_published(table: Table, published: Sequence[Published]) -> Table:
    """Returns the table with the rows of others that are of its scenes behind its own."""
    shown = {name for row in table.rows for name in row.cells}
    rows = []
    for one in published:
        values = one.values_for(table.name)
        cells = {
            name: Cell(spread=Spread(mean=value, std=None, n=1))
            for name, value in values.items()
            if name in shown
        }
        if cells:
            rows.append(Row(label=one.method, cells=cells, seeds=[], published=one))
    return replace(table, rows=[*table.rows, *rows])


def _check_published(published: Sequence[Published], tables: Sequence[Table]) -> None:
    """Refuses numbers of others of which none is of these scenes and quantities."""
    if published and not any(row.published for table in tables for row in table.rows):
        have = {name for one in published for name in one.scores}
        raise ResultError(
            f"names numbers of {', '.join(sorted(have))}, with none of our quantities",
            expected=f"the tables here are of {', '.join(table.name for table in tables)}",
            option="published",
        )


def _notes(
    methods: Sequence[Method], scenes: Sequence[str], means: Mapping[str, Sequence[str]]
) -> list[str]:
    notes: list[str] = []
    for name, of in means.items():
        if name == "mean":
            notes.append(f"mean: of {', '.join(of)}")
    for method in methods:
        missing = [scene for scene in scenes if scene not in method.scenes]
        if missing:
            notes.append(f"{method.label} lacks {', '.join(missing)}; means are of common scenes")
    seeds = {m.label: _listed_seeds(m) for m in methods}
    if len(set(seeds.values())) > 1:
        notes.append("seeds differ: " + "; ".join(f"{n}: {s}" for n, s in seeds.items()))
    notes += _seed_notes(methods, means)
    return [*notes, *_code_notes(methods), *_hardware_notes(methods), *_budget_notes(methods)]


def _seed_notes(methods: Sequence[Method], means: Mapping[str, Sequence[str]]) -> list[str]:
    """Returns which seeds a mean leaves out, as not all of its scenes have them."""
    notes: dict[str, None] = {}
    for scenes in means.values():
        for method in methods:
            runs = [method.on(scene) for scene in scenes]
            common = _common_seeds(runs)
            if any(len(one) > len(common) for one in runs):
                of = f"of seeds {', '.join(map(str, common))}" if common else "of unlike seeds"
                notes[f"{method.label}: not all scenes have the same seeds; its means are {of}"] = (
                    None
                )
    return list(notes)


def _listed_seeds(method: Method) -> str:
    return ", ".join(map(str, sorted({run.seed for run in method.runs if run.seed is not None})))


def _code_notes(methods: Sequence[Method]) -> list[str]:
    notes = []
    for method in methods:
        found = differing_code(method)
        if found is not None:
            notes.append(f"NOT THE SAME CODE: {method.label}: {found[2]}")
        notes += [
            f"{run.path} was resumed with other code than it began with"
            for run in method.runs
            if run.results is not None and run.results.resumed_with
        ]
    codes = {method.label: " and ".join(method.codes) for method in methods}
    if len(set(codes.values())) < 2:
        return [*notes, f"code: {next(iter(codes.values()))}"]
    listed = "; ".join(f"{label}: {code}" for label, code in codes.items())
    return [*notes, f"made by different code: {listed}"]


def _hardware_notes(methods: Sequence[Method]) -> list[str]:
    """Returns on what the runs were made: times of different machines are not comparable."""
    machines = Counter(_machine(run) for method in methods for run in method.runs)
    found = ", ".join(f"{name} ({count} runs)" for name, count in sorted(machines.items()))
    notes = [f"NOT ONE MACHINE, so times differ for that alone: {found}"]
    if len(machines) < 2:
        notes = [f"trained on {next(iter(machines))}"]
    together = {
        method.label: most
        for method in methods
        if (most := max(_runs_at_a_time(run) for run in method.runs)) > 1
    }
    if together:
        listed = ", ".join(f"{label}: {most}" for label, most in together.items())
        notes.append(f"NOT ALONE, so times say little: runs at a time on one device: {listed}")
    return notes


def _machine(run: Run) -> str:
    """Returns the name of what a run was trained on, with the number of GPUs above one."""
    gpus = 1 if run.results is None else run.results.config.get("gpus", 1)
    name = run.protocol.conditions.gpu or "the CPU"
    return name if gpus == 1 else f"{gpus} x {name}"


def _runs_at_a_time(run: Run) -> int:
    return 1 if run.results is None else run.results.hardware.runs_at_a_time


_OFF_BUDGET = 0.01


def _budget_notes(methods: Sequence[Method]) -> list[str]:
    """Returns which runs did not end with the number of Gaussians that was asked for."""
    notes = []
    for method in methods:
        for run in method.runs:
            budget = run.config.get("budget")
            if isinstance(budget, int) and abs(run.num_gaussians - budget) > _OFF_BUDGET * budget:
                notes.append(
                    f"{method.label} on {run.scene}, seed {run.seed}, ended with"
                    f" {run.num_gaussians:,} of {budget:,} Gaussians"
                )
    return notes
