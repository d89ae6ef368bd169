"""The arithmetic of rasteriser 'own', which is host code too, against the float64 reference."""

import ctypes
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest
import torch
from rendering_scenes import random_scene

from gs_densify.model.sh import eval_sh
from gs_densify.rendering.base import RenderSettings
from gs_densify.rendering.colors import camera_centres
from gs_densify.rendering.own.build import SOURCES
from gs_densify.rendering.reference.projection import project

pytestmark = pytest.mark.skipif(shutil.which("nvcc") is None, reason="needs nvcc")


@pytest.fixture(scope="module")
def host(tmp_path_factory):
    library = tmp_path_factory.mktemp("own") / "projection.so"
    source = Path(__file__).parent / "own_projection.cu"
    flags = ["-O1", "-shared", "-Xcompiler", "-fPIC", "-arch=sm_90", f"-I{SOURCES}"]
    subprocess.run(["nvcc", *flags, source, "-o", library], check=True, capture_output=True)
    return ctypes.CDLL(str(library))


def pointer(values):
    return values.ctypes.data_as(ctypes.POINTER(ctypes.c_float))


def scene_of(seed, *, beyond_the_image=False):
    scene = random_scene(1, 40, 30, seed=seed)
    if beyond_the_image:
        scene.means = scene.means + torch.tensor([6.0, -5.0, 0.0])
    return scene.requires_grad()


def outputs(scene):
    """x, y, conic, compensation and RGB of the one Gaussian, by the reference."""
    found = project(
        scene.means,
        scene.quats,
        scene.scales,
        scene.opacities,
        scene.viewmats,
        scene.Ks,
        scene.width,
        scene.height,
        RenderSettings(antialiased=True),
    )
    away = scene.means - camera_centres(scene.viewmats)
    rgb = eval_sh(3, away, scene.sh) + 0.5
    parts = (found.means2d, found.conics, found.compensations, rgb)
    return torch.cat([part.flatten() for part in parts])


def arguments(scene):
    tensors = (scene.means, scene.quats, scene.scales, scene.sh, scene.viewmats, scene.Ks)
    arrays = [np.ascontiguousarray(t.detach().numpy().ravel(), np.float32) for t in tensors]
    return [*arrays, np.array([scene.width, scene.height], np.float32)]


@pytest.mark.parametrize("beyond_the_image", [False, True])
@pytest.mark.parametrize("seed", range(5))
def test_projection_and_its_gradients_equal_the_reference(host, seed, beyond_the_image):
    scene = scene_of(seed, beyond_the_image=beyond_the_image)
    given = arguments(scene)
    expected = outputs(scene)
    found = np.zeros(9, np.float32)
    host.forward(*map(pointer, given), pointer(found))
    np.testing.assert_allclose(found, expected.detach().numpy(), rtol=2e-4, atol=1e-4)

    v = torch.randn(9, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    leaves = [scene.means, scene.scales, scene.quats]
    gradients = torch.autograd.grad((v * expected).sum(), leaves)
    exact = torch.cat([g.flatten() for g in gradients]).numpy()
    mine = np.zeros(10, np.float32)
    v32 = v.numpy().astype(np.float32)
    host.backward(*map(pointer, given), pointer(v32), pointer(mine))
    np.testing.assert_allclose(mine, exact, rtol=2e-3, atol=1e-3 * np.abs(exact).max())


def test_a_step_in_backward_is_adams(host):
    options = {"lr": 1e-2, "betas": (0.8, 0.99), "eps": 1e-8, "weight_decay": 0.1}
    parameter = torch.nn.Parameter(torch.tensor([0.3], dtype=torch.float64))
    expected = torch.optim.AdamW([parameter], **options)
    value, average, square = (np.array([start], np.float32) for start in (0.3, 0, 0))
    for count, gradient in enumerate((0.5, 0.0, -2.0, 1e-6), start=1):
        parameter.grad = torch.tensor([gradient], dtype=torch.float64)
        expected.step()
        correction = np.sqrt(1 - 0.99**count)
        size, eps = 1e-2 * correction / (1 - 0.8**count), 1e-8 * correction
        factors = np.array([size, eps, 1 - 1e-2 * 0.1, 0.2, 0.01], np.float32)
        moments = pointer(average), pointer(square)
        host.step(pointer(value), *moments, pointer(factors), ctypes.c_float(gradient))
        state = expected.state[parameter]
        np.testing.assert_allclose(value, parameter.detach(), rtol=2e-6)
        np.testing.assert_allclose(average, state["exp_avg"], rtol=2e-6)
        np.testing.assert_allclose(square, state["exp_avg_sq"], rtol=2e-6)
    kept = np.zeros(1, np.float32)
    host.keep(pointer(kept), ctypes.c_float(0.25))
    assert kept[0] == 0.25
