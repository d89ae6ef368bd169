"""Check a capture: measure its photos and its model, and judge what was measured.

A capture that gs-train refuses is measured as far as it goes.
"""

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TypeVar

import numpy as np

from gs_densify.capture.coverage import Geometry, coverage_of, geometry_of
from gs_densify.capture.findings import findings_of, verdict_of
from gs_densify.capture.memory import gpu_memory
from gs_densify.capture.model import CaptureModel, read_capture_model
from gs_densify.capture.outliers import badly_exposed, blurred, clipped, near_duplicates
from gs_densify.capture.photos import PhotoMeasures, list_photos, measure_photos
from gs_densify.capture.report import (
    SCHEMA_VERSION,
    CaptureReport,
    PhotoRecord,
    Plan,
    PointStatistics,
)
from gs_densify.errors import SceneError
from gs_densify.scene.consistency.colors import all_doubts
from gs_densify.scene.doubt import Doubt
from gs_densify.scene.formats.colmap.find import find_model
from gs_densify.scene.layout import Layout
from gs_densify.scene.load import PhotoOptions, PhotoSource, choose_photos, load_scene
from gs_densify.scene.photos.files import find_photos
from gs_densify.scene.photos.prepare import read_view
from gs_densify.scene.photos.resize import reduced_size
from gs_densify.scene.presets import SceneSource
from gs_densify.scene.scene import Scene
from gs_densify.scene.split import is_test_index

_LONGEST_SIDE = 1600

_Result = TypeVar("_Result")


@dataclass(frozen=True)
class CheckOptions:
    """What the training would be like."""

    gaussians: int
    """Number of Gaussians at its end."""
    image_budget: float
    """Bytes of photos above which the trainer keeps them in host memory."""
    test_every: int = 8
    test_list: Path | None = None
    """A file with the names of the photos to hold out, in place of every k-th."""
    photos: PhotoOptions | None = None
    """Which pixels views are made of; None: those that the scene's source says."""
    progress: bool = True


@dataclass(frozen=True, eq=False)
class Capture:
    """The measures that the report is made of. Photos have COLMAP's names where it has them."""

    source: PhotoSource
    scene: Scene | None
    """As gs-train reads it; None where it is refused."""
    model_folder: Path | None
    model: CaptureModel | None
    geometry: Geometry | None
    on_disk: list[str]
    photos: list[PhotoMeasures]
    unreadable: dict[str, str]
    refusal: SceneError | None
    """Why gs-train refuses the capture."""
    doubts: tuple[Doubt, ...] = ()
    """What it warns of."""
    registered: list[str] = field(default_factory=list)


def check_capture(
    source: SceneSource, options: CheckOptions
) -> tuple[CaptureReport, Geometry | None]:
    """Checks the data set at `source.root`.

    Returns:
        The report, and the cameras and points for a picture where the model gives some.

    Raises:
        SceneError: a downscale factor that no image folder can have.
    """
    capture = _measure(source, options)
    photos, model_folder = capture.photos, capture.model_folder
    with_pose = [photo for photo in photos if photo.name in set(capture.registered)]
    coverage = coverage_of(capture.geometry) if capture.geometry else None
    report = CaptureReport(
        schema_version=SCHEMA_VERSION,
        name=source.name,
        root=str(source.root),
        model_dir=_relative(model_folder, source.root) if model_folder else None,
        image_dir=_relative(capture.source.folder, source.root),
        registered=len(capture.registered) if capture.model else None,
        without_pose=_difference(capture.on_disk, capture.registered) if capture.model else (),
        missing=_difference(capture.registered, capture.on_disk),
        unreadable=capture.unreadable,
        sizes=dict(Counter(f"{p.size[0]}x{p.size[1]}" for p in photos).most_common()),
        cameras=capture.model.cameras if capture.model else (),
        coverage=coverage,
        points=_points(capture.model) if capture.model else None,
        blurred=tuple(blurred(photos)),
        badly_exposed=tuple(badly_exposed(photos)),
        clipped=tuple(clipped(photos)),
        near_duplicates=_duplicates(capture.geometry, with_pose),
        plan=_plan(source, capture, with_pose if capture.model else photos, options),
        photos=_records(capture),
        findings=(),
        verdict="fine",
    )
    findings = findings_of(report, capture.refusal, capture.doubts)
    return replace(report, findings=findings, verdict=verdict_of(findings)), capture.geometry


