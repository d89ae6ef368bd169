"""Which stages of a reconstruction are complete, and of what."""

import hashlib
import json
import os
import shutil
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from gs_densify import folder_lock
from gs_densify.errors import ResultError, SceneError
from gs_densify.messages import duration, remark
from gs_densify.results.files import load_json, save_json
from gs_densify.scene.colmap_library import pycolmap
from gs_densify.scene.unposed import STAGES

_MODEL, _BEFORE = "sparse", "sparse_before"


def digest_of(*parts: Any) -> str:
    """Returns a digest of values that JSON can hold."""
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()[:16]


@dataclass
class Stages:
    """What is kept of each stage, by its name, on disk all the time."""

    scene: Path
    source: str
    """The photos or the video, as a whole path."""
    kept: dict[str, dict[str, Any]]

    @property
    def folder(self) -> Path:
        """Returns the folder of the work."""
        return self.scene / STAGES.parent

    @classmethod
    def open(cls, scene: Path, source: Path) -> "Stages":
        """Returns what an earlier call has left in the folder of a scene.

        Raises:
            SceneError: the folder has something else, or a reconstruction of other photos.
        """
        whole = os.path.abspath(source)
        if not (scene / STAGES).is_file():
            if scene.exists() and (not scene.is_dir() or any(scene.iterdir())):
                raise SceneError(
                    f"{scene} is there already; nothing was changed",
                    action="give --out the name of a new folder",
                )
            return cls(scene, whole, {})
        try:
            content = load_json(scene / STAGES)
            stages = cls(scene, content["source"], dict(content["stages"]))
        except (ResultError, KeyError, TypeError, ValueError):
            raise SceneError(
                f"{scene / STAGES} is damaged", action="give --out the name of a new folder"
            ) from None
        if stages.source != whole:
            raise SceneError(
                f"{scene} is a reconstruction of {stages.source}, not of {whole}",
                action="give --out the name of a new folder",
            )
        return stages

    @classmethod
    @contextmanager
    def held(cls, scene: Path, source: Path) -> Iterator["Stages"]:
        """Yields what `open` returns while no other process can work in the folder of the scene.

        Where an error comes before the first stage is complete, nothing is left behind.

        Raises:
            SceneError: as `open` does.
            ConfigError: another process is at work there.
        """
        cls.open(scene, source)  # before a folder is made
        made = [path for path in (scene, *scene.parents) if not path.exists()]
        scene.mkdir(parents=True, exist_ok=True)
        with folder_lock.locked(scene, "reconstructs"):
            stages = cls.open(scene, source)  # again: another may have been here in between
            try:
                yield stages
            except BaseException:
                stages._remove_beginnings(made)
                raise

    def is_complete(self, name: str, key: str, made: Path) -> bool:
        """Returns whether `stage` would keep what is there."""
        kept = self.kept.get(name, {})
        return kept.get("key") == key and "found" in kept and made.exists()

    def stage(
        self, name: str, key: str, made: Path, work: Callable[[bool], dict[str, Any] | None]
    ) -> dict[str, Any]:
        """Carries out a stage, unless it is complete, and returns what it has found.

        Args:
            name: of the stage.
            key: digest of all that it depends on.
            made: the file or folder that it makes.
            work: is told whether what is there of the stage belongs to the same key, and returns
                what it has found, which JSON must hold.
        """
        kept = self.kept.get(name, {})
        if self.is_complete(name, key, made):
            remark(f"{name}: complete already")
            return dict(kept["found"])
        if kept and kept["key"] != key:
            remark(f"{name}: photos or options have changed: done anew")
        self._withdraw_model()
        self._forget_from(name)
        started = time.perf_counter()
        self._save(name, {"key": key})
        found = work(kept.get("key") == key) or {}
        self._save(name, {"key": key, "found": found})
        remark(f"{name}: done in {duration(time.perf_counter() - started)}")
        return found

    @property
    def model(self) -> Path:
        """Returns the folder of the scene's models."""
        return self.scene / _MODEL

    def publish(self, model: pycolmap.Reconstruction) -> None:
        """Makes a model the scene's, in one step: half of one never looks complete."""
        unfinished = self.folder / _MODEL
        shutil.rmtree(unfinished, ignore_errors=True)
        (unfinished / "0").mkdir(parents=True)
        model.write(unfinished / "0")
        unfinished.rename(self.model)

    def _remove_beginnings(self, made: Sequence[Path]) -> None:
        """Leaves nothing behind where not even the first stage was completed.

        Args:
            made: folders from the innermost outwards, removed where nothing else is in them.
        """
        if not any("found" in kept for kept in self.kept.values()):
            shutil.rmtree(self.folder, ignore_errors=True)
            with suppress(OSError):
                for folder in made:
                    folder.rmdir()

    def _forget_from(self, name: str) -> None:
        """Forgets a stage and those after it, which have worked on what it made."""
        names = list(self.kept)
        for later in names[names.index(name) :] if name in names else ():
            del self.kept[later]

    def _withdraw_model(self) -> None:
        """Takes away a model that belongs to other photos or options than are worked on now."""
        if self.model.exists():
            before = self.folder / _BEFORE
            shutil.rmtree(before, ignore_errors=True)
            self.model.rename(before)
            remark(f"the model that was in {self.model} is in {before} now")

    def _save(self, stage: str, kept: dict[str, Any]) -> None:
        self.kept[stage] = kept
        save_json(self.scene / STAGES, {"source": self.source, "stages": self.kept})
