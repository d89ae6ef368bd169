"""Rasteriser 'own' beside the reference, gsplat and itself, on a GPU."""

import dataclasses

import pytest
import torch
from rasterizer_cases import (
    CASES,
    GRADIENT_TOLERANCE,
    ISOTROPIC,
    SCENES,
    assert_agree,
    assert_images_agree,
    distance,
    rendered,
)
from rendering_scenes import random_scene

from gs_densify.errors import BackendError
from gs_densify.model import adam
from gs_densify.model.init import create_optimizers, to_parameters
from gs_densify.rendering.attribution.contributors import contributions
from gs_densify.rendering.base import RenderSettings
from gs_densify.rendering.rasterizers import make_rasterizer, rasterizer_for
from gs_densify.rendering.renderer import Renderer

pytestmark = pytest.mark.gpu


@pytest.mark.parametrize(("name", "antialiased", "sh_degree"), CASES)
def test_own_equals_the_reference(name, antialiased, sh_degree):
    scene = SCENES[name]()
    settings = RenderSettings(antialiased=antialiased)
    options = {"settings": settings, "sh_degree": sh_degree, "absgrad": True}
    exact, their_info = rendered("reference", scene.to("cuda", torch.float64), **options)
    mine, my_info = rendered("own", scene.to("cuda", torch.float32), **options)
    skip = {"gradient of quats"} if name in ISOTROPIC else ()
    # Pixels at a threshold, of which the scene of a surface has 16, weigh more than rounding.
    limit = 2 * GRADIENT_TOLERANCE if name in ISOTROPIC else GRADIENT_TOLERANCE
    assert_agree(mine, exact, exact, skip, limit)
    different = (my_info["radii"] != their_info["radii"]).any(-1).float().mean()
    assert different <= 1e-3
    assert their_info.keys() - my_info.keys() == {"isect_ids"}
    for key in ("means2d", "conics", "depths", "opacities", "radii"):
        assert my_info[key].shape == their_info[key].shape


def test_own_equals_gsplat_where_many_gaussians_cover_many_tiles():
    scene = random_scene(300_000, 800, 533, size=0.03).to("cuda", torch.float32)
    options = {"sh_degree": 3, "absgrad": True}
    mine, _ = rendered("own", scene, **options)
    theirs, _ = rendered("gsplat", scene, **options)
    assert_agree(mine, theirs, theirs)


def test_views_in_one_call_equal_views_one_by_one():
    scene = SCENES["small"]().to("cuda", torch.float32)
    together, _ = rendered("own", scene, sh_degree=3, n_aux=0)
    for i in range(len(scene.viewmats)):
        one = dataclasses.replace(scene, viewmats=scene.viewmats[i : i + 1], Ks=scene.Ks[i : i + 1])
        alone, _ = rendered("own", one, sh_degree=3, n_aux=0, background=False)
        assert torch.equal(alone["alpha"][0], together["alpha"][i])


def test_the_forward_pass_gives_the_same_bits_twice():
    scene = random_scene(100_000, 640, 480, size=0.05).to("cuda", torch.float32)
    first, _ = rendered("own", scene, sh_degree=3)
    second, _ = rendered("own", scene, sh_degree=3)
    assert torch.equal(first["image"], second["image"])
    assert torch.equal(first["alpha"], second["alpha"])
    for what, value in first.items():
        assert distance(second[what], value) <= 1e-5, what


class Trained:
    """A scene that is rendered as a trainer does, its one view again and again."""

    def __init__(self):
        scene = SCENES["large"]().to("cuda", torch.float32)
        means, quats, scales, opacities, *self.rest = scene.arguments
        self.model = [means, quats, scales.log(), torch.logit(opacities)]
        self.rasterizer = make_rasterizer("own")

    def render(self, view=None):
        with torch.no_grad():
            out = self.rasterizer.of_stored(*self.model, *self.rest, sh_degree=3, view=view)
        torch.cuda.synchronize()
        return out


def test_a_view_whose_room_is_known_has_the_same_bits():
    trained = Trained()
    exact, first, again = trained.render(), trained.render(7), trained.render(7)
    assert "num_pairs" not in first.info
    pairs = int(again.info["num_pairs"])
    assert pairs == len(exact.info["flatten_ids"]) < len(again.info["flatten_ids"])
    assert torch.equal(again.info["flatten_ids"][:pairs], exact.info["flatten_ids"])
    assert torch.equal(again.info["isect_offsets"], exact.info["isect_offsets"])
    assert torch.equal(again.image, exact.image)
    count = len(trained.model[0])
    mine, theirs = contributions(again.info, count), contributions(exact.info, count)
    assert torch.equal(mine.ids, theirs.ids)
    assert torch.equal(mine.pixels, theirs.pixels)


