"""Plots: what is drawn, what is left out, and that files are the same each time."""

import json
import sys
import xml.etree.ElementTree as ElementTree
from collections.abc import Callable
from pathlib import Path

import pytest
from commands import refusal, run, start
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from gs_densify.report.plots import plots_of
from gs_densify.report.plots.draw import as_file, for_page, short
from gs_densify.report.plots.plot import COLORS, MARKERS, looks_of, plain_text
from gs_densify.report.plots.scores_against_costs import front
from gs_densify.report.plots.time_lines import mean_line, running_mean
from gs_densify.report.plots.views import worst_first
from gs_densify.report.report import make_report
from gs_densify.report.runs import find_runs

_SVG = "{http://www.w3.org/2000/svg}"

_EXPECTED = {
    *(f"tiny_{m}_over_{c}" for m in ("psnr", "ssim") for c in ("num_gaussians", "train_seconds")),
    *(
        f"tiny_{q}_over_{x}"
        for q in ("num_gaussians", "loss", "psnr")
        for x in ("steps", "seconds")
    ),
    "tiny_psnr_of_views",
}


def test_the_command_writes_every_plot_twice_and_the_same_again(
    two_runs: tuple[Path, Path], tmp_path: Path
) -> None:
    done = run("gs-report", *two_runs, "--plots", "plots", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    files = {path.name: path.read_bytes() for path in (tmp_path / "plots").iterdir()}
    assert set(files) == {f"{name}.{kind}" for name in _EXPECTED for kind in ("png", "svg")}
    for plot in plots_of(make_report(find_runs(two_runs).runs))[0]:
        assert files[f"{plot.name}.svg"] == as_file(plot, "svg")
    for name, content in files.items():
        if name.endswith(".svg"):
            assert ElementTree.fromstring(content).tag == f"{_SVG}svg"
        else:
            with Image.open(tmp_path / "plots" / name) as picture:
                assert round(picture.info["dpi"][0]) == 150
                assert len(picture.convert("RGB").getcolors(1 << 16) or []) > 20


def test_one_evaluation_makes_no_psnr_over_time_and_the_command_says_so(
    two_runs: tuple[Path, Path], edited: Callable[..., Path], tmp_path: Path
) -> None:
    def once(results: dict) -> None:
        results["evaluations"] = results["evaluations"][-1:]

    short_run = edited(two_runs[0], "once", results=once)
    log = short_run / "metrics.jsonl"
    rows = [json.loads(line) | {"psnr": None} for line in log.open()]
    log.write_text("".join(f"{json.dumps(row)}\n" for row in rows))
    done = run("gs-report", short_run, "--plots", "plots", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    left_out = [line for line in done.stderr.splitlines() if line.startswith("left out: ")]
    assert left_out == [
        "left out: tiny: PSNR over steps and seconds: no run was evaluated more than once"
    ]
    names = {path.stem for path in (tmp_path / "plots").iterdir()}
    assert names == {name for name in _EXPECTED if not name.startswith("tiny_psnr_over_s")}


@pytest.mark.parametrize("option", ["--plots", "--html"])
def test_without_matplotlib_nothing_is_written(
    two_runs: tuple[Path, Path], tmp_path: Path, option: str
) -> None:
    (tmp_path / "none").mkdir()
    (tmp_path / "none/matplotlib.py").write_text("raise ImportError('not here')")
    path = f"{tmp_path / 'none'}:{':'.join(p for p in sys.path if p)}"
    done = start(  # an interpreter of its own, in which matplotlib is not loaded yet
        "gs-report", *two_runs, option, "new", "--record", "rec", cwd=tmp_path, PYTHONPATH=path
    )
    assert "pip install 'gs-densify[report]'" in refusal(done)
    assert option in refusal(done)
    assert done.stdout == ""
    assert [path.name for path in tmp_path.iterdir()] == ["none"]


def test_labels_are_text_in_every_picture(
    two_runs: tuple[Path, Path], edited: Callable[..., Path]
) -> None:
    label = '_a $x$ <b> & "\n\x00'

    def named(results: dict) -> None:
        results["config"]["label"] = label

    copy = edited(two_runs[0], "named", results=named)
    report = make_report(find_runs([copy, two_runs[1]]).runs)
    plot = next(plot for plot in plots_of(report)[0] if plot.name == "tiny_psnr_of_views")
    assert plot.looks[0].label == plain_text(label) == '_a $x$ <b> & "\ufffd\ufffd'
    ElementTree.fromstring(as_file(plot, "svg"))
    assert as_file(plot, "png")[:4] == b"\x89PNG"


def test_a_picture_of_a_page_has_colours_and_names_of_its_own(two_runs: tuple[Path, Path]) -> None:
    plots, _ = plots_of(make_report(find_runs(two_runs).runs))
    ids: list[str] = []
    for i, plot in enumerate(plots):
        text = for_page(plot, f"p{i}")
        tree = ElementTree.fromstring(text)
        own = {e.get("id") for e in tree.iter() if e.get("id")}
        ids += own
        used = {
            value.split("#")[1].rstrip(")")
            for element in tree.iter()
            for value in element.attrib.values()
            if value.startswith(("#", "url(#"))
        }
        assert used <= own
        assert tree.find(f".//{_SVG}text") is not None
        for color in (*COLORS, "#ffffff", "#000000"):
            assert color not in text
    assert len(ids) == len(set(ids))


def test_looks_are_of_positions_and_all_different(two_runs: tuple[Path, Path]) -> None:
    first, second = looks_of(make_report(find_runs(two_runs).runs)).values()
    assert (first.label, first.color, first.marker) == ("default", COLORS[0], MARKERS[0])
    assert (second.label, second.color, second.marker) == ("mcmc", COLORS[1], MARKERS[1])
    pairs = {(COLORS[i % len(COLORS)], MARKERS[i % len(MARKERS)]) for i in range(72)}
    assert len(pairs) == 72


_POINTS = st.lists(st.tuples(st.integers(0, 9), st.integers(0, 9)), min_size=1, max_size=12)


@given(points=_POINTS, higher=st.booleans())
def test_no_point_of_the_front_is_beaten_and_every_other_is(
    points: list[tuple[float, float]], higher: bool
) -> None:
    def beats(a: tuple[float, float], b: tuple[float, float]) -> bool:
        better = a[1] >= b[1] if higher else a[1] <= b[1]
        return a != b and a[0] <= b[0] and better

    unbeaten = {b for b in points if not any(beats(a, b) for a in points)}
    assert front(points, higher) == sorted(unbeaten)


def test_means_of_seeds_are_of_common_steps() -> None:
    first = [(10, 1.0, 4.0), (20, 2.0, 6.0), (30, 3.0, 8.0)]
    second = [(10, 3.0, 0.0), (30, 5.0, 2.0)]
    assert mean_line([first, second]) == [(10, 2.0, 2.0), (30, 4.0, 5.0)]
    assert mean_line([first]) == first


def test_a_running_mean_keeps_lines_straight() -> None:
    line = [float(i) for i in range(20)]
    assert running_mean(line, 9) == pytest.approx(line)
    assert running_mean([0, 3, 0], 3) == [0, 1, 0]


def test_the_worst_views_come_first() -> None:
    scores = {"a": {"x": 30.0, "y": 20.0, "z": 25.0}, "b": {"x": 10.0, "y": 21.0}}
    assert worst_first(scores, None, True) == ["x", "y"]
    assert worst_first(scores, "a", True) == ["y", "x"]
    assert worst_first(scores, "a", False) == ["x", "y"]


@pytest.mark.parametrize(
    ("value", "text"), [(1_500_000, "1.5M"), (250_000, "250k"), (0.035, "0.035"), (0, "0")]
)
def test_numbers_of_axes_are_short(value: float, text: str) -> None:
    assert short(value) == text
