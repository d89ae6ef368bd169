import pytest
import torch
from gsplat.cuda._torch_impl import _fully_fused_projection, _quat_scale_to_covar_preci
from rendering_scenes import random_scene

from gs_densify.model.geometry import quats_to_rotmats
from gs_densify.rendering.base import RenderSettings
from gs_densify.rendering.reference.projection import ALPHA_MIN, project


def projected(scene, **options):
    arguments = scene.arguments
    return project(*arguments[:4], *arguments[5:], RenderSettings(**options))


def gsplats(scene):
    covars, _ = _quat_scale_to_covar_preci(scene.quats, scene.scales, compute_preci=False)
    return _fully_fused_projection(
        scene.means,
        covars,
        scene.viewmats,
        scene.Ks,
        scene.width,
        scene.height,
        calc_compensations=True,
    )


@pytest.mark.parametrize("spread", [1.0, 4.0])
def test_equals_gsplats_torch_projection(spread):
    # The wide scene puts many Gaussians beyond the field of view, where the Jacobian is limited.
    scene = random_scene(300, n_cameras=3, size=0.4)
    scene.means *= scene.means.new_tensor([spread, spread, 1.0])
    ours = projected(scene)
    _, means2d, depths, conics, compensations = gsplats(scene)
    seen = (ours.radii > 0).all(-1)
    assert seen.sum() > 100
    for mine, theirs in [
        (ours.means2d, means2d),
        (ours.depths, depths),
        (ours.conics, conics),
        (ours.compensations, compensations),
    ]:
        torch.testing.assert_close(mine[seen], theirs[seen], rtol=1e-9, atol=1e-9)


def test_gradients_equal_gsplats():
    # gsplat's determinant cancels where ours does not, so a float64 scene is compared.
    gradients = []
    for run in (projected, gsplats):
        scene = random_scene(60, n_cameras=2).requires_grad()
        out = run(scene)
        if run is projected:
            parts = (out.means2d, out.depths, out.conics, out.compensations)
            seen = (out.radii > 0).all(-1)
        else:
            parts = out[1:]
        weight = torch.linspace(0.5, 1.5, int(seen.sum()), dtype=torch.float64)
        loss = sum((p[seen].flatten(1).sum(-1) if p.dim() > 2 else p[seen]) @ weight for p in parts)
        gradients.append(torch.autograd.grad(loss, [scene.means, scene.quats, scene.scales]))
    for mine, theirs in zip(*gradients, strict=True):
        torch.testing.assert_close(mine, theirs, rtol=1e-7, atol=1e-9)


def test_radii_bound_every_contribution():
    scene = random_scene(200, width=40, height=30, max_opacity=1.0)
    out = projected(scene)
    ys, xs = torch.meshgrid(torch.arange(30), torch.arange(40), indexing="ij")
    pixels = torch.stack([xs, ys], dim=-1).reshape(-1, 2) + 0.5
    d = out.means2d[0, :, None] - pixels
    a, b, c = (v[:, None] for v in out.conics[0].unbind(-1))
    sigma = (a * d[..., 0] ** 2 + c * d[..., 1] ** 2) / 2 + b * d[..., 0] * d[..., 1]
    counts = scene.opacities[:, None] * torch.exp(-sigma) >= ALPHA_MIN
    inside = (d.abs() <= out.radii[0, :, None]).all(-1)
    in_front = out.depths[0] != 1.0  # a culled depth reads 1
    assert counts.any()
    assert not (counts & ~inside & in_front[:, None]).any()


def test_the_extent_follows_the_opacity():
    scene = random_scene(1, width=400, height=400)
    scene.means, scene.scales = torch.zeros(1, 3).double(), torch.full((1, 3), 0.2).double()
    scene.quats = torch.tensor([[1.0, 0, 0, 0]]).double()
    widths = []
    for opacity in (0.003, 0.005, 0.1, 0.999):
        scene.opacities = torch.tensor([opacity]).double()
        out = projected(scene)
        deviation = 1 / out.conics[0, 0, 0].sqrt()
        widths.append(float(out.radii[0, 0, 0] / deviation))
    # Below 1/255 nothing is drawn; then sqrt(2 ln(255 o)), rounded up to a pixel.
    assert widths[0] == 0
    for found, opacity in zip(widths[1:], (0.005, 0.1, 0.999), strict=True):
        exact = (2 * torch.log(torch.tensor(255 * opacity))).sqrt()
        assert exact <= found <= exact + 1 / deviation


