"""Fills the tables of measured figures in README.md and docs/ from benchmarks/records.

    python docs/make_tables.py

What stands between `<!-- report RECORD... [--flags] -->` and `<!-- end of report -->` is what
`gs-report RECORD... --format markdown --flags` prints, RECORD being a folder or file of
benchmarks/records, and a line with links to the records. With `--no-notes` it is the tables alone.
What stands between `<!-- options FILE -->` and `<!-- end of options -->` has a row for each name in
the lines of benchmarks/records/lines/FILE: the mean over its seeds (and scenes, where lines name
theirs), and how far it is from the first row over those that both have; and a link to the file.
What stands between `<!-- scenes RECORD METHOD BASELINE -->` and `<!-- end of scenes -->` has a row
for each scene of a folder of benchmarks/records, and one of means over them: PSNR, SSIM and LPIPS,
means over seeds, of the two strategies at their full length, and how far apart the PSNR is.
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
_SCENES = re.compile(r"(<!-- scenes ([^>]*?) -->\n).*?(<!-- end of scenes -->)", re.DOTALL)
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


def scene_rows(record: str, method: str, baseline: str) -> str:
    """A row for each scene and one of their means."""
    groups: dict[str, dict[str, list[tuple[float, ...]]]] = defaultdict(lambda: defaultdict(list))
    for path in sorted((RECORDS / record).glob("*.run.json")):
        results = json.loads(path.read_text(encoding="utf-8"))["results"]
        if results["config"]["preset"] is None:
            scores = (results["scores"][name] for name in ("psnr", "ssim", "lpips_alex"))
            groups[results["config"]["scene"]][results["config"]["strategy"]["name"]].append(
                tuple(scores)
            )
    rows: dict[str, list[list[tuple[float, ...]]]] = {
        scene: [found[method], found[baseline]] for scene, found in groups.items()
    }
    means = [[_mean(side) for side in (row[i] for row in rows.values())] for i in (0, 1)]
    rows["mean"] = means
    head = f"| scene | `{method}` | seeds | `{baseline}` | seeds | difference |\n"
    head += "|---|---|---|---|---|---:|\n"
    return head + "".join(_scene_row(scene, *row) for scene, row in rows.items())


def _scene_row(scene: str, mine: list[tuple[float, ...]], other: list[tuple[float, ...]]) -> str:
    def cells(runs: list[tuple[float, ...]]) -> str:
        psnr, ssim, lpips = _mean(runs)
        return f"{psnr:.2f} / {ssim:.4f} / {lpips:.4f} | {'' if scene == 'mean' else len(runs)}"

    return (
        f"| {scene} | {cells(mine)} | {cells(other)} | {_mean(mine)[0] - _mean(other)[0]:+.2f} |\n"
    )


def _mean(rows: list[tuple[float, ...]]) -> tuple[float, ...]:
    return tuple(mean(column) for column in zip(*rows, strict=True))


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

    def scenes(match: re.Match[str]) -> str:
        record, method, baseline = match[2].split()
        table = scene_rows(record, method, baseline)
        return f"{match[1]}\n{table}\n{links([record], page)}{match[3]}"

    text = page.read_text(encoding="utf-8")
    for pattern, make in ((_REPORT, reports), (_OPTIONS, options), (_SCENES, scenes)):
        text = pattern.sub(make, text)
    return text


def main() -> None:
    """Fill every page."""
    for page in PAGES:
        page.write_text(filled(page), encoding="utf-8")


if __name__ == "__main__":
    main()
