"""Reconstructs a scene: one stage after the other, each kept once it is complete."""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from gs_densify.errors import SceneError
from gs_densify.reconstruct import left_out
from gs_densify.reconstruct.cameras import camera_groups, write_cameras
from gs_densify.reconstruct.database import features_of, matched_photos
from gs_densify.reconstruct.features import FEW, extract_features
from gs_densify.reconstruct.images import place_photos
from gs_densify.reconstruct.mapping import find_models, posed_names
from gs_densify.reconstruct.matching import forget_matches, match_pairs
from gs_densify.reconstruct.options import EFFORTS, Matching, ReconstructOptions
from gs_densify.reconstruct.pairs import matching_for, pairs_for
from gs_densify.reconstruct.photos import (
    Placed,
    files_digest,
    find_photos,
    usable_photos,
)
from gs_densify.reconstruct.stages import Stages, digest_of
from gs_densify.reconstruct.video import pick_frames
from gs_densify.scene.colmap_library import pycolmap
from gs_densify.scene.photos.names import is_video


@dataclass(frozen=True)
class Outcome:
    """What a reconstruction has found."""

    photos: int
    """That could be used."""
    posed: int
    cameras: int
    points: int
    error: float
    """Mean reprojection error in pixels."""


def reconstruct(source: Path, scene: Path, options: ReconstructOptions) -> Outcome:
    """Makes `scene`, a COLMAP data set with `images` and `sparse/0`, from photos or a video.

    What an earlier call with the same photos and options has completed is kept.

    Raises:
        SceneError: photos that do not suffice, or a folder that holds something else.
        ConfigError: an option that does not suit the photos, a video without the extra, or another
            process that reconstructs in the same folder.
    """
    with Stages.held(scene, source) as stages:
        return _all_stages(_Run(stages, options), source)


def _all_stages(run: "_Run", source: Path) -> Outcome:
    photos_in = run.frames(source) if is_video(source) else source
    files = find_photos(photos_in, without=run.images)
    key, photos = run.photos(files)
    names = [photo.name for photo in photos]
    key = run.features(key, photos)
    matching = matching_for(run.options.matching, len(names), is_video=is_video(source))
    key = run.matches(key, names, matching)
    return Outcome(photos=len(names), **run.poses(key, names))


class _Run:
    """The stages of one scene; each returns the key of what it has made."""

    def __init__(self, stages: Stages, options: ReconstructOptions) -> None:
        self.stages, self.options = stages, options
        self.images = stages.scene / "images"
        self.database = stages.folder / "database.db"

    def frames(self, video: Path) -> Path:
        """Returns the folder of the frames of a video."""
        folder, wanted = self.stages.folder / "frames", self.options.frames
        key = digest_of(files_digest({video.name: video}), wanted)
        self.stages.stage("frames", key, folder, lambda _: pick_frames(video, folder, wanted))
        return folder

    def photos(self, files: dict[str, Path]) -> tuple[str, list[Placed]]:
        """Returns the photos that can be used, too."""
        key = files_digest(files)
        is_complete = self.stages.is_complete("photos", key, self.images)
        # Before the stage, which takes the place of what is there: photos may not suffice.
        usable = [] if is_complete else usable_photos(files)

        def work(_: bool) -> dict[str, Any]:
            place_photos(usable, self.images)
            return {"photos": [asdict(photo.placed) for photo in usable]}

        found = self.stages.stage("photos", key, self.images, work)
        return key, [Placed(**photo) for photo in found["photos"]]

    def features(self, key: str, photos: Sequence[Placed]) -> str:
        options, effort = self.options, EFFORTS[self.options.quality]
        groups = camera_groups(photos, options.cameras)
        key = digest_of(key, pycolmap.__version__, options.camera_model, groups, asdict(effort))

        def work(is_begun: bool) -> None:
            if not is_begun or not self.database.exists():
                write_cameras(self.database, self.images, groups, options.camera_model)
            extract_features(self.database, self.images, photos, effort)

        self.stages.stage("features", key, self.database, work)
        return key

    def matches(self, key: str, names: Sequence[str], matching: Matching) -> str:
        folder = self.stages.folder
        key = digest_of(key, matching)

        def work(is_begun: bool) -> None:
            if not is_begun:
                forget_matches(self.database)
            pairs = pairs_for(matching, names, self.database, folder / "vocabulary.bin")
            match_pairs(self.database, pairs, folder / "pairs.txt")

        self.stages.stage("matches", key, self.database, work)
        return key

    def poses(self, key: str, names: Sequence[str]) -> dict[str, Any]:
        """Returns what the largest model has, and publishes it."""
        key, mapper = digest_of(key, self.options.mapper), self.options.mapper

        def work(_: bool) -> dict[str, Any]:
            models = find_models(self.database, self.images, len(names), mapper)
            self._say_left_out(names, models)
            if not models:
                raise SceneError(
                    f"no poses can be found for the {len(names)} photos",
                    action="take photos that show the same things from places a step apart, each"
                    " more than half of what its neighbour shows; for these, --quality high may do",
                )
            self.stages.publish(models[0])
            return {
                "posed": models[0].num_reg_images(),
                "cameras": models[0].num_cameras(),
                "points": models[0].num_points3D(),
                "error": models[0].compute_mean_reprojection_error(),
            }

        return self.stages.stage("poses", key, self.stages.model, work)

    def _say_left_out(
        self, names: Sequence[str], models: Sequence[pycolmap.Reconstruction]
    ) -> None:
        placed, *others = [posed_names(model) for model in models] or [set()]
        features, matched = features_of(self.database), matched_photos(self.database)
        reasons: dict[left_out.Reason, list[str]] = defaultdict(list)
        for name in set(names) - placed:
            if features[name] < FEW:
                reason = left_out.FEATURELESS
            elif name not in matched:
                reason = left_out.UNMATCHED
            elif any(name in other for other in others):
                reason = left_out.SEPARATE
            else:
                reason = left_out.UNPLACED
            reasons[reason].append(name)
        for reason, concerned in reasons.items():
            left_out.say(reason, concerned)
