"""The protocol block: all that must agree before two scores may be compared."""

from collections import Counter
from collections.abc import Sequence

from gs_densify.data.scene import Scene
from gs_densify.evaluation.lpips import lpips_record
from gs_densify.evaluation.metrics import ssim_implementation
from gs_densify.results import ImageSize, Protocol


def build_protocol(scene: Scene, lpips_names: Sequence[str], *, is_preset: bool) -> Protocol:
    """Describe how `scene` is evaluated; a preset's downscaled folders are the data set's own."""
    sizes = Counter((view.width, view.height) for view in scene.views)
    every = scene.test_every
    return Protocol(
        scene_name=scene.name,
        image_dir=scene.image_dir,
        image_source="official" if is_preset and scene.downscale > 1 else "as found",
        downscale=scene.downscale,
        sizes=[
            ImageSize(width=width, height=height, count=count)
            for (width, height), count in sorted(sizes.items())
        ],
        test_every=every,
        split_rule=f"names sorted; every {every}th from the first is a test view",
        test_images=[view.name for view in scene.test_views],
        n_train=len(scene.train_views),
        n_test=len(scene.test_views),
        ssim=ssim_implementation(),
        lpips={name: lpips_record(name) for name in lpips_names},
    )
