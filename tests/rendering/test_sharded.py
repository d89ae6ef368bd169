"""Several processes that hold a share of the Gaussians each give what one that holds all does."""

import multiprocessing
from dataclasses import dataclass
from pathlib import Path

import pytest
import torch
import torch.distributed as dist
from rendering_scenes import Scene, random_scene

from gs_densify.distributed.group import Group
from gs_densify.rendering.base import Rasterizer, RenderOutput, RenderSettings
from gs_densify.rendering.rasterizers import make_rasterizer
from gs_densify.rendering.sharded.rasterizer import ShardedRasterizer

OPTIONS = {"absgrad": True, "sh_degree": 2, "settings": RenderSettings(antialiased=True)}


@dataclass(frozen=True)
class Case:
    """Where processes render, and how many of them how many views."""

    world: int
    views: int
    device: str = "cpu"
    rasterizer: str = "reference"
    kind: torch.dtype = torch.float64

    @property
    def scene(self) -> Scene:
        """Gaussians of which the last is seen by no view."""
        scene = random_scene(60, 40, 30, n_cameras=self.views, size=0.2)
        scene.means[-1] = torch.tensor([0.0, 0.0, -50.0])
        return scene.to(self.device, self.kind)

    @property
    def backgrounds(self) -> torch.Tensor:
        colors = torch.linspace(0, 1, 3 * self.views).reshape(self.views, 3)
        return colors.to(self.device, self.kind)

    def loss_of(self, out: RenderOutput, views: slice) -> torch.Tensor:
        """A random loss of some views; the sum over all views is one of all of them."""
        generator = torch.Generator().manual_seed(1)
        weights = torch.randn(self.views, 30, 40, 6, generator=generator)[views]
        channels = torch.cat([out.image, out.alpha, out.aux], dim=-1)
        return (weights.to(channels) * channels).sum()

    def rendered(self, rasterizer: Rasterizer, rows: slice, views: slice) -> list[list]:
        """What a rasteriser gives of some Gaussians, and the gradients of them."""
        scene = self.scene
        leaves = [one[rows].detach().clone().requires_grad_() for one in scene.parameters]
        aux = torch.zeros(len(leaves[0]), 2).to(leaves[0]).requires_grad_()
        cameras = scene.viewmats, scene.Ks, scene.width, scene.height
        backgrounds = self.backgrounds[views]
        out = rasterizer(*leaves, *cameras, backgrounds=backgrounds, aux=aux, **OPTIONS)
        means2d = out.info["means2d"]
        means2d.retain_grad()
        self.loss_of(out, views).backward()
        by_row = [*(one.grad for one in leaves), aux.grad]
        by_view = [means2d.grad, means2d.absgrad, out.info["radii"], out.info["opacities"]]
        images = [out.image, out.alpha, out.aux]
        return [[one.detach().cpu() for one in part] for part in (images, by_row, by_view)]


def in_process(rank: int, case: Case, folder: Path) -> None:
    store = dist.FileStore(str(folder / "store"), case.world)
    backend = "gloo"
    if case.device == "cuda":
        torch.cuda.set_device(rank)
        backend = "cpu:gloo,cuda:nccl"
    dist.init_process_group(backend, store=store, rank=rank, world_size=case.world)
    group = Group(rank, case.world)
    rasterizer = ShardedRasterizer(make_rasterizer(case.rasterizer), group)
    found = case.rendered(rasterizer, slice(rank, None, case.world), group.part(case.views))
    torch.save(found, folder / f"{rank}.pt")
    dist.barrier()
    dist.destroy_process_group()


def assert_equal_to_one(case: Case, folder: Path, start: str, **limits: float) -> None:
    context = multiprocessing.get_context(start)
    processes = [
        context.Process(target=in_process, args=(rank, case, folder)) for rank in range(case.world)
    ]
    for process in processes:
        process.start()
    images, by_row, by_view = case.rendered(
        make_rasterizer(case.rasterizer), slice(None), slice(None)
    )
    for process in processes:
        process.join(120)
        assert process.exitcode == 0
    found = [torch.load(folder / f"{rank}.pt") for rank in range(case.world)]
    for i, image in enumerate(images):
        torch.testing.assert_close(torch.cat([one[0][i] for one in found]), image, **limits)
    is_seen = (by_view[2] > 0).all(-1)
    for rank, (_, rows, pairs) in enumerate(found):
        for mine, all_of_them in zip(rows, by_row, strict=True):
            torch.testing.assert_close(mine, all_of_them[rank :: case.world], **limits)
        for mine, all_of_them in zip(pairs, by_view, strict=True):
            seen = is_seen[:, rank :: case.world]
            theirs = all_of_them[:, rank :: case.world][seen]
            torch.testing.assert_close(mine[seen], theirs, **limits)
    assert is_seen.any()
    assert not is_seen[:, -1].any()


@pytest.mark.parametrize("views", [2, 5, 1])
def test_processes_that_share_the_gaussians_equal_one(tmp_path, views):
    assert_equal_to_one(Case(2, views), tmp_path, "fork")


@pytest.mark.gpu
@pytest.mark.skipif(torch.cuda.device_count() < 2, reason="needs two GPUs")
@pytest.mark.parametrize("views", [2, 5, 1])
def test_gpus_that_share_the_gaussians_equal_one(tmp_path, views):
    case = Case(2, views, "cuda", "gsplat", torch.float32)
    assert_equal_to_one(case, tmp_path, "spawn", rtol=1e-3, atol=1e-3)
