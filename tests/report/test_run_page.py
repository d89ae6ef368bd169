"""`index.html` of a run, and of an evaluation, as headless Chromium shows it from a file."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

import pytest

from gs_densify.report.page import save_run_page
from gs_densify.results import load_per_view
from gs_densify.results.views import badness


@pytest.fixture
def opened(browser: Any, two_runs: tuple[Path, Path]) -> Any:
    browser.get((two_runs[0] / "index.html").as_uri())
    yield browser
    assert browser.get_log("browser") == []


def _texts(browser: Any, selector: str) -> list[str]:
    return [one.text for one in browser.find_elements("css selector", selector)]


def test_views_are_ranked_and_the_worst_have_pictures(opened: Any, two_runs: Any) -> None:
    views = sorted(load_per_view(two_runs[0] / "per_view.json").views, key=badness)
    assert _texts(opened, ".per-view tbody th") == [view.name for view in views]
    assert _texts(opened, ".per-view tbody button") == [view.name for view in views[:3]]
    assert _texts(opened, ".which") == [f"{views[0].name}, 1 of 3"]
    sizes = opened.execute_script(
        "return [...document.querySelectorAll('.wipe img')].map((one) => one.naturalWidth)"
    )
    assert sizes == [96, 96]


def test_links_lead_to_what_lies_beside_the_page(opened: Any, two_runs: Any) -> None:
    links = opened.find_elements("css selector", ".files a")
    assert {"./point_cloud.ply", "./renders/", "./results.json"} <= {
        one.get_dom_attribute("href") for one in links
    }
    targets = [Path(unquote(urlsplit(one.get_attribute("href")).path)) for one in links]
    assert all(target.exists() and target.parent == two_runs[0] for target in targets)
    assert {target.name for target in targets} == {
        path.name for path in two_runs[0].iterdir() if path.name != "index.html"
    }


def test_the_page_says_what_the_run_was(opened: Any, two_runs: Any) -> None:
    text = opened.find_element("css selector", "main").text
    scores = json.loads((two_runs[0] / "results.json").read_text())["scores"]
    assert "tiny, default" in text and "40 steps" in text and "seed 42" in text
    assert f"{scores['psnr']:.3f}" in text and "gs-train --strategy default" in text


def test_without_held_out_views_there_is_a_page(
    two_runs: tuple[Path, Path], edited: Callable[..., Path]
) -> None:
    def results(value: dict) -> None:
        value["scores"] = dict.fromkeys(value["scores"])
        value["unavailable"] = dict.fromkeys(value["scores"], "no view is held out")
        value["protocol"]["test_images"] = []

    copy = edited(two_runs[0], "all", results=results, views=lambda value: value.update(views=[]))
    text = save_run_page(copy).read_text()
    assert "no view is held out" in text and "No scores of single views" in text
