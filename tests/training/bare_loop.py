"""3DGS' training loop once more, in float64 and in the plainest form: the trainer is held to it.

Written from the paper (arXiv 2308.04079, sections 4, 5.1 and 7.1), Kingma & Ba (arXiv 1412.6980)
and Wang et al. 2004. Of the package it takes the reference rasteriser alone, which has tests of
its own.
"""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn.functional import conv2d

from gs_densify.rendering.base import RenderSettings
from gs_densify.rendering.reference.rasterizer import ReferenceRasterizer


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """The numbers of a run; those given here are the paper's."""

    steps: int
    radius: float
    """Of the scene, with its margin."""
    near_plane: float
    means: float = 1.6e-4
    means_final: float = 0.01
    rates: Mapping[str, float] = field(
        default_factory=lambda: {
            **{"scales": 5e-3, "quats": 1e-3, "opacities": 5e-2},
            **{"sh0": 2.5e-3, "shN": 2.5e-3 / 20},
        }
    )
    others_final: float = 1.0
    weight_decay: float = 0.0
    ssim: float = 0.2
    opacity_reg: float = 0.0
    scale_reg: float = 0.0
    sh_degree_every: int = 1000
    batch_size: int = 1
    update_every: int = 1
    antialiased: bool = False
    background_seed: int | None = None
    """Of random backgrounds; None: black."""


class View(NamedTuple):
    """A camera [4,4], [3,3], its photo [H,W,3] in [0,1] and the pixels that have a part [H,W,1]."""

    viewmat: Tensor
    K: Tensor
    photo: Tensor
    valid: Tensor


class Step(NamedTuple):
    """What a step was: its loss and two terms of it, the summed gradients, and what they moved."""

    loss: float
    l1: float
    ssim_loss: float
    gradients: dict[str, Tensor]
    values: dict[str, Tensor]