def _measure(source: SceneSource, options: CheckOptions) -> Capture:
    photo_options = options.photos or PhotoOptions(image_source=source.image_source)
    folder, no_model = _attempt(lambda: find_model(source.model or source.root))
    model, damage = _attempt(lambda: read_capture_model(folder)) if folder else (None, no_model)
    registered = [image.name for image in model.images] if model else []
    layout = Layout(source.root, folder, registered)
    chosen = choose_photos(layout, source.downscale, photo_options)
    scene, refusal = _attempt(
        lambda: load_scene(
            source.root,
            name=source.name,
            downscale=source.downscale,
            test_every=options.test_every,
            test_list=options.test_list,
            photos=photo_options,
            model_folder=source.model,
        )
    )
    doubts, mismatch = _attempt(lambda: all_doubts(scene, read_view)) if scene else ([], None)
    files = _files(scene, chosen.folder, registered)
    photos, unreadable = measure_photos(files, progress=options.progress)
    return Capture(
        source=chosen,
        scene=scene,
        model_folder=folder,
        model=model,
        geometry=geometry_of(model) if model else None,
        on_disk=list(files),
        photos=photos,
        unreadable=unreadable,
        refusal=refusal or damage or mismatch,
        doubts=tuple(scene.doubts if scene and doubts is None else doubts or ()),
        registered=registered,
    )


def _files(scene: Scene | None, folder: Path, registered: list[str]) -> dict[str, Path]:
    """Returns every photo below `folder` by name, which is COLMAP's where gs-train pairs them,
    sorted.
    """
    if scene is not None:
        paired = {view.name: view.path for view in scene.views}
    else:
        paired = _attempt(lambda: find_photos(folder, registered))[0] or {}
    owners = {path: name for name, path in paired.items()}
    listed = {owners.get(path, name): path for name, path in list_photos(folder).items()}
    return dict(sorted((listed | paired).items()))


def _attempt(step: Callable[[], _Result]) -> tuple[_Result | None, SceneError | None]:
    """Returns what a step gives, or why it was refused."""
    try:
        return step(), None
    except SceneError as error:
        return None, error


def _relative(folder: Path, root: Path) -> str:
    return folder.relative_to(root).as_posix()


def _difference(names: list[str], others: list[str]) -> tuple[str, ...]:
    return tuple(sorted(set(names) - set(others)))


def _points(model: CaptureModel) -> PointStatistics:
    errors = model.errors[np.isfinite(model.errors)]
    tracks = model.track_lengths if model.track_lengths.any() else np.zeros(0)
    in_photos = [image.num_points for image in model.images] if len(tracks) else []
    return PointStatistics(
        count=len(model.points),
        mean_error=float(errors.mean()) if len(errors) else None,
        median_error=float(np.median(errors)) if len(errors) else None,
        mean_track=float(tracks.mean()) if len(tracks) else None,
        median_track=float(np.median(tracks)) if len(tracks) else None,
        seen_by_three=float((tracks >= 3).mean()) if len(tracks) else None,
        fewest_in_a_photo=min(in_photos, default=None),
        median_in_a_photo=float(np.median(in_photos)) if in_photos else None,
    )


def _duplicates(
    geometry: Geometry | None, photos: list[PhotoMeasures]
) -> tuple[tuple[str, str], ...]:
    if geometry is None or not photos:
        return ()
    row = {name: i for i, name in enumerate(geometry.names)}
    rows = [row[photo.name] for photo in photos]
    return tuple(
        near_duplicates(
            photos,
            geometry.centers[rows],
            geometry.axes[rows, 2],
            float(np.median(geometry.distances)),
        )
    )


def _plan(
    source: SceneSource, capture: Capture, photos: list[PhotoMeasures], options: CheckOptions
) -> Plan | None:
    """Plans the views that gs-train makes; where it refuses, the `photos` as they are."""
    if not photos:
        return None
    resized = capture.source.factor
    longest = source.downscale // resized * max(max(photo.size) for photo in photos)
    suggested = 1
    while longest > _LONGEST_SIDE * suggested:
        suggested *= 2
    if capture.scene is not None:
        train = [(view.width, view.height) for view in capture.scene.train_views]
        total, has_masks = len(capture.scene.views), capture.scene.masks
    else:
        is_test = [is_test_index(i, options.test_every) for i in range(len(photos))]
        train = [
            reduced_size(photo.size, resized)
            for photo, test in zip(photos, is_test, strict=True)
            if not test
        ]
        total, has_masks = len(photos), False
    return Plan(
        downscale=source.downscale,
        suggested_downscale=suggested,
        test_every=0 if options.test_list is not None else options.test_every,
        train=len(train),
        test=total - len(train),
        memory=gpu_memory(train, options.gaussians, options.image_budget, has_masks=has_masks),
    )


def _records(capture: Capture) -> tuple[PhotoRecord, ...]:
    """Returns one for each photo on disk or in the model, by name."""
    measures = {photo.name: photo for photo in capture.photos}
    images = {image.name: image for image in capture.model.images} if capture.model else {}
    has_observations = bool(capture.model and capture.model.track_lengths.any())
    records = []
    for name in sorted({*capture.on_disk, *images}):
        photo, image = measures.get(name), images.get(name)
        records.append(
            PhotoRecord(
                name=name,
                has_pose=image is not None,
                width=photo.size[0] if photo else None,
                height=photo.size[1] if photo else None,
                sharpness=photo.sharpness if photo else None,
                brightness=photo.brightness if photo else None,
                clipped=photo.clipped if photo else None,
                num_points=image.num_points if image and has_observations else None,
                reprojection_error=image.reprojection_error if image else None,
            )
        )
    return tuple(records)
