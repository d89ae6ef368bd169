"""Random Gaussians and cameras, and a renderer that is slow and plain enough to be trusted."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from scipy.spatial import cKDTree
from torch import Tensor


@dataclass
class Scene:
    means: Tensor
    quats: Tensor
    scales: Tensor
    opacities: Tensor
    sh: Tensor
    viewmats: Tensor
    Ks: Tensor
    width: int
    height: int

    @property
    def parameters(self) -> list[Tensor]:
        return [self.means, self.quats, self.scales, self.opacities, self.sh]

    @property
    def arguments(self) -> tuple:
        return (*self.parameters, self.viewmats, self.Ks, self.width, self.height)

    def requires_grad(self) -> Scene:
        for name in ("means", "quats", "scales", "opacities", "sh"):
            setattr(self, name, getattr(self, name).detach().clone().requires_grad_())
        return self

    def to(self, *args: object) -> Scene:
        tensors = {k: v.detach().to(*args) for k, v in vars(self).items() if torch.is_tensor(v)}
        return Scene(**{**vars(self), **tensors})


def cameras(count: int, width: int, height: int) -> tuple[Tensor, Tensor]:
    """Cameras around the origin, turned a little, with an off-centre principal point."""
    viewmats, Ks = [], []
    for i in range(count):
        angle = torch.tensor(0.4 * i + 0.1, dtype=torch.float64)
        c, s = angle.cos(), angle.sin()
        view = torch.eye(4, dtype=torch.float64)
        view[0, 0], view[0, 2], view[2, 0], view[2, 2] = c, s, -s, c
        view[:3, 3] = torch.tensor([0.05, -0.1, 4.0 + 0.2 * i])
        focal = 1.1 * width
        intrinsics = torch.tensor(
            [[focal, 0, 0.52 * width], [0, 1.07 * focal, 0.47 * height], [0, 0, 1]],
            dtype=torch.float64,
        )
        viewmats.append(view)
        Ks.append(intrinsics)
    return torch.stack(viewmats), torch.stack(Ks)


def random_scene(
    n: int,
    width: int = 24,
    height: int = 20,
    n_cameras: int = 1,
    dtype: torch.dtype = torch.float64,
    seed: int = 0,
    size: float = 0.15,
    max_opacity: float = 0.9,
) -> Scene:
    """N anisotropic Gaussians in a box in front of the cameras; some reach over the edge."""
    generator = torch.Generator().manual_seed(seed)

    def uniform(*shape: int) -> Tensor:
        return torch.rand(*shape, generator=generator, dtype=torch.float64)

    viewmats, Ks = cameras(n_cameras, width, height)
    return Scene(
        means=(uniform(n, 3) - 0.5) * torch.tensor([4.5, 4.0, 3.0], dtype=torch.float64),
        quats=uniform(n, 4) - 0.5,
        scales=size * (0.3 + 1.7 * uniform(n, 3)),
        opacities=0.05 + (max_opacity - 0.05) * uniform(n),
        sh=(uniform(n, 16, 3) - 0.5) * torch.tensor([2.0] + [0.4] * 15)[:, None],
        viewmats=viewmats,
        Ks=Ks,
        width=width,
        height=height,
    ).to(dtype)


def surface_scene(
    n: int, width: int, height: int, dtype: torch.dtype = torch.float32, seed: int = 0
) -> Scene:
    """What training starts from: points on a surface, sized by their 3 neighbours, opacity 0.1."""
    generator = torch.Generator().manual_seed(seed)
    plane = (torch.rand(n, 2, generator=generator, dtype=torch.float64) - 0.5) * 4.0
    height_map = 0.5 * torch.sin(2.1 * plane[:, 0]) * torch.cos(1.7 * plane[:, 1])
    means = torch.cat([plane, height_map[:, None]], dim=-1)
    nearest = torch.from_numpy(cKDTree(means).query(means, k=4)[0])
    scene = random_scene(n, width, height, dtype=torch.float64, seed=seed)
    scene.means = means
    scene.quats = torch.randn(n, 4, generator=generator, dtype=torch.float64)
    scene.scales = nearest[:, 1:].square().mean(1).sqrt()[:, None].expand(-1, 3)
    scene.opacities = torch.full((n,), 0.1, dtype=torch.float64)
    return scene.to(dtype)


def brute_force(
    means2d: Tensor,
    conics: Tensor,
    depths: Tensor,
    opacities: Tensor,
    colors: Tensor,
    width: int,
    height: int,
    visible: Tensor,
) -> tuple[Tensor, Tensor, Tensor]:
    """One camera, pixel by pixel and Gaussian by Gaussian, differentiated by autograd.

    Takes [N, ...] tensors. Returns the image [H, W, D], alpha [H, W] and weights [H, W, N].
    """
    order = torch.argsort(depths, stable=True).tolist()
    image, alpha, weights = [], [], []
    for row in range(height):
        for column in range(width):
            pixel = means2d.new_tensor([column + 0.5, row + 0.5])
            transmittance = means2d.new_ones(())
            own = [means2d.new_zeros(())] * len(order)
            for k in order:
                if not visible[k]:
                    continue
                d = means2d[k] - pixel
                a, b, c = conics[k]
                sigma = (a * d[0] ** 2 + c * d[1] ** 2) / 2 + b * d[0] * d[1]
                value = (opacities[k] * torch.exp(-sigma)).clamp(max=0.999)
                if sigma < 0 or value < 1 / 255:
                    continue
                if transmittance * (1 - value) <= 1e-4:
                    break
                own[k] = value * transmittance
                transmittance = transmittance * (1 - value)
            weights.append(torch.stack(own))
            image.append(weights[-1] @ colors)
            alpha.append(1 - transmittance)
    shape = (height, width)
    return (
        torch.stack(image).unflatten(0, shape),
        torch.stack(alpha).unflatten(0, shape),
        torch.stack(weights).unflatten(0, shape),
    )
