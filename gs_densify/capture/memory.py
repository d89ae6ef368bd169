"""GPU memory that a training needs, from the number of photos, their sizes and the Gaussians."""

from collections.abc import Iterable
from dataclasses import dataclass

from gs_densify.scene.scene import Size

_FLOATS = 59
"""Of a Gaussian with SH degree 3: mean 3, scales 3, quaternion 4, opacity 1, colours 48."""
_COPIES = 4
"""Each is a float32 parameter with a gradient and Adam's two moments."""
_WORKING_BYTES = 870
"""For each Gaussian while views are rendered: colours gathered for the kernels, projections, and
their gradients. What a measured peak of adaptive leaves over, see docs/capture.md."""
_OFFLOADED_FLOATS = 45
"""Of these, what --render.offload keeps in host memory: SH coefficients above degree 0."""
_OFFLOADED_WORKING_BYTES = 480
"""While views are rendered with it: with the coefficients that are gathered, see
docs/performance.md."""


@dataclass(frozen=True)
class GpuMemory:
    """Bytes on the GPU."""

    gaussians: int
    """Number of Gaussians that is assumed."""
    photos: int
    """Training photos as 8-bit RGB, and their masks; 0 where they stay in host memory."""
    photos_on_host: bool
    model: int
    """Parameters, gradients, Adam's moments."""
    working: int
    """While a view is rendered."""

    @property
    def total(self) -> int:
        """Returns the sum of the parts."""
        return self.photos + self.model + self.working


def gpu_memory(
    sizes: Iterable[Size],
    gaussians: int,
    image_budget: float,
    *,
    has_masks: bool = False,
    is_offloaded: bool = False,
) -> GpuMemory:
    """Returns the expected memory; see docs/capture.md for the formula and how near it comes.

    Args:
        sizes: of the photos to train on.
        gaussians: number of Gaussians at the end of training.
        image_budget: bytes of photos above which the trainer keeps them in host memory.
        has_masks: whether any photo has one; every photo then takes a fourth channel.
        is_offloaded: whether SH coefficients above degree 0 lie in host memory (--render.offload).
    """
    photos = sum((4 if has_masks else 3) * width * height for width, height in sizes)
    fits = photos <= image_budget
    return GpuMemory(
        gaussians=gaussians,
        photos=photos if fits else 0,
        photos_on_host=not fits,
        model=gaussians * (_FLOATS - _OFFLOADED_FLOATS * is_offloaded) * _COPIES * 4,
        working=gaussians * (_OFFLOADED_WORKING_BYTES if is_offloaded else _WORKING_BYTES),
    )
