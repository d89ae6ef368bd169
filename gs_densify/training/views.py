"""Training views on the device: cameras as tensors, photos as uint8, batches without waiting."""

import random
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from gs_densify.data.scene import View
from gs_densify.training.host_memory import HostMemory


@dataclass(frozen=True)
class Batch:
    """C views of one size: viewmats [C,4,4], Ks [C,3,3] and photos [C,H,W,3] in [0,1]."""

    indices: list[int]
    viewmats: Tensor
    Ks: Tensor
    images: Tensor
    masks: Tensor | None = None
    """[C,H,W,1] bool, True where a pixel counts; None where all do."""
    counted: float = 1.0
    """Share of the pixels that count, above 0."""
    reduction: int = 1
    """By how much the photos are reduced; 1: full size."""

    @property
    def size(self) -> tuple[int, int]:
        """Width and height in pixels."""
        return self.images.shape[2], self.images.shape[1]

    def reduced(self, factor: int) -> "Batch":
        """The views 1/factor their size: means of blocks, which count where all their pixels do.

        What is left over at the right and below is left out. The share that counts is taken to
        stay the same: to know better would mean to wait for the GPU.
        """
        if factor == 1:
            return self
        masks = self.masks
        if masks is not None:
            masks = _blocks(masks, factor).all(dim=2).all(dim=3)
        return replace(
            self,
            Ks=torch.cat([self.Ks[:, :2] / factor, self.Ks[:, 2:]], dim=1),
            images=_blocks(self.images, factor).mean(dim=(2, 4)),
            masks=masks,
            reduction=factor,
        )

    def composited(self, render: Tensor) -> Tensor:
        """The render [C,H,W,3] where pixels count, the photo elsewhere: no error, no gradient."""
        return render if self.masks is None else torch.where(self.masks, render, self.images)


def _blocks(pixels: Tensor, side: int) -> Tensor:
    """Pixels [C,H,W,D] in square blocks, [C,H/side,side,W/side,side,D]."""
    height, width = (size // side * side for size in pixels.shape[1:3])
    inside = pixels[:, :height, :width]
    return inside.unflatten(2, (-1, side)).unflatten(1, (-1, side))


class ViewStore:
    """Photos as uint8: on the device while they fit `budget` bytes, else streamed from the host.

    In a scene with masks the fourth channel of every photo says which pixels count.
    """

    def __init__(
        self,
        views: Sequence[View],
        photos: Iterable[np.ndarray],
        device: torch.device,
        *,
        budget: float,
        masks: Sequence[np.ndarray | None] = (),
    ) -> None:
        self.device = device
        self.sizes = [(view.width, view.height) for view in views]
        self.viewmats = _stack([view.cam_from_world for view in views], device)
        self.Ks = _stack([view.K for view in views], device)
        masks = masks or [None] * len(views)
        self._counted = [1.0 if mask is None else float(mask.mean()) for mask in masks]
        self._has_masks = any(mask is not None for mask in masks)
        channels = 4 if self._has_masks else 3
        self.is_on_device = sum(w * h * channels for w, h in self.sizes) <= budget
        packed = (
            torch.from_numpy(_with_mask(photo, mask) if self._has_masks else photo)
            for photo, mask in zip(photos, masks, strict=True)
        )
        self._photos: list[Tensor] | HostMemory
        if self.is_on_device or device.type == "cpu":
            self._photos = [photo.to(device) for photo in packed]
        else:
            shapes = [(height, width, channels) for width, height in self.sizes]
            self._photos = HostMemory(packed, shapes, device)

    def __len__(self) -> int:
        return len(self.sizes)

    def prefetch(self, indices: list[int]) -> None:
        """Begin to copy the views that the next batch will ask for."""
        if isinstance(self._photos, HostMemory):
            self._photos.prefetch(indices)

    def sample(self, most: int) -> Iterator[Tensor]:
        """Up to `most` photos [H,W,3] in [0,1], evenly over the views, one at a time."""
        for index in range(0, len(self), -(-len(self) // most)):
            yield self.batch([index]).images[0]

    def batch(self, indices: list[int]) -> Batch:
        """The views `indices`, which must be of one size."""
        if isinstance(self._photos, HostMemory):
            photos = self._photos.fetch(indices)
        else:
            photos = [self._photos[i] for i in indices]
        pixels = torch.stack(photos) if len(photos) > 1 else photos[0][None]
        rows = slice(indices[0], indices[0] + 1) if len(indices) == 1 else indices
        counted = sum(self._counted[i] for i in indices) / len(indices)
        return Batch(
            indices,
            self.viewmats[rows],
            self.Ks[rows],
            pixels[..., :3] / 255.0,
            masks=pixels[..., 3:] > 0 if counted < 1 else None,
            counted=counted,
        )


def _with_mask(photo: np.ndarray, mask: np.ndarray | None) -> np.ndarray:
    """[H,W,4] uint8: the photo, and 255 where a pixel counts."""
    alpha = np.full(photo.shape[:2], 255, np.uint8) if mask is None else mask * np.uint8(255)
    return np.dstack([photo, alpha])


def _stack(matrices: Sequence[np.ndarray], device: torch.device) -> Tensor:
    return torch.from_numpy(np.stack(matrices)).float().to(device)


class BatchSampler:
    """Every view once an epoch, in random order; a batch holds views of one size only."""

    def __init__(self, sizes: Sequence[tuple[int, int]], batch_size: int, seed: int) -> None:
        self._sizes = list(sizes)
        self._groups = [
            [i for i, size in enumerate(sizes) if size == kind] for kind in sorted(set(sizes))
        ]
        self._batch_size = batch_size
        self._random = random.Random(seed)
        self._queue: list[list[int]] = []

    def take(self, most: int = 1) -> tuple[list[int], int]:
        """The next batch, joined by those after it up to `most` that are of its size; how many."""
        indices, count = self.peek(most)
        del self._queue[-count:]
        return indices, count

    def peek(self, most: int = 1) -> tuple[list[int], int]:
        """What `take` would give, without taking it."""
        while len(self._queue) < most:
            self._queue = self._epoch() + self._queue  # it is drawn from the end
        batches = [self._queue[-1]]
        for batch in reversed(self._queue[-most:-1]):
            if self._sizes[batch[0]] != self._sizes[batches[0][0]]:
                break
            batches.append(batch)
        return [index for batch in batches for index in batch], len(batches)

    def _epoch(self) -> list[list[int]]:
        batches = []
        for group in self._groups:
            order = self._random.sample(group, len(group))
            batches += [
                order[i : i + self._batch_size] for i in range(0, len(order), self._batch_size)
            ]
        self._random.shuffle(batches)
        return batches

    def state_dict(self) -> dict[str, Any]:
        """The random state and what is left of the epoch."""
        return {"random": self._random.getstate(), "queue": [list(batch) for batch in self._queue]}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Continue where `state_dict` was taken."""
        version, numbers, gauss = state["random"]
        self._random.setstate((version, tuple(numbers), gauss))
        self._queue = [list(batch) for batch in state["queue"]]
