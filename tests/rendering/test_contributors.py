"""Top contributors and sums of weights: torch against brute force, Triton against torch."""

import dataclasses
import os
from collections.abc import Callable

import pytest
import torch
from rendering_scenes import Scene, brute_force, random_scene, surface_scene

from gs_densify.rendering.attribution.contributors import (
    Contributions,
    contributions,
    largest_areas,
    top_contributors,
)
from gs_densify.rendering.base import RenderSettings
from gs_densify.rendering.rasterizers import make_rasterizer
from gs_densify.training.replicas import InfoOfAll

SCENES = {
    "sparse": {"n": 12, "width": 19, "height": 13, "size": 0.2},
    "saturated": {"n": 40, "width": 11, "height": 9, "size": 1.5, "max_opacity": 1.0},
    "partial tiles": {"n": 25, "width": 17, "height": 9, "size": 0.6},
}


def rendered(scene: Scene, backend: str = "reference", **options) -> dict:
    return make_rasterizer(backend)(*scene.arguments, sh_degree=0, **options).info


def brute_weights(info: dict, camera: int) -> torch.Tensor:
    """Blending weights [H, W, N] of one camera, pixel by pixel."""
    return brute_force(
        info["means2d"][camera],
        info["conics"][camera],
        info["depths"][camera],
        info["opacities"][camera],
        torch.zeros_like(info["conics"][camera]),
        info["width"],
        info["height"],
        (info["radii"][camera] > 0).all(-1),
    )[2]


def pixel_distances(info: dict, camera: int) -> torch.Tensor:
    """Distances [H, W, N] of the pixels' centres from one camera's projected means."""
    x = torch.arange(info["width"], dtype=torch.float64) + 0.5
    y = torch.arange(info["height"], dtype=torch.float64) + 0.5
    pixels = torch.stack(torch.meshgrid(x, y, indexing="xy"), dim=-1)
    return (pixels[:, :, None] - info["means2d"][camera]).norm(dim=-1)


def as_packed(info: dict) -> dict:
    """What gsplat's packed mode would have left: rows of visible pairs only."""
    visible = (info["radii"] > 0).all(-1)
    cameras, gaussians = visible.nonzero(as_tuple=True)
    row_of = visible.flatten().long().cumsum(0) - 1
    names = ("means2d", "conics", "opacities", "radii", "depths")
    return {
        **info,
        **{name: info[name][visible] for name in names},
        "camera_ids": cameras,
        "gaussian_ids": gaussians,
        "flatten_ids": row_of[info["flatten_ids"].long()].int(),
    }


@pytest.mark.parametrize("name", SCENES)
@pytest.mark.parametrize("antialiased", [False, True])
def test_torch_equals_brute_force(name: str, antialiased: bool) -> None:
    scene = random_scene(**SCENES[name], n_cameras=2, seed=3)
    info = rendered(scene, settings=RenderSettings(antialiased=antialiased))
    pixel_map = torch.rand(2, scene.height, scene.width, dtype=torch.float64)
    found = contributions(info, len(scene.means), pixel_map)
    for camera in range(2):
        weights = brute_weights(info, camera)
        largest, ids = weights.max(dim=-1)
        assert largest.max() > 0
        assert torch.equal(found.ids[camera], torch.where(largest > 0, ids, -1))
        torch.testing.assert_close(found.weights[camera], largest)
        torch.testing.assert_close(found.sums[camera], weights.sum((0, 1)))
        assert torch.equal(found.pixels[camera], (weights > 0).sum((0, 1)))
        # Whatever the weight, a pixel that a Gaussian enters adds the whole map and its distance.
        on_map = torch.where(weights > 0, pixel_map[camera][..., None], 0.0).sum((0, 1))
        torch.testing.assert_close(found.mapped[camera], on_map)
        distances = pixel_distances(info, camera)
        expected = torch.where(weights > 0, distances, 0.0).sum((0, 1))
        torch.testing.assert_close(found.distances[camera], expected)