@pytest.mark.parametrize(
    ("z", "near", "far", "expected"),
    [
        (-4.5, 0.01, 1e10, False),
        (-3.0, 0.01, 1e10, True),
        (-3.0, 1.5, 1e10, False),
        (2.0, 0.01, 5.0, False),
        (0.0, 0.01, 5.0, True),
    ],
)
def test_depth_culling(z, near, far, expected):
    scene = random_scene(1)
    scene.viewmats[:, :3, :3] = torch.eye(3)
    scene.means = torch.tensor([[0.0, 0.0, z]]).double()
    radii = projected(scene, near_plane=near, far_plane=far).radii
    assert bool((radii > 0).all()) is expected


def test_edge_and_radius_clip_culling():
    scene = random_scene(1, width=100, height=100)
    scene.viewmats[:, :3, :3] = torch.eye(3)
    # 4.4 pixels in the middle of the image and 4.7 at its edge, so 5 everywhere.
    scene.scales = torch.full((1, 3), 0.047).double()
    scene.opacities = torch.tensor([0.5]).double()
    scene.means = torch.zeros(1, 3).double()
    radius = int(projected(scene).radii.max())
    assert (projected(scene, radius_clip=radius - 1).radii > 0).all()
    assert (projected(scene, radius_clip=radius).radii == 0).all()

    def at_pixel(x):
        slope = (x - scene.Ks[0, 0, 2]) / scene.Ks[0, 0, 0]
        scene.means = torch.tensor([[4 * slope - 0.05, 0.0, 0.0]]).double()
        out = projected(scene)
        assert out.means2d[0, 0, 0] == pytest.approx(x)
        return int(out.radii[0, 0, 0])

    reach = at_pixel(-1.0)
    assert reach == radius == 5
    assert at_pixel(0.5 - reach) == reach
    assert at_pixel(-0.5 - reach) == 0
    assert at_pixel(99.5 + reach) == reach
    assert at_pixel(100.5 + reach) == 0


def test_radius_clip_keeps_what_is_long_in_one_direction():
    scene = random_scene(1, width=100, height=100)
    scene.viewmats[:, :3, :3] = torch.eye(3)
    scene.means, scene.quats = torch.zeros(1, 3).double(), torch.tensor([[1.0, 0, 0, 0]]).double()
    scene.scales = torch.tensor([[0.3, 0.01, 0.01]]).double()
    long, short = projected(scene).radii[0, 0].tolist()
    assert long > 2 * short > 0
    assert (projected(scene, radius_clip=short).radii > 0).all()
    assert (projected(scene, radius_clip=long).radii == 0).all()


def test_antialiasing_culls_what_its_compensation_hides():
    scene = random_scene(1)
    scene.viewmats[:, :3, :3] = torch.eye(3)
    scene.means, scene.scales = torch.zeros(1, 3).double(), torch.full((1, 3), 1e-4).double()
    scene.requires_grad()
    assert (projected(scene).radii > 0).all()
    out = projected(scene, antialiased=True)
    assert (out.radii == 0).all()
    (out.compensations.sum() + out.conics.sum()).backward()
    assert all(p.grad.isfinite().all() for p in (scene.means, scene.scales, scene.quats))


def test_a_flat_or_vanishing_gaussian_keeps_finite_gradients():
    scene = random_scene(3, dtype=torch.float32)
    scene.scales[0, 1:] = 0.0
    scene.scales[1] = 1e-30
    scene.means[2] = -scene.viewmats[0, :3, :3].T @ scene.viewmats[0, :3, 3]  # in the lens
    scene.requires_grad()
    out = projected(scene)
    (out.conics.sum() + out.compensations.sum() + out.means2d.sum()).backward()
    assert all(p.grad.isfinite().all() for p in (scene.means, scene.scales, scene.quats))


def test_rotation_matrices_are_rotations_for_any_length():
    quats = torch.randn(20, 4, dtype=torch.float64) * 5
    R = quats_to_rotmats(quats)
    torch.testing.assert_close(R @ R.mT, torch.eye(3).double().expand(20, 3, 3))
    torch.testing.assert_close(torch.linalg.det(R), torch.ones(20).double())
    torch.testing.assert_close(quats_to_rotmats(-2 * quats), R)
