"""The picture at the top of README is made by one command."""

import importlib.util
import re
from pathlib import Path

import pytest
from PIL import Image

from gs_densify.results import load_per_view

ROOT = Path(__file__).parents[2]


@pytest.fixture
def show():
    spec = importlib.util.spec_from_file_location("make_teaser", ROOT / "docs/make_teaser.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.show


def test_a_run_is_shown_where_readme_has_its_place(
    finished_run: Path, tmp_path: Path, show
) -> None:
    readme = tmp_path / "README.md"
    readme.write_text((ROOT / "README.md").read_text("utf-8"), "utf-8")
    view = load_per_view(finished_run / "per_view.json").views[0]
    for name in (None, view.name):
        show(finished_run, name, tmp_path)
        text = readme.read_text("utf-8")
        assert text.count("](docs/teaser.png)") == 1
    assert f"held-out view {view.name} ({view.scores['psnr']:.2f} dB; mean" in text
    with Image.open(tmp_path / "docs/teaser.png") as picture:
        assert 3 * 96 <= picture.width <= 1500


def test_every_link_of_the_pages_leads_to_a_file() -> None:
    pages = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *(ROOT / "docs").glob("*.md")]
    links = [
        (page, link)
        for page in pages
        for link in re.findall(r"\]\(([^)#\s]+)", page.read_text("utf-8"))
        if not link.startswith("http")
    ]
    assert len(links) > 100
    assert not [(page.name, link) for page, link in links if not (page.parent / link).exists()]
