"""Shows a run of a real capture at the top of README: photo, render and error of a held-out view.

    python docs/make_teaser.py RUN [--view NAME]

Writes docs/teaser.png and what stands between `<!-- teaser -->` and `<!-- end of teaser -->` in
README.md. Without --view it is the view of median PSNR among those that the run has pictures of.
"""

import argparse
import re
from pathlib import Path

from PIL import Image

from gs_densify.results import Results, ViewScores, load_per_view, load_results
from gs_densify.results.names import RENDERS, picture_name

ROOT = Path(__file__).parents[1]
MOST_PIXELS = 1500
"""Width of the picture."""


def choose(run: Path, name: str | None) -> tuple[ViewScores, Path]:
    """The view to show, and the file of its strip."""
    pictures = {
        view.name: (view, path)
        for view in load_per_view(run / "per_view.json").views
        if (path := run / RENDERS / picture_name(view.name)).is_file()
    }
    if name is not None:
        return pictures[name]
    ranked = sorted(pictures.values(), key=lambda one: one[0].scores["psnr"] or 0.0)
    return ranked[len(ranked) // 2]


def caption(results: Results, view: ViewScores) -> str:
    """What the picture shows, and how it was scored."""
    psnr, mean = view.scores["psnr"], results.scores["psnr"]
    return (
        f"{Path(results.scene).name}, `{results.strategy.name}`, {results.steps:,} steps: photo,"
        f" render and error of the held-out view {view.name} ({psnr:.2f} dB; mean of all held-out"
        f" views {mean:.2f} dB, protocol {results.protocol.name})."
    )


def show(run: Path, name: str | None, root: Path) -> None:
    """Write the picture and its place in README."""
    view, path = choose(run, name)
    with Image.open(path) as strip:
        picture = strip.convert("RGB")
    picture.thumbnail((MOST_PIXELS, picture.height))
    (root / "docs").mkdir(exist_ok=True)
    picture.save(root / "docs/teaser.png")
    said = caption(load_results(run / "results.json"), view)
    made = f"\\1\n![Photo, render and error](docs/teaser.png)\n\n{said}\n\\2"
    marks = re.compile(r"(<!-- teaser -->).*?(<!-- end of teaser -->)", re.DOTALL)
    readme = root / "README.md"
    readme.write_text(marks.sub(made, readme.read_text("utf-8")), "utf-8")


def main() -> None:
    """Read the arguments and make the teaser."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("run", type=Path)
    parser.add_argument("--view")
    options = parser.parse_args()
    show(options.run, options.view, ROOT)


if __name__ == "__main__":
    main()
