"""Training views on the device: cameras as tensors, photos as uint8, batches without waiting."""

import random
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from gs_densify.data.scene import View


@dataclass(frozen=True)
class Batch:
    """C views of one size: viewmats [C,4,4], Ks [C,3,3] and photos [C,H,W,3] in [0,1]."""

    indices: list[int]
    viewmats: Tensor
    Ks: Tensor
    images: Tensor

    @property
    def size(self) -> tuple[int, int]:
        """Width and height in pixels."""
        return self.images.shape[2], self.images.shape[1]


class ViewStore:
    """Photos as uint8: on the device while they fit `budget` bytes, else in pinned host memory."""

    def __init__(
        self,
        views: Sequence[View],
        photos: Sequence[np.ndarray],
        device: torch.device,
        *,
        budget: float,
    ) -> None:
        self.device = device
        self.sizes = [(view.width, view.height) for view in views]
        self.viewmats = _stack([view.cam_from_world for view in views], device)
        self.Ks = _stack([view.K for view in views], device)
        self.is_on_device = sum(photo.nbytes for photo in photos) <= budget
        self._photos = [self._place(torch.from_numpy(photo)) for photo in photos]

    def __len__(self) -> int:
        return len(self._photos)

    def batch(self, indices: list[int]) -> Batch:
        """The views `indices`, which must be of one size."""
        photos = [self._photos[i].to(self.device, non_blocking=True) for i in indices]
        images = torch.stack(photos) if len(photos) > 1 else photos[0][None]
        rows = slice(indices[0], indices[0] + 1) if len(indices) == 1 else indices
        return Batch(indices, self.viewmats[rows], self.Ks[rows], images / 255.0)

    def _place(self, photo: Tensor) -> Tensor:
        if self.is_on_device:
            return photo.to(self.device)
        return photo.pin_memory() if self.device.type == "cuda" else photo


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
        batches = [self._next()]
        while len(batches) < most and self._peek_size() == self._sizes[batches[0][0]]:
            batches.append(self._next())
        return [index for batch in batches for index in batch], len(batches)

    def _next(self) -> list[int]:
        self._peek_size()
        return self._queue.pop()

    def _peek_size(self) -> tuple[int, int]:
        if not self._queue:
            self._queue = self._epoch()
        return self._sizes[self._queue[-1][0]]

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
