"""A folder in which commands run, and everything imported once for all of them."""

import importlib
from pathlib import Path

import pytest
from killable import MODULES

IMPORTED_LATE = (
    *("encodings.utf_8_sig", "html", "colorsys", "matplotlib.figure", "gs_densify.bench.conduct"),
    *("gs_densify.runs.train", "gs_densify.runs.evaluate", "gs_densify.check.battery"),
    *("gs_densify.report", "gs_densify.capture", "gs_densify.cli.summary"),
)


@pytest.fixture(scope="session", autouse=True)
def _imported() -> None:
    for name in (*MODULES.values(), *IMPORTED_LATE):
        importlib.import_module(name)


@pytest.fixture
def here(tmp_path: Path) -> Path:
    folder = tmp_path / "here"
    folder.mkdir()
    return folder
