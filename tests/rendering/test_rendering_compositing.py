"""Compositing against a per-pixel, per-Gaussian loop that autograd differentiates."""

import pytest
import torch
from rendering_scenes import brute_force, random_scene

from gs_densify.rendering.base import RenderSettings
from gs_densify.rendering.reference.compositing import composite
from gs_densify.rendering.reference.projection import project
from gs_densify.rendering.reference.tiles import intersect_tiles


def ellipses(scene, channels=4):
    """Projected Gaussians as leaves: means2d, conics, colors, opacities; and their tile lists."""
    arguments = scene.arguments
    out = project(*arguments[:4], *arguments[5:], RenderSettings())
    n_cameras, n = out.depths.shape
    leaves = [
        out.means2d,
        out.conics,
        torch.rand(n_cameras, n, channels, dtype=scene.means.dtype),
        scene.opacities.expand(n_cameras, n),
    ]
    return [t.detach().clone().requires_grad_() for t in leaves], out


def lists(out, scene, tile_size=8):
    return intersect_tiles(out.means2d, out.radii, out.depths, scene.width, scene.height, tile_size)


def brute(leaves, out, scene, camera):
    means2d, conics, colors, opacities = (t[camera] for t in leaves)
    visible = (out.radii[camera] > 0).all(-1)
    return brute_force(
        means2d,
        conics,
        out.depths[camera],
        opacities,
        colors,
        scene.width,
        scene.height,
        visible,
    )


SCENES = {
    "sparse": {"n": 12, "width": 19, "height": 13, "size": 0.2},
    "saturated": {"n": 40, "width": 11, "height": 9, "size": 1.5, "max_opacity": 1.0},
    "small image": {"n": 10, "width": 3, "height": 2, "size": 0.5},
}


@pytest.mark.parametrize("name", SCENES)
def test_image_and_gradients_equal_brute_force(name):
    scene = random_scene(**SCENES[name], n_cameras=2, seed=3)
    leaves, out = ellipses(scene)
    if name == "saturated":  # the clamp at 0.999 takes effect as well
        leaves[3].data[:, ::2] = 0.9999
    image, alpha = composite(*leaves, lists(out, scene), scene.width, scene.height, absgrad=True)
    slow = [brute(leaves, out, scene, camera) for camera in range(2)]
    expected, expected_alpha = (torch.stack(part) for part in list(zip(*slow, strict=True))[:2])
    torch.testing.assert_close(image, expected, rtol=1e-11, atol=1e-13)
    torch.testing.assert_close(alpha[..., 0], expected_alpha, rtol=1e-11, atol=1e-13)
    if name == "saturated":
        assert (alpha > 1 - 1e-3).float().mean() > 0.5

    v_image, v_alpha = torch.randn_like(image), torch.randn_like(alpha)
    ours = torch.autograd.grad((image * v_image).sum() + (alpha * v_alpha).sum(), leaves)
    loss = (expected * v_image).sum() + (expected_alpha * v_alpha[..., 0]).sum()
    theirs = torch.autograd.grad(loss, leaves)
    for mine, reference in zip(ours, theirs, strict=True):
        assert reference.abs().max() > 0
        torch.testing.assert_close(mine, reference, rtol=1e-8, atol=1e-10)


def test_absgrad_is_the_sum_of_each_pixels_absolute_gradient():
    scene = random_scene(6, width=6, height=4, size=0.9)
    leaves, out = ellipses(scene)
    means2d = leaves[0]
    image, alpha = composite(*leaves, lists(out, scene), scene.width, scene.height, absgrad=True)
    v_image, v_alpha = torch.randn_like(image), torch.randn_like(alpha)
    ((image * v_image).sum() + (alpha * v_alpha).sum()).backward()
    expected_image, expected_alpha, _ = brute(leaves, out, scene, 0)
    per_pixel = (expected_image * v_image[0]).sum(-1) + expected_alpha * v_alpha[0, ..., 0]
    expected = sum(
        torch.autograd.grad(value, means2d, retain_graph=True)[0].abs()
        for value in per_pixel.flatten()
        if value.grad_fn is not None
    )
    torch.testing.assert_close(means2d.absgrad, expected, rtol=1e-9, atol=1e-12)
    assert (means2d.absgrad >= means2d.grad.abs() - 1e-12).all()
    assert (means2d.absgrad > 1.01 * means2d.grad.abs()).any()


