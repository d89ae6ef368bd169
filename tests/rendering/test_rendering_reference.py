"""The whole reference pipeline: numerical gradients, invariances and the contract of `info`."""

import pytest
import torch
from gsplat.cuda._torch_impl import _spherical_harmonics
from rendering_scenes import brute_force, random_scene

from gs_densify.errors import BackendError
from gs_densify.rendering.base import RenderSettings
from gs_densify.rendering.rasterizers import make_rasterizer

render = make_rasterizer("reference")
ANTIALIASED = RenderSettings(antialiased=True)


def smooth_scene(n_cameras):
    """Few large Gaussians whose boxes and 1/255 contours lie beyond the image.

    Every pixel then sees every Gaussian above the threshold and none saturates, so finite
    differences meet no discontinuity.
    """
    scene = random_scene(3, width=5, height=4, n_cameras=n_cameras, size=1.2, max_opacity=0.6)
    scene.means *= 0.3
    scene.scales += 1.0
    scene.opacities += 0.1
    return scene.requires_grad()


def weights(image):
    generator = torch.Generator().manual_seed(image.shape[-1])
    return torch.randn(image.shape, generator=generator, dtype=image.dtype)


CASES = [
    # antialiased, SH degree, cameras, background, auxiliary channels
    (False, 0, 1, False, 0),
    (False, 1, 1, True, 0),
    (False, 2, 1, True, 1),
    (False, 3, 2, True, 2),
    (True, 3, 2, True, 2),
    (True, None, 1, False, 1),
]


@pytest.mark.parametrize(("antialiased", "sh_degree", "n_cameras", "background", "n_aux"), CASES)
def test_gradients_equal_finite_differences(antialiased, sh_degree, n_cameras, background, n_aux):
    scene = smooth_scene(n_cameras)
    inputs = scene.parameters
    if sh_degree is None:
        inputs[4] = torch.rand(3, 3, dtype=torch.float64, requires_grad=True)
    if background:
        inputs.append(torch.rand(n_cameras, 3, dtype=torch.float64, requires_grad=True))
    if n_aux:
        inputs.append(torch.rand(3, n_aux, dtype=torch.float64, requires_grad=True))

    def run(*values):
        rest = list(values[5:])
        out = render(
            *values[:5],
            scene.viewmats,
            scene.Ks,
            scene.width,
            scene.height,
            sh_degree=sh_degree,
            settings=RenderSettings(antialiased=antialiased),
            backgrounds=rest.pop(0) if background else None,
            aux=rest.pop(0) if n_aux else None,
        )
        assert (out.info["radii"] > 0).all()
        assert (out.alpha > 0.2).all()
        images = [out.image, out.alpha] if out.aux is None else [out.image, out.alpha, out.aux]
        # One random projection of all outputs: a wrong derivative has no way to hide in it.
        return sum((image * weights(image)).sum() for image in images)

    assert torch.autograd.gradcheck(run, inputs, eps=1e-6, atol=1e-7, rtol=1e-5)


def test_camera_gradients_equal_finite_differences():
    scene = smooth_scene(2)
    viewmats, Ks = scene.viewmats.requires_grad_(), scene.Ks.requires_grad_()

    def run(viewmats, Ks):
        image = render(*scene.parameters, viewmats, Ks, 5, 4, sh_degree=2).image
        return (image * weights(image)).sum()

    assert torch.autograd.gradcheck(run, (viewmats, Ks), eps=1e-6, atol=1e-7, rtol=1e-5)


def test_pipeline_equals_brute_force_with_antialiasing_and_background():
    scene = random_scene(25, width=14, height=11, n_cameras=2, size=0.1, seed=5)
    background = torch.rand(2, 3, dtype=torch.float64)
    out = render(*scene.arguments, sh_degree=3, settings=ANTIALIASED, backgrounds=background)
    colors = []
    for camera in range(2):
        centre = torch.linalg.inv(scene.viewmats[camera])[:3, 3]
        colors.append((_spherical_harmonics(3, scene.means - centre, scene.sh) + 0.5).clamp_min(0))
        image, alpha, _ = brute_force(
            out.info["means2d"][camera],
            out.info["conics"][camera],
            out.info["depths"][camera],
            out.info["opacities"][camera],
            colors[camera],
            scene.width,
            scene.height,
            (out.info["radii"][camera] > 0).all(-1),
        )
        image = image + (1 - alpha[..., None]) * background[camera]
        torch.testing.assert_close(out.image[camera], image, rtol=1e-10, atol=1e-12)
    assert (out.info["opacities"] < 0.95 * scene.opacities).any()


