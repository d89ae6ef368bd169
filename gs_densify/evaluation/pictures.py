"""Pictures of an evaluation: photo, render and error side by side."""

import hashlib
import re
from collections.abc import Callable
from pathlib import Path

import imageio.v3 as imageio
import torch
from torch import Tensor

from gs_densify.errors import ResultError
from gs_densify.evaluation.evaluate import NamedView


def picture_writer(
    folder: str | Path, names: set[str] | None = None
) -> Callable[[NamedView, Tensor, Tensor], None]:
    """Return an `on_view` for `evaluate_views` that writes the pictures of these views, or all."""

    def write(view: NamedView, truth: Tensor, rendered: Tensor) -> None:
        if names is None or view.name in names:
            save_comparison(Path(folder) / picture_name(view.name), truth, rendered)

    return write


def save_comparison(path: str | Path, truth: Tensor, rendered: Tensor) -> None:
    """Write `photo | render | absolute error` [H, 3W, 3] as a PNG, making its folder.

    Args:
        path: the file.
        truth: [H, W, 3] in [0, 1].
        rendered: [H, W, 3] in [0, 1].

    Raises:
        ResultError: where the file cannot be written.
    """
    strip = torch.cat([truth, rendered, (truth - rendered).abs()], dim=1)
    pixels = strip.clamp(0, 1).mul(255).round().to(torch.uint8).cpu().numpy()
    try:
        Path(path).parent.mkdir(parents=True, exist_ok=True)
        imageio.imwrite(path, pixels, extension=".png")
    except OSError as error:
        raise ResultError(f"{path}: cannot be written ({error.strerror or error}).") from error


def picture_name(view_name: str) -> str:
    """Return a file name for a view: one component, and another one for every other view.

    A name of plain characters keeps them: `DSC01.JPG` gives `DSC01.JPG.png`. Anything else, such as
    a sub-folder, becomes `_` and a short hash of the whole name tells such names apart.
    """
    plain = re.sub(r"[^A-Za-z0-9._-]", "_", view_name).lstrip(".")
    if plain == view_name and 0 < len(plain) <= 200:
        return f"{plain}.png"
    digest = hashlib.sha256(view_name.encode(errors="surrogateescape")).hexdigest()[:8]
    return f"{plain[-100:]}-{digest}.png"
