"""Training views on the device: cameras as tensors, photos as uint8, batches without waiting."""

import random
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from gs_densify.distributed.group import ALONE, Group
from gs_densify.scene.photos.kept import KeptPhotos
from gs_densify.scene.scene import View
from gs_densify.training.host_memory import HostMemory
from gs_densify.training.read_ahead import ReadAhead


@dataclass(frozen=True)
class Batch:
    """C views of one size: viewmats [C,4,4], Ks [C,3,3] and photos [C,H,W,3] in [0,1].

    Where several processes render a batch, photos, weights and masks are those of `part` alone.
    """

    steps: list[list[int]]
    """The indices of the views of each training step; a step's loss is the mean over its views."""
    viewmats: Tensor
    Ks: Tensor
    images: Tensor
    weights: Tensor
    """[C] by which the mean error over all pixels of a view enters the sum of the steps' losses."""
    masks: Tensor | None = None
    """The valid masks [C,H,W,1] bool; None where every pixel is valid."""
    reduction: int = 1
    """The whole number by which the photos are reduced; 1: full size."""
    part: slice = field(default_factory=lambda: slice(None))
    """Which of the views this process renders."""

    @property
    def indices(self) -> list[int]:
        """Returns the indices of all C views."""
        return [index for views in self.steps for index in views]

    @property
    def rendered(self) -> list[int]:
        """Returns the indices of the views that this process renders."""
        return self.indices[self.part]

    @property
    def size(self) -> tuple[int, int]:
        """Width and height in pixels."""
        return self.images.shape[2], self.images.shape[1]

    def reduced(self, factor: int) -> "Batch":
        """Downsamples the views by means over blocks, which are valid where all their pixels are.

        What is left over at the right and below is left out.
        """
        if factor == 1:
            return self
        masks, weights = self.masks, self.weights
        if masks is not None:
            before = _valid_share(masks)
            masks = _blocks(masks, factor).all(dim=2).all(dim=3)
            weights = weights * before / _valid_share(masks)
        return replace(
            self,
            Ks=torch.cat([self.Ks[:, :2] / factor, self.Ks[:, 2:]], dim=1),
            images=_blocks(self.images, factor).mean(dim=(2, 4)),
            weights=weights,
            masks=masks,
            reduction=factor,
        )

    def composited(self, render: Tensor) -> Tensor:
        """Returns the render [C,H,W,3] with the photo at pixels that are not valid.

        There is neither error nor gradient at these.
        """
        return render if self.masks is None else torch.where(self.masks, render, self.images)

    def gradient_scales(self) -> list[float]:
        """Returns, for each view, what makes its image-plane gradient that of a step of its own.

        gsplat's strategies multiply gradients by the number of cameras C, since the loss of a step
        is a mean over its views. Where several steps are rendered in one call, C is larger than the
        number of views of a step.
        """
        count = len(self.indices)
        return [len(views) / count for views in self.steps for _ in views]


def _valid_share(masks: Tensor) -> Tensor:
    """Returns the share [C] of pixels of masks [C,H,W,1] that are valid, at least one pixel's."""
    valid = masks.flatten(1)
    return valid.float().mean(dim=1).clamp_min(1 / valid.shape[1])