def test_views_that_processes_share_are_all_told_of() -> None:
    """Also by a process that has rendered a view in vain, since it has none of its own."""
    scene = random_scene(60, 50, 30, n_cameras=3, size=0.3, seed=5)
    pixel_map = torch.rand(3, scene.height, scene.width, dtype=torch.float64)
    whole = contributions(rendered(scene), 60, pixel_map)
    for own, count in ((slice(1, 3), 2), (slice(3, 3), 0)):
        seen = own if count else slice(0, 1)
        cameras = {"viewmats": scene.viewmats[seen], "Ks": scene.Ks[seen]}
        info = rendered(dataclasses.replace(scene, **cameras))
        told = InfoOfAll(info, own, lambda rows, count=count: rows[:count])
        found = contributions(told, 60, pixel_map)
        for mine, of_all in zip(found, whole, strict=True):
            torch.testing.assert_close(mine, of_all[own])
        assert torch.equal(top_contributors(told)[0], whole.ids[own])


def test_top_contributors_alone_and_areas_agree_with_the_sums() -> None:
    scene = random_scene(60, 50, 30, n_cameras=3, size=0.3, seed=5)
    info = rendered(scene)
    found = contributions(info, 60)
    ids, weights = top_contributors(info)
    assert ids.shape == (3, 30, 50) and ids.dtype == torch.int64
    assert torch.equal(ids, found.ids) and torch.equal(weights, found.weights)
    assert found.distances is None and found.mapped is None
    areas = largest_areas(ids, 60)
    expected = torch.stack([(ids == k).sum((1, 2)) for k in range(60)], dim=1)
    assert torch.equal(areas, expected.float())
    assert (areas.sum(1) == (ids >= 0).sum((1, 2))).all()
    # A Gaussian that dominates a pixel enters it, and no weight exceeds the sum.
    assert (found.pixels >= areas).all()
    assert (found.sums <= found.pixels).all()


def test_sums_equal_the_attribution_of_a_map_of_ones() -> None:
    scene = random_scene(60, 50, 30, n_cameras=1, size=0.3, seed=5)
    zeros = torch.zeros(60, 1, dtype=torch.float64, requires_grad=True)
    output = make_rasterizer("reference")(*scene.arguments, sh_degree=0, aux=zeros)
    output.aux.sum().backward()
    sums = contributions(output.info, 60).sums
    torch.testing.assert_close(sums[0], zeros.grad[:, 0])


def test_packed_equals_unpacked() -> None:
    scene = random_scene(40, 33, 21, n_cameras=2, size=0.3, seed=7)
    info = rendered(scene)
    assert (info["radii"] == 0).any(), "the comparison needs culled Gaussians"
    pixel_map = torch.rand(2, 21, 33, dtype=torch.float64)
    packed, unpacked = (contributions(kind, 40, pixel_map) for kind in (as_packed(info), info))
    for left, right in zip(packed, unpacked, strict=True):
        assert torch.equal(left, right)


def test_nothing_visible_has_no_contributor() -> None:
    scene = random_scene(5, 20, 10)
    scene.means = scene.means - torch.tensor([0.0, 0.0, 50.0], dtype=torch.float64)
    info = rendered(scene)
    for kind in (info, as_packed(info)):
        found = contributions(kind, 5)
        assert (found.ids == -1).all() and found.ids.shape == (1, 10, 20)
        assert found.weights.abs().max() == found.sums.abs().max() == found.pixels.max() == 0
    assert (largest_areas(found.ids, 5) == 0).all()


