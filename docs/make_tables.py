"""Fills the tables of measured figures in README.md and docs/ from the records of runs.

    python docs/make_tables.py

A table stands between `<!-- records A B@STEP ... -->` and `<!-- end of records -->`: a row for each
named record of benchmarks/records, of its last evaluation or of the one at STEP. One between
`<!-- options FILE -->` and `<!-- end of options -->` has a row for each name in the lines of FILE,
which benchmarks/strategies.py has written: the mean over its seeds, and how far it is from the
first row over the seeds that both have.
"""

import json
import os
import re
from collections import defaultdict
from pathlib import Path
from statistics import mean
from typing import Any

from gs_densify.results import Results, load_results
from gs_densify.results.protocol import GSPLAT_NEAR_PLANE

ROOT = Path(__file__).parents[1]
RECORDS = ROOT / "benchmarks" / "records"
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
HEAD = """\
| strategy | steps | PSNR | SSIM | LPIPS (alex) | Gaussians | training time |
|---|---|---|---|---|---|---|
"""
OPTIONS_HEAD = """\
| | seeds | PSNR | SSIM | LPIPS (alex) | Gaussians | training time |
|---|---|---|---|---|---|---|
"""
_OPTIONS = re.compile(r"(<!-- options ([^>]*?) -->\n).*?(<!-- end of options -->)", re.DOTALL)
_TABLE = re.compile(r"(<!-- records ([^>]*?) -->\n).*?(<!-- end of records -->)", re.DOTALL)


def row(entry: str, page: Path) -> str:
    """The row of `NAME` or `NAME@STEP`, linked to its record."""
    name, _, step = entry.partition("@")
    results = load_results(RECORDS / name / "results.json")
    folder = os.path.relpath(RECORDS / name, page.parent)
    wanted = int(step or results.steps)
    record = next(one for one in results.evaluations if one.step == wanted)
    scores = record.scores
    cells = [
        f"[{_label(results)}]({folder})" + _of_more(results, record.step),
        f"{record.step:,}",
        _cell(scores["psnr"], "{:.2f}"),
        _cell(scores["ssim"], "{:.4f}").lstrip("0"),
        _cell(scores["lpips_alex"], "{:.4f}").lstrip("0"),
        f"{record.num_gaussians / 1e6:.2f} M",
        f"{record.train_seconds:.1f} s",
    ]
    return f"| {' | '.join(cells)} |\n"


def _label(results: Results) -> str:
    preset = results.config.get("preset")
    label = f"`{results.strategy.name}`" + (f" `--preset {preset}`" if preset else "")
    near_plane = results.protocol.conditions.near_plane
    parts = [
        label,
        *([] if results.seed == 42 else [f"seed {results.seed}"]),
        *(["near plane .01"] if near_plane == GSPLAT_NEAR_PLANE else []),
    ]
    return ", ".join(parts)


def _of_more(results: Results, step: int) -> str:
    return "" if step == results.steps else f" (of {results.steps:,})"


def _cell(value: float | None, form: str) -> str:
    return "not measured" if value is None else form.format(value)


def option_rows(file: str) -> str:
    """A row for each name: means over its seeds, and differences from the first row's of these."""
    groups: dict[str, list[dict[str, Any]]] = defaultdict(list)
    for line in (RECORDS / file).read_text(encoding="utf-8").splitlines():
        run = json.loads(line)
        if "failed" not in run:
            groups[run["name"]].append(run)
    base = next(iter(groups.values()))
    return "".join(
        f"| {' | '.join(_option_cells(n, runs, base))} |\n" for n, runs in groups.items()
    )


def _option_cells(name: str, runs: list[dict[str, Any]], base: list[dict[str, Any]]) -> list[str]:
    pairs = [(run, other) for run in runs for other in base if run["seed"] == other["seed"]]

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
        ", ".join(str(run["seed"]) for run in runs),
        cell("psnr", 2),
        cell("ssim", 4),
        cell("lpips_alex", 4),
        f"{mean(run['num_gaussians'] for run in runs) / 1e6:.2f} M",
        f"{mean(run['train_seconds'] for run in runs):.1f} s",
    ]


def filled(page: Path) -> str:
    """The text of a page with its tables made anew."""

    def options(match: re.Match[str]) -> str:
        return match[1] + OPTIONS_HEAD + option_rows(match[2].strip()) + match[3]

    def table(match: re.Match[str]) -> str:
        return match[1] + HEAD + "".join(row(entry, page) for entry in match[2].split()) + match[3]

    return _OPTIONS.sub(options, _TABLE.sub(table, page.read_text(encoding="utf-8")))


def main() -> None:
    """Fill every page."""
    for page in PAGES:
        page.write_text(filled(page), encoding="utf-8")


if __name__ == "__main__":
    main()
