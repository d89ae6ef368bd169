"""Tables as text, Markdown, LaTeX, CSV and JSON."""

import csv
import io
import json
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from made_runs import made, report_on

from gs_densify.report.formats import FORMATS, written
from gs_densify.report.formats.csv import COLUMNS
from gs_densify.report.formats.grid import p_text
from gs_densify.report.formats.latex import escaped
from gs_densify.report.formats.markdown import write as markdown
from gs_densify.report.published import chosen
from gs_densify.report.report import Report
from gs_densify.results.protocol import MetricRecord

HOSTILE = r"*[3] a_b 5% c&d #1 $x$ {y} ~z ^2 \foo <t> | `q` é"


@pytest.fixture
def report(tmp_path: Path) -> Report:
    """Two methods on two scenes with three seeds each, one with a hostile name, and others'."""
    share = MetricRecord(label="Share_%", higher_is_better=False, computed="x", format=".1%")
    for scene in ("garden", "room"):
        for seed in (0, 1, 2):
            for label, more in (("base", 0.0), (HOSTILE, 1.0), ("third\nline", 0.001)):
                views = [20.123456789 + i + more * (1 + i / 9) + seed / 17 for i in range(4)]
                made(
                    tmp_path,
                    scene,
                    seed=seed,
                    label=label,
                    psnr=sum(views) / 4,
                    views=views,
                    scores={"share": 0.5 + seed / 100 + more / 10},
                    metrics={"share": share},
                    at=f"{scene}_{len(label)}_{seed}",
                )
    own = tmp_path / "own.yml"
    own.write_text(
        "x: {method: 'Th|eirs', source: 'a_b', protocol: p, scores: {mean: {psnr: 27.5}}}"
    )
    return report_on(tmp_path, baseline="base", published=chosen([str(own)]))


@pytest.mark.parametrize("name", FORMATS)
def test_every_format_ends_its_last_line_and_shows_every_method(name: str, report: Report) -> None:
    text = written(report, name)
    assert text.endswith("\n") and not text.endswith("\n\n")
    for number in ("21.68", "27.5"):
        assert number in text
    assert "third" in text and "Th" in text


def test_text_says_it_all(report: Report) -> None:
    lines = written(report, "text").splitlines()
    assert lines[0] == "mean of garden, room"
    assert lines[1].split()[:3] == ["method", "PSNR", "(dB)"]
    best = next(line for line in lines if line.startswith(HOSTILE))
    assert " ± 0.06 (+1.17" in best and "p < .001)*" in best
    (noise, *_) = [line for line in lines if line.startswith("third line")]
    assert "(+0.00, p < .001)+" in noise and "(+0.0000, p = 1.000)~*" in noise
    assert any(line.split()[:3] == ["Th|eirs", "[published]", "27.50"] for line in lines)
    assert any(line.startswith("* best, + second, ~ not told") for line in lines)
    assert any(line.startswith("differences are from base: paired") for line in lines)


def test_noise_is_marked(tmp_path: Path) -> None:
    made(tmp_path, views=[20.0, 21.0])
    made(tmp_path, strategy="b", views=[20.5, 20.9])
    report = report_on(tmp_path, baseline="adc")
    assert "20.70 (+0.20, p = .626)~*" in written(report, "text")
    assert "20.70 (+0.20, p = .626) ~" in written(report, "markdown")
    assert r"($\Delta$ +0.20\textasciitilde{})" in written(report, "latex")
    for name, said in (
        ("text", "* best, + second, ~ not told"),
        ("markdown", "- **bold**: best, <u>underlined</u>: second, ~: not told"),
        ("latex", "% bold: best, underlined: second, ~ behind a difference: not told"),
    ):
        assert f"\n{said} from no difference" in written(report, name)
        without = written(report_on(tmp_path), name)
        assert said.rsplit(",", 1)[0] in without and "not told" not in without


@pytest.mark.parametrize(
    ("p", "text"),
    [
        (None, ""),
        (0.0, "< .001"),
        (0.000999, "< .001"),
        (0.001, ".001"),
        (0.5, ".500"),
        (1, "1.000"),
    ],
)
def test_probabilities_have_digits_that_mean_something(p: float | None, text: str) -> None:
    assert p_text(p) == text


# Markdown


def cells_of(line: str) -> list[str]:
    """The cells of a line as GitHub's Markdown splits it: at bars without a backslash."""
    cells, cell, i = [], "", 0
    while i < len(line):
        if line[i] == "\\" and i + 1 < len(line):
            cell += line[i + 1]
            i += 2
            continue
        if line[i] == "|":
            cells.append(cell.strip())
            cell = ""
        else:
            cell += line[i]
        i += 1
    return [*cells, cell.strip()][1:-1]


def test_markdown_rows_have_a_cell_for_each_column(report: Report) -> None:
    tables = next(part for part in markdown(report).split("### ") if part).splitlines()
    rows = [cells_of(line) for line in tables if line.startswith("|")]
    assert {len(row) for row in rows} == {7}
    assert rows[0][:2] == ["method", "PSNR (dB)"] and "Share_%" in rows[0]
    names = [row[0] for row in rows[2:]]
    assert names == [HOSTILE, "third line", "base", "Th|eirs [published]"]
    assert rows[2][1].startswith("**") and rows[3][1].startswith("<u>")
    assert [row[-1] for row in rows[2:]] == ["3", "3", "3", "-"]


