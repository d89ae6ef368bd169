"""What a format of a scene is, and what it gives: posed images and coloured points."""

from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np

from gs_densify.scene.formats import FORMATS
from gs_densify.scene.scene import Lens


@dataclass(frozen=True, eq=False)
class Observations:
    """Where a photo shows points of the model, as the format has it."""

    points: np.ndarray
    """[n] int64: rows of `SceneModel.points`."""
    xy: np.ndarray
    """[n, 2] float64: pixels of the photo as taken, at the size that its camera has."""


NO_OBSERVATIONS = Observations(np.zeros(0, np.int64), np.zeros((0, 2)))


@dataclass(frozen=True, eq=False)
class PosedImage:
    """A registered image, in the format's own world and at the size that its cameras have."""

    name: str
    """The photo's path below the image folder, with extension."""
    camera_id: int
    cam_from_world: np.ndarray
    """[4, 4] float64, rigid; x right, y down, z forward."""
    K: np.ndarray
    """[3, 3] float64, pixels; of the lens, where there is one."""
    width: int
    height: int
    lens: Lens | None = None
    """What bends the rays; None for a pinhole."""
    observations: Observations = NO_OBSERVATIONS
    """Empty where the format keeps none."""


@dataclass(frozen=True, eq=False)
class SceneModel:
    """What training needs of a scene besides its photos."""

    folder: Path
    """Where the model lies."""
    images: tuple[PosedImage, ...]
    """Sorted by name; at least one."""
    points: np.ndarray
    """[P, 3] float64; may be empty, and hold values that are not finite."""
    colors: np.ndarray
    """[P, 3] uint8."""


class SceneFormat(Protocol):
    """A format: a class without arguments."""

    def detects(self, root: Path) -> bool:
        """Returns whether a folder holds a scene in this format."""
        ...

    def read(self, root: Path) -> SceneModel:
        """Reads the model of a scene.

        Raises:
            SceneError: there is none, or it is damaged.
        """
        ...


def read_scene_model(root: Path) -> SceneModel:
    """Reads a scene in the first format that detects it.

    Where none does, the first format says what it misses.

    Raises:
        SceneError: there is no model, or it is damaged.
    """
    formats: list[SceneFormat] = [FORMATS.load(name)() for name in FORMATS.names()]
    found = next((one for one in formats if one.detects(root)), formats[0])
    return found.read(root)
