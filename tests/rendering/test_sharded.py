"""Several processes that hold a share of the Gaussians each give what one that holds all does."""

import multiprocessing
from pathlib import Path

import pytest
import torch
import torch.distributed as dist
from rendering_scenes import random_scene

from gs_densify.distributed.group import Group
from gs_densify.rendering.base import RenderSettings
from gs_densify.rendering.rasterizers import make_rasterizer
from gs_densify.rendering.sharded.rasterizer import ShardedRasterizer

_FORKS = multiprocessing.get_context("fork")
OPTIONS = {"absgrad": True, "sh_degree": 2, "settings": RenderSettings(antialiased=True)}


def scene_of(views: int):
    """A scene of which the last Gaussian is seen by no view."""
    scene = random_scene(60, 40, 30, n_cameras=views, dtype=torch.float64, size=0.2)
    scene.means[-1] = torch.tensor([0.0, 0.0, -50.0])
    return scene


def loss_of(out, views: slice, count: int):
    """A random loss of some of `count` views; the sum over all views is one of all of them."""
    generator = torch.Generator().manual_seed(1)
    size = out.image.shape[1:3]
    weights = torch.randn(count, *size, 6, generator=generator, dtype=torch.float64)[views]
    channels = torch.cat([out.image, out.alpha, out.aux], dim=-1)
    return (weights * channels).sum()


def rendered(rasterizer, scene, rows: slice, views: slice, backgrounds):
    """What a rasteriser gives of some Gaussians, and the gradients of them."""
    leaves = [one[rows].detach().clone().requires_grad_() for one in scene.parameters]
    aux = torch.zeros(len(leaves[0]), 2, dtype=torch.float64, requires_grad=True)
    cameras = scene.viewmats, scene.Ks, scene.width, scene.height
    out = rasterizer(*leaves, *cameras, backgrounds=backgrounds[views], aux=aux, **OPTIONS)
    out.info["means2d"].retain_grad()
    loss_of(out, views, len(backgrounds)).backward()
    means2d = out.info["means2d"]
    by_row = [*(one.grad for one in leaves), aux.grad]
    by_view = [means2d.grad, means2d.absgrad, out.info["radii"], out.info["opacities"]]
    images = [out.image, out.alpha, out.aux]
    return [[one.detach() for one in part] for part in (images, by_row, by_view)]


def backgrounds_of(count: int):
    return torch.linspace(0, 1, 3 * count, dtype=torch.float64).reshape(count, 3)


def in_process(rank: int, world: int, views: int, folder: Path) -> None:
    dist.init_process_group(
        "gloo", store=dist.FileStore(str(folder / "store"), world), rank=rank, world_size=world
    )
    group = Group(rank, world)
    rasterizer = ShardedRasterizer(make_rasterizer("reference"), group)
    rows, mine = slice(rank, None, world), group.part(views)
    found = rendered(rasterizer, scene_of(views), rows, mine, backgrounds_of(views))
    torch.save(found, folder / f"{rank}.pt")
    dist.barrier()
    dist.destroy_process_group()


@pytest.mark.parametrize(("world", "views"), [(2, 2), (2, 5), (2, 1)])
def test_processes_that_share_the_gaussians_equal_one(tmp_path, world, views):
    processes = [
        _FORKS.Process(target=in_process, args=(rank, world, views, tmp_path))
        for rank in range(world)
    ]
    for process in processes:
        process.start()
    images, by_row, by_view = rendered(
        make_rasterizer("reference"),
        scene_of(views),
        slice(None),
        slice(None),
        backgrounds_of(views),
    )
    for process in processes:
        process.join(60)
        assert process.exitcode == 0
    found = [torch.load(tmp_path / f"{rank}.pt") for rank in range(world)]
    for i, image in enumerate(images):
        torch.testing.assert_close(torch.cat([one[0][i] for one in found]), image)
    is_seen = (by_view[2] > 0).all(-1)
    for rank, (_, rows, pairs) in enumerate(found):
        for mine, all_of_them in zip(rows, by_row, strict=True):
            torch.testing.assert_close(mine, all_of_them[rank::world])
        for mine, all_of_them in zip(pairs, by_view, strict=True):
            seen = is_seen[:, rank::world]
            torch.testing.assert_close(mine[seen], all_of_them[:, rank::world][seen])
    assert is_seen.any()
    assert not is_seen[:, -1].any()
