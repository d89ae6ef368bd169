"""The page, as headless Chromium shows it from a file."""

import html.parser
import json
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from commands import refusal, run
from PIL import Image

from gs_densify.evaluation.strip import read_strip
from gs_densify.report.page import pictures
from gs_densify.report.page.page import page_text
from gs_densify.report.page.pictures import read_pictures
from gs_densify.report.plots import plots_of
from gs_densify.report.report import make_report
from gs_densify.report.runs import find_runs
from gs_densify.results.names import picture_name

_HOSTILE = ("<script>window.ran = 1</script>", '"><img src=x onerror="window.ran = 1">')


@pytest.fixture(scope="module")
def page(two_runs: tuple[Path, Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("page")
    arguments = [*two_runs, "--baseline", "default", "--html", "page.html"]
    done = run("gs-report", *arguments, cwd=folder)
    assert done.returncode == 0, done.stderr
    kept = (folder / "page.html").read_bytes()
    again = run("gs-report", *arguments, cwd=folder)
    assert "there already" in refusal(again)
    assert (folder / "page.html").read_bytes() == kept
    assert [path.name for path in folder.iterdir()] == ["page.html"]
    return folder / "page.html"


@pytest.fixture
def opened(browser: Any, page: Path) -> Iterator[Any]:
    """The page, newly opened, in a wide window; nothing may have complained when it is left."""
    _size(browser, 1200)
    browser.get(page.as_uri())
    yield browser
    assert browser.get_log("browser") == []


def _size(browser: Any, width: int) -> None:
    metrics = {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": False}
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)


def _find(browser: Any, selector: str) -> Any:
    return browser.find_element("css selector", selector)


def _style(browser: Any, selector: str, name: str) -> str:
    return browser.execute_script(
        "return getComputedStyle(document.querySelector(arguments[0]))[arguments[1]]",
        *(selector, name),
    )


def _choose(browser: Any, selector: str, text: str) -> None:
    for option in _find(browser, selector).find_elements("tag name", "option"):
        if option.text == text:
            option.click()
            return
    raise AssertionError(f"no {text} in {selector}")


class Elements(html.parser.HTMLParser):
    """The tags of a page with their attributes."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.found: list[tuple[str, dict[str, str | None]]] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, dict(attributes)))


def test_the_page_holds_everything_itself(page: Path) -> None:
    text = page.read_text()
    elements = Elements(text).found
    loading = {"src", "href", "xlink:href", "srcset", "action", "data", "poster"}
    wanted = [own[name] for _, own in elements for name in loading & own.keys()]
    assert len(wanted) > 5
    assert all(address.startswith("#") for address in wanted), wanted
    assert {tag for tag, _ in elements}.isdisjoint({"link", "iframe", "object", "embed"})
    assert all(address.startswith("#") for address in re.findall(r"url\((.*?)\)", text))
    assert not any(word in text for word in ("@import", "fetch(", "XMLHttpRequest", "import("))


def test_the_slider_wipes_by_mouse_and_by_keys(opened: Any) -> None:
    from selenium.webdriver import ActionChains, Keys

    def shown() -> float:
        clip = _style(opened, ".wipe .over", "clip-path")
        *_, last = re.findall(r"([\d.]+)%", clip)
        return float(last) if "calc" in clip else 100 - float(last)

    slider = _find(opened, ".wipe input")
    assert shown() == 50
    opened.execute_script("arguments[0].scrollIntoView({block: 'center'})", slider)
    quarter = -slider.size["width"] // 4
    ActionChains(opened).move_to_element_with_offset(slider, quarter, 0).click().perform()
    assert shown() == pytest.approx(25, abs=1)
    ActionChains(opened).click_and_hold().move_by_offset(-2 * quarter, 20).release().perform()
    assert shown() == pytest.approx(75, abs=1)
    before = shown()
    slider.send_keys(Keys.ARROW_LEFT)
    assert shown() == pytest.approx(before - 2, abs=0.01)
    slider.send_keys(Keys.SHIFT, Keys.ARROW_RIGHT, Keys.SHIFT)
    assert shown() == pytest.approx(before + 8, abs=0.01)
    assert "photo" in slider.get_attribute("aria-valuetext")


def test_the_choices_change_the_pictures(opened: Any, two_runs: tuple[Path, Path]) -> None:
    def sources() -> list[str]:
        return [_find(opened, f".wipe .{one}").get_attribute("src") for one in ("over", "under")]

    photo, render = sources()
    assert photo != render
    _choose(opened, "select.left", "default")
    _choose(opened, "select.right", "mcmc")
    two = sources()
    assert two[0] == render and two[1] not in (photo, render)
    assert _find(opened, ".tag-left").text.startswith("default")
    _find(opened, ".errors").click()
    assert not {*sources()} & {photo, *two}
    name = _find(opened, ".which").text
    _find(opened, ".next").click()
    assert _find(opened, ".which").text != name
    assert not {*sources()} & {photo, *two}
    sizes = opened.execute_script(
        "const i = document.querySelector('.over');return [i.naturalWidth, i.naturalHeight]"
    )
    photo, *_ = read_strip(next((two_runs[0] / "renders").iterdir()), 3)
    assert sizes == [photo.shape[1], photo.shape[0]]


def _column(browser: Any, table: str, column: int) -> list[str]:
    rows = browser.find_elements("css selector", f"{table} tbody tr")
    return [
        row.find_elements("css selector", "th, td")[column].get_attribute("data-value")
        for row in rows
    ]


def _sort(browser: Any, table: str, column: int) -> str:
    heading = browser.find_elements("css selector", f"{table} thead th")[column]
    heading.find_element("tag name", "button").click()
    heading = browser.find_elements("css selector", f"{table} thead th")[column]
    return heading.get_attribute("aria-sort")


@pytest.mark.parametrize(("table", "column"), [(".scores", 3), (".scores", 1), (".per-view", 1)])
def test_a_click_on_a_heading_sorts_by_numbers_and_another_reverses(
    opened: Any, table: str, column: int
) -> None:
    orders = {}
    for _ in range(2):
        direction = _sort(opened, table, column)
        orders[direction] = [float(value) for value in _column(opened, table, column)]
    assert set(orders) == {"ascending", "descending"}
    assert orders["ascending"] == sorted(orders["ascending"])
    assert orders["descending"] == orders["ascending"][::-1]
    assert len(set(orders["ascending"])) > 1


def test_numbers_sort_as_numbers_and_nothing_stays_last(opened: Any) -> None:
    opened.execute_script(
        "const cells = document.querySelectorAll('.per-view tbody tr td:nth-child(2)');"
        "['9', '10', '-1', ''].forEach((value, i) => { cells[i].dataset.value = value; });"
    )
    orders = {_sort(opened, ".per-view", 1): _column(opened, ".per-view", 1) for _ in range(2)}
    assert orders == {"ascending": ["-1", "9", "10", ""], "descending": ["10", "9", "-1", ""]}


def test_a_phone_needs_no_scrolling_to_the_side(opened: Any) -> None:
    _size(opened, 375)
    root = "document.documentElement"
    assert opened.execute_script(f"return {root}.scrollWidth <= {root}.clientWidth")
    wide = opened.execute_script(
        "return [...document.querySelectorAll('main *')].filter((e) => !e.closest('.scroll, svg')"
        "&& !e.matches('.hidden') && e.getBoundingClientRect().right > innerWidth)"
        ".map((e) => e.outerHTML)"
    )
    assert wide == []
    slider = _find(opened, ".wipe input")
    assert slider.size["width"] > 300


def test_the_theme_follows_the_system_until_the_button_is_used(opened: Any) -> None:
    def background() -> int:
        return sum(map(int, re.findall(r"\d+", _style(opened, "body", "background-color"))[:3]))

    def system(value: str) -> None:
        feature = {"name": "prefers-color-scheme", "value": value}
        opened.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": [feature]})

    assert background() > 600
    system("dark")
    assert background() < 150
    _find(opened, "#theme").click()
    assert background() > 600
    opened.refresh()
    assert background() > 600
    _find(opened, "#theme").click()
    system("light")
    assert background() < 150
    opened.execute_script("localStorage.clear()")


def test_hostile_names_are_shown_and_do_not_run(
    two_runs: tuple[Path, Path], edited: Callable[..., Path], browser: Any, tmp_path: Path
) -> None:
    view = _HOSTILE[1] + "</script>"
    copies = []
    for source, label in zip(two_runs, _HOSTILE, strict=True):

        def results(value: dict, label: str = label) -> None:
            value["config"]["label"] = label
            value["protocol"]["name"] = _HOSTILE[0]
            value["protocol"]["test_images"][0] = view

        def views(value: dict) -> None:
            value["protocol"] = _HOSTILE[0]
            value["views"][0]["name"] = view

        copy = edited(source, source.name, results=results, views=views)
        first = min((copy / "renders").iterdir())
        first.rename(first.with_name(picture_name(view)))
        copies.append(copy)
    report = make_report(find_runs(copies).runs, baseline=_HOSTILE[0])
    text = page_text(report, plots_of(report)[0])

    elements = Elements(text).found
    assert [tag for tag, _ in elements].count("script") == 2
    assert not any(name.startswith("on") for _, own in elements for name in own)
    # The policy of the page would keep them from running: without it they must not, either.
    unguarded = re.sub(r"<meta http-equiv=[^>]*>", "", text, count=1)
    (tmp_path / "hostile.html").write_text(unguarded)
    browser.get((tmp_path / "hostile.html").as_uri())
    assert browser.execute_script("return window.ran") is None
    assert browser.get_log("browser") == []
    shown = _find(browser, "main").text
    for name in (*_HOSTILE, view):
        assert name in shown
    assert view in _find(browser, ".per-view").text


def test_records_have_no_pictures_and_the_page_says_so(
    two_runs: tuple[Path, Path], edited: Callable[..., Path], browser: Any, tmp_path: Path
) -> None:
    done = run("gs-report", *two_runs, "--record", "records", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    report = make_report(find_runs([tmp_path / "records"]).runs)
    (tmp_path / "page.html").write_text(page_text(report, plots_of(report)[0]))
    browser.get((tmp_path / "page.html").as_uri())
    assert "None of these runs has pictures" in _find(browser, "#views").text
    assert browser.find_elements("css selector", ".wipe") == []
    assert len(_column(browser, ".per-view", 1)) == 4
    assert browser.get_log("browser") == []


def _pictured(two_runs: tuple[Path, Path]) -> int:
    return len({path.name for one in two_runs for path in (one / "renders").iterdir()})


def test_the_page_says_how_many_views_it_has_pictures_of(
    page: Path, two_runs: tuple[Path, Path]
) -> None:
    assert f"Pictures of {_pictured(two_runs)} of 4 held-out views" in page.read_text()
    found = re.search(r'<script type="application/json" id="data">(.*?)</script>', page.read_text())
    views = json.loads(found.group(1))["scenes"][0]["views"]
    assert [view["pictures"] is not None for view in views].count(True) == _pictured(two_runs)


def test_a_full_page_does_not_say_that_there_are_no_pictures(
    two_runs: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pictures, "MOST_BYTES", 1)
    text = page_text(make_report(find_runs(two_runs).runs), [])
    assert f"hold pictures of {_pictured(two_runs)} views, but the page is full" in text
    assert "None of these runs has pictures" not in text


def _strip(path: Path, width: int, height: int) -> Path:
    Image.new("RGB", (3 * width, height), (40, 80, 120)).save(path)
    return path


def test_pictures_are_of_bounded_size(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    large, narrow = _strip(tmp_path / "a.png", 1000, 10), _strip(tmp_path / "b.png", 10, 1700)
    views = {f"view {i}": {"one": large} for i in range(40)}
    found = read_pictures({"many": views, "tall": {"v": {"one": narrow}}})
    assert list(found["many"]) == list(views)[: pictures.MOST_VIEWS]
    assert (found["many"]["view 0"].width, found["many"]["view 0"].height) == (800, 8)
    assert (found["tall"]["v"].width, found["tall"]["v"].height) == (5, 800)
    one = found["many"]["view 0"]
    monkeypatch.setattr(
        pictures, "MOST_BYTES", 3 * len(one.photo + one.renders["one"] + one.errors["one"])
    )
    few = read_pictures({"a": views, "b": views})
    assert [list(few["a"]), list(few["b"])] == [["view 0", "view 1"], ["view 0"]]


@pytest.mark.parametrize("damage", [b"no picture", None])
def test_a_damaged_picture_is_one_line(
    two_runs: tuple[Path, Path], edited: Callable[..., Path], tmp_path: Path, damage: bytes | None
) -> None:
    copy = edited(two_runs[0], "damaged")
    picture = min((copy / "renders").iterdir())
    if damage is None:
        Image.new("RGB", (10, 4)).save(picture)
    else:
        picture.write_bytes(damage)
    done = run("gs-report", copy, "--html", "page.html", cwd=tmp_path)
    assert picture.name in refusal(done)
    assert not (tmp_path / "page.html").exists()
