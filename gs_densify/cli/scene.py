"""gs-scene: make scenes and look at them."""

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import tyro

from gs_densify.cli.app import run_command
from gs_densify.training.flags import parse

PROGRAM = "gs-scene"


@dataclasses.dataclass(frozen=True)
class MakeTiny:
    """Render the embedded tiny scene into a folder, as a COLMAP data set."""

    out: Annotated[Path, tyro.conf.Positional]
    """Folder to make; it must be empty or new."""

    def carry_out(self) -> None:
        """Make the scene."""
        from gs_densify.data.tiny import make_tiny

        make_tiny(self.out)
        print(f"files: {self.out}")


@dataclasses.dataclass(frozen=True)
class Info:
    """Say what a scene holds: photos, sizes, split, points."""

    scene: Annotated[str, tyro.conf.Positional]
    """A preset's name or the path of a COLMAP folder."""
    data_root: Path | None = None
    """Folder that holds the preset scenes (default: GS_DATA)."""
    downscale: int | None = None
    """Use images_N (1: images); default: the preset's factor, or 1."""

    def carry_out(self) -> None:
        """Read the scene and print it."""
        from gs_densify.data.load import PhotoOptions, load_scene
        from gs_densify.data.presets import resolve_scene

        source = resolve_scene(self.scene, data_root=self.data_root, downscale=self.downscale)
        photos = PhotoOptions(image_source="found" if self.downscale is None else "auto")
        scene = load_scene(source.root, name=source.name, downscale=source.downscale, photos=photos)
        sizes = ", ".join(f"{width}x{height}" for width, height in scene.image_sizes)
        print(f"scene {scene.name}: {scene.root}")
        print(
            f"{len(scene.views)} photos in {scene.image_dir} ({sizes}):"
            f" {len(scene.train_views)} to train on, {len(scene.test_views)} held out"
        )
        print(f"{len(scene.points):,} points ({scene.dropped_points:,} dropped)")


def command(argv: Sequence[str]) -> None:
    """Parse and carry out one subcommand."""
    form = (
        Annotated[MakeTiny, tyro.conf.subcommand("make-tiny")]
        | Annotated[Info, tyro.conf.subcommand("info")]
    )
    chosen: MakeTiny | Info = parse(form, argv, program=PROGRAM, description=__doc__)
    chosen.carry_out()


def main() -> None:
    """Entry point of gs-scene."""
    run_command(PROGRAM, command)


if __name__ == "__main__":
    main()
