"""The same report as text, Markdown, LaTeX, CSV and JSON; numbers of others in it."""

import csv
import io
import json
import re
import shutil
import subprocess
from pathlib import Path

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st
from report_example import made

from gs_densify.errors import ResultError
from gs_densify.report.formats import FORMATS, written
from gs_densify.report.formats.latex import escaped
from gs_densify.report.published import chosen, known
from gs_densify.report.report import NAMED_MEANS, Report, make_report

AWKWARD = r"50% of a|b_c & d^2 #1 ~{x}$ <y> *z* \n ±"
MINE = {
    "mine": {
        "method": "Some_body's | method",
        "source": "its table",
        "protocol": "theirs",
        "scores": {"garden": {"psnr": 99.5}, "mean_9": {"psnr": 20, "ssim": 0.5}},
    }
}


@pytest.fixture
def report(tmp_path: Path) -> Report:
    path = tmp_path / "mine.yml"
    path.write_text(yaml.safe_dump(MINE))
    runs = [
        made(
            tmp_path,
            label=label,
            scene=scene,
            seed=seed,
            views={"a": 26.0 + seed / 10 + gain, "b": 27.0 - gain, "c": 28.0 + 2 * gain},
            passed={4.0: 25.0, 9.0: 27.0},
        )
        for label, gain in ((AWKWARD, 0.5), ("plain", 0.0))
        for scene in ("garden", "room")
        for seed in (0, 1)
    ]
    mine = chosen([str(path)])
    return make_report(runs, baseline="plain", published=mine, marks=[25, 26.5, 40])


def test_csv_has_every_value_with_all_digits(report: Report) -> None:
    lines = list(csv.DictReader(io.StringIO(written(report, "csv"))))
    keys = [(one["table"], one["method"], one["quantity"]) for one in lines]
    assert len(set(keys)) == len(keys)
    values = dict(zip(keys, lines, strict=True))
    for table in report.tables:
        for row in table.rows:
            for name, cell in row.cells.items():
                if cell.spread.mean is None or row.published:
                    continue
                one = values[table.name, row.label, name]
                assert float(one["mean"]) == cell.spread.mean
                assert float(one["std"]) == cell.spread.std
                assert one["seeds"] == "2"
                assert one["rank"] == ("" if cell.rank is None else str(cell.rank))
                if cell.difference is None:
                    assert one["difference"] == one["p"] == one["baseline"] == ""
                else:
                    assert float(one["difference"]) == cell.difference.mean
                    assert (float(one["p"]), one["baseline"]) == (cell.difference.p, "plain")
    assert values["garden", AWKWARD, "seconds_to_psnr_26.5"]["mean"] == "9.0"
    assert ("garden", AWKWARD, "seconds_to_psnr_40") not in values
    assert values["garden", "Some_body's | method", "psnr"]["published"] == "its table"


def test_json_is_the_whole_report(report: Report) -> None:
    found = json.loads(written(report, "json"))
    assert [table["name"] for table in found["tables"]] == ["mean", "garden", "room"]
    assert {m["label"] for m in found["methods"]} == {AWKWARD, "plain"}
    assert len(found["methods"][0]["runs"]) == 4
    (row,) = (one for one in found["marks"][0]["rows"] if one["label"] == "plain")
    assert [one["mean"] for one in row["seconds"]] == [4.0, 9.0, None]
    assert found["baseline"] == "plain"


def test_markdown_rows_have_as_many_cells_as_their_header(report: Report) -> None:
    text = written(report, "markdown")
    tables = re.findall(r"(?:^\|.*\|\n)+", text, re.MULTILINE)
    assert len(tables) == 3 + 2
    for table in tables:
        counts = {len(re.findall(r"(?<!\\)\|", line)) for line in table.splitlines()}
        assert len(counts) == 1, table
    assert r"a\|b\_c" in text and r"\*z\*" in text and r"\<y>" in text
    assert r"Some\_body's \| method [published]" in text
    assert "| 4.0 ± 0.0 | 9.0 ± 0.0 | - | 2 |" in text


def test_text_marks_the_best_and_what_is_noise(report: Report) -> None:
    text = written(report, "text")
    garden = text.split("\n\n")[1].splitlines()
    assert garden[0] == "garden"
    cells = [re.split(r"  +", line.strip()) for line in garden[2:]]
    best, second, others = ({"method": one[0], "psnr": one[1]} for one in cells)
    assert best["method"] == AWKWARD and best["psnr"].endswith("*")
    assert re.match(r"27\.35 ± 0\.02 \(\+0\.33, p = \.\d{3}\)~\*", best["psnr"])
    assert second["method"] == "plain" and second["psnr"].endswith("+")
    assert others == {"method": "Some_body's | method [published]", "psnr": "99.50"}
    assert "Some_body's | method, published: its table; theirs" in text
    assert "mean: of garden, room" in text


