import pytest
import torch
from rendering_scenes import random_scene

from gs_densify.errors import BackendError
from gs_densify.rendering.base import make_rasterizer, render_splats


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


def test_stored_parameters_are_activated():
    scene = random_scene(50)
    rasterizer = make_rasterizer("reference")
    camera = (scene.viewmats, scene.Ks, scene.width, scene.height)
    direct = rasterizer(*scene.arguments, sh_degree=2, antialiased=True)
    out = render_splats(rasterizer, splats_of(scene), *camera, sh_degree=2, antialiased=True)
    torch.testing.assert_close(out.image, direct.image)
    torch.testing.assert_close(out.alpha, direct.alpha)


def test_degree_zero_leaves_the_higher_bands_untouched():
    scene = random_scene(20)
    splats = splats_of(scene)
    rasterizer = make_rasterizer(torch.device("cpu"))
    assert rasterizer.name == "reference"
    out = render_splats(
        rasterizer, splats, scene.viewmats, scene.Ks, scene.width, scene.height, sh_degree=0
    )
    out.image.sum().backward()
    assert splats["shN"].grad is None
    assert splats["sh0"].grad.abs().max() > 0
    splats.pop("shN")
    render_splats(
        rasterizer, splats, scene.viewmats, scene.Ks, scene.width, scene.height, sh_degree=0
    )


@pytest.mark.parametrize("backend", ["gsplat", torch.device("cuda"), torch.device("cuda:0")])
def test_gsplat_without_a_gpu_is_one_line(backend, monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(BackendError, match="no CUDA device") as error:
        make_rasterizer(backend)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("backend", ["opengl", "", torch.device("meta")])
def test_an_unknown_back_end_is_one_line(backend):
    with pytest.raises(BackendError, match="expected") as error:
        make_rasterizer(backend)
    assert "\n" not in str(error.value)


def test_the_reference_needs_no_gsplat():
    import subprocess
    import sys

    code = (
        "import sys; from gs_densify.rendering.base import make_rasterizer; "
        "make_rasterizer('reference'); assert 'gsplat' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
