"""Host memory that stays where it is, so that a GPU copies, reads and writes it by itself."""

import weakref

import torch
from torch import Tensor


def lock_pages(block: Tensor, *, owner: object) -> None:
    """Page-locks the memory of a tensor on the CPU as long as `owner` lives.

    Raises:
        torch.cuda.CudaError: the system does not let it.
    """
    if block.numel() == 0:
        return
    runtime = torch.cuda.cudart()
    size = block.numel() * block.element_size()
    torch.cuda.check_error(runtime.cudaHostRegister(block.data_ptr(), size, 0))
    weakref.finalize(owner, runtime.cudaHostUnregister, block.data_ptr()).atexit = False