def train(
    start: Mapping[str, Tensor],
    views: Sequence[View],
    batches: Sequence[Sequence[int]],
    recipe: Recipe,
) -> Iterator[Step]:
    """Train on the views of each batch in turn, from `start`."""
    values = {
        name: value.detach().double().clone().requires_grad_() for name, value in start.items()
    }
    moments = {name: (0, torch.zeros_like(v), torch.zeros_like(v)) for name, v in values.items()}
    sums: dict[str, Tensor] = {}
    random = torch.Generator().manual_seed(recipe.background_seed or 0)
    for step, batch in enumerate(batches):
        black = recipe.background_seed is None
        behind = [torch.zeros(3) if black else torch.rand(3, generator=random) for _ in batch]
        degree = min(3, step // recipe.sh_degree_every)
        renders = [
            _render(values, views[i], degree, colour, recipe)
            for i, colour in zip(batch, behind, strict=True)
        ]
        errors = [_errors(render, views[i]) for i, render in zip(batch, renders, strict=True)]
        l1, ssim_loss = torch.stack(errors).mean(dim=0)
        loss = (1 - recipe.ssim) * l1 + recipe.ssim * ssim_loss
        loss = loss + recipe.opacity_reg * torch.sigmoid(values["opacities"]).mean()
        loss = loss + recipe.scale_reg * torch.exp(values["scales"]).mean()
        found = torch.autograd.grad(loss, list(values.values()), allow_unused=True)
        for name, gradient in zip(values, found, strict=True):
            if gradient is not None:  # of shN at degree 0: Adam's steps begin at the first one
                sums[name] = sums.get(name, 0) + gradient
        gradients = dict(sums)
        if (step + 1) % recipe.update_every == 0 or step + 1 == recipe.steps:
            decayed = recipe.means * recipe.radius * recipe.means_final ** (step / recipe.steps)
            late = max(0.0, step - recipe.steps / 2) / (recipe.steps / 2)
            for name, gradient in sums.items():
                others = recipe.rates.get(name, 0.0) * recipe.others_final**late
                rate = decayed if name == "means" else others
                _adam(values[name], gradient, moments, name, rate, recipe)
            sums = {}
        moved = {name: value.detach().clone() for name, value in values.items()}
        yield Step(loss.item(), l1.item(), ssim_loss.item(), gradients, moved)


@torch.no_grad()
def _adam(
    value: Tensor, gradient: Tensor, moments: dict, name: str, rate: float, recipe: Recipe
) -> None:
    """Adam with decoupled decay; for B views a step by the square-root rule (arXiv 2205.10287)."""
    views = recipe.batch_size
    beta1, beta2, rate = 1 - views * 0.1, 1 - views * 0.001, rate * math.sqrt(views)
    count, first, second = moments[name]
    count += 1
    first = beta1 * first + (1 - beta1) * gradient
    second = beta2 * second + (1 - beta2) * gradient**2
    moments[name] = count, first, second
    root = torch.sqrt(second / (1 - beta2**count))
    value *= 1 - rate * recipe.weight_decay
    value -= rate * first / (1 - beta1**count) / (root + 1e-15 / math.sqrt(views))


def _render(
    values: Mapping[str, Tensor], view: View, degree: int, background: Tensor, recipe: Recipe
) -> Tensor:
    centre = torch.linalg.inv(view.viewmat)[:3, 3]
    coefficients = torch.cat([values["sh0"], values["shN"]], dim=1) if degree else values["sh0"]
    toward = torch.nn.functional.normalize(values["means"] - centre, dim=-1)
    bases = spherical_harmonics(toward, degree)
    colors = torch.relu((bases[..., None] * coefficients[:, : bases.shape[1]]).sum(1) + 0.5)
    return ReferenceRasterizer()(
        values["means"],
        values["quats"],
        torch.exp(values["scales"]),
        torch.sigmoid(values["opacities"]),
        colors,
        view.viewmat[None],
        view.K[None],
        view.photo.shape[1],
        view.photo.shape[0],
        sh_degree=None,
        backgrounds=background.double()[None],
        settings=RenderSettings(antialiased=recipe.antialiased, near_plane=recipe.near_plane),
    ).image[0]


def spherical_harmonics(direction: Tensor, degree: int) -> Tensor:
    """Real harmonics [N,(degree+1)^2] of unit vectors, by the recursion of Legendre's functions."""
    x, y, z = direction.unbind(-1)
    bases = []
    for l in range(degree + 1):  # noqa: E741
        for m in range(-l, l + 1):
            k = abs(m)
            below, legendre = (
                torch.zeros_like(z),
                torch.ones_like(z) * math.prod(range(-1, -2 * k, -2)),
            )
            for n in range(k + 1, l + 1):
                above = ((2 * n - 1) * z * legendre - (n + k - 1) * below) / (n - k)
                below, legendre = legendre, above
            around = torch.complex(x, y) ** k
            norm = (2 * l + 1) / (4 * math.pi) * math.factorial(l - k) / math.factorial(l + k)
            bases.append(
                math.sqrt(norm * (2 if m else 1))
                * legendre
                * (around.imag if m < 0 else around.real)
            )
    return torch.stack(bases, dim=-1)


def _errors(render: Tensor, view: View) -> Tensor:
    """L1 and 1 - SSIM [2] of one view, as means over the pixels that have a part."""
    shown = torch.where(view.valid, render, view.photo)
    errors = (shown - view.photo).abs().mean(), (1 - ssim(shown, view.photo)).mean()
    return torch.stack(errors) / view.valid.double().mean()


def ssim(first: Tensor, second: Tensor) -> Tensor:
    """SSIM [3,1,H-10,W-10] of images [H,W,3] where its 11x11 window (sigma 1.5) fits."""
    offsets = torch.arange(11, dtype=torch.float64) - 5
    window = torch.exp(-(offsets[:, None] ** 2 + offsets**2) / (2 * 1.5**2))

    def mean(image: Tensor) -> Tensor:
        return conv2d(image.permute(2, 0, 1)[:, None], (window / window.sum())[None, None])

    a, b = mean(first), mean(second)
    spread = mean(first**2) - a**2 + mean(second**2) - b**2
    together = mean(first * second) - a * b
    c1, c2 = 0.01**2, 0.03**2
    return (2 * a * b + c1) * (2 * together + c2) / ((a**2 + b**2 + c1) * (spread + c2))


def first_values(points: Tensor, colors: Tensor, *, opacity: float = 0.1) -> dict[str, Tensor]:
    """The model that training begins with: a ball at each point, as wide as to its neighbours."""
    squares = (points[:, None] - points[None]).square().sum(-1).sort(dim=1).values[:, 1:4]
    count = len(points)
    return {
        "means": points,
        "scales": squares.mean(dim=1).sqrt().log()[:, None].expand(-1, 3),
        "quats": torch.tensor([[1.0, 0, 0, 0]]).double().expand(count, -1),
        "opacities": torch.full((count,), math.log(opacity / (1 - opacity))).double(),
        "sh0": ((colors / 255 - 0.5) * math.sqrt(4 * math.pi))[:, None],
        "shN": torch.zeros(count, 15, 3).double(),
    }
