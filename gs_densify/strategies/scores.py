"""Scores that methods share: maps of a photo, per-Gaussian normalisations, choices by rank.

Pure functions of tensors on any device. Images are [C,H,W,3] in [0,1], maps [C,H,W]; a map becomes
a score per Gaussian where the trainer attributes it (see `base.Strategy.attributed_maps`).
"""

from functools import lru_cache

import torch
from torch import Tensor
from torch.nn.functional import pad

from gs_densify.model.kernels import HAS_TRITON
from gs_densify.model.thinning import evenly_spaced, spatial_order

_LUMA = (0.299, 0.587, 0.114)  # ITU-R 601-2, the grey of PIL's mode "L"
_TAPS, _SIGMA = 11, 1.5  # the window of SSIM
_SSIM_WEIGHT = 0.2  # of 3DGS's loss
SSIM_CONSTANTS = _C1, _C2 = 0.01**2, 0.03**2


def luma(images: Tensor) -> Tensor:
    """Grey values [...] of colours [...,3]."""
    red, green, blue = images.unbind(-1)
    return _LUMA[0] * red + _LUMA[1] * green + _LUMA[2] * blue


def edge_map(images: Tensor) -> Tensor:
    """Sobel's magnitude [C,H,W] of the grey images: change of luma per pixel.

    At the border the image goes on with its last row or column.
    """
    grey = _extended(luma(images))
    rows = (grey[:, 2:] - grey[:, :-2]) / 2
    columns = (grey[..., 2:] - grey[..., :-2]) / 2
    down = (rows[..., :-2] + 2 * rows[..., 1:-1] + rows[..., 2:]) / 4
    across = (columns[:, :-2] + 2 * columns[:, 1:-1] + columns[:, 2:]) / 4
    return torch.hypot(down, across)


def find_edges_map(images: Tensor) -> Tensor:
    """PIL's FIND_EDGES [C,H,W] of the grey images: 8 times a pixel less its neighbours, in [0,1].

    Unlike PIL, which copies the border pixels of the photo, the border is filtered as well, the
    image going on with its last row or column.
    """
    grey = _extended(luma(images))
    rows = grey[:, :-2] + grey[:, 1:-1] + grey[:, 2:]
    block = rows[..., :-2] + rows[..., 1:-1] + rows[..., 2:]
    return (9 * grey[:, 1:-1, 1:-1] - block).clamp(0, 1)


@lru_cache(maxsize=1)
def ssim_window() -> tuple[float, ...]:
    """Weights of a Gaussian at the taps of SSIM's window; their sum is 1."""
    x = torch.arange(_TAPS, dtype=torch.float64) - _TAPS // 2
    weights = torch.exp(-(x**2) / (2 * _SIGMA**2))
    return tuple((weights / weights.sum()).tolist())


def dissimilarity_map(first: Tensor, second: Tensor) -> Tensor:
    """(1 - SSIM) [C,H,W], the mean over the channels of two [C,H,W,3], in [0,2].

    Wang et al. 2004, window 11x11, sigma 1.5; at the border images go on with their last row or
    column.
    """
    a, b = first.permute(0, 3, 1, 2), second.permute(0, 3, 1, 2)
    mean_a, mean_b, square_a, square_b, product = _blur(torch.stack([a, b, a * a, b * b, a * b]))
    variances = (square_a - mean_a**2) + (square_b - mean_b**2)
    covariance = product - mean_a * mean_b
    luminance = (2 * mean_a * mean_b + _C1) / (mean_a**2 + mean_b**2 + _C1)
    return (1 - luminance * (2 * covariance + _C2) / (variances + _C2)).mean(dim=1)


def error_map(render: Tensor, image: Tensor, ssim_weight: float = _SSIM_WEIGHT) -> Tensor:
    """The photometric loss of 3DGS pixel by pixel [C,H,W]: (1 - w) L1 + w (1 - SSIM)."""
    l1 = (render - image).abs().mean(dim=-1)
    if ssim_weight == 0:
        return l1
    return torch.lerp(l1, dissimilarity_map(render, image), ssim_weight)


def error_and_edges(render: Tensor, image: Tensor) -> tuple[Tensor, Tensor]:
    """`error_map`, and `edge_map` of the photo: on CUDA in two launches."""
    if not (HAS_TRITON and render.is_cuda and render.dtype == image.dtype == torch.float32):
        return error_map(render, image), edge_map(image)
    return _fused_maps(render, image)


