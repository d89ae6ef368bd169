"""The photometric loss against torchmetrics, finite differences, and its own Triton kernels."""

from collections.abc import Callable

import pytest
import torch
from torchmetrics.functional.image import structural_similarity_index_measure

from gs_densify.errors import ConfigError
from gs_densify.images.ssim import ssim_map
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
    torch.testing.assert_close(ssim_map(first, second, "valid"), expected, atol=1e-5, rtol=0)


@pytest.fixture(params=["cpu", pytest.param("cuda", marks=pytest.mark.gpu)])
def device(request: pytest.FixtureRequest) -> str:
    return request.param


def test_gradient_by_finite_differences(device: str) -> None:
    first, second = _pair(torch.float64, device=device, size=(13, 14), batch=1)
    for weight in (0.2, 1.0):
        assert torch.autograd.gradcheck(
            lambda a, w=weight: losses.photometric_loss(a, second, w)[0],
            first.requires_grad_(),
            atol=1e-7,
        )


def test_loss_is_zero_for_equal_images_and_weighs_its_terms(device: str) -> None:
    first, second = _pair(device=device)
    assert float(losses.photometric_loss(first, first, 0.2)[0]) == pytest.approx(0, abs=1e-6)
    loss, terms = losses.photometric_loss(first.requires_grad_(), second, 0.2)
    assert not any(term.requires_grad for term in terms.values())
    l1, ssim_loss = float(terms["l1"]), float(terms["ssim_loss"])
    assert loss.item() == pytest.approx(0.8 * l1 + 0.2 * ssim_loss, rel=1e-5)
    assert l1 == pytest.approx((first - second).abs().mean().item(), rel=1e-5)
    similarity = _torchmetrics_where_the_window_fits(first.detach(), second).mean()
    assert ssim_loss == pytest.approx(1 - float(similarity), abs=1e-5)
    assert "ssim_loss" not in losses.photometric_loss(first, second, 0.0)[1]


def test_parts_of_wider_images_and_scaled_losses_have_their_gradient(device: str) -> None:
    first, second = _pair(torch.float64, device=device)
    wide = torch.cat([first, first], dim=-1).requires_grad_()
    (loss, _), (expected, _) = (
        losses.photometric_loss(image, second, 0.2)
        for image in (wide[..., :3], first.requires_grad_())
    )
    (found,) = torch.autograd.grad(-2.5 * loss, wide)
    (gradient,) = torch.autograd.grad(expected, first)
    torch.testing.assert_close(found[..., :3], -2.5 * gradient)
    assert not found[..., 3:].any()


def test_photos_smaller_than_the_window_are_refused_in_words() -> None:
    first, second = _pair(size=(8, 40))
    with pytest.raises(ConfigError, match="40x8 are smaller"):
        losses.photometric_loss(first, second, 0.2)
    assert losses.photometric_loss(first, second, 0.0)[0] > 0


_INTERPRETED = """
import torch
from gs_densify.training import losses
torch.manual_seed(3)
for batch, height, width, weight in ((2, 12, 96, 0.7), (1, 11, 11, 0.2)):
    first = torch.rand(batch, height, width, 3, dtype=torch.float64)
    second = first + 0.1 * torch.randn_like(first)
    second[1:, :4, :4] = first[1:, :4, :4]  # where L1 has no gradient
    first.requires_grad_()
    weights = torch.rand(batch, dtype=torch.float64)
    fused, plain = (
        of(first, second, weights, weight) for of in (losses._fused_loss, losses._plain_loss)
    )
    torch.testing.assert_close(fused, plain)
    gradients = (torch.autograd.grad(3 * loss, first) for loss, *_ in (fused, plain))
    torch.testing.assert_close(*gradients)
with torch.no_grad():
    torch.testing.assert_close(losses._fused_loss(first, second, weights, weight), plain)
"""


def test_triton_kernels_agree_with_torch_when_interpreted(interpret: Callable[..., None]) -> None:
    interpret(_INTERPRETED)


@pytest.mark.gpu
@pytest.mark.parametrize("weight", [0.2, 1.0])
@pytest.mark.parametrize("size", [(742, 990), (533, 800), (11, 11), (12, 300)])
def test_triton_kernels_agree_with_torch_on_a_gpu(size: tuple[int, int], weight: float) -> None:
    first, second = _pair(device="cuda", size=size)
    exact, weights = first.double().requires_grad_(), torch.tensor([0.3, 1.9], device="cuda")
    fused = losses._fused_loss(first.requires_grad_(), second, weights, weight)
    plain = losses._plain_loss(exact, second.double(), weights.double(), weight)
    for ours, expected in zip(fused, plain, strict=True):
        torch.testing.assert_close(ours, expected.float(), atol=1e-5, rtol=0)
    (gradient,) = torch.autograd.grad(fused[0], first)
    (expected,) = torch.autograd.grad(plain[0], exact)
    error = (gradient - expected).norm() / expected.norm()
    assert error < 1e-3, f"relative error {error:.1e}"
    again = losses._fused_loss(first, second, weights, weight)
    assert all(torch.equal(one, other) for one, other in zip(fused, again, strict=True))


@pytest.mark.gpu
def test_the_loss_takes_few_launches() -> None:
    first, second = _pair(device="cuda")
    first.requires_grad_()
    for _ in range(2):  # the first compiles
        with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CUDA]) as trace:
            losses.photometric_loss(first, second, 0.2)[0].backward()
            first.grad = None
            torch.cuda.synchronize()
    kernels = [e for e in trace.events() if e.device_type == torch.autograd.DeviceType.CUDA]
    assert len(kernels) < 8, [kernel.name for kernel in kernels]