def test_absgrad_is_left_alone_unless_asked_for():
    scene = random_scene(8)
    leaves, out = ellipses(scene)
    image, _ = composite(*leaves, lists(out, scene), scene.width, scene.height)
    image.sum().backward()
    assert not hasattr(leaves[0], "absgrad")


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_tile_size_and_batch_size_do_not_change_the_result(dtype, monkeypatch):
    scene = random_scene(80, width=34, height=21, n_cameras=2, size=0.3, dtype=dtype)
    leaves, out = ellipses(scene)
    weight = torch.randn(2, 21, 34, 4, dtype=dtype)
    results = []
    for tile_size, pairs in ((16, 2**18), (8, 2**18), (4, 2**10), (8, 1), (40, 2**20)):
        monkeypatch.setattr("gs_densify.rendering.reference.compositing._CPU_PAIRS", pairs)
        image, alpha = composite(*leaves, lists(out, scene, tile_size), 34, 21, absgrad=True)
        gradients = torch.autograd.grad((image * weight).sum() + alpha.sum(), leaves)
        results.append([image, alpha, *gradients, leaves[0].absgrad])
    tolerance = 1e-4 if dtype == torch.float32 else 1e-11
    for other in results[1:]:
        for a, b in zip(results[0], other, strict=True):
            assert (a - b).norm() <= tolerance * a.norm()


def test_float32_gradients_stay_close_to_float64():
    # The reverse pass sums from the back, so that saturated pixels lose little.
    scene = random_scene(300, width=40, height=30, size=0.8, max_opacity=0.98)
    leaves, out = ellipses(scene)
    weight = torch.randn(1, 30, 40, 4, dtype=torch.float64)
    found = []
    for dtype in (torch.float64, torch.float32):
        own = [t.detach().to(dtype).requires_grad_() for t in leaves]
        image, _ = composite(*own, lists(out, scene), 40, 30, absgrad=True)
        gradients = torch.autograd.grad((image * weight.to(dtype)).sum(), own)
        found.append([image, *gradients, own[0].absgrad])
    for exact, rounded in zip(*found, strict=True):
        # Room for a few pixels in which rounding moves a Gaussian over 1/255 or 1e-4.
        assert (exact - rounded).norm() <= 1e-3 * exact.norm()


def test_attribution_sums_each_gaussians_weights():
    scene = random_scene(15, width=12, height=10, size=0.5)
    leaves, out = ellipses(scene, channels=3)
    zeros = torch.zeros(1, 15, 2, dtype=torch.float64, requires_grad=True)
    means2d, conics, colors, opacities = leaves
    image, _ = composite(
        means2d,
        conics,
        torch.cat([colors, zeros], dim=-1),
        opacities,
        lists(out, scene),
        scene.width,
        scene.height,
    )
    maps = torch.rand(1, 10, 12, 2, dtype=torch.float64)
    gradients = torch.autograd.grad((image[..., 3:] * maps).sum(), [zeros, *leaves])
    _, _, weights = brute(leaves, out, scene, 0)
    expected = torch.einsum("hwm,hwk->km", maps[0], weights)
    torch.testing.assert_close(gradients[0][0], expected, rtol=1e-11, atol=1e-13)
    assert all(gradient.abs().max() == 0 for gradient in gradients[1:])


def test_second_derivatives_are_refused():
    scene = random_scene(5)
    leaves, out = ellipses(scene)
    image, _ = composite(*leaves, lists(out, scene), scene.width, scene.height)
    (gradient,) = torch.autograd.grad(image.square().sum(), leaves[0], create_graph=True)
    with pytest.raises(RuntimeError, match="once_differentiable"):
        gradient.sum().backward()
