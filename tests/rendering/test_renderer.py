"""A renderer: stored parameters are activated, and rendered with the settings of their model."""

import dataclasses
from pathlib import Path

import numpy as np
import pytest
import torch
from rendering_scenes import random_scene

from gs_densify.rendering.base import RenderSettings
from gs_densify.rendering.rasterizers import make_rasterizer
from gs_densify.rendering.renderer import Renderer
from gs_densify.scene.scene import View

RASTERIZER = make_rasterizer("reference")


def splats_of(scene):
    tensors = {
        "means": scene.means,
        "quats": scene.quats,
        "scales": scene.scales.log(),
        "opacities": torch.logit(scene.opacities),
        "sh0": scene.sh[:, :1],
        "shN": scene.sh[:, 1:],
    }
    return {k: v.detach().clone().requires_grad_() for k, v in tensors.items()}


def camera_of(scene):
    return scene.viewmats, scene.Ks, scene.width, scene.height


SETTINGS = (
    RenderSettings(antialiased=True),
    RenderSettings(near_plane=3.0),
    RenderSettings(far_plane=3.0),
    RenderSettings(radius_clip=6.0),
)


@pytest.mark.parametrize("settings", SETTINGS)
def test_stored_parameters_are_activated_and_every_setting_arrives(settings):
    scene = random_scene(50)
    plain = Renderer(RASTERIZER)(splats_of(scene), *camera_of(scene), sh_degree=2)
    found = Renderer(RASTERIZER, settings)(splats_of(scene), *camera_of(scene), sh_degree=2)
    expected = RASTERIZER(*scene.arguments, sh_degree=2, settings=settings)
    torch.testing.assert_close(found.image, expected.image)
    torch.testing.assert_close(found.alpha, expected.alpha)
    assert (found.image - plain.image).abs().max() > 1e-3


def test_the_options_of_a_call_arrive():
    scene = random_scene(30)
    renderer, n_cameras = Renderer(RASTERIZER), len(scene.viewmats)
    backgrounds = torch.rand(n_cameras, 3, dtype=torch.float64)
    options = {"backgrounds": backgrounds, "aux": torch.rand(30, 2, dtype=torch.float64)}
    found = renderer(splats_of(scene), *camera_of(scene), sh_degree=1, absgrad=True, **options)
    expected = RASTERIZER(*scene.arguments, sh_degree=1, **options)
    torch.testing.assert_close(found.image, expected.image)
    torch.testing.assert_close(found.aux, expected.aux)
    found.image.sum().backward()
    assert found.info["means2d"].absgrad.abs().max() > 0
    with pytest.raises(Exception, match="Packed mode"):
        renderer(splats_of(scene), *camera_of(scene), sh_degree=1, packed=True)


def test_degree_zero_leaves_the_higher_bands_untouched():
    scene = random_scene(20)
    splats, renderer = splats_of(scene), Renderer(RASTERIZER)
    out = renderer(splats, *camera_of(scene), sh_degree=0)
    out.image.sum().backward()
    assert splats["shN"].grad is None
    assert splats["sh0"].grad.abs().max() > 0
    splats.pop("shN")
    renderer(splats, *camera_of(scene), sh_degree=0)


@pytest.mark.parametrize("sh_degree", [0, 1, 3])
def test_a_view_is_on_black_with_every_degree_that_the_model_has(sh_degree):
    scene = random_scene(40, dtype=torch.float32)
    splats = splats_of(scene)
    splats["shN"] = splats["shN"][:, : (sh_degree + 1) ** 2 - 1]
    pose, K = (values[0].double().numpy() for values in (scene.viewmats, scene.Ks))
    view = View("a", Path("a"), 1, pose, np.ascontiguousarray(K), scene.width, scene.height)
    renderer = Renderer(RASTERIZER, RenderSettings(antialiased=True, near_plane=1.0))
    found = renderer.view(splats, view)
    expected = renderer(splats, *camera_of(scene), sh_degree=sh_degree).image[0]
    torch.testing.assert_close(found, expected)
    assert found.shape == (scene.height, scene.width, 3) and found.max() > 0.1


def test_a_renderer_is_a_value():
    renderer = Renderer(RASTERIZER)
    assert renderer == Renderer(RASTERIZER, RenderSettings())
    with pytest.raises(dataclasses.FrozenInstanceError):
        renderer.settings = RenderSettings(near_plane=1.0)