def min_max_normalized(values: Tensor) -> Tensor:
    """`values` moved and scaled to [0,1]; zeros where they are all equal."""
    low = values.amin()
    span = values.amax() - low
    return torch.where(span > 0, (values - low) / span, torch.zeros_like(values))


def median_normalized(values: Tensor) -> Tensor:
    """`values` over the median of the positive ones; 0 where they are not positive."""
    is_positive = values > 0
    median = torch.where(is_positive, values, torch.nan).flatten().nanmedian()
    return torch.where(is_positive, values / median, torch.zeros_like(values))


def mean_normalized_positive(values: Tensor) -> Tensor:
    """`values` over the mean of the positive ones; 0 where they are not positive."""
    positive = torch.where(values > 0, values, torch.zeros_like(values))
    mean = positive.sum() / (values > 0).sum()
    return torch.where(values > 0, values / mean, torch.zeros_like(values))


def rank(values: Tensor) -> Tensor:
    """Share of the entries [N] that are smaller, equal ones counting half: within (0,1).

    The mean is 1/2, equal values have equal ranks, and no rank is 0.
    """
    ordered = values.sort().values
    below = torch.searchsorted(ordered, values)
    upto = torch.searchsorted(ordered, values, right=True)
    return (below + upto).to(values.dtype) / (2 * max(len(values), 1))


def lowest(values: Tensor, n: int, means: Tensor | None = None) -> Tensor:
    """Returns the mask [N] of the `n` smallest of `values` [N]; none where `n` is not positive.

    Of equal values that are not all taken, those are that lie evenly among their `means` [N,3], or
    among the rows where no means are given: the first rows are COLMAP's first points, which lie
    together.
    """
    n = min(n, len(values))
    if n <= 0:
        return torch.zeros(len(values), dtype=torch.bool, device=values.device)
    limit = values.kthvalue(n).values
    mask = values < limit
    tied, missing = torch.where(values == limit)[0], n - int(mask.sum())
    if means is not None:
        tied = tied[spatial_order(means[tied], missing)]
    mask[tied[evenly_spaced(len(tied), missing, device=tied.device)]] = True
    return mask


def masked(indices: Tensor, count: int) -> Tensor:
    """Mask [count] of the rows `indices`."""
    mask = torch.zeros(count, dtype=torch.bool, device=indices.device)
    mask[indices] = True
    return mask


def random_views(count: int, n: int) -> list[int]:
    """At most `n` distinct ones of `count` views, drawn on the host."""
    return torch.randperm(count)[:n].tolist()


def _fused_maps(
    render: Tensor, image: Tensor, ssim_weight: float = _SSIM_WEIGHT
) -> tuple[Tensor, Tensor]:
    from gs_densify.strategies import scores_triton

    return scores_triton.error_and_edges(
        render,
        image,
        ssim_weight=ssim_weight,
        window=ssim_window(),
        constants=SSIM_CONSTANTS,
        luma=_LUMA,
    )


def _extended(maps: Tensor) -> Tensor:
    """Maps [C,H,W] with their border repeated once, [C,H+2,W+2]."""
    return pad(maps[:, None], (1, 1, 1, 1), mode="replicate")[:, 0]


def _blur(images: Tensor) -> Tensor:
    """Blur [...,H,W] with SSIM's window, as two matrix products."""
    height, width = images.shape[-2:]
    down = _blur_matrix(height, images.device, images.dtype)
    across = _blur_matrix(width, images.device, images.dtype)
    return down @ images @ across.T


@lru_cache(maxsize=32)
def _blur_matrix(size: int, device: torch.device, dtype: torch.dtype) -> Tensor:
    """[size,size]: what a column is multiplied with to be blurred, its ends repeated."""
    rows = torch.arange(size)
    matrix = torch.zeros(size, size, dtype=torch.float64)
    for tap, weight in enumerate(ssim_window()):
        columns = (rows + tap - _TAPS // 2).clamp(0, size - 1)
        matrix.index_put_((rows, columns), torch.tensor(weight, dtype=torch.float64), True)
    return matrix.to(device=device, dtype=dtype)
