"""Scenes far from the origin of their coordinates, as georeferenced ones are.

float32, in which models are stored and drawn, has 7 digits: at 4,500,000 m its steps are half a
metre. What is written for such a scene is in a local frame, whose origin is the offset.
"""

import numpy as np

FAR = 1000.0
"""An origin is far beyond so many units of the scene, where float32 errs by 6e-5 of a unit."""


def offset_of(colmap_from_normalized: np.ndarray) -> np.ndarray | None:
    """Returns the origin [3] of the local frame in COLMAP's; None where the scene is near it.

    It is the scene's own, to the power of ten below the unit of the scene.

    Args:
        colmap_from_normalized: [4, 4], the similarity from a frame in which the scene has a size of
            about 1 and lies at the origin.
    """
    unit = float(np.cbrt(np.linalg.det(colmap_from_normalized[:3, :3])))
    origin = np.asarray(colmap_from_normalized[:3, 3], dtype=np.float64)
    if not np.abs(origin).max() > FAR * unit:
        return None
    return np.asarray(np.round(origin, -int(np.floor(np.log10(unit)))))


def shifted(similarity: np.ndarray, offset: np.ndarray) -> np.ndarray:
    """Returns the similarity [4, 4] that has the offset [3] taken from what it gives."""
    local = np.array(similarity, dtype=np.float64)
    local[:3, 3] -= offset
    return local


def from_local(similarity: np.ndarray, offset: np.ndarray | None) -> np.ndarray:
    """Returns the similarity [4, 4] for positions from which the offset [3] was taken."""
    if offset is None:
        return similarity
    back = np.eye(4)
    back[:3, 3] = offset
    return np.asarray(similarity @ back)
