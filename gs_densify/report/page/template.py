"""What all pages have in common: their styles, their script, and that they fetch nothing."""

import base64
import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import jinja2
from markupsafe import Markup

from gs_densify.evaluation.strip import ERROR_AT_END
from gs_densify.images.heat import STOPS

_HERE = Path(__file__).parent


def filled(
    template: str,
    *,
    program: str,
    title: str,
    scenes: Sequence[dict[str, Any]],
    data: dict[str, Any],
    **values: Any,
) -> str:
    """Returns a page.

    Args:
        template: the name of its file, which extends `layout.html`.
        program: the command that makes it.
        title: its heading.
        scenes: as `views.scenes_of` gives them.
        data: what the script needs besides.
        values: what the template needs besides.
    """
    script = (_HERE / "page.js").read_text(encoding="utf-8")
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(_HERE),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    return environment.get_template(template).render(
        program=program,
        title=title,
        style=Markup((_HERE / "page.css").read_text(encoding="utf-8")),
        script=Markup(script),
        script_digest=base64.b64encode(hashlib.sha256(script.encode()).digest()).decode(),
        scenes=scenes,
        error_at_end=ERROR_AT_END,
        error_colors=STOPS,
        data={"scenes": scenes, **data},
        **values,
    )
