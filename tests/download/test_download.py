"""Scenes over HTTP: whole or not at all, whatever the server and the line do."""

import os
import random
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from archive_server import Behaviour, scene_files, serve, zipped

from gs_densify.download import remote, scenes
from gs_densify.download.remote import TRIES, RemoteFile
from gs_densify.download.scenes import ALL_FACTORS, DownloadOptions, download_scenes
from gs_densify.errors import DownloadError
from gs_densify.scene.presets import MIPNERF360

FILES = {**scene_files("bonsai"), **scene_files("garden"), **scene_files("room")}
ARCHIVE = zipped(FILES)


@pytest.fixture
def server() -> Iterator[tuple[Behaviour, str]]:
    behaviour = Behaviour(ARCHIVE)
    with serve(behaviour) as url:
        yield behaviour, url


def fetch(url: str, root: Path, *names: str, factors: tuple[int, ...] | None = None) -> list[str]:
    said: list[str] = []
    options = DownloadOptions(factors, url, pause=0.0)
    assert download_scenes(names, root, options, said.append) == [root / name for name in names]
    return said


def refusal(url: str, root: Path, *names: str, **options) -> str:
    with pytest.raises(DownloadError) as caught:
        fetch(url, root, *names, **options)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def assert_scene(root: Path, name: str, folders: set[str], files: dict[str, bytes] = FILES) -> None:
    wanted = {
        path: data
        for path, data in files.items()
        if path.startswith(f"{name}/") and path.split("/")[1] in folders
    }
    found = {
        path.relative_to(root).as_posix(): path.read_bytes()
        for path in (root / name).rglob("*")
        if path.is_file()
    }
    assert found == wanted and wanted
    assert not list(root.glob(".*")), "nothing is left beside it"


def test_only_what_is_asked_for_is_sent(tmp_path: Path) -> None:
    files = scene_files("garden", photos=12, size=400_000)
    behaviour = Behaviour(zipped(files))
    with serve(behaviour) as url:
        fetch(url, tmp_path, "garden", factors=(8,))
    assert_scene(tmp_path, "garden", {"images_8", "sparse"}, files)
    # What is on the way when the line is closed was sent, too.
    assert 12 * 400_000 < behaviour.sent < 0.7 * len(behaviour.data)


def test_factors_and_several_scenes(server: tuple[Behaviour, str], tmp_path: Path) -> None:
    _, url = server
    fetch(url, tmp_path, "garden", "bonsai", factors=(2, 8))
    for name in ("garden", "bonsai"):
        assert_scene(tmp_path, name, {"images_2", "images_8", "sparse"})
    fetch(url, tmp_path, "room", factors=ALL_FACTORS)
    assert_scene(tmp_path, "room", {"images", "images_2", "images_4", "images_8", "sparse"})


def test_every_preset_is_in_one_archive() -> None:
    held = [name for names in scenes._ARCHIVES.values() for name in names]
    assert sorted(held) == sorted(MIPNERF360)


def test_what_is_there_stays_and_is_added_to(server: tuple[Behaviour, str], tmp_path: Path) -> None:
    behaviour, url = server
    fetch(url, tmp_path, "garden")
    before = {p: p.stat().st_mtime_ns for p in tmp_path.rglob("*.JPG")}
    behaviour.asked.clear()
    assert "is there already" in fetch(url, tmp_path, "garden")[0]
    assert behaviour.asked == [], "the server is not even asked"
    fetch(url, tmp_path, "garden", factors=(8,))
    assert_scene(tmp_path, "garden", {"images_4", "images_8", "sparse"})
    assert before.items() <= {p: p.stat().st_mtime_ns for p in tmp_path.rglob("*.JPG")}.items()


def test_scenes_within_a_folder_of_the_archive_are_found(tmp_path: Path) -> None:
    files = scene_files("treehill")
    inside = zipped({f"360_extra/{path}": data for path, data in files.items()})
    with serve(Behaviour(inside, path="/360_extra_scenes.zip")) as url:
        fetch(f"{url}/", tmp_path, "treehill")
    assert_scene(tmp_path, "treehill", {"images_4", "sparse"}, files)


def test_a_line_that_is_cut_again_and_again_is_taken_up(
    server: tuple[Behaviour, str], tmp_path: Path
) -> None:
    behaviour, url = server
    behaviour.cut_after = [5_000, 70_000, 1, 40_000, 9_000]
    behaviour.statuses = [503, 429]
    fetch(url, tmp_path, "garden")
    assert_scene(tmp_path, "garden", {"images_4", "sparse"})
    assert behaviour.cut_after == behaviour.statuses == []
    starts = [asked for asked in behaviour.asked if not asked.startswith("bytes=0-")]
    assert len(starts) >= 5