_INTERPRETED = """
import sys
import torch
sys.path.insert(0, {folder!r})
from rendering_scenes import random_scene
from gs_densify.rendering.rasterizers import make_rasterizer
from gs_densify.training.replicas import InfoOfAll
from gs_densify.rendering.attribution.contributors import _read, contributors_torch
from gs_densify.rendering.attribution.contributors_triton import contributors_triton
from gs_densify.rendering.reference.tiles import intersect_tiles
torch.manual_seed(0)
for n, cameras, tile, size in ((10, 2, 16, 0.6), (16, 1, 8, 0.7), (0, 1, 16, 0.6)):
    scene = random_scene(n, 21, 18, n_cameras=cameras, size=size, seed=2)
    if size == 0.7:
        scene.opacities.fill_(1.0)  # beyond the largest alpha, and what is behind is left out
    info = make_rasterizer("reference")(*scene.arguments, sh_degree=0).info
    rows, _ = _read(info)
    tiles = intersect_tiles(
        info["means2d"], info["radii"], info["depths"], 21, 18, tile
    )
    values = torch.rand(cameras, 18, 21, dtype=torch.float64)
    for asked in ({{}}, {{"with_sums": True}}, {{"with_sums": True, "pixel_map": values}}):
        plain = contributors_torch(rows, tiles, 21, 18, **asked)
        fused = contributors_triton(rows, tiles, 21, 18, **asked)
        assert n == 0 or (plain[0] >= 0).any()
        for left, right in zip(fused, plain, strict=True):
            # The kernel's thresholds are float32 also where the data is float64.
            torch.testing.assert_close(left, right, rtol=1e-7, atol=1e-9)
"""


def test_triton_kernel_agrees_with_torch_when_interpreted(interpret: Callable[..., None]) -> None:
    interpret(_INTERPRETED.format(folder=os.path.dirname(__file__)))


GPU_SCENES = {
    "small": lambda: random_scene(2_000, 200, 150, n_cameras=3, size=0.08),
    "opaque": lambda: random_scene(1_000, 150, 100, size=0.5, max_opacity=1.0),
    "initialised from a surface": lambda: surface_scene(50_000, 640, 480),
}


def assert_contributions_agree(mine: Contributions, theirs: Contributions) -> None:
    """Up to decisions on the last bit, at 1/255, at 1e-4 or between equal weights."""
    differ = mine.ids != theirs.ids
    assert differ.float().mean() <= 0.005, f"{int(differ.sum())} of {differ.numel()} pixels"
    torch.testing.assert_close(mine.weights, theirs.weights, rtol=0, atol=5e-3)
    distance = (mine.sums - theirs.sums).norm() / theirs.sums.norm()
    assert distance <= 1e-3, f"sums are {float(distance):.1e} apart"
    missing = (mine.pixels - theirs.pixels).abs().sum() / theirs.pixels.sum()
    assert missing <= 2e-3, f"pixels are {float(missing):.1e} apart"
    for name in ("distances", "mapped"):
        one, other = getattr(mine, name), getattr(theirs, name)
        apart = (one - other).norm() / other.norm()
        assert apart <= 2e-3, f"{name} are {float(apart):.1e} apart"


@pytest.mark.gpu
@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize("name", GPU_SCENES)
def test_triton_kernel_agrees_with_torch_on_gsplats_info(name: str, packed: bool) -> None:
    pytest.importorskip("triton", reason="triton is not installed (it comes with torch for CUDA)")
    from gs_densify.rendering.attribution import contributors

    scene = GPU_SCENES[name]().to("cuda", torch.float32)
    info = rendered(scene, "gsplat", packed=packed)
    pixel_map = torch.rand(len(scene.viewmats), scene.height, scene.width, device="cuda")
    fused = contributions(info, len(scene.means), pixel_map)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(contributors, "HAS_TRITON", False)
        plain = contributions(info, len(scene.means), pixel_map)
    assert (plain.ids >= 0).any()
    assert_contributions_agree(fused, plain)
    ids, weights = top_contributors(info)
    # The kernel without a map is compiled apart, which may change the last bits.
    assert torch.equal(ids, fused.ids)
    torch.testing.assert_close(weights, fused.weights)


@pytest.mark.gpu
@pytest.mark.parametrize("name", GPU_SCENES)
def test_sums_agree_with_gsplats_own_blending(name: str) -> None:
    scene = GPU_SCENES[name]().to("cuda", torch.float32)
    zeros = torch.zeros(len(scene.means), 1, device="cuda", requires_grad=True)
    output = make_rasterizer("gsplat")(*scene.arguments, sh_degree=0, aux=zeros)
    output.aux.sum().backward()
    sums = contributions(output.info, len(scene.means)).sums.sum(0)
    distance = (sums - zeros.grad[:, 0]).norm() / zeros.grad.norm()
    assert distance <= 1e-3, f"sums are {float(distance):.1e} apart"
