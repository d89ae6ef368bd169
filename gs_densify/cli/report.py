"""gs-report: tables, plots and a page from result files."""

import dataclasses
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import tyro

from gs_densify.cli.app import run_command
from gs_densify.cli.new_files import check_new
from gs_densify.errors import ConfigError
from gs_densify.flags.parse import parse
from gs_densify.report.plots import check_matplotlib

if TYPE_CHECKING:
    from gs_densify.report.report import Report
    from gs_densify.report.runs import Run

PROGRAM = "gs-report"


@dataclasses.dataclass(frozen=True, kw_only=True)
class ReportArguments:
    """Compare methods over scenes and seeds, from the result files of their runs."""

    runs: Annotated[tuple[Path, ...], tyro.conf.Positional]
    """Folders of runs, of evaluations and studies, records (*.run.json), or folders in which they
    lie."""
    format: Literal["text", "markdown", "latex", "csv", "json"] = "text"
    """Of the tables on standard output."""
    metrics: tuple[str, ...] = ()
    """Metrics to show, by name: psnr, ssim, lpips_alex, ... (default: all that were measured, but
    for psnr_float). What models cost stands beside them."""
    baseline: str | None = None
    """Method, by its label, from which differences are taken, with a paired test over views and
    over scenes."""
    mean: Literal["mean_7", "mean_9"] | None = None
    """Insist on this mean: 7 or all 9 Mip-NeRF 360 scenes."""
    published: tuple[str, ...] = ()
    """Numbers of others to stand below ours, marked as such: names, all, or YAML files."""
    allow: tuple[Literal["protocols", "code", "data"], ...] = ()
    """What may differ between runs that are compared: how they were scored, the code that made the
    seeds of a method, or the photos and poses of a scene. Without it such runs are refused."""
    strategies: tuple[str, ...] = ()
    """Report on these methods only, by strategy or by the --label of their runs."""
    scenes: tuple[str, ...] = ()
    """Report on these scenes only."""
    rename: tuple[str, ...] = ()
    """Show methods under other labels: 'LABEL=NEW' for each."""
    marks: tuple[float, ...] = ()
    """PSNRs; a table says how many seconds of training a method first passed each of them after,
    at an evaluation."""
    html: Path | None = None
    """Write one HTML page with tables, plots and held-out views into this file."""
    plots: Path | None = None
    """Write plots as PNG and SVG into this folder (pip install 'gs-densify[report]')."""
    record: Path | None = None
    """Write the runs as compact records into this folder: a file each."""


def command(argv: Sequence[str]) -> None:
    """Reads the runs, prints tables, and writes what else is asked for."""
    from gs_densify.report.formats import written

    arguments: ReportArguments = parse(ReportArguments, argv, program=PROGRAM)
    if not arguments.runs:
        raise ConfigError(
            "no folder given", action="name folders of runs or of a study, before options"
        )
    check_new({"html": arguments.html}, {"plots": arguments.plots, "record": arguments.record})
    _check_packages(arguments)
    report = report_of(arguments)
    sys.stdout.write(written(report, arguments.format))
    _write_files(report, arguments)


def report_of(arguments: ReportArguments) -> "Report":
    """Returns the report that is asked for.

    Raises:
        GsDensifyError: where runs do not belong together, or an option names what there is not.
    """
    from gs_densify.report.published import chosen
    from gs_densify.report.report import make_report
    from gs_densify.report.runs import find_runs

    found = find_runs(arguments.runs)
    return make_report(
        _chosen(found.runs, arguments),
        unfinished=found.unfinished,
        metrics=arguments.metrics,
        baseline=arguments.baseline,
        mean=arguments.mean,
        allow=arguments.allow,
        published=chosen(arguments.published),
        rename=arguments.rename,
        marks=arguments.marks,
    )


def _chosen(runs: "Sequence[Run]", arguments: ReportArguments) -> "list[Run]":
    """Returns the runs of the scenes and methods that were asked for."""
    scenes = {run.scene for run in runs}
    names = {name for run in runs for name in (run.strategy, run.label) if name is not None}
    for option, wanted, known in (
        ("scenes", arguments.scenes, scenes),
        ("strategies", arguments.strategies, names),
    ):
        for name in wanted:
            if name not in known:
                listed = ", ".join(sorted(known)) or "none"
                raise ConfigError(f"has '{name}'", expected=f"found: {listed}", option=option)
    return [
        run
        for run in runs
        if (not arguments.scenes or run.scene in arguments.scenes)
        and (not arguments.strategies or {run.strategy, run.label} & {*arguments.strategies})
    ]


def _check_packages(arguments: ReportArguments) -> None:
    """Refuses plots, and the page with them, where nothing can draw them."""
    for option in ("html", "plots"):
        if getattr(arguments, option) is not None:
            check_matplotlib(option)


def _write_files(report: "Report", arguments: ReportArguments) -> None:
    if arguments.html is not None or arguments.plots is not None:
        _write_pictures(report, arguments)
    if arguments.record is not None:
        from gs_densify.report.record import save_records

        written = save_records(arguments.record, report, arguments.runs)
        print(f"records: {len(written)} in {arguments.record}", file=sys.stderr)


def _write_pictures(report: "Report", arguments: ReportArguments) -> None:
    from gs_densify.report.plots import plots_of, save_plots

    plots, left_out = plots_of(report)
    for one in left_out:
        print(f"left out: {one.title}: {one.reason}", file=sys.stderr)
    if arguments.plots is not None:
        save_plots(arguments.plots, plots)
        print(f"plots: {len(plots)} in {arguments.plots}, as PNG and SVG each", file=sys.stderr)
    if arguments.html is not None:
        from gs_densify.report.page import save_page

        save_page(arguments.html, report, plots)
        megabytes = arguments.html.stat().st_size / 1e6
        print(f"page: {arguments.html}, {megabytes:.1f} MB", file=sys.stderr)


def main() -> None:
    """Runs gs-report."""
    run_command(PROGRAM, command)


if __name__ == "__main__":
    main()
