"""Unpack the folders of one scene out of an archive, so that each appears whole or not at all.

Files are unpacked into `.NAME.part` beside the scene. One that stands there is complete and its
CRC was right, so the next try goes on after it. Folders move to their place when all are complete.
"""

import shutil
import zipfile
import zlib
from collections.abc import Callable, Sequence
from pathlib import Path, PurePosixPath

from gs_densify.errors import DownloadError
from gs_densify.results.files import atomic_write

_SOURCE = ".source"
_CHUNK = 2**18


class PartialScene:
    """The folder in which a scene is put together."""

    def __init__(self, data_root: Path, name: str) -> None:
        """Prepares for the scene `data_root/name`; nothing is written yet."""
        self.name = name
        self.final = data_root / name
        self.work = data_root / f".{name}.part"

    def lacks(self, folders: Sequence[str]) -> list[str]:
        """Returns those of `folders` that are not in their place."""
        return [folder for folder in folders if not (self.final / folder).exists()]

    def begin(self, source: str) -> None:
        """Keeps what was unpacked from the same `source` before, and nothing else."""
        mark = self.work / _SOURCE
        if not (mark.is_file() and mark.read_text() == source):
            shutil.rmtree(self.work, ignore_errors=True)
            self.work.mkdir(parents=True)
            mark.write_text(source)

    def missing(
        self, members: Sequence[zipfile.ZipInfo], folders: Sequence[str]
    ) -> list[tuple[zipfile.ZipInfo, Path]]:
        """Pairs (member, path) of the files below `folders` that are still to be unpacked.

        Raises:
            DownloadError: a folder that the archive does not have, or an unsafe name.
        """
        wanted = []
        for member in members:
            inside = self._inside(member)
            if inside is not None and inside.parts and inside.parts[0] in folders:
                wanted.append((member, self.work.joinpath(*inside.parts)))
        for folder in folders:
            if not any(path.is_relative_to(self.work / folder) for _, path in wanted):
                raise DownloadError(
                    f"the archive has no {folder} of scene {self.name}",
                    expected="expected some files of it",
                    action="choose other --images",
                )
        return [
            (member, path)
            for member, path in wanted
            if not (path.is_file() and path.stat().st_size == member.file_size)
        ]

    def _inside(self, member: zipfile.ZipInfo) -> PurePosixPath | None:
        """Returns the path of a file below the scene's folder, which may itself lie in a folder."""
        parts = member.filename.split("/")
        if member.is_dir() or self.name not in parts[:-1]:
            return None
        inside = parts[parts.index(self.name) + 1 :]
        if any(part in ("", ".", "..") or "\\" in part or ":" in part for part in parts):
            raise DownloadError(
                f"the archive holds a file named {member.filename!r}",
                expected="expected names inside the scene",
                action="use another archive",
            )
        return PurePosixPath(*inside)

    def finish(self, folders: Sequence[str]) -> None:
        """Moves complete folders to their place."""
        for other in self.work.iterdir():  # of an earlier try, for other folders
            if other.is_dir() and other.name not in folders:
                shutil.rmtree(other)
        if self.final.exists():
            for folder in folders:
                (self.work / folder).rename(self.final / folder)
            shutil.rmtree(self.work)
        else:
            self.work.rename(self.final)
            (self.final / _SOURCE).unlink()


def unpack_member(
    archive: zipfile.ZipFile,
    member: zipfile.ZipInfo,
    path: Path,
    on_bytes: Callable[[int], object],
) -> None:
    """Writes one file whole, its CRC checked.

    Raises:
        DownloadError: a damaged member.
        ResultError: a folder that cannot be written.
    """
    try:
        with archive.open(member) as source, atomic_write(path) as target:
            while chunk := source.read(_CHUNK):
                target.write(chunk)
                on_bytes(len(chunk))
    except (zipfile.BadZipFile, zlib.error, EOFError, RuntimeError) as error:
        raise DownloadError(
            f"{member.filename} of the archive is damaged ({error})",
            expected="expected its checksum to fit",
            action="run the command again, or use another --url",
        ) from None
