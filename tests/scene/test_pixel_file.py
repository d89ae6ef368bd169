"""Photos as raw bytes on the disk: the same as in memory, mended where damaged, within bounds."""

import errno
import os
import resource
import threading
import tracemalloc
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
from colmap_files import write_dataset
from PIL import Image

from gs_densify.errors import SceneError
from gs_densify.scene.load import PhotoOptions, load_scene
from gs_densify.scene.photos import disk_room, pixel_file, places
from gs_densify.scene.photos.decode import Photo
from gs_densify.scene.photos.kept import KeptPhotos
from gs_densify.scene.photos.load import load_photos, load_photos_and_digest
from gs_densify.scene.photos.pixel_file import PixelFile, pixel_path
from gs_densify.scene.photos.places import PhotosInMemory, PhotosOnDisk, fit_in_memory
from gs_densify.scene.scene import Scene, View

NAMES = [f"{i}.png" for i in range(5)]


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("GS_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


def make_scene(root: Path, *, size: tuple[int, int] = (96, 64), seed: int = 0) -> Scene:
    """Random photos, of which the second has a mask and of the fourth no pixel counts."""
    write_dataset(root, NAMES)
    draw = np.random.default_rng(seed)
    for name in NAMES:
        pixels = draw.integers(0, 256, (size[1], size[0], 3), dtype=np.uint8)
        Image.fromarray(pixels).save(root / "images" / name)
    (root / "masks").mkdir()
    mask = np.full((size[1], size[0]), 255, np.uint8)
    mask[10:30, 20:60] = 0
    Image.fromarray(mask).save(root / "masks" / NAMES[1])
    Image.fromarray(0 * mask).save(root / "masks" / NAMES[3])
    return load_scene(root, name="s")


@pytest.fixture
def scene(tmp_path: Path) -> Scene:
    return make_scene(tmp_path / "scene")


def made(scene: Scene, **options: float) -> PixelFile:
    file = PixelFile(scene.views)
    file.make(range(len(scene.views)), progress=False, **options)
    return file


def check(file: PixelFile, scene: Scene) -> None:
    for row, expected in enumerate(load_photos(scene.views, progress=False)):
        photo = file.read(row)
        np.testing.assert_array_equal(photo.pixels, expected.pixels)
        assert (photo.mask is None) == (expected.mask is None)
        if expected.mask is not None:
            np.testing.assert_array_equal(photo.mask, expected.mask)


@contextmanager
def no_file_above(size: int) -> Iterator[None]:
    """As on a full disk, bytes beyond a file's `size` are refused by the system."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


@pytest.mark.parametrize("downscale", [1, 2])
def test_photos_are_those_in_memory_wherever_they_are(tmp_path: Path, downscale: int) -> None:
    make_scene(tmp_path / "scene")
    options = PhotoOptions(image_source="resized" if downscale > 1 else "found")
    scene = load_scene(tmp_path / "scene", name="s", downscale=downscale, photos=options)
    check(made(scene), scene)
    on_disk = PhotosOnDisk(scene.views, scene.views, disk_budget=1e9, workers=2)
    in_memory = PhotosInMemory(scene.views, workers=2)
    assert on_disk.digest == in_memory.digest == load_photos_and_digest(scene.views)[1]
    for view in scene.views:
        assert on_disk.is_blank(view) == in_memory.is_blank(view) == (view.name == NAMES[3])
    some = scene.views[1:4]
    for mine, other in zip(on_disk.masks(some), in_memory.masks(some), strict=True):
        np.testing.assert_array_equal(mine, other)
    kept = on_disk.pixels(some)
    assert isinstance(kept, KeptPhotos) and len(kept[1:]) == 2
    np.testing.assert_array_equal(kept[1:][0], in_memory.pixels(some)[1])
    assert [kept.valid_share(i) for i in range(3)] == [
        None if mask is None else mask.mean() for mask in in_memory.masks(some)
    ]


def test_photos_fit_a_budget_of_their_bytes_and_masks_and_of_no_less(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    total = 96 * 64 * (3 * 3 + 2 * 4)
    assert fit_in_memory(scene.views, total) and not fit_in_memory(scene.views, total - 1)
    assert not fit_in_memory(scene.views, 3 * total - 1, processes=3)
    monkeypatch.setattr(places, "free_memory", lambda: 5 * total // 4)
    assert fit_in_memory(scene.views, None)
    monkeypatch.setattr(places, "free_memory", lambda: 5 * total // 4 - 2)
    assert not fit_in_memory(scene.views, None)


def test_photos_are_made_once_and_no_other_copy_of_them(
    tmp_path: Path, own_cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_scene(tmp_path / "scene")
    options = PhotoOptions(image_source="resized")
    scene = load_scene(tmp_path / "scene", name="s", downscale=2, photos=options)
    file = PixelFile(scene.views)
    file.make([0, 2], progress=False)
    assert file.missing(range(5)) == [1, 3, 4]
    made(scene)
    assert [path.suffix for path in own_cache.rglob("*") if path.is_file()] == [".pixels"]
    read = []
    monkeypatch.setattr(pixel_file, "read_view", lambda view, **_: read.append(view.name))
    check(made(scene), scene)
    assert not read


def test_a_few_photos_are_in_memory_while_all_are_made_and_read(tmp_path: Path) -> None:
    names = [f"{i:02d}.png" for i in range(40)]
    write_dataset(tmp_path, names)
    for name in names:
        Image.new("RGB", (192, 128), (int(name[:2]), 9, 9)).save(tmp_path / "images" / name)
    scene = load_scene(tmp_path, name="s")
    tracemalloc.start()
    try:
        ready = PhotosOnDisk(scene.views, scene.views, disk_budget=1e9, workers=2)
        assert sum(int(pixels[0, 0, 0]) for pixels in ready.pixels(scene.views)) == sum(range(40))
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 12 * 192 * 128 * 3, "of 40"


@pytest.mark.parametrize("damage", ["photo", "mask", "digest", "count", "short", "zeros", "empty"])
def test_a_damaged_file_is_mended(scene: Scene, damage: str) -> None:
    file = made(scene)
    whole = file.path.read_bytes()
    record = 44  # bytes: digest, number of valid pixels, checksum
    places = {
        "photo": file._starts[1] + 5,
        "mask": file._starts[1] + 96 * 64 * 3 + 7,
        "digest": record + 3,
        "count": record + 33,
    }
    damaged = bytearray(whole)
    if damage in places:
        damaged[places[damage]] ^= 1
    elif damage == "zeros":  # written by a process that died before they were
        damaged[file._starts[2] :] = bytes(len(whole) - file._starts[2])
    else:
        del damaged[0 if damage == "empty" else file._starts[3] + 10 :]
    file.path.write_bytes(damaged)
    check(made(scene), scene)
    assert file.path.read_bytes() == whole


def test_a_file_that_is_cut_off_while_it_is_read_is_mended(scene: Scene) -> None:
    file, whole = made(scene), load_photos(scene.views)
    file.read(4)  # was compared, so that it would not be again
    os.truncate(file.path, 4096)
    target = np.full(file.length(4), 77, np.uint8)
    file.read_into(4, target)
    assert np.array_equal(target, whole[4].pixels.reshape(-1))


def test_a_photo_that_can_no_longer_be_made_is_said(scene: Scene) -> None:
    file = made(scene)
    with file.path.open("r+b") as other:
        other.seek(file._starts[0])
        other.write(b"damage")
    again = made(scene)
    scene.views[0].path.unlink()
    with pytest.raises(SceneError, match=r"0\.png"):
        again.read(0)


def test_a_photo_that_changed_makes_another_file(scene: Scene) -> None:
    first = made(scene).path
    Image.new("RGB", (96, 64), (9, 9, 9)).save(scene.views[0].path)
    file = made(scene)
    assert file.path != first and (file.read(0).pixels == 9).all()


def test_what_was_used_least_recently_makes_room_but_for_what_is_in_use(tmp_path: Path) -> None:
    scenes = [make_scene(tmp_path / str(i), seed=i) for i in range(4)]
    sizes, paths = [], []
    for age, one in enumerate(scenes[:3]):
        file = made(one)
        sizes.append(file.path.stat().st_blocks * 512)
        paths.append(file.path)
        del file
        os.utime(paths[-1], (age, age))
    in_use = made(scenes[0])
    os.utime(paths[0], (0, 0))
    made(scenes[3], budget=sum(sizes) + 100)
    assert [path.exists() for path in paths] == [True, False, True]
    check(in_use, scenes[0])
    with pytest.raises(SceneError) as caught:
        made(scenes[1], budget=1.5 * sizes[0])
    said = str(caught.value)
    assert "raise --data.disk-budget, or make the photos smaller" in said and "\n" not in said
    assert "0.000104 GB of photos are to be kept there" in said
    assert [path.exists() for path in paths] == [True, False, False]


def test_files_that_are_too_small_in_all_do_not_go_in_vain(tmp_path: Path) -> None:
    scenes = [make_scene(tmp_path / str(i), seed=i) for i in range(2)]
    path = made(scenes[0]).path
    with pytest.raises(SceneError, match="raise --data"):
        made(scenes[1], budget=path.stat().st_blocks * 512 // 2)
    assert list(path.parent.iterdir()) == [path]


def test_a_file_that_took_the_place_of_a_removed_one_stays(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, real = tmp_path / "s.pixels", os.open
    path.touch()

    def late(*arguments: object) -> int:
        descriptor = real(*arguments)
        path.unlink()
        path.write_text("of another process")
        return descriptor

    monkeypatch.setattr(disk_room.os, "open", late)
    disk_room.remove_unless_in_use(path)
    assert path.read_text() == "of another process"


def test_a_disk_without_room_is_one_line_and_what_is_there_stays(scene: Scene) -> None:
    file = PixelFile(scene.views)
    file.make([0, 1], progress=False)
    with no_file_above(file._starts[3]), pytest.raises(SceneError) as caught:
        made(scene)
    assert str(caught.value).startswith(f"{file.path}: cannot be written (File too large); ")
    missing = set(PixelFile(scene.views).missing(range(5)))
    assert {3, 4} <= missing <= {2, 3, 4}  # photo 2 may come after the failure: begun anywhere
    check(made(scene), scene)


def test_room_is_reserved_before_the_work(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(pixel_file.os, "posix_fallocate", refuse)
    monkeypatch.setattr(pixel_file, "read_view", lambda view, **_: pytest.fail("too late"))
    with pytest.raises(SceneError, match="No space left on device"):
        made(scene)
    assert not pixel_path(scene.views).exists()


def test_a_file_without_photos_goes_once_nobody_uses_it(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = pixel_path(scene.views)
    with no_file_above(5000), pytest.raises(SceneError, match="File too large"):
        PixelFile(scene.views)
    assert not path.exists()

    def fail(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    first, second = PixelFile(scene.views), PixelFile(scene.views)
    with monkeypatch.context() as patch:
        patch.setattr(pixel_file, "read_view", fail)
        with pytest.raises(KeyboardInterrupt):
            first.make([0], progress=False)
        assert path.exists(), "the second one has it open"
        with pytest.raises(KeyboardInterrupt):
            second.make([0], progress=False)
        assert not path.exists()
        third, fourth = PixelFile(scene.views), PixelFile(scene.views)
        patch.undo()
        third.make([0], progress=False)
        del third
        patch.setattr(pixel_file, "read_view", fail)
        with pytest.raises(KeyboardInterrupt):
            fourth.make([1], progress=False)
    assert PixelFile(scene.views).missing([0, 1]) == [1], "somebody has made a photo"


def test_a_cache_that_cannot_be_written_is_refused(
    scene: Scene, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("GS_CACHE", str(tmp_path / "file"))
    with pytest.raises(SceneError, match="set GS_CACHE to a folder of yours"):
        PixelFile(scene.views)


def test_two_that_start_at_once_share_the_work(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_dataset(tmp_path, [f"{i:02d}.png" for i in range(20)])
    scene, real, read = load_scene(tmp_path, name="s"), pixel_file.read_view, []
    together = threading.Barrier(2, timeout=60)

    def in_step(view: View, **options: bool) -> Photo:
        read.append(view.name)
        if len(read) <= 20:
            together.wait()
        return real(view, **options)

    starts = [0, 10]
    monkeypatch.setattr(pixel_file, "read_view", in_step)
    monkeypatch.setattr(pixel_file.random, "randrange", lambda count: starts.pop())
    files = [PixelFile(scene.views) for _ in range(2)]
    with ThreadPoolExecutor() as pool:
        for done in [pool.submit(one.make, range(20), workers=1) for one in files]:
            done.result()
    # Each may make the last photo of the other again, which is being written meanwhile.
    assert len(set(read)) == 20 and len(read) <= 22
    for file in files:
        check(file, scene)


def test_two_that_start_at_once_and_one_that_makes_room_do_no_harm(tmp_path: Path) -> None:
    scenes = [make_scene(tmp_path / str(i), seed=i) for i in range(2)]
    start, errors = threading.Barrier(4, timeout=20), []

    def use(scene: Scene) -> None:
        start.wait()
        try:
            for _ in range(8):
                check(made(scene, budget=150_000), scene)
        except SceneError as error:  # while the other scene is in use
            if "room for" not in str(error):
                errors.append(error)
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=use, args=[scenes[i % 2]]) for i in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not errors
