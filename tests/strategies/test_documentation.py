"""The pages of the strategies are what their sources say, and tables what the records say."""

import importlib.util
import re
from pathlib import Path

DOCS = Path(__file__).resolve().parents[2] / "docs"
RECORDS = DOCS.parent / "benchmarks" / "records"


def _maker(name: str = "make_strategies"):
    spec = importlib.util.spec_from_file_location(name, DOCS / f"{name}.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_pages_are_up_to_date() -> None:
    expected = _maker().pages()
    found = {path.stem: path.read_text("utf-8") for path in (DOCS / "strategies").glob("*.md")}
    assert found == expected, "run python docs/make_strategies.py"


def test_every_page_names_its_limits() -> None:
    for name, text in _maker().pages().items():
        assert "Limits:" in text, name
        assert "Differs from" in text or "No paper" in text, name


def test_the_overview_links_every_page() -> None:
    overview = (DOCS / "strategies.md").read_text("utf-8")
    for path in (DOCS / "strategies").glob("*.md"):
        assert f"(strategies/{path.name})" in overview


def test_tables_of_measured_figures_are_those_of_the_records() -> None:
    maker = _maker("make_tables")
    tables = 0
    for page in maker.PAGES:
        text = page.read_text("utf-8")
        assert maker.filled(page) == text, f"{page.name}: run python docs/make_tables.py"
        tables += text.count("<!-- end of report -->")
        for file in re.findall(r"<!-- options (\S+) -->", text):
            assert f"/lines/{file})" in text, f"{page.name}: {file} without a link"
    assert tables >= 6


def test_every_folder_of_records_is_explained() -> None:
    text = (RECORDS / "README.md").read_text("utf-8")
    for folder in filter(Path.is_dir, RECORDS.iterdir()):
        assert f"]({folder.name})" in text, folder.name


def test_every_link_to_a_record_leads_to_it() -> None:
    pages = [*DOCS.glob("*.md"), DOCS.parent / "README.md", *RECORDS.rglob("README.md")]
    links = 0
    for page in pages:
        for link in re.findall(r"\]\(([^)#]*)\)", page.read_text("utf-8")):
            if "records" in link or page.is_relative_to(RECORDS):
                assert (page.parent / link).exists(), f"{page.name}: {link}"
                links += 1
    assert links > 20
