"""Where the tensors of a model lie: in the memory of their device, or in page-locked host memory.

A tensor in host memory is one of the CUDA device all the same, whose kernels read and write its
elements over the bus, so that every operation works on it, at the speed of the bus. Those that make
a new tensor make it on the GPU, but the functions here, which make it where another one lies. On a
CPU there is one memory.

Only kernels of the stream on which a model is trained may use such a tensor: its memory is given to
the next one as soon as it is let go of.
"""

import math
import weakref

import torch
from torch import Tensor

from gs_densify.errors import BackendError
from gs_densify.memory.host import free_memory
from gs_densify.memory.page_locked import lock_pages

_SPARE = 1.25
"""What a block can hold, of what was asked for: a model that grows gets a new one rarely."""


class _Block:
    """Page-locked memory for one tensor at a time."""

    def __init__(self, size: int) -> None:
        free = free_memory()
        if free is not None and size > free:  # which the system would promise all the same
            raise _no_room(size, f"{free / 1e9:.2f} GB are free")
        try:
            self.memory = torch.empty(size, dtype=torch.uint8)
            self.memory.fill_(0)  # by several threads; locking takes pages one by one
            lock_pages(self.memory, owner=self)
        except (RuntimeError, torch.cuda.CudaError) as error:
            raise _no_room(size, " ".join(str(error).split())[:200]) from None

    @property
    def size(self) -> int:
        return self.memory.numel()


def _no_room(size: int, why: str) -> BackendError:
    return BackendError(
        f"{size / 1e9:.2f} GB of Gaussians cannot be page-locked in host memory ({why})",
        action="free host memory, or lower --max-gaussians",
    )


class _Lent:
    """A block as torch takes foreign memory; it lives as long as the tensor does."""

    def __init__(self, block: _Block, shape: tuple[int, ...]) -> None:
        self.block = block
        self.__cuda_array_interface__ = {
            "shape": shape,
            "typestr": "<f4",
            "data": (block.memory.data_ptr(), False),
            "strides": None,
            "version": 3,
        }


class _Pool:
    """Blocks that no tensor has, for the next one: to lock pages takes longer than to copy."""

    def __init__(self) -> None:
        self._free: list[_Block] = []
        self._lent: weakref.WeakValueDictionary[int, _Lent] = weakref.WeakValueDictionary()

    def tensor(self, shape: tuple[int, ...], device: torch.device) -> Tensor:
        """Returns a float32 tensor of any contents in host memory."""
        lent = _Lent(self._block(4 * math.prod(shape)), shape)
        self._lent[lent.block.memory.data_ptr()] = lent
        weakref.finalize(lent, self._free.append, lent.block).atexit = False
        return torch.as_tensor(lent, device=device)

    def has(self, tensor: Tensor) -> bool:
        """Returns whether the tensor lies in one of the blocks."""
        return tensor.untyped_storage().data_ptr() in self._lent

    def _block(self, size: int) -> _Block:
        fit = [block for block in self._free if block.size >= size]
        if not fit:
            if self._free:  # too small for a model that grows
                torch.cuda.synchronize()
                self._free.clear()
            return _Block(math.ceil(_SPARE * size))
        block = min(fit, key=lambda one: one.size)
        self._free.remove(block)
        return block


_pool = _Pool()


def is_in_host_memory(tensor: Tensor) -> bool:
    """Returns whether a tensor's elements lie there."""
    return not tensor.is_cuda or _pool.has(tensor)


def in_host_memory(tensor: Tensor) -> Tensor:
    """Returns a float32 tensor with the same values there; itself where it lies there already."""
    if is_in_host_memory(tensor):
        return tensor
    return _pool.tensor(tuple(tensor.shape), tensor.device).copy_(tensor)


def new_empty(like: Tensor, rows: int) -> Tensor:
    """Returns a tensor [rows, ...] of any contents where `like` [N, ...] lies, of its kind."""
    shape = rows, *like.shape[1:]
    if like.is_cuda and _pool.has(like):
        return _pool.tensor(shape, like.device)
    return like.new_empty(shape)


def zeros_like(like: Tensor) -> Tensor:
    """Returns zeros where `like` lies, of its shape and kind."""
    if like.is_cuda and _pool.has(like):
        return new_empty(like, len(like)).zero_()
    return torch.zeros_like(like)


def copied(values: Tensor, like: Tensor) -> Tensor:
    """Returns a copy of `values` [N, ...] where `like` lies, of its kind."""
    return new_empty(like, len(values)).copy_(values)
