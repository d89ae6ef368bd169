"""Compares the camera positions of two COLMAP models of the same photos, after alignment.

python scripts/compare_poses.py MODEL REFERENCE

Prints the distances of the cameras as a share of their mean distance to their centre, in the
reference, and the angles between viewing directions, as a median and a maximum.
"""

import sys

import numpy as np
import pycolmap


def main() -> None:
    """Prints how far the two models are apart."""
    model, reference = (
        {i.name: i for i in pycolmap.Reconstruction(path).images.values() if i.has_pose}
        for path in sys.argv[1:3]
    )
    names = sorted(set(model) & set(reference))
    ours, given = (
        np.array([one[name].projection_center() for name in names]) for one in (model, reference)
    )
    given_from_ours = pycolmap.estimate_sim3d(ours, given)
    moved = np.array([given_from_ours * center for center in ours])
    unit = np.linalg.norm(given - given.mean(axis=0), axis=1).mean()
    shares = 100 * np.linalg.norm(moved - given, axis=1) / unit
    turn = given_from_ours.rotation.matrix()
    cosines = [
        model[name].viewing_direction() @ turn.T @ reference[name].viewing_direction()
        for name in names
    ]
    degrees = np.degrees(np.arccos(np.clip(cosines, -1, 1)))
    print(f"{len(names)} of {len(reference)} photos have poses in both models")
    print(
        f"positions: {np.sqrt((shares**2).mean()):.2f} % of the mean distance to the centre apart"
        f" (root mean square), {np.median(shares):.2f} % (median), {shares.max():.2f} % (maximum)"
    )
    print(
        f"viewing directions: {np.median(degrees):.2f} deg (median), {degrees.max():.2f} (maximum)"
    )


if __name__ == "__main__":
    main()
