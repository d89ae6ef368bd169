"""Whether what was read from a file is Gaussians that can be rendered."""

from typing import Any

import torch
from torch import Tensor

SHAPES: dict[str, tuple[int | None, ...]] = {
    "means": (3,),
    "scales": (3,),
    "quats": (4,),
    "opacities": (),
    "sh0": (1, 3),
    "shN": (None, 3),
}
"""Of a row of each parameter; None: any number."""


def fault_of(splats: Any) -> str | None:
    """Returns in words why `splats` are no Gaussians; None where they are.

    They are a mapping with a float32 tensor [N,...] for each parameter, all values finite.
    """
    if not isinstance(splats, dict):
        return "has no parameters of Gaussians"
    missing = [name for name in SHAPES if name not in splats]
    if missing:
        return f"parameters {missing} are missing"
    faults = (_fault(name, splats[name], shape) for name, shape in SHAPES.items())
    fault = next((fault for fault in faults if fault is not None), None)
    if fault is None and len({len(splats[name]) for name in SHAPES}) > 1:
        counts = ", ".join(f"{len(splats[name])} {name}" for name in SHAPES)
        return f"its parameters are not of equally many Gaussians: {counts}"
    return fault


def _fault(name: str, value: Any, shape: tuple[int | None, ...]) -> str | None:
    is_dense = isinstance(value, Tensor) and value.layout is torch.strided and not value.is_meta
    if not is_dense or value.dtype != torch.float32:
        return f"its '{name}' is no float32 tensor"
    row = tuple(value.shape[1:])
    fits = len(row) == len(shape) and all(b in (None, a) for a, b in zip(row, shape, strict=True))
    if value.ndim == 0 or not fits:
        return f"its '{name}' has the shape {list(value.shape)}"
    if value.numel() * value.element_size() > value.untyped_storage().nbytes():
        return f"its '{name}' claims more values than the file holds"
    bad = ~value.isfinite().reshape(len(value), -1).all(dim=1)
    if bad.any():
        return f"its '{name}' is not finite in {int(bad.sum())} of {len(value)} Gaussians"
    return None