def test_the_next_try_goes_on_after_the_files_that_are_complete(
    server: tuple[Behaviour, str], tmp_path: Path
) -> None:
    behaviour, url = server
    # The directory of the archive comes through, half of the photos, then nothing more.
    behaviour.cut_after = [10**9] * 3 + [100_000] + [0] * TRIES
    assert f"in {TRIES} tries" in refusal(url, tmp_path, "garden")
    work = tmp_path / ".garden.part"
    complete = {p: p.stat().st_mtime_ns for p in work.rglob("*.JPG")}
    assert 1 <= len(complete) < 6 and not (tmp_path / "garden").exists()
    behaviour.cut_after, behaviour.sent = [], 0
    fetch(url, tmp_path, "garden")
    assert_scene(tmp_path, "garden", {"images_4", "sparse"})
    kept = {tmp_path / "garden" / p.relative_to(work): t for p, t in complete.items()}
    assert all(path.stat().st_mtime_ns == time for path, time in kept.items())


def test_a_try_for_other_folders_leaves_no_half_folder(
    server: tuple[Behaviour, str], tmp_path: Path
) -> None:
    behaviour, url = server
    behaviour.cut_after = [10**9] * 3 + [100_000] + [0] * TRIES
    refusal(url, tmp_path, "garden", factors=(2,))
    assert list(tmp_path.glob(".garden.part/images_2/*"))
    behaviour.cut_after = []
    fetch(url, tmp_path, "garden", factors=(4,))
    assert_scene(tmp_path, "garden", {"images_4", "sparse"})


def test_a_file_that_changes_between_tries_is_begun_afresh(
    server: tuple[Behaviour, str], tmp_path: Path
) -> None:
    behaviour, url = server
    behaviour.cut_after = [10**9] * 3 + [100_000] + [0] * TRIES
    refusal(url, tmp_path, "garden")
    assert list(tmp_path.glob(".garden.part/*/*.JPG"))
    other = {path: data[::-1] for path, data in FILES.items()}
    behaviour.cut_after, behaviour.data, behaviour.etag = [], zipped(other), '"two"'
    fetch(url, tmp_path, "garden")
    assert_scene(tmp_path, "garden", {"images_4", "sparse"}, other)


@pytest.mark.parametrize("etag", ['"one"', 'W/"one"'])
def test_a_file_that_changes_during_a_try_is_refused(
    etag: str, server: tuple[Behaviour, str], tmp_path: Path
) -> None:
    behaviour, url = server
    behaviour.etag, behaviour.swap_after = etag, 4
    assert "changed while it was read" in refusal(url, tmp_path, "garden")
    assert not (tmp_path / "garden").exists()


@pytest.mark.parametrize("announce_md5", [False, True])
def test_a_server_without_ranges_sends_all_and_starts_again(
    announce_md5: bool, server: tuple[Behaviour, str], tmp_path: Path
) -> None:
    behaviour, url = server
    behaviour.ranges, behaviour.announce_md5 = False, announce_md5
    behaviour.cut_after = [10**9, 200_000, 7]
    said = fetch(url, tmp_path, "garden", "bonsai")
    assert any("no parts of a file" in line for line in said)
    assert_scene(tmp_path, "garden", {"images_4", "sparse"})
    assert_scene(tmp_path, "bonsai", {"images_2", "sparse"})
    assert behaviour.asked[1:] == ["all"] * 3


