"""Photos on the device and the order in which they are drawn."""

import dataclasses
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import torch

from gs_densify.scene.scene import View
from gs_densify.training.batches import BatchSampler, ViewStore
from gs_densify.training.losses import photometric_loss


def _views(sizes: list[tuple[int, int]]) -> tuple[list[View], list[np.ndarray]]:
    views = [
        View(f"{i}.png", Path(f"{i}.png"), 1, np.eye(4) * (i + 1), np.eye(3), width, height)
        for i, (width, height) in enumerate(sizes)
    ]
    generator = np.random.default_rng(0)
    photos = [generator.integers(0, 256, (h, w, 3), dtype=np.uint8) for w, h in sizes]
    return views, photos


def test_an_epoch_shows_every_view_once_in_batches_of_one_size() -> None:
    sizes = [(4, 3)] * 5 + [(3, 4)] * 4
    sampler = BatchSampler(sizes, batch_size=2, seed=1)
    seen: Counter[int] = Counter()
    for _ in range(5):  # ceil(5 / 2) + ceil(4 / 2) batches
        (batch,) = sampler.take()
        assert len({sizes[i] for i in batch}) == 1
        seen.update(batch)
    assert seen == Counter(range(9))


def test_the_same_seed_draws_the_same_and_a_restored_sampler_goes_on() -> None:
    first, second = (BatchSampler([(4, 3)] * 7, 1, seed=3) for _ in range(2))
    assert [first.take() for _ in range(20)] == [second.take() for _ in range(20)]
    third = BatchSampler([(4, 3)] * 7, 1, seed=99)
    third.load_state_dict(first.state_dict())
    assert [first.take() for _ in range(20)] == [third.take() for _ in range(20)]


def test_batches_of_one_size_are_taken_together_in_the_same_order() -> None:
    sizes = [(4, 3)] * 5 + [(3, 4)] * 4
    one, many = (BatchSampler(sizes, 1, seed=1) for _ in range(2))
    singles = [one.take()[0][0] for _ in range(60)]
    drawn: list[int] = []
    counts = Counter()
    while len(drawn) < 60:
        batches = many.take(3)
        assert len({sizes[i] for (i,) in batches}) == 1
        counts[len(batches)] += 1
        drawn += [i for (i,) in batches]
    assert drawn[:60] == singles
    assert counts.keys() == {1, 2, 3}


def test_batches_hold_the_views_they_name() -> None:
    views, photos = _views([(4, 3)] * 3)
    store = ViewStore(views, photos, torch.device("cpu"), budget=1e9)
    batch = store.batch([[2, 0]])
    assert batch.size == (4, 3)
    torch.testing.assert_close(batch.images[0], torch.from_numpy(photos[2]).float() / 255)
    torch.testing.assert_close(batch.viewmats[1], torch.eye(4))


def test_looking_ahead_changes_nothing() -> None:
    first, second = (BatchSampler([(4, 3)] * 7, 2, seed=3) for _ in range(2))
    for _ in range(12):
        assert first.peek() == first.peek()
        restored = BatchSampler([(4, 3)] * 7, 2, seed=99)
        restored.load_state_dict(first.state_dict())
        assert first.peek() == restored.take() == first.take() == second.take()


def _mask(seed: int) -> np.ndarray:
    return np.random.default_rng(seed).random((12, 14)) > 0.4


def test_batches_hold_the_masks_of_the_views_they_name() -> None:
    views, photos = _views([(14, 12)] * 3)
    masks = [_mask(1), None, _mask(2)]
    store = ViewStore(views, photos, torch.device("cpu"), budget=1e9, masks=masks)
    batch = store.batch([[2, 1]])
    assert batch.masks is not None and batch.masks.shape == (2, 12, 14, 1)
    np.testing.assert_array_equal(batch.masks[0, ..., 0], masks[2])
    assert batch.masks[1].all() and store.batch([[1]]).masks is None
    valid = batch.masks.float().mean(dim=(1, 2, 3))
    torch.testing.assert_close(batch.weights, 0.5 / valid)
    torch.testing.assert_close(batch.images[0], torch.from_numpy(photos[2]).float() / 255)
    render = torch.rand(2, 12, 14, 3)
    composited = batch.composited(render)
    hidden = ~batch.masks.expand_as(render)
    torch.testing.assert_close(composited[hidden], batch.images[hidden])
    torch.testing.assert_close(composited[~hidden], render[~hidden])
    assert store.batch([[1]]).composited(render) is render