def test_zero_auxiliary_channels_leave_image_and_gradients_alone():
    aux = torch.zeros(200, 2, dtype=torch.float64, requires_grad=True)
    maps = torch.rand(1, 20, 24, 2, dtype=torch.float64)
    found = []
    for extra in (None, aux):
        scene = random_scene(200, seed=1).requires_grad()
        out = render(*scene.arguments, sh_degree=3, absgrad=True, aux=extra)
        out.info["means2d"].retain_grad()
        loss = (out.image - 0.3).square().sum()
        if extra is not None:
            loss = loss + (maps * out.aux).sum()
        loss.backward()
        means2d = out.info["means2d"]
        gradients = [p.grad for p in scene.parameters] + [means2d.grad, means2d.absgrad]
        found.append([out.image, out.alpha, *gradients])
    for plain, with_aux in zip(*found, strict=True):
        torch.testing.assert_close(plain, with_aux, rtol=1e-12, atol=1e-14)
    assert (aux.grad > 0).any()


def test_attribution_is_consistent_with_the_image():
    # Weights of all Gaussians sum to the accumulated alpha, in every masked region.
    scene = random_scene(200, n_cameras=2, seed=1)
    aux = torch.zeros(200, 2, dtype=torch.float64, requires_grad=True)
    out = render(*scene.arguments, sh_degree=0, aux=aux)
    maps = torch.rand(2, 20, 24, 2, dtype=torch.float64)
    (maps * out.aux).sum().backward()
    torch.testing.assert_close(aux.grad.sum(0), (maps * out.alpha).sum((0, 1, 2)))


def test_the_order_of_gaussians_does_not_matter():
    scene = random_scene(150, n_cameras=2).requires_grad()
    order = torch.randperm(150)
    weight = torch.rand(2, 20, 24, 3, dtype=torch.float64)
    out = render(*scene.arguments, sh_degree=3)
    plain = torch.autograd.grad((out.image * weight).sum(), scene.parameters)
    shuffled = [p.detach()[order].requires_grad_() for p in scene.parameters]
    again = render(*shuffled, *scene.arguments[5:], sh_degree=3)
    gradients = torch.autograd.grad((again.image * weight).sum(), shuffled)
    torch.testing.assert_close(out.image, again.image, rtol=1e-12, atol=1e-14)
    for one, other in zip(plain, gradients, strict=True):
        torch.testing.assert_close(one[order], other, rtol=1e-9, atol=1e-12)


def test_the_nearer_of_two_opaque_gaussians_hides_the_other():
    scene = random_scene(2, width=9, height=9)
    scene.viewmats[:, :3, :3] = torch.eye(3)
    scene.scales = torch.ones(2, 3).double()
    scene.opacities = torch.tensor([0.9999, 0.9999]).double()
    rgb = torch.tensor([[1.0, 0, 0], [0, 1.0, 0]]).double()
    for near, z in ((0, [-0.5, 0.5]), (1, [0.5, -0.5])):
        scene.means = torch.tensor([[0, 0, z[0]], [0, 0, z[1]]]).double()
        out = render(*scene.parameters[:4], rgb, *scene.arguments[5:], sh_degree=None)
        middle = out.image[0, 4, 4]
        assert middle[near] > 0.95
        assert middle[1 - near] < 0.05


def test_several_cameras_equal_one_at_a_time():
    scene = random_scene(100, n_cameras=3)
    background = torch.rand(3, 3, dtype=torch.float64)
    together = render(*scene.arguments, sh_degree=2, backgrounds=background)
    for i in range(3):
        alone = render(
            *scene.parameters,
            scene.viewmats[i : i + 1],
            scene.Ks[i : i + 1],
            scene.width,
            scene.height,
            sh_degree=2,
            backgrounds=background[i : i + 1],
        )
        torch.testing.assert_close(together.image[i], alone.image[0])
        torch.testing.assert_close(together.info["radii"][i], alone.info["radii"][0])


@pytest.mark.parametrize("n", [0, 1, 5])
@pytest.mark.parametrize("antialiased", [False, True])
@pytest.mark.parametrize("sh_degree", [0, 3])
def test_nothing_to_see_gives_the_background_and_zero_gradients(n, antialiased, sh_degree):
    scene = random_scene(n, n_cameras=2)
    scene.means = scene.means - torch.tensor([0.0, 0.0, 50.0])  # behind both cameras
    scene.requires_grad()
    background = torch.rand(2, 3, dtype=torch.float64)
    aux = torch.zeros(n, 1, dtype=torch.float64, requires_grad=True)
    out = render(
        *scene.arguments,
        sh_degree=sh_degree,
        settings=RenderSettings(antialiased=antialiased),
        backgrounds=background,
        absgrad=True,
        aux=aux,
    )
    torch.testing.assert_close(out.image, background[:, None, None].expand_as(out.image))
    assert out.alpha.abs().max() == 0
    (out.image.sum() + out.aux.sum()).backward()
    for parameter in (*scene.parameters, aux):
        assert torch.equal(parameter.grad, torch.zeros_like(parameter))
    assert out.info["means2d"].absgrad.shape == (2, n, 2)
    assert (out.info["radii"] == 0).all()