def test_a_whole_file_of_another_md5_is_refused(
    server: tuple[Behaviour, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    behaviour, url = server
    behaviour.ranges = False
    monkeypatch.setattr(remote, "_md5_of", lambda _: b"0" * 16)
    assert "another MD5" in refusal(url, tmp_path, "garden")
    assert os.listdir(tmp_path) == []


def test_a_corrupted_member_is_named_and_never_kept(
    server: tuple[Behaviour, str], tmp_path: Path
) -> None:
    behaviour, url = server
    at = ARCHIVE.index(FILES["garden/images_4/03.JPG"][100:200])
    behaviour.data = ARCHIVE[:at] + bytes(64) + ARCHIVE[at + 64 :]
    assert "garden/images_4/03.JPG of the archive is damaged" in refusal(url, tmp_path, "garden")
    assert not (tmp_path / "garden").exists()
    assert not list(tmp_path.rglob("03.JPG"))
    fetch(url, tmp_path, "bonsai")  # the rest of the archive is sound


@pytest.mark.parametrize(
    "name",
    [
        "garden/images_4/../../../evil.JPG",
        "/garden/images_4/evil.JPG",
        "../garden/images_4/evil.JPG",
        "garden/images_4/..\\..\\evil.JPG",
        "C:/garden/images_4/evil.JPG",
        "garden/images_4//evil.JPG",
    ],
)
def test_names_that_lead_outward_are_refused(name: str, tmp_path: Path) -> None:
    inside = tmp_path / "a" / "b" / "data"
    with serve(Behaviour(zipped({**scene_files("garden"), name: b"evil"}))) as url:
        assert "evil.JPG" in refusal(url, inside, "garden")
    assert not list(tmp_path.rglob("*evil*")) and not (inside / "garden").exists()


@pytest.mark.parametrize("status", [404, 403])
def test_what_is_not_there_is_not_asked_for_twice(
    status: int, server: tuple[Behaviour, str], tmp_path: Path
) -> None:
    behaviour, url = server
    behaviour.statuses = [status]
    assert f"answers {status}" in refusal(url, tmp_path, "garden")
    assert len(behaviour.asked) == 1


def test_no_server_no_web_address_no_archive(server: tuple[Behaviour, str], tmp_path: Path) -> None:
    behaviour, url = server
    assert "no web address" in refusal("file:///etc", tmp_path, "garden")
    assert f"in {TRIES} tries" in refusal("http://127.0.0.1:9", tmp_path, "garden")
    behaviour.data = b"<html>a page for people</html>"
    assert "is no zip archive" in refusal(url, tmp_path, "garden")


def test_an_unknown_scene_and_a_folder_that_is_not_there(
    server: tuple[Behaviour, str], tmp_path: Path
) -> None:
    behaviour, url = server
    assert "scene 'gardn'" in refusal(url, tmp_path, "gardn")
    assert "no scene" in refusal(url, tmp_path)
    assert behaviour.asked == []
    assert "no images_16" in refusal(url, tmp_path, "garden", factors=(16,))
    assert not (tmp_path / "garden").exists()


def test_a_folder_that_cannot_be_written(server: tuple[Behaviour, str], tmp_path: Path) -> None:
    (tmp_path / "file").write_text("mine")
    assert "cannot be written" in refusal(server[1], tmp_path / "file" / "data", "garden")
    assert (tmp_path / "file").read_text() == "mine"


def test_a_full_disk_is_said_before_anything_is_fetched(
    server: tuple[Behaviour, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    usage = type("Usage", (), {"free": 2**28 + 100_000})
    monkeypatch.setattr(scenes.shutil, "disk_usage", lambda _: usage)
    assert "0.3 GB free" in refusal(server[1], tmp_path, "garden")
    assert not list(tmp_path.rglob("*.JPG"))


def test_any_reading_gives_the_bytes_of_the_file(server: tuple[Behaviour, str]) -> None:
    behaviour, url = server
    rng = random.Random(0)
    behaviour.cut_after = [rng.randrange(1, 90_000) for _ in range(20)]
    with RemoteFile(f"{url}/360_v2.zip", pause=0.0) as file:
        for _ in range(60):
            at, size = rng.randrange(len(ARCHIVE) + 10), rng.randrange(1, 30_000)
            file.seek(at)
            found = b""
            while len(found) < size and (more := file.read(size - len(found))):
                found += more
            assert found == ARCHIVE[at : at + size]
        assert file.seek(-5, os.SEEK_END) == len(ARCHIVE) - 5 and file.read() == ARCHIVE[-5:]
        assert file.read() == b""
        with pytest.raises(ValueError, match="before the file"):
            file.seek(-1)


def test_archives_of_other_makers_are_read_too(tmp_path: Path) -> None:
    files = scene_files("garden")
    stored = tmp_path / "stored.zip"
    with zipfile.ZipFile(stored, "w", zipfile.ZIP_STORED) as archive:
        for name, data in sorted(files.items(), reverse=True):
            archive.writestr(name, data)
    with serve(Behaviour(b"no zip reader minds what comes before" + stored.read_bytes())) as url:
        fetch(url, tmp_path / "data", "garden")
    assert_scene(tmp_path / "data", "garden", {"images_4", "sparse"}, files)