@given(label=st.text(st.characters(codec="ascii", exclude_categories=["Cc"]), min_size=1))
def test_any_label_is_one_cell(label: str) -> None:
    from gs_densify.report.formats.markdown import _escaped, _line

    assert cells_of(_line([_escaped(label), "1"])) == [label.strip(), "1"]


# LaTeX


@pytest.mark.parametrize(
    ("character", "expected"),
    [
        *((one, f"\\{one}") for one in "&%$#_{}"),
        ("\\", r"\textbackslash{}"),
        ("~", r"\textasciitilde{}"),
        ("^", r"\textasciicircum{}"),
        ("[", "{[}"),
        ("*", "{*}"),
    ],
)
def test_latex_prints_characters_as_they_are(character: str, expected: str) -> None:
    assert escaped(f"a{character}b") == f"a{expected}b"


def test_latex_rows_are_whole(report: Report) -> None:
    """What the compiler sees, without one: columns, ends of lines, no bare special character."""
    text = written(report, "latex")
    assert text.startswith("% needs \\usepackage{booktabs}\n\\begin{table}")
    lines = [line for line in text.splitlines() if not line.startswith("%")]
    for line in lines:
        plain = line.replace(r"\textbackslash{}", "").replace(r"\\", "")
        for special in "%#":
            assert plain.count(special) == plain.count(f"\\{special}"), line
        assert plain.count("{") - plain.count("\\{") == plain.count("}") - plain.count("\\}"), line
        if line.endswith(r"\\"):
            assert line.replace(r"\&", "").count("&") == 5
            assert not line.startswith(("[", "*")), "an argument of the line's end before"
    assert sum(line.endswith(r"\\") for line in lines) == 3 * 4 + 1
    assert any(r"\textbf{22.85} $\pm$ 0.06 ($\Delta$ +1.17)" in line for line in lines)
    assert any(r"\underline{" in line for line in lines)
    assert any(r"\textbf{51.0\%} $\pm$ 1.0\%" in line for line in lines)


def test_latex_compiles(report: Report, tmp_path: Path) -> None:
    compiler = shutil.which("pdflatex") or shutil.which("tectonic")
    if compiler is None:
        pytest.skip("neither pdflatex nor tectonic is installed")
    head = "\\documentclass{article}\\usepackage{booktabs}\\usepackage[utf8]{inputenc}"
    body = f"\\begin{{document}}\n{written(report, 'latex')}\\end{{document}}\n"
    (tmp_path / "x.tex").write_text(f"{head}{body}", encoding="utf-8")
    flags = ["-interaction=nonstopmode", "-halt-on-error"] if "pdflatex" in compiler else []
    done = subprocess.run([compiler, *flags, "x.tex"], cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0 and (tmp_path / "x.pdf").stat().st_size > 1000, done.stdout[-2000:]


# CSV and JSON


def every_cell(report: Report) -> list[tuple[Any, ...]]:
    return [
        (table, row, one, cell)
        for table in report.tables
        for row in table.rows
        for one in report.quantities
        if (cell := row.cells.get(one.name)) is not None and cell.spread.mean is not None
    ]


def number(text: str) -> float | None:
    return float(text) if text else None


def test_csv_reads_back_with_every_digit(report: Report) -> None:
    read = list(csv.DictReader(io.StringIO(written(report, "csv"))))
    expected = every_cell(report)
    assert len(read) == len(expected) > 30 and tuple(read[0]) == COLUMNS
    for line, (table, row, one, cell) in zip(read, expected, strict=True):
        assert (line["table"], line["method"], line["quantity"]) == (
            table.name,
            row.label,
            one.name,
        )
        assert (number(line["mean"]), number(line["std"])) == (cell.spread.mean, cell.spread.std)
        assert number(line["seeds"]) == (len(row.seeds) or None)
        assert number(line["rank"]) == cell.rank
        d = cell.difference
        found = [number(line[name]) for name in ("difference", "low", "high", "p", "pairs")]
        assert found == ([None] * 5 if d is None else [d.mean, d.low, d.high, d.p, d.n])
        assert line["baseline"] == ("" if d is None else "base")
        assert line["published"] == ("" if row.published is None else "a_b")
        assert line["unit"] == one.unit
    assert any(line["p"] for line in read) and any(line["published"] for line in read)


def test_json_reads_back_with_every_digit(report: Report) -> None:
    read = json.loads(written(report, "json"))
    assert [one["label"] for one in read["methods"]] == [one.label for one in report.methods]
    assert read["baseline"] == "base" and read["notes"] == report.notes
    assert [one["name"] for one in read["quantities"]] == [one.name for one in report.quantities]
    rows = {(t["name"], r["label"]): r for t in read["tables"] for r in t["rows"]}
    for table, row, one, cell in every_cell(report):
        found = rows[table.name, row.label]["cells"][one.name]
        assert found["spread"]["mean"] == cell.spread.mean
        assert found["spread"]["std"] == cell.spread.std
        assert found["rank"] == cell.rank
        if cell.difference is not None:
            assert found["difference"]["p"] == cell.difference.p
    (run, *_) = read["methods"][0]["runs"]
    assert set(run) == {"path", "scene", "seed", "code"} and run["code"] == "c1"