def _blocks(pixels: Tensor, side: int) -> Tensor:
    """Returns pixels [C,H,W,D] in square blocks, [C,H/side,side,W/side,side,D]."""
    height, width = (size // side * side for size in pixels.shape[1:3])
    inside = pixels[:, :height, :width]
    return inside.unflatten(2, (-1, side)).unflatten(1, (-1, side))


class ViewStore:
    """Holds photos as uint8: on the device while they fit `budget` bytes, else in host memory;
    those that lie on the disk, `KeptPhotos`, are left there and read ahead of their use.

    In a scene with masks the fourth channel of every photo is its valid mask.
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
        found = _valid_shares(photos, masks)
        self._has_masks = any(share is not None for share in found)
        shares = [
            1.0 if share is None else max(share, 1 / (width * height))
            for share, (width, height) in zip(found, self.sizes, strict=True)
        ]
        self._view_weights = 1 / torch.tensor(shares, dtype=torch.float32, device=device)
        """[V] that makes a mean over all pixels one over the valid ones."""
        self._is_masked = [share < 1 for share in shares]
        channels = 4 if self._has_masks else 3
        self.is_on_device = sum(w * h * channels for w, h in self.sizes) <= budget
        self._photos: list[Tensor] | HostMemory | ReadAhead
        if isinstance(photos, KeptPhotos):
            self._photos = ReadAhead(photos, device, channels=channels)
            if self.is_on_device and device.type != "cpu":
                self._photos = list(self._photos.everything())
            return
        packed = (
            torch.from_numpy(_with_mask(photo, mask) if self._has_masks else photo)
            for photo, mask in zip(photos, masks, strict=True)
        )
        if self.is_on_device or device.type == "cpu":
            self._photos = [photo.to(device) for photo in packed]
        else:
            shapes = [(height, width, channels) for width, height in self.sizes]
            self._photos = HostMemory(packed, shapes, device)

    def __len__(self) -> int:
        return len(self.sizes)

    @property
    def is_streamed(self) -> bool:
        """Returns whether photos are copied or read when they are asked for."""
        return not isinstance(self._photos, list)

    @property
    def num_ahead(self) -> int:
        """Returns how many batches `prefetch` wants to know beforehand."""
        return self._photos.num_ahead if isinstance(self._photos, ReadAhead) else 0

    def prefetch(
        self,
        steps: Sequence[Sequence[int]],
        group: Group = ALONE,
        later: Sequence[Sequence[int]] = (),
    ) -> None:
        """Begins to copy the photos that the next batch will ask for, and to read those of `later`
        batches from the disk.
        """
        indices = [index for views in steps for index in views]
        indices = indices[group.part(len(indices))]
        if isinstance(self._photos, HostMemory):
            self._photos.prefetch(indices)
        elif isinstance(self._photos, ReadAhead):
            own = [index for views in later for index in views[group.part(len(views))]]
            self._photos.prefetch(indices, own)

    def waited(self) -> float | None:
        """Returns the seconds since it was last asked in which work waited for photos from the
        disk, see `ReadAhead.waited`; None where none is read from there.
        """
        return self._photos.waited() if isinstance(self._photos, ReadAhead) else None

    def sample(self, most: int) -> Iterator[Tensor]:
        """Yields up to `most` photos [H,W,3] in [0,1], evenly over the views, one at a time."""
        for index in range(0, len(self), -(-len(self) // most)):
            yield self.batch([[index]]).images[0]

    def batch(self, steps: Sequence[Sequence[int]], group: Group = ALONE) -> Batch:
        """Returns the views of some training steps, all of one size.

        A view weighs one over the number of views of its step, and over its share of valid pixels:
        the loss over the batch is the sum of the steps' losses, each the mean over its views of the
        mean over their valid pixels. Each process of a `group` renders its part of the views.
        """
        indices = [index for views in steps for index in views]
        part = group.part(len(indices))
        pixels = self._pixels(indices[part], self.sizes[indices[0]])
        colors = pixels[..., :3] if self._has_masks else pixels
        rows = slice(indices[0], indices[0] + 1) if len(indices) == 1 else indices
        is_masked = any(self._is_masked[i] for i in indices[part])
        return Batch(
            [list(views) for views in steps],
            self.viewmats[rows],
            self.Ks[rows],
            colors / 255.0,
            self._weights(steps, rows)[part],
            masks=pixels[..., 3:] > 0 if is_masked else None,
            part=part,
        )

    def _pixels(self, indices: list[int], size: tuple[int, int]) -> Tensor:
        """Returns the photos [C,H,W,3 or 4] of views of one `size`, width and height."""
        if isinstance(self._photos, list):
            photos = [self._photos[i] for i in indices]
        else:
            photos = self._photos.fetch(indices)
        if not photos:
            width, height = size
            channels = 4 if self._has_masks else 3
            return torch.empty(0, height, width, channels, dtype=torch.uint8, device=self.device)
        return torch.stack(photos) if len(photos) > 1 else photos[0][None]

    def _weights(self, steps: Sequence[Sequence[int]], rows: slice | list[int]) -> Tensor:
        weights, counts = self._view_weights[rows], [len(views) for views in steps for _ in views]
        if counts == [1] * len(counts):
            return weights
        if len(set(counts)) == 1:
            return weights / counts[0]
        # The last batch of an epoch, which is smaller, is the one case that copies to the GPU.
        return weights / torch.tensor(counts, dtype=torch.float32, device=self.device)


def _valid_shares(
    photos: Iterable[np.ndarray], masks: Sequence[np.ndarray | None]
) -> list[float | None]:
    """Returns the share of each photo's pixels that counts; None where it has no mask."""
    if isinstance(photos, KeptPhotos):
        return [photos.valid_share(index) for index in range(len(photos))]
    return [None if mask is None else float(mask.mean()) for mask in masks]


def _with_mask(photo: np.ndarray, mask: np.ndarray | None) -> np.ndarray:
    """Returns [H,W,4] uint8: the photo, and 255 at valid pixels."""
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

    def take(self, most: int = 1) -> list[list[int]]:
        """Draws the next batch, and those after it, up to `most` in all, that are of its size."""
        batches = self.peek(most)
        del self._queue[-len(batches) :]
        return batches

    def peek(self, most: int = 1) -> list[list[int]]:
        """Returns what `take` would draw."""
        self._fill(most)
        batches = [self._queue[-1]]
        for batch in reversed(self._queue[-most:-1]):
            if self._sizes[batch[0]] != self._sizes[batches[0][0]]:
                break
            batches.append(batch)
        return batches

    def upcoming(self, count: int) -> list[list[int]]:
        """Returns the next `count` batches, of whatever sizes, in the order of being drawn."""
        self._fill(count)
        return self._queue[: -count - 1 : -1]

    def _fill(self, count: int) -> None:
        while len(self._queue) < count:
            self._queue = self._epoch() + self._queue  # it is drawn from the end

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
        """Returns the random state and what is left of the epoch."""
        return {"random": self._random.getstate(), "queue": [list(batch) for batch in self._queue]}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Continues where `state_dict` was taken."""
        version, numbers, gauss = state["random"]
        self._random.setstate((version, tuple(numbers), gauss))
        self._queue = [list(batch) for batch in state["queue"]]
