"""The reference rasteriser and gsplat's kernels, side by side on a GPU.

How closely two float32 programs can agree. Away from a threshold both round at 1e-7 and the image
agrees to 1e-4. At a threshold the last bit decides: whether an alpha counts (1/255) changes a pixel
by up to 0.004. Such pixels are few, so they are counted: at most one in 10,000, none off by more
than 1/255 (on one NVIDIA H100: none in five of the six scenes below, and 10 of 307,200, the worst
off by 0.0024, in the one that is initialised from a surface). Gradients are sums over many pixels
in which such flips drown, and gsplat's backward pass divides its way back from the final
transmittance, which costs it digits where a pixel is
nearly opaque: 1e-3 of a gradient's norm. A failure also says how far either is from float64.
"""

import gsplat
import pytest
import torch
from rasterizer_cases import CASES, ISOTROPIC, SCENES, assert_agree, distance, rendered
from rendering_scenes import random_scene

from gs_densify.errors import BackendError
from gs_densify.rendering.base import RenderSettings
from gs_densify.rendering.rasterizers import make_rasterizer

pytestmark = pytest.mark.gpu


@pytest.mark.parametrize(("name", "antialiased", "sh_degree"), CASES)
def test_reference_equals_gsplat(name, antialiased, sh_degree):
    scene = SCENES[name]()
    settings = RenderSettings(antialiased=antialiased)
    options = {"settings": settings, "sh_degree": sh_degree, "absgrad": True}
    mine, my_info = rendered("reference", scene.to("cuda", torch.float32), **options)
    theirs, their_info = rendered("gsplat", scene.to("cuda", torch.float32), **options)
    exact, _ = rendered("reference", scene.to("cuda", torch.float64), **options)
    skip = {"gradient of quats"} if name in ISOTROPIC else ()
    assert_agree(mine, theirs, exact, skip)
    # A box may round up to the next pixel in one of the two.
    different = (my_info["radii"] != their_info["radii"]).any(-1).float().mean()
    assert different <= 1e-3
    assert my_info.keys() <= their_info.keys()
    for key in ("means2d", "conics", "depths", "opacities", "radii"):
        assert my_info[key].shape == their_info[key].shape
        assert my_info[key].dtype == their_info[key].dtype


@pytest.mark.parametrize("background", [False, True])
def test_gsplats_own_colours_equal_the_reference(background):
    # Without auxiliary channels gsplat evaluates the SH itself.
    scene = SCENES["small"]()
    options = {"sh_degree": 3, "absgrad": True, "n_aux": 0, "background": background}
    mine, _ = rendered("reference", scene.to("cuda", torch.float32), **options)
    theirs, _ = rendered("gsplat", scene.to("cuda", torch.float32), **options)
    exact, _ = rendered("reference", scene.to("cuda", torch.float64), **options)
    assert_agree(mine, theirs, exact)


@pytest.mark.parametrize("n_aux", [0, 2])
@pytest.mark.parametrize("sh_degree", [0, 3])
def test_packed_gsplat_equals_unpacked(n_aux, sh_degree):
    scene = SCENES["small"]().to("cuda", torch.float32)
    options = {"sh_degree": sh_degree, "absgrad": True, "n_aux": n_aux}
    unpacked, info = rendered("gsplat", scene, **options)
    packed, packed_info = rendered("gsplat", scene, packed=True, **options)
    visible = (info["radii"] > 0).all(-1).nonzero()
    listed = torch.stack([packed_info["camera_ids"], packed_info["gaussian_ids"]], dim=-1)
    assert torch.equal(visible, listed.long())
    assert packed_info["means2d"].absgrad.shape == (len(visible), 2)
    for what, value in packed.items():
        # The same kernels; atomic sums differ in their order alone.
        assert distance(value, unpacked[what]) <= 1e-4, what


@pytest.mark.parametrize("packed", [False, True])
def test_zero_auxiliary_channels_change_nothing_in_gsplat(packed):
    scene = SCENES["small"]().to("cuda", torch.float32)
    options = {"sh_degree": 3, "absgrad": True, "packed": packed}
    plain, plain_info = rendered("gsplat", scene, n_aux=0, **options)
    with_aux, info = rendered("gsplat", scene, n_aux=2, **options)
    for what, value in plain.items():
        assert distance(with_aux[what], value) <= 1e-5, what
    assert distance(info["means2d"].absgrad, plain_info["means2d"].absgrad) <= 1e-5
    assert (with_aux["attribution"] >= 0).all()
    assert with_aux["attribution"].max() > 0


def test_gsplat_with_no_visible_and_with_no_gaussian():
    scene = random_scene(5, dtype=torch.float32)
    scene.means = scene.means - torch.tensor([0.0, 0.0, 50.0])
    found, info = rendered("gsplat", scene.to("cuda"), sh_degree=3, absgrad=True)
    assert found["alpha"].abs().max() == 0
    assert found["gradient of means"].abs().max() == 0
    assert (info["radii"] == 0).all()
    with pytest.raises(BackendError, match="0 Gaussians"):
        rendered("gsplat", random_scene(0, dtype=torch.float32).to("cuda"), sh_degree=3)


@pytest.mark.parametrize("antialiased", [False, True])
@pytest.mark.parametrize("n_cameras", [1, 2])
def test_stages_equal_gsplats_own_function(antialiased, n_cameras):
    """SH in two tensors, camera centres without an inverse, and gsplat's stages one by one."""
    scene = random_scene(3_000, 200, 150, n_cameras=n_cameras, size=0.08, dtype=torch.float32)
    scene = scene.to("cuda").requires_grad()
    mode = "antialiased" if antialiased else "classic"
    weights = torch.randn(n_cameras, 150, 200, 3, device="cuda")
    expected, alpha, info = gsplat.rasterization(
        *scene.arguments, sh_degree=3, packed=False, absgrad=True, rasterize_mode=mode
    )
    theirs = torch.autograd.grad((weights * expected).sum(), scene.parameters)
    means, quats, scales, opacities, sh = scene.parameters
    found = make_rasterizer("gsplat")(
        means,
        quats,
        scales,
        opacities,
        (sh[:, :1], sh[:, 1:]),
        *scene.arguments[5:],
        sh_degree=3,
        absgrad=True,
        settings=RenderSettings(antialiased=antialiased),
    )
    ours = torch.autograd.grad((weights * found.image).sum(), scene.parameters)
    assert (found.image - expected).abs().max() < 1e-5
    assert (found.alpha - alpha).abs().max() < 1e-6
    assert info.keys() == found.info.keys()
    for mine, other in zip(ours, theirs, strict=True):
        assert (mine - other).norm() <= 1e-5 * other.norm()
    absolute = info["means2d"].absgrad
    assert (found.info["means2d"].absgrad - absolute).norm() <= 1e-5 * absolute.norm()


def test_the_reference_is_the_same_on_both_devices():
    scene = random_scene(300, 60, 40, n_cameras=2)
    options = {"sh_degree": 3, "absgrad": True, "settings": RenderSettings(antialiased=True)}
    on_cpu, _ = rendered("reference", scene, **options)
    on_gpu, _ = rendered("reference", scene.to("cuda"), **options)
    for what, value in on_cpu.items():
        torch.testing.assert_close(on_gpu[what].cpu(), value, rtol=1e-9, atol=1e-11, msg=what)
