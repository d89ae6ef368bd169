"""From a COLMAP folder to a ``Scene``: pair names with photos, fit the cameras, normalise."""

import logging
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

import numpy as np

from gs_densify.errors import SceneError
from gs_densify.messages import DOUBT
from gs_densify.scene.consistency.model import check_model
from gs_densify.scene.consistency.sizes import check_sizes
from gs_densify.scene.digest import cameras_digest, model_digest
from gs_densify.scene.formats.base import PosedImage, read_scene_model
from gs_densify.scene.layout import Layout
from gs_densify.scene.misplaced import doubts_of_places
from gs_densify.scene.normalize import (
    World,
    camera_centers,
    is_usable_point,
    normalizing_transform,
    transform_points,
    transform_poses,
)
from gs_densify.scene.photos.decode import Header, is_turned_by_exif
from gs_densify.scene.photos.files import check_missing, find_masks, find_photos
from gs_densify.scene.photos.lens import undistortion
from gs_densify.scene.photos.load import read_headers
from gs_densify.scene.photos.prepare import may_have_mask
from gs_densify.scene.photos.resize import is_resized, reduced_size
from gs_densify.scene.scene import MaskSource, Recipe, Scene, Size, View
from gs_densify.scene.split import check_split, held_out, read_test_list

_log = logging.getLogger(__name__)

DEFAULT_FILTER = "bicubic"


@dataclass(frozen=True, kw_only=True)
class PhotoOptions:
    """Which pixels views are made of."""

    image_source: Literal["auto", "found", "resized"] = "found"
    """``found``: ``images_N`` as it is; ``resized``: made from ``images``; ``auto``: ``images_N``
    where it exists, else made."""
    resize_filter: str | None = None
    """``area``, ``bicubic`` or ``lanczos``; None where nothing is resized, or for bicubic."""
    masks: Literal["auto", "none", "invert"] = "auto"
    """``auto``: masks and alpha channels where they are there; ``invert``: black counts."""
    skip_missing: bool = False
    """Leave out photos that are not on disk."""


@dataclass(frozen=True)
class PhotoSource:
    """Which files the photos are, and whether and how they are resized."""

    folder: Path
    factor: int
    """What sizes are divided by; 1 where photos are used as found."""
    resize_filter: str | None


def load_scene(
    root: Path,
    *,
    name: str,
    downscale: int = 1,
    test_every: int = 8,
    normalize: World = "cameras",
    normalized_from_colmap: np.ndarray | None = None,
    photos: PhotoOptions | None = None,
    model_folder: Path | None = None,
    needs_points: bool = True,
    needs_training: bool = True,
    test_list: Path | Sequence[str] | None = None,
) -> Scene:
    """Loads a COLMAP data set: poses, points and where the photos are, but no pixels yet.

    Args:
        root: folder of the data set, see ``layout``.
        name: name of the scene in results and messages.
        downscale: read ``images_{downscale}``; 1 reads ``images``. Intrinsics follow the size
            that each photo has in the end.
        test_every: hold out every k-th view in sorted order, from the first; 0 holds out none.
        normalize: the world to take the scene to, see ``normalize``; ``none`` keeps COLMAP's.
        normalized_from_colmap: [4, 4], the world that was found when a model was trained, whatever
            the cameras and points say now; None: found here.
        photos: which pixels the views are made of.
        model_folder: where the model, or a choice of models, lies; None: where ``root`` has it.
        needs_points: refuse a model without a point that can be used.
        needs_training: refuse a split that leaves no view to train on.
        test_list: a file with the names of the views to hold out, or what was found in it before;
            then ``test_every`` does not count.

    Raises:
        SceneError: what is missing, damaged or contradictory, in one line.
    """
    root, photos = Path(root), photos or PhotoOptions()
    model = read_scene_model(model_folder or root)
    doubts = check_model(model, needs_points=needs_points)
    names = [image.name for image in model.images]
    layout = Layout(root, model.folder, names)
    source = choose_photos(layout, downscale, photos)
    files = find_photos(source.folder, names)
    check_missing(source.folder, names, files, skip=photos.skip_missing)
    images = [image for image in model.images if image.name in files]
    test_names = _test_names(test_list, names)
    test_every = 0 if test_list is not None else test_every
    check_split(len(images), test_every, scene=name, needs_training=needs_training)
    headers = read_headers([files[image.name] for image in images])
    sizes = [header.size for header in headers]
    doubts += check_sizes(images, sizes, 1 if source.resize_filter else downscale)
    found = {image.name: files[image.name] for image in images}
    masks = _mask_sources(layout, downscale, source, found, headers, photos.masks)

    poses = np.stack([image.cam_from_world for image in images])
    points, colors, dropped = _usable_points(model.points, model.colors, poses)
    if needs_points and not len(points):
        raise _no_points(model.folder, dropped)
    found_names = [image.name for image in images]
    doubts = [*doubts_of_places(found_names, camera_centers(poses), points, dropped), *doubts]
    similarity = normalized_from_colmap
    if similarity is None:
        similarity = normalizing_transform(poses, points, normalize)
    views = tuple(
        replace(
            _view(image, files[image.name], header.size, source),
            cam_from_world=pose,
            mask=masks.get(image.name),
        )
        for image, header, pose in zip(
            images, headers, transform_poses(similarity, poses), strict=True
        )
    )
    return Scene(
        name=name,
        root=root,
        image_dir=source.folder.relative_to(root).as_posix(),
        downscale=downscale,
        views=views,
        test_every=test_every,
        test_names=test_names,
        points=transform_points(similarity, points).astype(np.float32),
        colors=colors,
        normalized_from_colmap=similarity,
        dropped_points=dropped,
        model_dir=model.folder.relative_to(root).as_posix(),
        image_source="resized" if source.resize_filter else "as found",
        resize_filter=source.resize_filter,
        undistorted=any(view.recipe and view.recipe.lens for view in views),
        masks=any(map(may_have_mask, views)),
        model_digest=model_digest(model),
        doubts=tuple(doubts),
        cameras_digest=cameras_digest(model),
    )