def test_latex_escapes_what_would_be_a_command(report: Report) -> None:
    text = written(report, "latex")
    assert r"50\% of a\textbar{}b\_c \& d\textasciicircum{}2 \#1 \textasciitilde{}\{x\}\$" in text
    bodies = re.findall(r"\\midrule\n(.*?)\\bottomrule", text, re.DOTALL)
    assert len(bodies) == 3 + 2
    for body in bodies:
        assert len({len(re.findall(r"(?<!\\)&", line)) for line in body.splitlines()}) == 1
    assert all(line.startswith("%") for line in text.split(r"\end{table}")[-1].strip().splitlines())


@given(st.text(alphabet=r"ab \&%$#_{}~^<>|±", max_size=20))
def test_escaped_text_has_no_bare_special_character(text: str) -> None:
    rest = re.sub(r"\\text[a-z]+\{\}|\$\\pm\$|\\[&%$#_{}]", "", escaped(text))
    assert not set(rest) & set(r"\&%$#_{}~^<>|±")
    plain = re.sub(r"\\text[a-z]+\{\}|\$\\pm\$|\\[&%$#_{}]", "x", escaped(text))
    assert len(plain) == len(text)


def test_latex_compiles(report: Report, tmp_path: Path) -> None:
    program = shutil.which("pdflatex") or shutil.which("tectonic")
    if program is None:
        pytest.skip("neither pdflatex nor tectonic is installed")
    begin = "\\documentclass{article}\n\\usepackage{booktabs}\n\\begin{document}\n"
    (tmp_path / "t.tex").write_text(f"{begin}{written(report, 'latex')}\\end{{document}}\n")
    flags = ["-interaction=nonstopmode", "-halt-on-error"] if "pdflatex" in program else []
    done = subprocess.run([program, *flags, "t.tex"], cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout


@pytest.mark.parametrize("name", FORMATS)
def test_every_format_names_each_method_and_ends_its_last_line(name: str, report: Report) -> None:
    text = written(report, name)
    assert text.endswith("\n") and not text.endswith("\n\n")
    assert "plain" in text and "seconds" in text


def test_published_numbers_stand_below_ours_and_are_not_ranked(tmp_path: Path) -> None:
    runs = [made(tmp_path, scene=scene) for scene in sorted(NAMED_MEANS["mean_9"])]
    runs += [made(tmp_path, scene=run.scene, strategy="mcmc") for run in runs]
    report = make_report(runs, published=chosen(["3dgs", "gsplat-default"]))
    tables = {table.name: table for table in report.tables}
    assert [row.label for row in tables["mean_9"].rows][2:] == ["3DGS"]
    assert [row.label for row in tables["mean_7"].rows][2:] == ["gsplat, default"]
    assert len(tables["garden"].rows) == 2
    row = tables["mean_9"].rows[-1]
    assert row.cells["psnr"].spread.mean == 27.21 and row.cells["psnr"].rank is None
    assert row.published is not None and "2308.04079" in row.published.source


def test_every_published_entry_says_whose_it_is_and_of_which_scenes() -> None:
    scenes = {"mean_7", "mean_9", *NAMED_MEANS["mean_9"]}
    assert len(chosen(["all"])) == len(known()) >= 10
    for name, entry in known().items():
        assert entry.source and entry.protocol, name
        assert set(entry.scores) <= scenes, name
        for values in entry.scores.values():
            assert 20 < values["psnr"] < 35, name
            assert 0 < values["ssim"] < 1, name


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("- a", "holds no entries"),
        ("a: {method: x}", "a: is incomplete; it needs method, source, protocol and scores"),
        ("a: {method: x, source: y, protocol: z, scores: {}, more: 1}", "is incomplete"),
        ("a: {method: x, source: 1, protocol: z, scores: {}}", "is incomplete"),
        ("a: {method: x, source: y, protocol: z, scores: {garden: {psnr: true}}}", "no numbers"),
        ("a: {method: x, source: y, protocol: z, scores: [1]}", "scores are no numbers"),
        ("a: [", "cannot be read"),
    ],
)
def test_a_file_of_published_numbers_is_checked(text: str, message: str, tmp_path: Path) -> None:
    path = tmp_path / "p.yml"
    path.write_text(text)
    with pytest.raises(ResultError) as caught:
        chosen([str(path)])
    assert message in str(caught.value) and "\n" not in str(caught.value)
    with pytest.raises(ResultError, match="cannot be read"):
        chosen([str(tmp_path / "missing.yml")])
