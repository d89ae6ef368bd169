"""The photos that a model was made from: where they were taken, and what it scores there."""

import json
import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np

from gs_densify.errors import ResultError
from gs_densify.results import Scores
from gs_densify.results.names import COMPAT
from gs_densify.results.protocol import MetricRecord
from gs_densify.scene.normalize import camera_centers, transform_poses
from gs_densify.scene.scene import Scene, View
from gs_densify.viewer.camera import Camera, camera_from, camera_of

Kind = Literal["training", "held out", "unknown"]
CAMERAS = "cameras.json"


@dataclass(frozen=True)
class Shot:
    """A photo, or at least the camera that took it."""

    name: str
    camera: Camera
    kind: Kind = "unknown"
    view: View | None = None
    """The photo; None where the camera alone is known."""
    scores: Scores | None = None
    metrics: Mapping[str, MetricRecord] = field(default_factory=dict)
    """Describes the scores that not every run has, as the run does: what computed them may not be
    installed here."""

    def moved(self, similarity: np.ndarray) -> "Shot":
        """Returns it in the world after a similarity [4, 4]."""
        pose = transform_poses(similarity, self.camera.viewmat()[None])[0]
        half = math.tan(self.camera.fov / 2)
        (center,) = camera_centers(pose[None])
        camera = camera_from(pose[:3, :3].T, center, half * self.camera.aspect, half)
        return replace(self, camera=camera)

    def scored(self, scores: Mapping[str, Scores]) -> "Shot":
        """Returns it with its score, where `scores` has all held-out views of its scene by name."""
        kind: Kind = "held out" if self.name in scores else "training"
        return replace(self, scores=scores.get(self.name), kind=kind if scores else self.kind)


def shots_of(scene: Scene, scores: Mapping[str, Scores]) -> tuple[Shot, ...]:
    """Returns those of a scene; `scores` has what is known of views by name."""
    parts: tuple[tuple[Kind, tuple[View, ...]], ...] = (
        ("held out", scene.test_views),
        ("training", scene.train_views),
    )
    return tuple(
        Shot(view.name, camera_of(view), kind, view, scores.get(view.name))
        for kind, views in parts
        for view in views
    )


def ranked(shots: Iterable[Shot]) -> list[Shot]:
    """Returns them with the worst score first; those without one follow, as they were."""
    scored = [shot for shot in shots if _psnr(shot) is not None]
    rest = [shot for shot in shots if _psnr(shot) is None]
    return [*sorted(scored, key=lambda shot: (_psnr(shot), shot.name)), *rest]


def _psnr(shot: Shot) -> float | None:
    return None if shot.scores is None else shot.scores["psnr"]


def cameras_beside(path: Path) -> Path | None:
    """Returns Inria's `cameras.json` of a model's file: where our runs, or Inria's, have it."""
    folder = path.resolve().parent
    places = [folder / COMPAT / "inria", folder]
    if folder.parent.name == "point_cloud":  # OUTPUT/point_cloud/iteration_N/point_cloud.ply
        places.append(folder.parent.parent)
    return next((at / CAMERAS for at in places if (at / CAMERAS).is_file()), None)


def read_cameras(path: Path) -> tuple[Shot, ...]:
    """Reads Inria's `cameras.json`, see `scene.export_cameras`.

    Raises:
        ResultError: it is damaged, or something else.
    """
    try:
        entries = json.loads(path.read_bytes())
        shots = tuple(map(_shot, entries))
    except (OSError, ValueError, TypeError, LookupError, RecursionError) as error:
        raise _no_cameras(path, " ".join(str(error).split()) or type(error).__name__) from None
    if not shots:
        raise _no_cameras(path, "it has none")
    return shots


def _shot(entry: Mapping[str, Any]) -> Shot:
    numbers = [float(entry[name]) for name in ("width", "height", "fx", "fy")]
    position = np.array(entry["position"], dtype=np.float64)
    rotation = np.array(entry["rotation"], dtype=np.float64)
    if position.shape != (3,) or rotation.shape != (3, 3):
        raise ValueError("position and rotation have other than 3 and 3x3 numbers")
    is_finite = bool(np.isfinite([*numbers, *position]).all())
    if not is_finite or min(numbers) <= 0 or np.abs(position).max() > 1e18:
        raise ValueError("sizes, focal lengths and positions must be finite, the first two above 0")
    if not np.allclose(rotation @ rotation.T, np.eye(3), atol=1e-3) or np.linalg.det(rotation) < 0:
        raise ValueError("a rotation is none")
    width, height, fx, fy = numbers
    camera = camera_from(rotation, position, width / (2 * fx), height / (2 * fy))
    return Shot(str(entry["img_name"]), camera)


def _no_cameras(path: Path, why: str) -> ResultError:
    return ResultError(
        f"{path}: no list of cameras ({why})",
        action="move it away, or name the scene of the model with --scene",
    )
