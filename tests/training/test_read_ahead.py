"""Photos that are read from the disk ahead of their use: the same as those in memory, in time."""

import threading
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from gs_densify.errors import SceneError
from gs_densify.scene.photos import pixel_file
from gs_densify.scene.photos.places import PhotosInMemory, PhotosOnDisk
from gs_densify.scene.scene import MaskSource, View
from gs_densify.training import read_ahead
from gs_densify.training.batches import BatchSampler, ViewStore

CPU = torch.device("cpu")


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GS_CACHE", str(tmp_path / "cache"))


def make_views(folder: Path, sizes: list[tuple[int, int]], *, masked: bool) -> list[View]:
    draw, views = np.random.default_rng(0), []
    for i, (width, height) in enumerate(sizes):
        path, mask = folder / f"{i}.png", None
        Image.fromarray(draw.integers(0, 256, (height, width, 3), dtype=np.uint8)).save(path)
        if masked and i % 3 == 0:
            mask = MaskSource(folder / f"{i}_mask.png", alpha=False)
            counts = np.where(draw.random((height, width)) > 0.4, 255, 0).astype(np.uint8)
            Image.fromarray(counts).save(mask.path)
        views.append(View(path.name, path, 1, np.eye(4), np.eye(3), width, height, mask=mask))
    return views


def stores(
    views: list[View], device: torch.device = CPU, budget: float = 0
) -> tuple[ViewStore, ViewStore]:
    on_disk = PhotosOnDisk(views, views, disk_budget=1e9, workers=2)
    in_memory = PhotosInMemory(views, workers=2)
    one, other = (
        ViewStore(views, ready.pixels(views), device, budget=budget, masks=ready.masks(views))
        for ready in (on_disk, in_memory)
    )
    return one, other


def same(first: Any, second: Any) -> bool:
    masks = (first.masks is None) == (second.masks is None)
    if first.masks is not None:
        masks = masks and torch.equal(first.masks, second.masks)
    is_same = torch.equal(first.images, second.images)
    return masks and is_same and torch.equal(first.weights, second.weights)


@pytest.mark.parametrize("masked", [False, True])
@pytest.mark.parametrize("device", ["cpu", pytest.param("cuda", marks=pytest.mark.gpu)])
def test_batches_are_those_of_photos_in_memory(tmp_path: Path, masked: bool, device: str) -> None:
    views = make_views(tmp_path, [(48, 32)] * 9 + [(20, 30)] * 4, masked=masked)
    streamed, held = stores(views, torch.device(device))
    assert streamed.is_streamed and streamed.waited() == 0
    sampler = BatchSampler(streamed.sizes, 2, seed=1)
    for step in range(40):
        steps = sampler.take(1 + step % 5)
        assert same(streamed.batch(steps), held.batch(steps))
        if step % 7:
            later = sampler.upcoming(streamed.num_ahead)
            streamed.prefetch(sampler.peek(1 + step % 3), later=later)
        if step % 5 == 0:
            assert same(streamed.batch([[3]]), held.batch([[3]])), "as a probe asks for one"
    assert same(streamed.batch([[5], [5]]), held.batch([[5], [5]])), "an epoch ends amid a call"
    if device == "cuda":
        torch.cuda.synchronize()
    assert streamed.waited() > 0


@pytest.mark.gpu
@pytest.mark.parametrize("masked", [False, True])
def test_photos_that_fit_on_the_gpu_come_there_from_the_disk(tmp_path: Path, masked: bool) -> None:
    views = make_views(tmp_path, [(48, 32)] * 30, masked=masked)
    one, other = stores(views, torch.device("cuda"), budget=1e9)
    assert one.is_on_device and not one.is_streamed and one.waited() is None
    for index in range(30):
        assert same(one.batch([[index]]), other.batch([[index]]))


@pytest.mark.parametrize("sizes", [[(4, 3)] * 7, [(4, 3)] * 5 + [(3, 4)] * 4])
def test_what_is_upcoming_is_what_is_drawn_and_changes_nothing(sizes: list) -> None:
    one, other = (BatchSampler(sizes, 2, seed=3) for _ in range(2))
    for step in range(50):
        count = step % 9
        expected = one.upcoming(count)
        assert one.upcoming(0) == []
        drawn = one.take(2)
        assert drawn[:count] == expected[: len(drawn)]
        assert drawn == other.take(2)


def test_a_bounded_number_is_read_ahead_and_each_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    views = make_views(tmp_path, [(8, 6)] * 40, masked=False)
    streamed, _ = stores(views)
    read: list[int] = []
    real = read_ahead.KeptPhotos.read_into

    def read_into(self: Any, index: int, target: np.ndarray) -> None:
        read.append(index)
        real(self, index, target)

    monkeypatch.setattr(read_ahead.KeptPhotos, "read_into", read_into)
    sampler = BatchSampler(streamed.sizes, 1, seed=1)
    drawn: list[int] = []
    for _ in range(40):
        batch = sampler.take()
        drawn += batch[0]
        streamed.batch(batch)
        streamed.prefetch(sampler.peek(), later=sampler.upcoming(streamed.num_ahead))
        assert len(read) <= len(drawn) + read_ahead._AHEAD
    until = time.monotonic() + 60
    while len(read) < len(drawn) + read_ahead._AHEAD and time.monotonic() < until:
        time.sleep(0.005)
    ahead = [index for batch in sampler.upcoming(read_ahead._AHEAD) for index in batch]
    assert sorted(read) == sorted(drawn + ahead), "an epoch reads every photo once"
    assert sorted(drawn) == list(range(40))


def test_what_is_read_ahead_is_not_waited_for_and_waits_are_measured(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    views = make_views(tmp_path, [(8, 6)] * 8, masked=False)
    streamed, _ = stores(views)
    real, now = read_ahead.KeptPhotos.read_into, [0.0]
    side_by_side = threading.Barrier(1 + 7, timeout=60)

    def read_into(self: Any, index: int, target: np.ndarray) -> None:
        now[0] += 0.1
        if index:
            side_by_side.wait()
        real(self, index, target)

    monkeypatch.setattr(read_ahead.KeptPhotos, "read_into", read_into)
    monkeypatch.setattr(read_ahead, "time", SimpleNamespace(perf_counter=lambda: now[0]))
    streamed.batch([[0]])
    assert streamed.waited() == pytest.approx(0.1)
    streamed.prefetch([[1]], later=[[2, 3], [4], [5, 6, 7]])
    side_by_side.wait()
    for index in range(1, 8):
        streamed.batch([[index]])
    assert streamed.waited() == 0


def test_a_photo_that_is_gone_ends_the_step_in_words(tmp_path: Path) -> None:
    before = threading.active_count()
    views = make_views(tmp_path, [(8, 6)] * 3, masked=False)
    stores(views)
    path = pixel_file.pixel_path(views)
    with path.open("r+b") as file:
        file.seek(4096)
        file.write(b"damage")
    photos = PhotosOnDisk(views, views, disk_budget=1e9, workers=1)
    store = ViewStore(views, photos.pixels(views), CPU, budget=0)
    views[0].path.unlink()
    store.prefetch([[0]], later=[[1], [2]])
    store.batch([[1]])
    with pytest.raises(SceneError, match=r"0\.png"):
        store.batch([[0]])
    assert threading.active_count() <= before + 2 * read_ahead.READERS
