"""Gradient statistics: torch's against a plain loop, the kernel's against torch's."""

import math
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from gs_densify.strategies import statistics

C, N = 3, 400
NAMES = ("grad2d", "count", "highest")


def step(device: str = "cpu", seed: int = 0) -> dict[str, Any]:
    """What a rasteriser leaves of three views, in which Gaussians are often not drawn."""
    random = torch.Generator().manual_seed(seed)
    grads, absgrad = 1e-3 * torch.randn(2, C, N, 2, generator=random).to(device)
    radii = torch.randint(0, 3, (C, N, 2), generator=random, dtype=torch.int32)
    radii[:, -50:] = 0
    return {
        "means2d": SimpleNamespace(grad=grads, absgrad=absgrad.abs()),
        "radii": radii.to(device),
        "width": 70,
        "height": 50,
        "n_cameras": C,
    }


def accumulated(infos: list[dict[str, Any]], *, absolute: bool, packed: bool = False) -> dict:
    state = {name: torch.zeros(N, device=infos[0]["radii"].device) for name in NAMES}
    for info in infos:
        statistics.accumulate_gradients(
            state, N, info, absolute=absolute, packed=packed, largest="highest"
        )
    return state


def packed_form(info: dict[str, Any]) -> dict[str, Any]:
    drawn = (info["radii"] > 0).all(-1)
    means2d = SimpleNamespace(
        grad=info["means2d"].grad[drawn], absgrad=info["means2d"].absgrad[drawn]
    )
    ids = drawn.nonzero()[:, 1]
    return {**info, "means2d": means2d, "radii": info["radii"][drawn], "gaussian_ids": ids}


@pytest.mark.parametrize("absolute", [False, True])
def test_sums_counts_and_maxima_are_those_of_a_plain_loop(absolute: bool) -> None:
    infos = [step(seed=0), step(seed=1)]
    expected = {name: [0.0] * N for name in NAMES}
    for info in infos:
        grads = info["means2d"].absgrad if absolute else info["means2d"].grad
        for c in range(C):
            for i in range(N):
                if min(info["radii"][c, i].tolist()) > 0:
                    x, y = grads[c, i].tolist()
                    norm = math.hypot(x * C * 35.0, y * C * 25.0)
                    expected["grad2d"][i] += norm
                    expected["count"][i] += 1
                    expected["highest"][i] = max(expected["highest"][i], norm)
    for found in (
        accumulated(infos, absolute=absolute),
        accumulated([packed_form(info) for info in infos], absolute=absolute, packed=True),
    ):
        for name in NAMES:
            torch.testing.assert_close(found[name], torch.tensor(expected[name]))


def compare_with_the_kernel(device: str) -> None:
    """The kernel's statistics of two steps against torch's, also without the maximum."""
    from gs_densify.strategies.statistics_triton import accumulate

    infos = [step(device, seed) for seed in (0, 1)]
    expected = accumulated([step(seed=seed) for seed in (0, 1)], absolute=False)
    found = {name: torch.zeros(N, device=device) for name in NAMES}
    bare = [torch.zeros(N, device=device) for _ in range(2)]
    for info in infos:
        arguments = info["means2d"].grad, info["radii"], (C * 35.0, C * 25.0)
        accumulate(*arguments, *found.values())
        accumulate(*arguments, *bare, None)
    for name in NAMES:
        torch.testing.assert_close(found[name].cpu(), expected[name])
    assert torch.equal(bare[0], found["grad2d"]) and torch.equal(bare[1], found["count"])


def test_the_kernel_when_interpreted(interpret: Callable[..., None]) -> None:
    folder, name = Path(__file__).parent, Path(__file__).stem
    code = f"import sys; sys.path.insert(0, {str(folder)!r}); import {name}"
    interpret(f"{code}; {name}.compare_with_the_kernel('cpu')")


@pytest.mark.gpu
def test_the_kernel_on_a_gpu() -> None:
    compare_with_the_kernel("cuda")
    info = step("cuda")
    torch.cuda.set_sync_debug_mode("error")
    try:
        state = accumulated([info], absolute=True)
    finally:
        torch.cuda.set_sync_debug_mode("default")
    expected = accumulated([step()], absolute=True)
    for name in NAMES:
        torch.testing.assert_close(state[name].cpu(), expected[name])


@pytest.mark.gpu
def test_statistics_that_the_kernel_cannot_take_are_torchs() -> None:
    info = step("cuda")
    columns = torch.zeros(N, 2, device="cuda", dtype=torch.float64)
    state = {"grad2d": columns[:, 0], "count": columns[:, 1]}
    statistics.accumulate_gradients(state, N, info, absolute=False, packed=False)
    expected = accumulated([step()], absolute=False)
    for i, name in enumerate(state):
        torch.testing.assert_close(columns[:, i].cpu().float(), expected[name])
    state["count"] = torch.zeros(N // 2, device="cuda")
    with pytest.raises(RuntimeError, match="size"):
        statistics.accumulate_gradients(state, N, info, absolute=False, packed=False)


def test_gradients_are_in_halves_of_images_of_odd_sizes() -> None:
    info = {**step(), "width": 7, "height": 5}
    halves = C * torch.tensor([3.5, 2.5])  # of the sum over views of their mean losses
    expected = (info["means2d"].grad * halves).norm(dim=-1)
    torch.testing.assert_close(statistics.pixel_gradients(info, absolute=False), expected)
