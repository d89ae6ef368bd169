"""From a camera and what to show to the pixels of a window."""

import dataclasses
import math
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Literal, get_args

import numpy as np
import torch
from torch import Tensor

from gs_densify.evaluation.quantisation import quantize
from gs_densify.images.heat import heat
from gs_densify.memory.shortage import shortage_in_words
from gs_densify.model.init import sh_degree_of
from gs_densify.model.types import Splats
from gs_densify.rendering.base import RenderOutput
from gs_densify.rendering.renderer import Renderer
from gs_densify.viewer.camera import Camera
from gs_densify.viewer.comparison import compared
from gs_densify.viewer.shots import Shot

Quantity = Literal["colour", "depth", "alpha"]
QUANTITIES: tuple[Quantity, ...] = get_args(Quantity)

_INVISIBLE = -30.0
"""Opacity logit of a Gaussian that is left out: far below 1/255, where rasterisers drop it."""
_NEAR_QUANTILE = 0.02
"""Share of the pixels that may be nearer than the depth that has the last colour."""


@dataclasses.dataclass(frozen=True)
class Look:
    """What a window shows of a model."""

    sh_degree: int
    """Degree up to which colours depend on the direction, at most the model's."""
    quantity: Quantity = "colour"
    background: tuple[float, float, float] = (0.0, 0.0, 0.0)
    """RGB in [0, 1], behind colour and depth."""
    scale: float = 1.0
    """Factor on the size of every Gaussian."""
    min_opacity: float = 0.0
    """Gaussians of less opacity are left out."""
    beside: Shot | None = None
    """A shot with a photo; where the window looks from there, it shows both, and the error."""


class Painter:
    """Draws one model for every window, one picture at a time."""

    def __init__(self, renderer: Renderer, splats: Splats) -> None:
        self.renderer = renderer
        self.splats = {name: value.detach() for name, value in splats.items()}
        self.sh_degree = sh_degree_of(splats)
        self._one_at_a_time = threading.Lock()

    @property
    def device(self) -> torch.device:
        """Returns the device on which the model lies."""
        return self.splats["means"].device

    def picture(self, camera: Camera, width: int, height: int, look: Look) -> np.ndarray:
        """Returns what `camera` sees, uint8 [height, width, 3].

        Raises:
            BackendError: where the GPU's memory does not hold the picture.
        """
        with self._drawing(width, height):
            painted = quantize(self.paint(camera, width, height, look))
            return painted.mul(255).round().byte().cpu().numpy()

    @torch.no_grad()
    def comparison(self, shot: Shot, width: int, height: int) -> np.ndarray:
        """Returns the photo of a shot beside its render and its error, uint8 [height, width, 3].

        Raises:
            BackendError: where the GPU's memory does not hold the picture.
            SceneError: where the photo cannot be read any more.
        """
        with self._drawing(width, height):
            return compared(self.renderer, self.splats, shot, width, height)

    @contextmanager
    def _drawing(self, width: int, height: int) -> Iterator[None]:
        count = len(self.splats["means"])
        picture = f"for a picture of {width}x{height} pixels of {count:,} Gaussians"
        remedies = {"cuda": "free memory, or use --device cpu", "cpu": "free memory"}
        with shortage_in_words(lambda: picture, remedies), self._one_at_a_time:
            yield

    def warm_up(self) -> None:
        """Draws a small picture: the rasteriser is compiled, or fails, before a window opens."""
        ahead = Camera((1.0, 0.0, 0.0, 0.0), (0.0, 0.0, 0.0), fov=1.0, aspect=1.0)
        self.picture(ahead, 16, 16, Look(sh_degree=self.sh_degree))

    @torch.no_grad()
    def paint(self, camera: Camera, width: int, height: int, look: Look) -> Tensor:
        """Returns what `camera` sees, [height, width, 3] float, not clamped above."""
        viewmat = torch.from_numpy(camera.viewmat()).float().to(self.device)
        K = torch.from_numpy(camera.intrinsics(width, height)).float().to(self.device)
        background = torch.tensor(look.background, device=self.device)
        output = self.renderer(
            _adjusted(self.splats, look),
            viewmat[None],
            K[None],
            width,
            height,
            sh_degree=look.sh_degree,
            backgrounds=background[None],
            aux=self._depths(viewmat) if look.quantity == "depth" else None,
        )
        if look.quantity == "colour":
            return output.image[0]
        if look.quantity == "depth":
            return _depth_in_colors(output, background)
        return output.alpha[0].expand(-1, -1, 3)

    def _depths(self, viewmat: Tensor) -> Tensor:
        """Returns the depth of every centre along the optical axis, [N, 1]."""
        return (self.splats["means"] @ viewmat[2, :3] + viewmat[2, 3])[:, None]


def _adjusted(splats: Splats, look: Look) -> Splats:
    """Returns the parameters with the sizes and the omissions that `look` asks for."""
    changed = dict(splats.items())
    if look.scale != 1.0:
        changed["scales"] = splats["scales"] + math.log(look.scale)
    if look.min_opacity > 0.0:
        kept = torch.sigmoid(splats["opacities"]) >= look.min_opacity
        changed["opacities"] = torch.where(kept, splats["opacities"], _INVISIBLE)
    return changed


def _depth_in_colors(output: RenderOutput, background: Tensor) -> Tensor:
    """Returns near over depth, [H, W, 3], in the colours of `heat`: black is infinitely far.

    The depth of a pixel is the mean of its Gaussians', weighted by what each adds to it.
    """
    assert output.aux is not None
    alpha = output.alpha[0]
    depth = output.aux[0] / alpha.clamp_min(1e-6)
    solid = depth[alpha > 0.5]
    near = solid.kthvalue(1 + int(_NEAR_QUANTILE * (len(solid) - 1))).values if len(solid) else 0.0
    nearness = (near / depth.clamp_min(1e-6)).clamp(max=1.0)[..., 0]
    colors = torch.from_numpy(heat(nearness.cpu().numpy())).to(alpha.device) / 255
    return colors * alpha + background * (1 - alpha)
