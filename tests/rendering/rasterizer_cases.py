"""Scenes on which rasterisers are compared, and how far apart two may be."""

import torch
from rendering_scenes import random_scene, surface_scene

from gs_densify.rendering.rasterizers import make_rasterizer

PIXEL_TOLERANCE, PIXEL_LIMIT, MAX_FLIPPED = 1e-4, 1 / 255, 1e-4
GRADIENT_TOLERANCE = 1e-3

SCENES = {
    "one Gaussian": lambda: random_scene(1, 40, 30, size=0.5),
    "tiny": lambda: random_scene(50, 64, 48, n_cameras=2, size=0.2),
    "small": lambda: random_scene(2_000, 200, 150, n_cameras=3, size=0.08),
    "opaque": lambda: random_scene(1_000, 150, 100, size=0.5, max_opacity=1.0),
    "large": lambda: random_scene(20_000, 400, 300, size=0.04),
    "long lists": lambda: random_scene(20_000, 60, 45, size=0.03, max_opacity=0.06),
    "initialised from a surface": lambda: surface_scene(50_000, 640, 480),
}
CASES = [(name, antialiased, 3) for name in SCENES for antialiased in (False, True)]
CASES += [("small", False, degree) for degree in (0, 1, 2)]
"""Scene, whether antialiased, and degree of SH."""

ISOTROPIC = {"initialised from a surface"}  # whose gradient of quats is nothing but rounding


def rendered(name, scene, *, n_aux=2, background=True, rasterizer=None, **options):
    """Images and gradients of one random loss, as a flat dictionary of float64 tensors."""
    scene = scene.requires_grad()
    generator = torch.Generator().manual_seed(1)

    def random(*shape):
        return torch.randn(*shape, generator=generator, dtype=torch.float64).to(scene.means)

    n_cameras, size = scene.viewmats.shape[0], (scene.height, scene.width)
    backgrounds = random(n_cameras, 3).abs().requires_grad_() if background else None
    aux = torch.zeros(len(scene.means), n_aux).to(scene.means).requires_grad_() if n_aux else None
    rasterizer = rasterizer or make_rasterizer(name)
    out = rasterizer(*scene.arguments, backgrounds=backgrounds, aux=aux, **options)
    out.info["means2d"].retain_grad()
    loss = (random(n_cameras, *size, 3) * out.image).sum()
    loss = loss + (random(n_cameras, *size, 1) * out.alpha).sum()
    if n_aux:
        loss = loss + (random(n_cameras, *size, n_aux).abs() * out.aux).sum()
    loss.backward()
    found = {"image": out.image, "alpha": out.alpha}
    leaves = {"means": 0, "quats": 1, "scales": 2, "opacities": 3, "sh": 4}
    found |= {f"gradient of {k}": scene.parameters[i].grad for k, i in leaves.items()}
    if background:
        found["gradient of backgrounds"] = backgrounds.grad
    if n_aux:
        found |= {"aux": out.aux, "attribution": aux.grad}
    if not options.get("packed"):
        found["gradient of means2d"] = out.info["means2d"].grad
        if options.get("absgrad"):
            found["absgrad"] = out.info["means2d"].absgrad
    return {k: v.detach().double() for k, v in found.items()}, out.info


def distance(a, b):
    return float((a - b).norm() / b.norm().clamp_min(1e-12))


def assert_images_agree(mine, theirs, what):
    error = (mine - theirs).abs().amax(-1)
    flipped = int((error > PIXEL_TOLERANCE).sum())
    report = f"{what}: {flipped} of {error.numel()} pixels differ, at most {float(error.max()):.2e}"
    print(report)  # pytest -rP shows the figures
    assert flipped <= MAX_FLIPPED * error.numel(), report
    assert error.max() <= PIXEL_LIMIT, report


def assert_agree(mine, theirs, exact, skip=(), limit=GRADIENT_TOLERANCE):
    assert set(mine) == set(theirs)
    for what in mine.keys() - set(skip):
        if what in ("image", "alpha", "aux"):
            assert_images_agree(mine[what], theirs[what], what)
        else:
            apart = distance(mine[what], theirs[what])
            print(f"{what}: {apart:.2e} of its norm apart")
            assert apart <= limit, (
                f"{what}: {apart:.2e} apart; from float64 the reference is "
                f"{distance(mine[what], exact[what]):.2e}, gsplat "
                f"{distance(theirs[what], exact[what]):.2e}"
            )
