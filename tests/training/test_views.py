"""Photos on the device and the order in which they are drawn."""

from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import torch

from gs_densify.data.scene import View
from gs_densify.training.views import BatchSampler, ViewStore


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
        batch, taken = sampler.take()
        assert taken == 1
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
        batch, taken = many.take(3)
        assert taken == len(batch) <= 3
        assert len({sizes[i] for i in batch}) == 1
        counts[taken] += 1
        drawn += batch
    assert drawn[:60] == singles
    assert counts.keys() == {1, 2, 3}


def test_batches_hold_the_views_they_name() -> None:
    views, photos = _views([(4, 3)] * 3)
    store = ViewStore(views, photos, torch.device("cpu"), budget=1e9)
    batch = store.batch([2, 0])
    assert batch.size == (4, 3)
    torch.testing.assert_close(batch.images[0], torch.from_numpy(photos[2]).float() / 255)
    torch.testing.assert_close(batch.viewmats[1], torch.eye(4))


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
        store.batch([1]).images[0].cpu(), torch.from_numpy(photos[1]).float() / 255
    )
