"""Builds the protocol block of a scene that is scored."""

from collections import Counter
from collections.abc import Mapping
from types import MappingProxyType

from gs_densify.evaluation.metrics import find_metric
from gs_densify.evaluation.metrics.lpips import lpips_record
from gs_densify.evaluation.metrics.ssim import ssim_implementation
from gs_densify.evaluation.scoring import Scoring
from gs_densify.results import Conditions, ImageSize, Protocol
from gs_densify.results.protocol import PSNR
from gs_densify.scene.scene import Scene


def build_protocol(
    scene: Scene,
    scoring: Scoring,
    *,
    name: str,
    is_official: bool,
    conditions: Conditions,
    unknown_weights: Mapping[str, str] = MappingProxyType({}),
) -> Protocol:
    """Describes how `scene` is scored.

    Args:
        scene: the scene as it was loaded.
        scoring: what was measured, and how.
        name: of the protocol.
        is_official: an image folder with a factor is the data set's own.
        conditions: of the model that is scored.
        unknown_weights: of the evaluation.
    """
    sizes = Counter((view.width, view.height) for view in scene.views)
    every = scene.test_every
    return Protocol(
        name=name,
        scene_name=scene.name,
        image_dir=scene.image_dir,
        image_source=_image_source(scene, is_official),
        resize_filter=scene.resize_filter,
        downscale=scene.downscale,
        sizes=[
            ImageSize(width=width, height=height, count=count)
            for (width, height), count in sorted(sizes.items())
        ],
        undistorted=scene.undistorted,
        masks=scene.masks,
        test_every=every,
        split_rule=_split_rule(every, len(scene.test_names)),
        test_images=[view.name for view in scene.test_views],
        n_train=len(scene.train_views),
        n_test=len(scene.test_views),
        quantisation=scoring.quantisation,
        background=(0.0, 0.0, 0.0),
        psnr=PSNR,
        ssim_borders=scoring.ssim_borders,
        ssim=ssim_implementation(scoring.ssim_borders),
        lpips={name: lpips_record(name, unknown_weights.get(name)) for name in scoring.lpips},
        metrics={name: find_metric(name).record() for name in scoring.metrics},
        conditions=conditions,
    )


def _split_rule(every: int, listed: int) -> str:
    if listed:
        return f"the {listed} names of a list are test views"
    if every == 1:
        return "all views are test views"
    if every == 0:
        return "all views are trained on; none is a test view"
    return f"names sorted; every {every}th from the first is a test view"


def _image_source(scene: Scene, is_official: bool) -> str:
    if scene.image_source == "as found" and is_official and scene.downscale > 1:
        return "official"
    return scene.image_source
