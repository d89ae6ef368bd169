"""Coarse to fine: the first steps see photos reduced by whole factors (arXiv 2503.18402).

DashGaussian lets each size last as long as its share of the photos' spectrum: with X the sum of
|F| over frequencies, F a photo's Fourier transform, photos are reduced by k before

    t_k = until X(|f| <= 1 / (2k) per pixel) / X

Unlike there, the last stretch, between t_2 and `until`, is at full size already; k is at most 4;
and the learning rate of the means decays from the first step, as without.
"""

from collections.abc import Iterable, Sequence

import torch
from torch import Tensor

from gs_densify.errors import ConfigError

MAX_REDUCTION = 4
SMALLEST_SIDE = 32
"""Pixels that a side of a reduced photo keeps: SSIM's window has 11."""


class ResolutionSchedule:
    """By how much photos are reduced at each step."""

    def __init__(self, bounds: Sequence[tuple[float, int]] = ()) -> None:
        self._bounds = sorted(bounds)
        """Steps before which a factor holds, and the factor."""

    def reduction(self, step: int) -> int:
        """Returns the factor at `step`; 1: full size."""
        return next((factor for bound, factor in self._bounds if step < bound), 1)


def possible_reductions(sizes: Iterable[tuple[int, int]]) -> tuple[int, ...]:
    """Returns the factors, falling, by which photos of all `sizes` (W, H) can be reduced.

    Raises:
        ConfigError: where the smallest photo is too small to be reduced at all.
    """
    smallest = min(min(size) for size in sizes)
    factors = tuple(range(min(MAX_REDUCTION, smallest // SMALLEST_SIDE), 1, -1))
    if not factors:
        raise ConfigError(
            f"(--preset fast and balanced set it) has no effect: a photo has a side of {smallest}"
            f" px, and {2 * SMALLEST_SIDE} are needed to halve it",
            action="give --render.coarse-until 0",
            option="render.coarse-until",
        )
    return factors


def coarse_to_fine(
    photos: Iterable[Tensor], sizes: Iterable[tuple[int, int]], until: float
) -> ResolutionSchedule:
    """Returns the schedule for photos [H,W,3] with values in [0,1], some of those of `sizes` (W,
    H).

    `until` is the step by which the whole spectrum is seen; 0: from the first step on, and the
    photos are not looked at.

    Raises:
        ConfigError: as `possible_reductions`.
    """
    if until == 0:
        return ResolutionSchedule()
    factors = possible_reductions(sizes)
    shares = torch.stack([spectrum_shares(photo, factors) for photo in photos]).mean(dim=0)
    return ResolutionSchedule(
        [(until * share, factor) for share, factor in zip(shares.tolist(), factors, strict=True)]
    )


def spectrum_shares(photo: Tensor, factors: tuple[int, ...]) -> Tensor:
    """Shares [len(factors)] of the amplitudes of the grey photo [H,W,3] that survive a reduction.

    Its mean, a constant, is left out: the first Gaussians have it already.
    """
    grey = photo.mean(dim=-1)
    amplitudes = torch.fft.fft2(grey - grey.mean()).abs()
    rows, columns = (torch.fft.fftfreq(n, device=grey.device).abs() for n in grey.shape)
    highest = torch.maximum(rows[:, None], columns[None])
    kept = torch.stack([amplitudes[highest <= 0.5 / factor].sum() for factor in factors])
    return kept / amplitudes.sum().clamp_min(1e-12)
