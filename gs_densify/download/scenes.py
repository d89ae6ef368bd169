"""The scenes of Mip-NeRF 360 (Barron et al. 2022), from the archives that its authors publish.

The archives hold 12 GB; of a server that gives ranges only the files asked for are fetched.
"""

import io
import shutil
import zipfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from tqdm import tqdm

from gs_densify.download.remote import RemoteFile
from gs_densify.download.unpack import PartialScene, unpack_member
from gs_densify.errors import DownloadError, ResultError
from gs_densify.near_names import known_or_meant
from gs_densify.scene.presets import MIPNERF360

BASE_URL = "https://storage.googleapis.com/gresearch/refraw360"
_ARCHIVES = {
    "360_v2.zip": ("bicycle", "bonsai", "counter", "garden", "kitchen", "room", "stump"),
    "360_extra_scenes.zip": ("flowers", "treehill"),
}
ALL_FACTORS = (1, 2, 4, 8)
"""The image folders of every scene."""
_SPACE_LEFT = 2**28
"""Bytes that a disk keeps free."""


@dataclass(frozen=True)
class DownloadOptions:
    """What to fetch and from where."""

    factors: tuple[int, ...] | None = None
    """Image folders: 1 for images, N for images_N; None takes each preset's."""
    base_url: str = BASE_URL
    pause: float = 1.0
    """Seconds before a failed request is sent again, doubled with each try."""


def download_scenes(
    names: Sequence[str],
    data_root: Path,
    options: DownloadOptions,
    say: Callable[[str], None] = print,
) -> list[Path]:
    """Fetches scenes into `data_root/NAME`; folders that are there stay as they are.

    Args:
        names: scenes of Mip-NeRF 360.
        data_root: made where it does not exist.
        options: image folders and server.
        say: told what happens, a line at a time.

    Returns:
        The folders of the scenes.

    Raises:
        DownloadError: an unknown name, no connection, a damaged archive, no space, no permission.
    """
    unknown = [name for name in names if name not in MIPNERF360]
    if unknown or not names:
        found = f"scene {unknown[0]!r} cannot be downloaded" if unknown else "no scene is named"
        raise DownloadError(found, expected=known_or_meant("".join(unknown[:1]), MIPNERF360))
    try:
        for archive, scenes in _ARCHIVES.items():
            wanted = [name for name in scenes if name in names]
            todo = {name: f for name in wanted if (f := _lacking(data_root, name, options, say))}
            if todo:
                _fetch(f"{options.base_url.rstrip('/')}/{archive}", todo, data_root, options, say)
    except (OSError, ResultError) as error:
        reason = error.strerror if isinstance(error, OSError) else error
        raise DownloadError(
            f"{data_root} cannot be written ({reason})",
            expected="expected a folder for scenes",
            action="name another one with --data-root",
        ) from None
    return [data_root / name for name in names]


def _lacking(
    data_root: Path, name: str, options: DownloadOptions, say: Callable[[str], None]
) -> list[str]:
    factors = options.factors or (MIPNERF360[name],)
    folders = ["images" if factor == 1 else f"images_{factor}" for factor in factors]
    lacking = PartialScene(data_root, name).lacks([*folders, "sparse"])
    if not lacking:
        say(f"{data_root / name} is there already")
    return lacking


def _fetch(
    url: str,
    todo: dict[str, list[str]],
    data_root: Path,
    options: DownloadOptions,
    say: Callable[[str], None],
) -> None:
    data_root.mkdir(parents=True, exist_ok=True)
    say(f"reading {url}")
    with _opened(url, data_root, options, say) as (file, source):
        try:
            archive = zipfile.ZipFile(file)
        except zipfile.BadZipFile as error:
            raise DownloadError(
                f"{url} is no zip archive ({error})",
                expected="expected the scenes",
                action="check --url",
            ) from None
        with archive:
            for name, folders in todo.items():
                _unpack(archive, source, PartialScene(data_root, name), folders)
                say(f"{data_root / name}: {', '.join(folders)}")


@contextmanager
def _opened(
    url: str, data_root: Path, options: DownloadOptions, say: Callable[[str], None]
) -> Iterator[tuple[BinaryIO, str]]:
    """Returns the archive as a seekable file, and what tells it from another version of it."""
    with RemoteFile(url, pause=options.pause) as remote:
        source = f"{url} {remote.validator} {remote.length}"
        if remote.has_ranges:
            yield io.BufferedReader(remote, 2**18), source
            return
        say(f"the server gives no parts of a file: fetching all {remote.length / 1e9:.1f} GB")
        _require_space(data_root, remote.length)
        whole = data_root / f".{Path(url).name}.part"
        try:
            with _bar(remote.length, whole.name) as bar:
                remote.save_whole(whole, bar.update)
            with whole.open("rb") as file:
                yield file, source
        finally:
            whole.unlink(missing_ok=True)


def _unpack(archive: zipfile.ZipFile, source: str, scene: PartialScene, folders: list[str]) -> None:
    scene.begin(source)
    missing = scene.missing(archive.infolist(), folders)
    # In the order of the archive, so that one answer of the server is read on and on.
    missing.sort(key=lambda pair: pair[0].header_offset)
    size = sum(member.file_size for member, _ in missing)
    _require_space(scene.work, size)
    with _bar(size, scene.name) as bar:
        for member, path in missing:
            unpack_member(archive, member, path, bar.update)
    scene.finish(folders)


def _require_space(folder: Path, size: int) -> None:
    free = shutil.disk_usage(folder).free
    if free < size + _SPACE_LEFT:
        raise DownloadError(
            f"{folder} has {free / 1e9:.1f} GB free",
            expected=f"expected {(size + _SPACE_LEFT) / 1e9:.1f} GB",
            action="make room, or name another disk with --data-root",
        )


def _bar(total: int, label: str) -> tqdm:
    # None: tqdm shows the bar on terminals only.
    return tqdm(total=total, desc=label, unit="B", unit_scale=True, unit_divisor=1000, disable=None)