def test_where_room_is_too_small_the_farthest_are_left_out_once(capsys):
    trained = Trained()
    exact, _ = trained.render(), trained.render(7)
    pairs = len(exact.info["flatten_ids"])
    (visit,) = trained.rasterizer._room._visits.values()
    visit.count.fill_(pairs // 8)
    cut = trained.render(7)
    assert len(cut.info["flatten_ids"]) < pairs
    nearest = cut.info["flatten_ids"][: int(cut.info["isect_offsets"][0, 0, 1])]
    assert torch.equal(nearest, exact.info["flatten_ids"][: len(nearest)])
    assert not torch.equal(cut.image, exact.image)
    after = trained.render(7)
    assert f"{pairs:,} pairs" in capsys.readouterr().err
    assert torch.equal(after.image, exact.image)


@pytest.mark.parametrize("n_aux", [0, 2])
@pytest.mark.parametrize("name", ["small", "long lists", "large"])
def test_gradients_have_the_same_bits_twice_if_deterministic(name, n_aux):
    scene = SCENES[name]().to("cuda", torch.float32)
    options = {"sh_degree": 3, "n_aux": n_aux, "absgrad": n_aux > 0}
    first, again = (
        rendered("own", scene, rasterizer=deterministic("cuda"), **options)[0] for _ in range(2)
    )
    ordinary, _ = rendered("own", scene, **options)
    for what, value in first.items():
        assert torch.equal(again[what], value), what
        print(f"{what}: {distance(ordinary[what], value):.2e} apart from the ordinary one")
        assert distance(ordinary[what], value) <= 1e-5, what


def deterministic(device):
    return rasterizer_for(torch.device(device), "own", deterministic=True)


def test_a_deterministic_one_refuses_poses_with_gradients():
    scene = SCENES["tiny"]().to("cuda", torch.float32)
    scene.viewmats.requires_grad_()
    with pytest.raises(BackendError, match="deterministic"):
        deterministic("cuda")(*scene.arguments, sh_degree=3)


@pytest.mark.parametrize("size", [float("inf"), 1e25])
def test_gaussians_without_bound_are_culled_and_spoil_no_gradient(size):
    scene = SCENES["tiny"]().to("cuda", torch.float32)
    unbounded = dataclasses.replace(scene, scales=scene.scales.clone())
    unbounded.scales[7] = size
    without = dataclasses.replace(scene, opacities=scene.opacities.clone())
    without.opacities[7] = 0.0
    mine, info = rendered("own", unbounded, sh_degree=3)
    theirs, _ = rendered("own", without, sh_degree=3)
    assert (info["radii"][:, 7] == 0).all()
    for what, value in mine.items():
        assert distance(value, theirs[what]) <= 1e-6, what


def test_more_pairs_than_can_be_counted_are_an_error_that_says_how_many():
    scene = random_scene(40_000, 4_000, 4_000, size=50.0).to("cuda", torch.float32)
    with pytest.raises(BackendError, match=r"One image has 2\d{9} pairs of a tile"):
        make_rasterizer("own")(*scene.arguments, sh_degree=3)


def trained_in_backward(scene, *, is_in_backward, sh_degree=3, steps=3):
    """Parameters and moments after some steps of one random loss."""
    means, quats, scales, opacities, sh = (one.detach().clone() for one in scene.parameters)
    values = {"means": means, "quats": quats, "scales": scales.log()}
    values |= {"opacities": torch.logit(opacities), "sh0": sh[:, :1], "shN": sh[:, 1:]}
    params = to_parameters({n: one.clone() for n, one in values.items()}, scene.means.device)
    optimizers = create_optimizers(params, dict.fromkeys(params, 1e-3), weight_decay=0.1)
    update = adam.UpdateInBackward(optimizers) if is_in_backward else None
    size = scene.width, scene.height
    for step in range(steps):
        out = Renderer(make_rasterizer("own"))(
            params, scene.viewmats, scene.Ks, *size, sh_degree=sh_degree, update=update
        )
        torch.manual_seed(step)
        (torch.randn_like(out.image) * out.image).sum().backward()
        assert all((one.grad is None) == is_in_backward for one in params.values())
        adam.update(optimizers)
    entries = {name: one.detach() for name, one in params.items()}
    for name, optimizer in optimizers.items():
        state = optimizer.state[params[name]]
        assert float(state["step"]) == steps
        entries |= {f"{key} of {name}": state[key] for key in ("exp_avg", "exp_avg_sq")}
    return values, entries


@pytest.mark.parametrize(("name", "sh_degree"), [("small", 3), ("large", 3), ("large", 1)])
def test_steps_in_backward_are_those_of_the_optimisers(name, sh_degree):
    scene = SCENES[name]().to("cuda", torch.float32)
    before, expected = trained_in_backward(scene, is_in_backward=False, sh_degree=sh_degree)
    _, found = trained_in_backward(scene, is_in_backward=True, sh_degree=sh_degree)
    for what, value in expected.items():
        start = before.get(what, 0)
        # The first steps go as far for small gradients, which atomic sums leave uncertain.
        limit = 1e-2 if what in before else 1e-4
        assert distance(found[what] - start, value - start) <= limit, what


@pytest.mark.parametrize("antialiased", [False, True])
def test_poses_have_the_gradients_of_the_reference(antialiased):
    found = []
    for name, dtype in (("own", torch.float32), ("reference", torch.float64)):
        scene = SCENES["small"]().to("cuda", dtype)
        viewmats = scene.viewmats.clone().requires_grad_()
        weights = torch.randn(3, 150, 200, 3, generator=torch.Generator().manual_seed(0)).to(
            scene.means
        )
        out = make_rasterizer(name)(
            *scene.parameters,
            viewmats,
            scene.Ks,
            scene.width,
            scene.height,
            sh_degree=3,
            settings=RenderSettings(antialiased=antialiased),
        )
        (weights * out.image).sum().backward()
        found.append(viewmats.grad[:, :3].double())
    assert distance(*found) <= 1e-3


def test_depths_have_gradients():
    scene = random_scene(200, 60, 40).to("cuda", torch.float32).requires_grad()
    info = make_rasterizer("own")(*scene.arguments, sh_degree=3).info
    seen = (info["radii"] > 0).all(-1)
    (info["depths"] * seen).sum().backward()
    axis = scene.viewmats[0, 2, :3].expand(200, 3) * seen[0][:, None]
    assert torch.allclose(scene.means.grad, axis, atol=1e-6)


def test_stored_parameters_give_what_activated_ones_give():
    scene = random_scene(3_000, 200, 150, size=0.08).to("cuda", torch.float32)
    splats = {
        "means": scene.means,
        "quats": scene.quats,
        "scales": scene.scales.log(),
        "opacities": scene.opacities.logit(),
        "sh0": scene.sh[:, :1].contiguous(),
        "shN": scene.sh[:, 1:].contiguous(),
    }
    weights = torch.randn(1, 150, 200, 3, device="cuda")
    found = []
    for name in ("own", "gsplat"):
        leaves = {k: v.detach().clone().requires_grad_() for k, v in splats.items()}
        render = Renderer(make_rasterizer(name))
        image = render(leaves, scene.viewmats, scene.Ks, 200, 150, sh_degree=3).image
        (weights * image).sum().backward()
        found.append({"image": image.detach(), **{k: v.grad for k, v in leaves.items()}})
    mine, theirs = found
    assert_images_agree(mine.pop("image"), theirs.pop("image"), "image")
    for what, value in mine.items():
        assert distance(value, theirs[what]) <= 1e-3, what


def test_plain_colours_and_five_channels_equal_gsplats():
    scene = SCENES["tiny"]().to("cuda", torch.float32)
    arguments = list(scene.arguments)
    arguments[4] = scene.sh[:, 0].abs().contiguous()
    aux = torch.rand(50, 5, device="cuda")
    mine = make_rasterizer("own")(*arguments, sh_degree=None, aux=aux)
    theirs = make_rasterizer("gsplat")(*arguments, sh_degree=None, aux=aux)
    assert_images_agree(mine.image, theirs.image, "image")
    assert_images_agree(mine.aux, theirs.aux, "aux")


def test_contributions_equal_those_of_gsplats_lists():
    scene = SCENES["small"]().to("cuda", torch.float32)
    found = []
    for name in ("own", "gsplat"):
        info = make_rasterizer(name)(*scene.arguments, sh_degree=3).info
        found.append(contributions(info, len(scene.means)))
    mine, theirs = found
    assert (mine.ids != theirs.ids).float().mean() <= 1e-3
    assert distance(mine.sums, theirs.sums) <= 1e-3


def test_own_with_no_visible_and_with_no_gaussian():
    scene = random_scene(5, dtype=torch.float32)
    scene.means = scene.means - torch.tensor([0.0, 0.0, 50.0])
    found, info = rendered("own", scene.to("cuda"), sh_degree=3, absgrad=True)
    assert found["alpha"].abs().max() == 0
    assert found["gradient of means"].abs().max() == 0
    assert (info["radii"] == 0).all()
    with pytest.raises(BackendError, match="0 Gaussians"):
        rendered("own", random_scene(0, dtype=torch.float32).to("cuda"), sh_degree=3)


@pytest.mark.parametrize("options", [{"packed": True}, {"n_aux": 6}])
def test_own_says_what_it_does_not_do(options):
    with pytest.raises(BackendError, match="own"):
        rendered("own", SCENES["tiny"]().to("cuda", torch.float32), sh_degree=3, **options)
