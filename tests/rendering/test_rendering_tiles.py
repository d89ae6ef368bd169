import pytest
import torch
from gsplat.cuda._torch_impl import _isect_offset_encode, _isect_tiles
from hypothesis import given, settings
from hypothesis import strategies as st

from gs_densify.rendering.reference.tiles import intersect_tiles


def random_boxes(n_cameras, n, width, height):
    means2d = torch.rand(n_cameras, n, 2) * torch.tensor([width, height]) * 1.4
    means2d -= 0.2 * torch.tensor([width, height])
    radii = torch.randint(0, 20, (n_cameras, n, 2), dtype=torch.int32)
    return means2d, radii, torch.rand(n_cameras, n) + 0.1


@pytest.mark.parametrize(
    ("n_cameras", "width", "height", "size"), [(1, 70, 50, 16), (3, 33, 64, 8)]
)
def test_equals_gsplats_torch_implementation(n_cameras, width, height, size):
    means2d, radii, depths = random_boxes(n_cameras, 40, width, height)
    radii[:, 10:20] = 0
    ours = intersect_tiles(means2d, radii, depths, width, height, size)
    grid = (ours.tile_width, ours.tile_height)
    assert grid == (-(-width // size), -(-height // size))
    per_gauss, ids, flat = _isect_tiles(means2d, radii, depths, size, *grid)
    assert torch.equal(ours.tiles_per_gauss, per_gauss.int())
    assert torch.equal(ours.isect_ids, ids)
    assert torch.equal(ours.flatten_ids, flat)
    offsets = _isect_offset_encode(ids, n_cameras, *grid)
    assert torch.equal(ours.isect_offsets, offsets)


@settings(max_examples=30)
@given(
    n=st.integers(0, 25),
    width=st.integers(1, 60),
    height=st.integers(1, 60),
    size=st.sampled_from([4, 8, 16]),
    seed=st.integers(0, 1000),
)
def test_each_list_holds_what_overlaps_its_tile_front_to_back(n, width, height, size, seed):
    torch.manual_seed(seed)
    means2d, radii, depths = random_boxes(2, n, width, height)
    tiles = intersect_tiles(means2d, radii, depths, width, height, size)
    ends = torch.cat([tiles.isect_offsets.flatten()[1:], torch.tensor([len(tiles.flatten_ids)])])
    bounds = zip(tiles.isect_offsets.flatten().tolist(), ends.tolist(), strict=True)
    for index, (begin, end) in enumerate(bounds):
        camera, tile = divmod(index, tiles.tile_width * tiles.tile_height)
        corner = torch.tensor([tile % tiles.tile_width, tile // tiles.tile_width]) * float(size)
        low, high = means2d[camera] - radii[camera], means2d[camera] + radii[camera]
        touches = (low < corner + size).all(-1) & (high > corner).all(-1)
        touches &= (radii[camera] > 0).all(-1)
        listed = tiles.flatten_ids[begin:end].long() - camera * n
        assert set(listed.tolist()) == set(touches.nonzero().flatten().tolist())
        assert (depths[camera, listed].diff() >= 0).all()


def test_no_gaussian_and_no_visible_gaussian():
    for n in (0, 3):
        means2d = torch.full((1, n, 2), torch.inf)
        radii = torch.zeros(1, n, 2, dtype=torch.int32)
        tiles = intersect_tiles(means2d, radii, torch.ones(1, n), 20, 20, 8)
        assert tiles.flatten_ids.shape == tiles.isect_ids.shape == (0,)
        assert tiles.isect_offsets.abs().sum() == 0
