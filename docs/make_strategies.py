"""Writes docs/strategies/NAME.md for each strategy from its source: one truth, shown twice.

python docs/make_strategies.py
"""

import contextlib
import io
from pathlib import Path

from gs_densify.cli.strategies import Show
from gs_densify.strategies.registry import BUILTIN

PAGES = Path(__file__).parent / "strategies"


def page(name: str) -> str:
    """The page of a strategy: its summary, and what `gs-strategies show` prints."""
    shown = io.StringIO()
    with contextlib.redirect_stdout(shown):
        Show(name).carry_out()
    body = "\n".join(line.rstrip() for line in shown.getvalue().strip().splitlines())
    return f"# {name}\n\n{BUILTIN[name].summary.capitalize()}.\n\n```text\n{body}\n```\n"


def pages() -> dict[str, str]:
    """Pages by strategy; gsplat's own two document themselves."""
    return {name: page(name) for name in BUILTIN if not name.startswith("gsplat-")}


def main() -> None:
    """Write every page."""
    PAGES.mkdir(exist_ok=True)
    for name, text in pages().items():
        (PAGES / f"{name}.md").write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
