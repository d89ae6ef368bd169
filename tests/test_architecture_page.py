"""The list of docs/architecture.md has every folder and module that the package begins with."""

import re
from pathlib import Path

import gs_densify

PACKAGE = Path(gs_densify.__file__).parent
PAGE = Path(__file__).parents[1] / "docs/architecture.md"


def test_the_page_lists_every_folder_and_module() -> None:
    listed = re.search(r"^```\n(.*?)^```", PAGE.read_text("utf-8"), re.DOTALL | re.MULTILINE)
    assert listed is not None
    modules = [one.stem for one in PACKAGE.glob("*.py") if one.stem != "__init__"]
    folders = [f"{one.parent.name}/" for one in PACKAGE.glob("*/__init__.py")]
    missing = [
        name
        for name in modules + folders
        if not re.search(rf"(?:^|, ){name}(?=[, ]|$)", listed[1], re.MULTILINE)
    ]
    assert modules and folders and not missing
