"""What a file format of a model is, and which of them a file has."""

from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np
from torch import Tensor

from gs_densify.errors import ResultError
from gs_densify.model.files import FORMATS
from gs_densify.model.types import Splats


@dataclass(frozen=True)
class ModelFile:
    """The contents of a file: `means [N,3], scales [N,3] (log), quats [N,4] (wxyz), opacities [N]
    (logit), sh0 [N,1,3], shN [N,K-1,3]`, float32, in COLMAP's frame."""

    splats: dict[str, Tensor]
    antialiased: bool | None
    """None where the file does not say whether the model is rendered antialiased."""
    offset: np.ndarray | None = None
    """[3] float64, what was taken from the means; None for nothing."""
    up: np.ndarray | None = None
    """[3] float64, the direction that is up; None where the file does not say."""


class ModelFormat(Protocol):
    """A format: a class without arguments.

    One that has a member `says_up`, which is true, holds which direction is up: its `save` takes
    that as `up` ([3], in the frame of the model that it is given), too.
    """

    suffix: str
    """The ending of its files, with the dot."""

    def detects(self, path: Path) -> bool:
        """Returns whether a file is in this format, or claims to be."""
        ...

    def save(
        self, path: Path, splats: Splats, *, world_transform: np.ndarray, antialiased: bool
    ) -> None:
        """Writes a model, its frame taken through a similarity [4,4].

        Raises:
            ResultError: it cannot be written, or the format does not hold it.
        """
        ...

    def load(self, path: Path) -> ModelFile:
        """Reads a model.

        Raises:
            ResultError: the file is damaged, or holds something else.
        """
        ...


def format_of(path: Path) -> ModelFormat | None:
    """Returns the format that a file has; None where it has none that is known."""
    for name in FORMATS.names():
        one: ModelFormat = FORMATS.load(name)()
        if one.detects(path):
            return one
    return None


def load_model(path: Path) -> ModelFile:
    """Reads a model from a file of any known format.

    Raises:
        ResultError: it has none of them, or is damaged.
    """
    found = format_of(path)
    if found is None:
        raise ResultError(
            f"{path}: no file of a model",
            expected=f"known formats: {', '.join(FORMATS.names())}",
        )
    return load_as(found, path)


def load_as(one: ModelFormat, path: Path) -> ModelFile:
    """Reads a model from a file of a format.

    Raises:
        ResultError: it is damaged, or holds no Gaussian.
    """
    contents = one.load(path)
    if not len(contents.splats["means"]):
        raise ResultError(
            f"{path}: holds no Gaussian",
            expected="expected one at least",
            action="look at the run that wrote it: all may have been removed",
        )
    return contents