def test_masked_pixels_have_no_part_in_the_loss() -> None:
    views, photos = _views([(14, 12)])
    mask = _mask(3)
    store = ViewStore(views, photos, torch.device("cpu"), budget=1e9, masks=[mask])
    batch = store.batch([[0]])
    render = torch.rand(1, 12, 14, 3, requires_grad=True)
    loss, terms = photometric_loss(
        batch.composited(render), batch.images, 0.2, weights=batch.weights
    )
    (gradient,) = torch.autograd.grad(loss, render)
    visible = torch.from_numpy(mask)
    assert (gradient[0][~visible] == 0).all() and (gradient[0][visible] != 0).any(dim=1).all()
    error = (render - batch.images)[0][visible].abs()
    torch.testing.assert_close(terms["l1"], error.mean().detach())
    other = torch.where(visible[..., None], render, torch.rand_like(render))
    again, _ = photometric_loss(batch.composited(other), batch.images, 0.2, weights=batch.weights)
    assert again == loss


@pytest.mark.gpu
@pytest.mark.parametrize("size", [(64, 48), (12, 30)])
def test_the_masked_loss_is_the_same_on_a_gpu(size: tuple[int, int]) -> None:
    views, photos = _views([size])
    mask = np.random.default_rng(3).random(size[::-1]) > 0.3
    render = torch.rand(1, *size[::-1], 3)
    losses, gradients = [], []
    for device in ("cpu", "cuda"):
        batch = ViewStore(views, photos, torch.device(device), budget=0, masks=[mask]).batch([[0]])
        own = render.to(device).requires_grad_()
        loss, _ = photometric_loss(batch.composited(own), batch.images, 0.2, weights=batch.weights)
        losses.append(loss.item())
        gradients.append(torch.autograd.grad(loss, own)[0].cpu())
    assert losses[0] == pytest.approx(losses[1], rel=1e-4)
    torch.testing.assert_close(*gradients, rtol=1e-3, atol=1e-6)


@pytest.mark.gpu
def test_views_streamed_ahead_are_those_asked_for() -> None:
    views, photos = _views([(400, 300)] * 6)
    store = ViewStore(views, photos, torch.device("cuda"), budget=0)
    sampler = BatchSampler(store.sizes, 2, seed=1)
    torch.cuda._sleep(10_000_000)  # so that copies overtake what is queued
    seen = []
    for _ in range(40):
        steps = sampler.take()
        seen.append((steps[0], store.batch(steps).images))
        store.prefetch(sampler.peek() if len(seen) % 5 else [[0]])  # also one not asked for
    for indices, images in seen:
        expected = torch.from_numpy(np.stack([photos[i] for i in indices])).float() / 255
        torch.testing.assert_close(images.cpu(), expected)


def test_reduced_views_are_means_of_blocks_seen_by_the_same_camera() -> None:
    views, photos = _views([(9, 6)] * 2)
    masks = [np.ones((6, 9), dtype=bool) for _ in photos]
    masks[1][2, 3] = False
    K = np.array([[10.0, 0, 4.2], [0, 11.0, 2.9], [0, 0, 1]])
    views = [dataclasses.replace(view, K=K) for view in views]
    store = ViewStore(views, photos, torch.device("cpu"), budget=1e9, masks=masks)
    whole = store.batch([[0, 1]])
    half = whole.reduced(2)
    assert half.size == (4, 3)
    for image, photo in zip(half.images, photos, strict=True):
        blocks = torch.from_numpy(photo[:, :8].reshape(3, 2, 4, 2, 3)).double()
        torch.testing.assert_close(image.double(), blocks.mean(dim=(1, 3)) / 255, atol=1e-6, rtol=0)
    assert half.masks is not None
    assert half.masks[0].all() and (~half.masks[1]).nonzero().tolist() == [[1, 1, 0]]
    # The middle of four pixels is where it was: (u, v) in the photo is (u, v) / 2 in its half.
    point = torch.tensor([0.3, -0.2, 2.0])
    projected, smaller = (batch.Ks[0] @ point for batch in (whole, half))
    torch.testing.assert_close(smaller[:2] / smaller[2], projected[:2] / projected[2] / 2)
    assert whole.reduced(3).size == (3, 2)
    assert whole.reduced(1) is whole


@pytest.mark.gpu
@pytest.mark.parametrize("budget", [0.0, 1e9])
def test_photos_above_the_budget_stay_in_host_memory(budget: float) -> None:
    views, photos = _views([(40, 30)] * 3)
    before = torch.cuda.memory_allocated()
    store = ViewStore(views, photos, torch.device("cuda"), budget=budget)
    held = torch.cuda.memory_allocated() - before
    assert store.is_on_device == (budget > 0)
    assert (held > sum(photo.nbytes for photo in photos)) == store.is_on_device
    torch.testing.assert_close(
        store.batch([[1]]).images[0].cpu(), torch.from_numpy(photos[1]).float() / 255
    )
