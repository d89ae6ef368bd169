"""Fills the tables of measured figures in README.md and docs/ from the records of runs.

    python docs/make_tables.py

A table stands between `<!-- records A B ... -->` and `<!-- end of records -->`: a row for each
evaluation that the named records of benchmarks/records have stored.
"""

import os
import re
from pathlib import Path

from gs_densify.results import Results, load_results

ROOT = Path(__file__).parents[1]
RECORDS = ROOT / "benchmarks" / "records"
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
HEAD = """\
| strategy | steps | PSNR | SSIM | LPIPS (alex) | Gaussians | training time |
|---|---|---|---|---|---|---|
"""
_TABLE = re.compile(r"(<!-- records ([^>]*?) -->\n).*?(<!-- end of records -->)", re.DOTALL)


def rows(name: str, page: Path) -> str:
    """A row for each evaluation of a record; the first links to it."""
    results = load_results(RECORDS / name / "results.json")
    folder = os.path.relpath(RECORDS / name, page.parent)
    lines = []
    for record in results.evaluations:
        scores = record.scores
        cells = [
            f"[`{results.strategy.name}`]({folder})" + _of_more(results, record.step),
            f"{record.step:,}",
            _cell(scores.psnr, "{:.2f}"),
            _cell(scores.ssim, "{:.4f}").lstrip("0"),
            _cell(scores.lpips_alex, "{:.4f}").lstrip("0"),
            f"{record.num_gaussians / 1e6:.2f} M",
            f"{record.train_seconds:.1f} s",
        ]
        lines.append(f"| {' | '.join(cells)} |\n")
    return "".join(lines)


def _of_more(results: Results, step: int) -> str:
    return "" if step == results.steps else f" (of {results.steps:,})"


def _cell(value: float | None, form: str) -> str:
    return "not measured" if value is None else form.format(value)


def filled(page: Path) -> str:
    """The text of a page with its tables made anew."""

    def table(match: re.Match[str]) -> str:
        return match[1] + HEAD + "".join(rows(name, page) for name in match[2].split()) + match[3]

    return _TABLE.sub(table, page.read_text(encoding="utf-8"))


def main() -> None:
    """Fill every page."""
    for page in PAGES:
        page.write_text(filled(page), encoding="utf-8")


if __name__ == "__main__":
    main()
