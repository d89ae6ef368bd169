"""A scene in UTM metres: float32 holds its positions in a local frame only."""

import json
import shutil
from pathlib import Path

import numpy as np
import pycolmap
import pytest
import torch
from commands import SMOKE, run

from gs_densify.errors import ResultError
from gs_densify.model.files.ply import load_ply, save_ply
from gs_densify.scene.georeference import from_local, offset_of, shifted

UTM = np.array([500000.0, 4500000.0, 100.0])


def test_its_own_ply_scores_as_the_run(tiny: Path, tmp_path: Path) -> None:
    """In COLMAP's frame it lost 3 dB to steps of half a metre."""
    scene = tmp_path / "scene"
    shutil.copytree(tiny, scene)
    model = pycolmap.Reconstruction(scene / "sparse/0")
    model.transform(pycolmap.Sim3d(1.0, pycolmap.Rotation3d(), UTM))
    model.write_binary(scene / "sparse/0")
    done = run("gs-train", "--scene", scene, "--out", "out", *SMOKE, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    contents = load_ply(tmp_path / "out/point_cloud.ply")
    assert contents.offset is not None
    assert np.abs(contents.offset - UTM).max() < 10
    assert float(contents.splats["means"].abs().max()) < 50
    assert "positions are without the offset" in done.stderr
    ply = ("out/point_cloud.ply", "--scene", scene, "--device", "cpu", "--out", "again")
    again = run("gs-eval", *ply, cwd=tmp_path)
    assert again.returncode == 0, again.stderr
    results = json.loads((tmp_path / "out/results.json").read_text())
    other = json.loads((tmp_path / "again/evaluation.json").read_text())
    assert results["data"]["offset"] == contents.offset.tolist()
    assert other["scores"]["psnr"] == pytest.approx(results["scores"]["psnr"], abs=0.05)


def test_an_offset_is_taken_where_float32_needs_it_and_given_back() -> None:
    near, far = np.eye(4), np.eye(4)
    near[:3, 3] = [900.0, -900, 0]
    far[:3, :3] *= 0.02
    far[:3, 3] = UTM + 0.123456
    assert offset_of(near) is None
    offset = offset_of(far)
    assert offset is not None and offset.tolist() == [x + 0.12 for x in UTM.tolist()]
    local = shifted(far, offset)
    assert np.abs(local[:3, 3]).max() < 0.02
    np.testing.assert_allclose(from_local(np.linalg.inv(far), offset) @ local, np.eye(4), atol=1e-6)
    assert from_local(near, None) is near


def test_an_offset_that_is_no_position_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.ply"
    shapes = {"means": (3,), "scales": (3,), "quats": (4,), "opacities": (), "sh0": (1, 3)}
    splats = {name: torch.ones(1, *shape) for name, shape in shapes.items()}
    save_ply(path, {**splats, "shN": torch.zeros(1, 0, 3)}, comments=["Offset: 1 2 east"])
    with pytest.raises(ResultError, match="its comment is 'Offset: 1 2 east'"):
        load_ply(path)
