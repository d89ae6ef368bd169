"""The photometric loss against torchmetrics, finite differences, and its own Triton kernels."""

import os
import subprocess
import sys

import pytest
import torch
from torchmetrics.functional.image import structural_similarity_index_measure

from gs_densify.errors import ConfigError
from gs_densify.training import losses


def _pair(dtype: torch.dtype = torch.float32, device: str = "cpu", size=(37, 45), batch=2):
    first = torch.rand(batch, *size, 3, dtype=dtype, device=device)
    second = (first + 0.1 * torch.randn_like(first)).clamp(0, 1)
    return first, second


def _torchmetrics_where_the_window_fits(first: torch.Tensor, second: torch.Tensor) -> torch.Tensor:
    _, full = structural_similarity_index_measure(
        first.permute(0, 3, 1, 2),
        second.permute(0, 3, 1, 2),
        data_range=1.0,
        return_full_image=True,
    )
    return full[..., 5:-5, 5:-5]


def test_ssim_equals_torchmetrics_where_the_window_fits() -> None:
    first, second = _pair()
    expected = _torchmetrics_where_the_window_fits(first, second)
    torch.testing.assert_close(losses.ssim_map(first, second), expected, atol=1e-5, rtol=0)


def test_ssim_gradient_by_finite_differences() -> None:
    first, second = _pair(torch.float64, size=(12, 13), batch=1)
    assert torch.autograd.gradcheck(lambda a: losses.ssim(a, second), first.requires_grad_())


def test_loss_is_zero_for_equal_images_and_weighs_its_terms() -> None:
    first, second = _pair()
    assert losses.photometric_loss(first, first, 0.2)[0] == pytest.approx(0, abs=1e-6)
    loss, terms = losses.photometric_loss(first, second, 0.2)
    assert loss == pytest.approx(float(0.8 * terms["l1"] + 0.2 * terms["ssim_loss"]), rel=1e-5)
    assert "ssim_loss" not in losses.photometric_loss(first, second, 0.0)[1]


def test_photos_smaller_than_the_window_are_refused_in_words() -> None:
    first, second = _pair(size=(8, 40))
    with pytest.raises(ConfigError, match="40x8 are smaller"):
        losses.ssim(first, second)


_INTERPRETED = """
import torch
from gs_densify.training import losses
from gs_densify.training.ssim_triton import FusedSSIM
torch.manual_seed(3)
first = torch.rand(2, 23, 100, 3, dtype=torch.float64, requires_grad=True)
second = (first + 0.1 * torch.randn_like(first)).detach()
window = losses._window(first.device, first.dtype)
fused = FusedSSIM.apply(first, second, window, losses._C1, losses._C2)
plain = losses.ssim_map(first, second).mean()
torch.testing.assert_close(fused, plain)
torch.testing.assert_close(torch.autograd.grad(fused, first), torch.autograd.grad(plain, first))
"""


def test_triton_kernels_agree_with_torch_when_interpreted() -> None:
    pytest.importorskip("triton", reason="triton is not installed (it comes with torch for CUDA)")
    environment = {**os.environ, "TRITON_INTERPRET": "1"}
    done = subprocess.run(
        [sys.executable, "-c", _INTERPRETED], env=environment, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr


@pytest.mark.gpu
@pytest.mark.parametrize("size", [(742, 990), (533, 800), (11, 11), (12, 300)])
def test_triton_kernels_agree_with_torch_on_a_gpu(size: tuple[int, int]) -> None:
    first, second = _pair(device="cuda", size=size)
    first.requires_grad_()
    fused, plain = losses.ssim(first, second), losses.ssim_map(first.double(), second.double())
    torch.testing.assert_close(fused, plain.mean().float(), atol=1e-5, rtol=0)
    (gradient,) = torch.autograd.grad(fused, first)
    (expected,) = torch.autograd.grad(plain.mean(), first)
    error = (gradient - expected).norm() / expected.norm()
    assert error < 1e-3, f"relative error {error:.1e}"


@pytest.mark.gpu
def test_triton_kernels_gradient_by_finite_differences_on_a_gpu() -> None:
    first, second = _pair(torch.float64, device="cuda", size=(13, 14), batch=1)
    assert torch.autograd.gradcheck(
        lambda a: losses.ssim(a, second), first.requires_grad_(), atol=1e-7
    )