def _test_names(test_list: Path | Sequence[str] | None, names: Sequence[str]) -> frozenset[str]:
    if isinstance(test_list, Path):
        return held_out(read_test_list(test_list), names, path=test_list)
    return frozenset(test_list or ())


def choose_photos(layout: Layout, downscale: int, options: PhotoOptions) -> PhotoSource:
    """Returns the photos that the options ask for; whether they are there is not looked at.

    Raises:
        SceneError: a factor below 1, or an option without an effect.
    """
    folder = layout.images(downscale)
    wanted = options.image_source == "resized"
    if wanted and downscale == 1:
        raise SceneError(
            "resized has no effect at --downscale 1, where images/ is used as found",
            expected="expected a factor of 2 or more",
            action="give one, or leave the option out",
            option="data.image-source",
        )
    is_made = wanted or (options.image_source == "auto" and downscale > 1 and not folder.is_dir())
    if is_made:
        chosen = options.resize_filter or DEFAULT_FILTER
        return PhotoSource(layout.images(1), downscale, chosen)
    if options.resize_filter is not None:
        raise SceneError(
            f"{options.resize_filter} has no effect: {folder} is used as found",
            expected="expected photos to resize",
            action="leave it out, or add --data.image-source resized to a --downscale of 2 or more",
            option="data.resize-filter",
        )
    return PhotoSource(folder, 1, None)


def _usable_points(
    points: np.ndarray, colors: np.ndarray, poses: np.ndarray
) -> tuple[np.ndarray, np.ndarray, int]:
    """Returns points and colours that can be used, and the number of those that cannot."""
    usable = is_usable_point(points, camera_centers(poses))
    return points[usable], colors[usable], int((~usable).sum())


def _no_points(folder: Path, dropped: int) -> SceneError:
    found = f"none of {dropped} points is finite and away from the cameras"
    return SceneError(
        f"{folder}: {found if dropped else 'holds 0 points'}",
        expected="expected a point cloud of the scene",
        action="run colmap mapper again, or train without: gs-train --init random, or gs-train"
        " --init FILE.ply with points of another program",
    )


def _mask_sources(
    layout: Layout,
    downscale: int,
    source: PhotoSource,
    photos: dict[str, Path],
    headers: list[Header],
    masks: str,
) -> dict[str, MaskSource]:
    """Returns the mask of each photo that has one, as a file or an alpha channel."""
    alphas = {name for name, one in zip(photos, headers, strict=True) if one.is_transparent}
    if masks == "none":
        if alphas:
            message = (
                "%s: transparent pixels of %d of %d photos count, with the colours stored there"
            )
            _log.warning(message, layout.root, len(alphas), len(photos))
        return {}
    beside = [source.folder, layout.images(1)]
    files = find_masks(layout.masks(downscale), beside, photos)
    unused = [] if files else layout.named_like_masks()
    if unused:
        message = "%s is not used: masks are read from %s"
        _log.log(DOUBT, message, unused[0], layout.root / "masks")
    if masks == "invert" and not files and not alphas:
        raise SceneError(
            f"invert has no effect: {layout.root} has neither masks/ nor photos with an alpha"
            " channel",
            expected="expected one of them",
            action="leave the option out",
            option="data.masks",
        )
    if files or alphas:
        message = "%s: masks of %d and alpha channels of %d of %d photos say which pixels count"
        _log.warning(message, layout.root, len(files), len(alphas), len(photos))
    return {
        name: MaskSource(files.get(name), name in alphas, masks == "invert")
        for name in sorted({*files, *alphas})
    }


def _view(image: PosedImage, path: Path, size: Size, source: PhotoSource) -> View:
    """Returns a view in COLMAP's world, at the size that its photo has after resizing and
    undistorting.
    """
    _check_aspect(image, path, size)
    if source.resize_filter is not None:
        size = reduced_size(size, source.factor)
    is_as_found = source.resize_filter is None and image.lens is None
    recipe = None if is_as_found else Recipe(size, source.resize_filter, image.lens)
    if image.lens is None:
        K = np.diag([size[0] / image.width, size[1] / image.height, 1.0]) @ image.K
    else:
        undistorted = undistortion(image.lens, size)
        K, size = undistorted.K, undistorted.size
    return View(
        name=image.name,
        path=path,
        camera_id=image.camera_id,
        cam_from_world=image.cam_from_world,
        K=K,
        width=size[0],
        height=size[1],
        colmap_size=(image.width, image.height),
        recipe=recipe,
    )


def _check_aspect(image: PosedImage, path: Path, size: Size) -> None:
    """Refuses a photo that is cropped or rotated; rounding each side to pixels is fine."""
    expected = (image.width, image.height)
    if is_resized(size, expected):
        return
    advice = "use the photos that COLMAP saw, or a resized copy without crop or rotation"
    if is_resized(size[::-1], expected):
        advice = (
            "it was turned by 90 degrees after COLMAP saw it, or before: turn it back"
            if not is_turned_by_exif(path)
            else "its EXIF orientation asks to turn it, and COLMAP's camera is that of the turned"
            " photo: turn the pixels themselves (mogrify -auto-orient)"
        )
    raise SceneError(
        f"{path} has {size[0]}x{size[1]} pixels but COLMAP's camera {image.camera_id} has"
        f" {image.width}x{image.height}",
        expected="expected the same aspect ratio",
        action=advice,
    )
