"""Fills the tables of measured figures in README.md and docs/ from benchmarks/records.

    python docs/make_tables.py

What stands between `<!-- report RECORD... [--flags] -->` and `<!-- end of report -->` is what
`gs-report RECORD... --format markdown --flags` prints, RECORD being a folder or file of
benchmarks/records, and a line with links to the records. With `--no-notes` it is the tables alone.
What stands between `<!-- options FILE -->` and `<!-- end of options -->` has a row for each name in
the lines of benchmarks/records/lines/FILE: the mean over its seeds (and scenes, where lines name
theirs), and how far it is from the first row over those that both have; and a link to the file.
"""

import dataclasses
import json
import os
import re
import shlex
from collections import defaultdict
from pathlib import Path
from statistics import mean
from typing import Any

from gs_densify.cli.report import PROGRAM, ReportArguments, report_of
from gs_densify.flags.parse import parse
from gs_densify.report.formats import markdown

ROOT = Path(__file__).parents[1]
RECORDS = ROOT / "benchmarks" / "records"
LINES = RECORDS / "lines"
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
OPTIONS_HEAD = """\
| | seeds | PSNR | SSIM | LPIPS (alex) | Gaussians | training time |
|---|---|---|---|---|---|---|
"""
_OPTIONS = re.compile(r"(<!-- options ([^>]*?) -->\n).*?(<!-- end of options -->)", re.DOTALL)
_REPORT = re.compile(r"(<!-- report (.*?) -->\n).*?(<!-- end of report -->)", re.DOTALL)
_NO_NOTES = "--no-notes"


def report(flags: str, page: Path) -> str:
    """The tables and notes of gs-report, and where their records lie."""
    words = shlex.split(flags)
    given: ReportArguments = parse(
        ReportArguments, [word for word in words if word != _NO_NOTES], program=PROGRAM
    )
    found = report_of(dataclasses.replace(given, runs=tuple(RECORDS / run for run in given.runs)))
    text = markdown.tables_text(found) if _NO_NOTES in words else markdown.write(found)
    if len(found.tables) == 1 and not found.marks:
        text = text.split("\n\n", 1)[1]  # without the heading: the page says what it is
    return f"{text}\n{links([str(run) for run in given.runs], page)}"


def links(names: list[str], page: Path) -> str:
    """The line that leads from a page to records."""
    made = (f"[{name}]({os.path.relpath(RECORDS / name, page.parent)})" for name in names)
    return f"Records: {', '.join(made)}.\n"


def option_rows(file: str) -> str:
    """A row for each name: means over its seeds, and differences from the first row's of these."""
    groups: dict[str, list[dict[str, Any]]] = defaultdict(list)
    for line in (LINES / file).read_text(encoding="utf-8").splitlines():
        run = json.loads(line)
        if "failed" not in run:
            groups[run["name"]].append(run)
    base = next(iter(groups.values()))
    return "".join(
        f"| {' | '.join(_option_cells(n, runs, base))} |\n" for n, runs in groups.items()
    )


def _option_cells(name: str, runs: list[dict[str, Any]], base: list[dict[str, Any]]) -> list[str]:
    pairs = [(run, other) for run in runs for other in base if _place(run) == _place(other)]

    def cell(key: str, digits: int) -> str:
        if any(run[key] is None for run in [*runs, *base]):
            return "not measured"
        value = mean(run[key] for run in runs)
        if runs is base or not pairs:
            return f"{value:.{digits}f}"
        gain = mean(run[key] - other[key] for run, other in pairs)
        return f"{value:.{digits}f} ({gain:+.{digits}f})"

    return [
        f"`{name}`",
        ", ".join(dict.fromkeys(str(run["seed"]) for run in runs)),
        cell("psnr", 2),
        cell("ssim", 4),
        cell("lpips_alex", 4),
        f"{mean(run['num_gaussians'] for run in runs) / 1e6:.2f} M",
        f"{mean(run['train_seconds'] for run in runs):.1f} s",
    ]


def _place(run: dict[str, Any]) -> tuple[str | None, int]:
    """What two runs must share to be compared: the scene, where it is said, and the seed."""
    return run.get("scene"), run["seed"]


def filled(page: Path) -> str:
    """The text of a page with its tables made anew."""

    def options(match: re.Match[str]) -> str:
        file = match[2].strip()
        link = links([f"{LINES.name}/{file}"], page)
        return f"{match[1]}{OPTIONS_HEAD}{option_rows(file)}\n{link}{match[3]}"

    def reports(match: re.Match[str]) -> str:
        return f"{match[1]}\n{report(match[2], page)}{match[3]}"

    return _OPTIONS.sub(options, _REPORT.sub(reports, page.read_text(encoding="utf-8")))


def main() -> None:
    """Fill every page."""
    for page in PAGES:
        page.write_text(filled(page), encoding="utf-8")


if __name__ == "__main__":
    main()
