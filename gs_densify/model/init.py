"""The parameters of a Gaussian model and their optimisers.

`splats` everywhere means a dict of `means [N,3]`, `scales [N,3]` (log), `quats [N,4]` (wxyz),
`opacities [N]` (logit), `sh0 [N,1,3]` and `shN [N,K-1,3]`, in the scene's normalised world.
"""

import math
from collections.abc import Mapping

import numpy as np
import torch
from scipy.spatial import cKDTree
from torch import Tensor

from gs_densify.errors import SceneError
from gs_densify.model import adam
from gs_densify.model.sh import num_sh_bases, rgb_to_sh0
from gs_densify.model.types import Splats

NAMES = ("means", "scales", "quats", "opacities", "sh0", "shN")


def sh_degree_of(splats: Splats) -> int:
    """Returns the highest SH degree that the stored coefficients hold."""
    return math.isqrt(splats["sh0"].shape[1] + splats["shN"].shape[1]) - 1


def with_sh_degree(splats: Splats, degree: int) -> dict[str, Tensor]:
    """Returns the Gaussians with SH coefficients up to `degree`: others are left out, new are 0."""
    rest = splats["shN"].detach()
    wanted = num_sh_bases(degree) - 1
    added = rest.new_zeros(len(rest), max(0, wanted - rest.shape[1]), 3)
    return {**splats, "shN": torch.cat([rest[:, :wanted], added], dim=1)}


def neighbour_distances(points: np.ndarray, *, floor: float) -> np.ndarray:
    """Returns the root mean squared distance [P] to the 3 nearest other points, at least `floor`.

    The floor keeps the log-scale of duplicated points finite (Inria's code clamps likewise).
    """
    if len(points) < 2:
        return np.full(len(points), max(floor, 1.0), dtype=np.float32)
    neighbours = min(4, len(points))
    distances, _ = cKDTree(points).query(points, k=neighbours, workers=-1)
    rms = np.sqrt((distances[:, 1:] ** 2).mean(axis=1))
    return np.maximum(rms, floor).astype(np.float32)


def create_splats(
    points: np.ndarray,
    colors: np.ndarray,
    *,
    scene_scale: float,
    sh_degree: int,
    init_opacity: float,
    init_scale: float,
    device: torch.device,
) -> torch.nn.ParameterDict:
    """Creates isotropic Gaussians at SfM points [P,3] with colours [P,3] uint8 (3DGS, section 5).

    `init_scale` multiplies the distance to the 3 nearest neighbours, `init_opacity` is in (0, 1).
    """
    if len(points) == 0:
        raise SceneError(
            "no SfM point is left to start from",
            expected="the COLMAP model must hold points",
        )
    distances = neighbour_distances(points, floor=1e-6 * scene_scale)
    count = len(points)
    log_scales = torch.from_numpy(np.log(distances * init_scale))[:, None].repeat(1, 3)
    quats = torch.zeros(count, 4)
    quats[:, 0] = 1.0
    values = {
        "means": torch.from_numpy(np.ascontiguousarray(points, dtype=np.float32)),
        "scales": log_scales,
        "quats": quats,
        "opacities": torch.full((count,), math.log(init_opacity / (1 - init_opacity))),
        "sh0": rgb_to_sh0(torch.from_numpy(colors.astype(np.float32) / 255.0))[:, None, :],
        "shN": torch.zeros(count, num_sh_bases(sh_degree) - 1, 3),
    }
    return to_parameters(values, device)


def to_parameters(values: Mapping[str, Tensor], device: torch.device) -> torch.nn.ParameterDict:
    """Returns the trainable form of plain tensors."""
    return torch.nn.ParameterDict(
        {
            name: torch.nn.Parameter(value.detach().float().to(device).contiguous())
            for name, value in values.items()
        }
    )


def create_optimizers(
    splats: Splats,
    learning_rates: Mapping[str, float],
    *,
    batch_size: int = 1,
    weight_decay: float = 0.0,
) -> dict[str, torch.optim.Optimizer]:
    """Creates one Adam for each parameter, in one group each, as gsplat's operations expect.

    With several views a step, learning rates grow with the square root of the batch and the
    moments' decay is set so that they span the same number of views
    (Malladi et al., arXiv 2205.10287; gsplat's trainer does the same).
    """
    betas = (1 - batch_size * (1 - 0.9), 1 - batch_size * (1 - 0.999))
    kind = adam.QuickAdamW if weight_decay > 0 else adam.QuickAdam
    return {
        name: kind(
            [{"params": parameter, "name": name}],
            lr=learning_rates[name] * math.sqrt(batch_size),
            betas=betas,
            eps=1e-15 / math.sqrt(batch_size),
            weight_decay=weight_decay,
            fused=True,
        )
        for name, parameter in splats.items()
    }
