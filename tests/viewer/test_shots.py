"""The cameras of photos: Inria's file, and the order of the list."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gs_densify.config.options import TrainConfig
from gs_densify.errors import ResultError
from gs_densify.results import Scores
from gs_densify.runs.loaded_scene import find_scene
from gs_densify.scene.export_cameras import inria_cameras
from gs_densify.viewer.camera import Camera
from gs_densify.viewer.shots import Shot, ranked, read_cameras, shots_of

ENTRY = {
    "img_name": "a",
    "width": 40,
    "height": 30,
    "position": [1.0, 2.0, 3.0],
    "rotation": np.eye(3).tolist(),
    "fx": 50.0,
    "fy": 50.0,
}
values = st.recursive(
    st.none() | st.booleans() | st.floats() | st.integers() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=5), inner),
    max_leaves=8,
)


def test_what_we_write_is_read_back(tmp_path: Path) -> None:
    scene = find_scene(TrainConfig(scene="tiny"))
    (tmp_path / "cameras.json").write_text(json.dumps(inria_cameras(scene)))
    world = np.linalg.inv(scene.normalized_from_colmap)
    for read, own in zip(read_cameras(tmp_path / "cameras.json"), shots_of(scene, {}), strict=True):
        assert read.name == own.name and read.view is None and own.view is not None
        assert read.camera.fov == pytest.approx(own.camera.fov)
        assert read.camera.aspect == pytest.approx(own.camera.aspect)
        moved = world @ [*own.camera.position, 1]
        np.testing.assert_allclose(read.camera.position, moved[:3], atol=1e-9)


@settings(max_examples=60)
@given(
    values
    | st.lists(
        st.fixed_dictionaries({}, optional={key: st.just(ENTRY[key]) | values for key in ENTRY}),
        max_size=2,
    )
)
def test_what_is_no_list_of_cameras_is_refused_in_one_line(
    tmp_path_factory: pytest.TempPathFactory, value: Any
) -> None:
    path = tmp_path_factory.mktemp("cameras") / "cameras.json"
    path.write_text(json.dumps(value))
    try:
        shots = read_cameras(path)
    except ResultError as error:
        assert str(path) in str(error) and "\n" not in str(error) and "--scene" in str(error)
    else:
        assert all(np.isfinite(shot.camera.viewmat()).all() for shot in shots)


def test_the_worst_score_comes_first_and_photos_without_one_follow() -> None:
    camera = Camera((1, 0, 0, 0), (0, 0, 0), fov=1.0, aspect=1.0)
    psnr = {"a": 30.0, "b": 20.0, "c": None, "d": 25.0}
    shots = [Shot(name, camera, "held out", scores=Scores(psnr=one)) for name, one in psnr.items()]
    order = ranked([Shot("t", camera, "training"), *shots])
    assert "".join(shot.name for shot in order) == "bdatc"