def test_one_gaussian_and_those_off_screen():
    scene = random_scene(3)
    scene.means = torch.tensor([[0.0, 0, 0], [500.0, 0, 0], [0, 0, -50.0]]).double()
    scene.requires_grad()
    out = render(*scene.arguments, sh_degree=3)
    assert (out.info["radii"][0] > 0).all(-1).tolist() == [True, False, False]
    out.image.square().sum().backward()
    for parameter in scene.parameters:
        assert parameter.grad[0].abs().max() > 0
        assert parameter.grad[1:].abs().max() == 0
    alone = render(*[p[:1] for p in scene.parameters], *scene.arguments[5:], sh_degree=3)
    torch.testing.assert_close(alone.image, out.image)


@pytest.mark.parametrize("opacity", [1e-6, 1 / 255 - 1e-9, 0.5, 1.0])
def test_extreme_opacities(opacity):
    scene = random_scene(30, size=1.0, dtype=torch.float32)
    scene.opacities = torch.full((30,), opacity)
    scene.requires_grad()
    out = render(*scene.arguments, sh_degree=1, absgrad=True)
    out.image.sum().backward()
    assert out.image.isfinite().all()
    assert all(p.grad.isfinite().all() for p in scene.parameters)
    assert (out.alpha.max() > 0) == (opacity >= 1 / 255)
    assert out.alpha.max() < 1


def test_info_has_gsplats_keys_and_shapes():
    scene = random_scene(40, width=33, height=20, n_cameras=2, dtype=torch.float32).requires_grad()
    out = render(*scene.arguments, sh_degree=0, absgrad=True)
    info = out.info
    keys = (
        "batch_ids camera_ids gaussian_ids radii means2d depths conics opacities tile_width "
        "tile_height tiles_per_gauss isect_ids flatten_ids isect_offsets width height tile_size "
        "n_batches n_cameras"
    )
    assert set(info) == set(keys.split())
    assert info["gaussian_ids"] is None
    assert (info["width"], info["height"], info["n_cameras"]) == (33, 20, 2)
    assert info["radii"].dtype == torch.int32
    shapes = {"radii": 2, "means2d": 2, "conics": 3}
    assert all(info[k].shape == (2, 40, last) for k, last in shapes.items())
    assert info["depths"].shape == info["opacities"].shape == (2, 40)
    info["means2d"].retain_grad()
    out.image.square().sum().backward()
    assert info["means2d"].grad.shape == info["means2d"].absgrad.shape == (2, 40, 2)
    seen = (info["radii"] > 0).all(-1)
    assert (info["means2d"].grad[seen].abs().sum(-1) > 0).any()
    assert info["means2d"].grad[~seen].abs().sum() == 0
    assert out.image.shape == (2, 20, 33, 3)
    assert out.alpha.shape == (2, 20, 33, 1)
    assert out.aux is None
    assert out.image.is_contiguous()


def test_gsplats_default_strategy_reads_the_info():
    from gsplat.strategy import DefaultStrategy

    scene = random_scene(40, dtype=torch.float32)
    params = torch.nn.ParameterDict(
        {
            "means": scene.means,
            "scales": scene.scales.log(),
            "quats": scene.quats,
            "opacities": torch.logit(scene.opacities),
        }
    )
    optimizers = {k: torch.optim.Adam([v]) for k, v in params.items()}
    for absgrad in (False, True):
        strategy = DefaultStrategy(absgrad=absgrad)
        state = strategy.initialize_state(1.0)
        out = render(
            params["means"],
            params["quats"],
            params["scales"].exp(),
            params["opacities"].sigmoid(),
            scene.sh,
            scene.viewmats,
            scene.Ks,
            scene.width,
            scene.height,
            sh_degree=3,
            absgrad=absgrad,
        )
        strategy.step_pre_backward(params, optimizers, state, 1, out.info)
        out.image.square().sum().backward()
        strategy.step_post_backward(params, optimizers, state, 1, out.info)
        seen = (out.info["radii"] > 0).all(-1)[0]
        assert torch.equal(state["count"], seen.float())
        assert (state["grad2d"] > 0).any()


def test_packed_mode_is_refused():
    scene = random_scene(3)
    with pytest.raises(BackendError, match="Packed mode") as error:
        render(*scene.arguments, sh_degree=0, packed=True)
    assert "\n" not in str(error.value)
