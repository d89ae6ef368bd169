"""Launches by handles: Triton is asked once for each kind of launch."""

import torch

from gs_densify.kernels import Launcher, alignment_of


class Handle:
    """Stands for a compiled kernel: notes its launches."""

    def __init__(self) -> None:
        self.launches = []

    def __getitem__(self, grid):
        return lambda *arguments: self.launches.append((grid, arguments))


class Kernel:
    """Stands for what `triton.jit` gives: notes what it compiles for."""

    def __init__(self, is_interpreted: bool = False) -> None:
        self.calls, self.handles, self.is_interpreted = [], [], is_interpreted

    def __getitem__(self, grid):
        def launch(*arguments, **options):
            self.calls.append((grid, arguments, options))
            self.handles.append(Handle())
            return None if self.is_interpreted else self.handles[-1]

        return launch


def test_triton_is_asked_once_for_each_kind() -> None:
    kernel = Kernel()
    launch = Launcher(kernel, num_warps=8)
    for kind, value in (("a", 1), ("a", 2), ("b", 3), ("a", 4)):
        launch(kind, (value, 1, 1), value, None)
    assert kernel.calls == [((v, 1, 1), (v, None), {"num_warps": 8}) for v in (1, 3)]
    first, second = kernel.handles
    assert first.launches == [((v, 1, 1), (v, None)) for v in (2, 4)]
    assert second.launches == []


def test_interpreted_kernels_have_no_handle() -> None:
    kernel = Kernel(is_interpreted=True)
    launch = Launcher(kernel)
    for value in (1, 2):
        launch("a", (1, 1, 1), value)
    assert [arguments for _, arguments, _ in kernel.calls] == [(1,), (2,)]


def test_alignment_is_that_of_the_first_value() -> None:
    values = torch.zeros(8)
    assert values.data_ptr() % 16 == 0
    assert alignment_of(values, values[1:], values[4:]) == (True, False, True)
