"""What a run starts from: --init."""

import shutil
from pathlib import Path

import numpy as np
import pycolmap
import pytest
import torch
from commands import SMOKE

from gs_densify.cli.eval import command as evaluate
from gs_densify.cli.train import command as train
from gs_densify.config.file import read_mapping
from gs_densify.errors import GsDensifyError
from gs_densify.model.files.ply import save_ply
from gs_densify.results import Results, load_results
from gs_densify.viewer.model import open_model as look_at

STILL = ["--steps", "1", "--schedule-factor", "1", "--strategy", "none.py"]
NONE = """from dataclasses import dataclass

from gs_densify.strategies.base import Strategy


@dataclass
class Still(Strategy):
    pass
"""


@pytest.fixture(autouse=True)
def own_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("none.py").write_text(NONE)


def trained(scene: Path, *options: object) -> Results:
    out = Path.cwd() / "out"
    shutil.rmtree(out, ignore_errors=True)
    train(["--scene", str(scene), "--out", str(out), *SMOKE, *map(str, options)])
    return load_results(out / "results.json")


def refused(scene: Path, *options: object) -> str:
    with pytest.raises(GsDensifyError) as caught:
        trained(scene, *options)
    assert not Path("out").exists()
    return str(caught.value)


@pytest.fixture(scope="module")
def cloud(tiny: Path) -> np.ndarray:
    """[P, 6]: the scene's points and colours."""
    points = pycolmap.Reconstruction(tiny / "sparse/0").points3D
    return np.array([[*points[i].xyz, *points[i].color] for i in sorted(points)])


HEADER = """ply
format {format}
comment made elsewhere
element vertex {count}
property double x
property double y
property double z
{colors}element face 0
property list uchar int vertex_indices
end_header
"""
COLORS = "".join(f"property uchar {name}\n" for name in ("red", "green", "blue"))


def write_cloud(cloud: np.ndarray, kind: str = "ascii", colors: str = COLORS) -> Path:
    path = Path.cwd() / "cloud.ply"
    form = "ascii 1.0" if kind == "ascii" else f"binary_{kind}_endian 1.0"
    head = HEADER.format(format=form, count=len(cloud), colors=colors).encode()
    if kind == "ascii":
        rows = [
            " ".join([*map(repr, map(float, row[:3])), *map(str, map(int, row[3:]))])
            for row in cloud
        ]
        path.write_bytes(head + "\n".join([*rows, ""]).encode())
    else:
        order = {"little": "<", "big": ">"}[kind]
        dtype = [(name, f"{order}f8") for name in "xyz"] + [(name, "u1") for name in "rgb"]
        path.write_bytes(head + np.array([*map(tuple, cloud)], dtype[: cloud.shape[1]]).tobytes())
    return path


def without_points(tiny: Path) -> Path:
    scene = Path.cwd() / "scene"
    shutil.copytree(tiny, scene)
    model = pycolmap.Reconstruction(scene / "sparse/0")
    for identifier in list(model.points3D):
        model.delete_point3D(identifier)
    model.write_binary(scene / "sparse/0")
    return scene


def test_a_model_without_points_trains_from_random_ones(
    tiny: Path, capsys: pytest.CaptureFixture
) -> None:
    scene = without_points(tiny)
    assert "holds 0 points" in (message := refused(scene)) and "--init random" in message
    options = ["--init", "random", "--init.num-points", 300, "--strategy", "default"]
    results = trained(scene, *options)
    assert results.counts.initial in range(290, 301), "but for those on a camera"
    assert results.scores["psnr"] is not None and results.scores["psnr"] > 8
    evaluate(["out", "--device", "cpu"])
    assert "equal to the stored scores" in capsys.readouterr().out


@pytest.mark.parametrize("kind", ["ascii", "little", "big"])
def test_points_of_a_file_are_those_of_the_model_where_they_are_the_same(
    kind: str, tiny: Path, cloud: np.ndarray, capsys: pytest.CaptureFixture
) -> None:
    path = write_cloud(cloud, kind)
    ours = trained(tiny, "--init", path.name, "--steps", 2)
    assert f"starts from {len(cloud)} points" in capsys.readouterr().err
    saved = read_mapping(Path("out/config.yml"))["init"]
    assert saved["source"] == str(path), "from whatever folder the run is gone on with"
    if kind == "ascii":
        assert trained(tiny, "--steps", 2).scores == ours.scores


def test_points_that_cannot_be_used_are_left_out_and_said(
    tiny: Path, cloud: np.ndarray, capsys: pytest.CaptureFixture
) -> None:
    cloud = cloud[:50, :3].copy()
    cloud[7] = np.nan
    results = trained(tiny, "--init", write_cloud(cloud, "little", ""), "--steps", 1)
    assert results.counts.initial == 49
    said = "49 points, without 1 that are not finite or on a camera, grey, since it has no colours"
    assert said in capsys.readouterr().err


def test_a_run_goes_on_from_another_in_any_world(
    tiny: Path, finished_run: Path, capsys: pytest.CaptureFixture
) -> None:
    before = load_results(finished_run / "results.json")
    starts = [
        [finished_run],
        [finished_run / "checkpoints/step_000040.pt"],
        [finished_run / "point_cloud.ply"],
        [finished_run, "--data.normalize", "none", "--render.near-plane", 1e-3],
    ]
    for start in starts:
        after = trained(tiny, *STILL, "--init", *start)
        assert after.counts.initial == before.counts.final
        assert after.scores["psnr"] == pytest.approx(before.scores["psnr"], abs=0.3)
        assert f"starts from {before.counts.final} Gaussians" in capsys.readouterr().err


def test_gaussians_keep_their_colours_up_to_the_degree_that_is_asked_for(
    tiny: Path, finished_run: Path
) -> None:
    before = load_results(finished_run / "results.json").scores["psnr"]
    saved = torch.load(finished_run / "checkpoints/step_000040.pt", weights_only=True)["splats"]
    splats = {name: value.clone() for name, value in saved.items()}
    splats["shN"] += 0.3  # which no schedule has reached after one step
    save_ply("tinted.ply", splats, world_transform=_colmap_from_run(finished_run))
    tinted = trained(tiny, *STILL, "--init", "tinted.ply").scores["psnr"]
    plain = trained(tiny, *STILL, "--init", "tinted.ply", "--init.sh-degree", 0).scores["psnr"]
    assert tinted < plain - 1 and plain == pytest.approx(before, abs=0.6)


def _colmap_from_run(folder: Path) -> np.ndarray:
    saved = torch.load(folder / "checkpoints/step_000040.pt", weights_only=True)
    return np.linalg.inv(np.array(saved["run"]["found"]["normalized_from_colmap"]))


def test_what_makes_the_start_another_thing_is_said(
    tiny: Path, finished_run: Path, capsys: pytest.CaptureFixture
) -> None:
    trained(tiny, *STILL, "--init", finished_run)
    plain = capsys.readouterr().err
    assert "held out here" not in plain and "antialiased" not in plain
    trained(tiny, *STILL, "--init", finished_run, "--data.test-every", 16)
    assert "held out here" not in capsys.readouterr().err, "a part of what was held out"
    ply = finished_run / "point_cloud.ply"
    trained(tiny, *STILL, "--init", ply, "--render.antialiased")
    assert "is not antialiased, and this run antialiased" in capsys.readouterr().err
    trained(tiny, *STILL, "--init", finished_run, "--data.test-every", 3)
    said = (
        f"{finished_run} was trained on 9 of the 11 photos that are held out here, first '003.png'"
    )
    assert said in capsys.readouterr().err


def test_a_limit_thins_what_a_run_starts_from(tiny: Path, finished_run: Path) -> None:
    results = trained(tiny, *STILL, "--init", finished_run, "--max-gaussians", 50)
    assert results.counts.initial == 50


def test_it_is_resumed_and_forecast_as_any_run(
    tiny: Path, finished_run: Path, capsys: pytest.CaptureFixture
) -> None:
    options = ["--init", str(finished_run), "--evaluation.steps", "3", "--steps", "6"]
    options += ["--max-gaussians", "400"]
    stored = trained(tiny, *options)
    Path("out/results.json").unlink()
    Path("out/checkpoints/step_000006.pt").unlink()
    train(["--resume", "out"])
    assert load_results(Path("out/results.json")).scores == stored.scores
    evaluate(["out", "--device", "cpu"])
    train(["--scene", str(tiny), *SMOKE, *options, "--dry-run"])
    count = load_results(finished_run / "results.json").counts.final
    assert f"Gaussians   {min(count, 400)} at the start" in capsys.readouterr().out


def test_a_start_that_is_none_is_refused_before_anything_is_read(tmp_path: Path) -> None:
    nowhere = tmp_path / "nowhere"
    message = refused(nowhere, "--init", "randm")
    assert "--init.source is 'randm', which is no file or folder; expected sfm, random" in message
    message = refused(nowhere, "--init.num-points", 5)
    assert "--init.num-points 5 has no effect on the points of --init sfm" in message


def test_files_that_are_no_start_are_refused_in_words(
    tiny: Path, finished_run: Path, cloud: np.ndarray
) -> None:
    far = write_cloud(cloud + np.array([1e4, 0, 0, 0, 0, 0]))
    assert "points is in the picture of a camera" in refused(tiny, "--init", far)
    far.write_bytes(far.read_bytes()[:400])
    assert "the file is cut off or damaged" in refused(tiny, "--init", far)
    Path("scan.las").write_bytes(b"LASF")
    assert "scan.las is neither a PLY nor a checkpoint" in refused(tiny, "--init", "scan.las")
    Path("empty").mkdir()
    assert "config.yml" in refused(tiny, "--init", "empty")
    saved = torch.load(finished_run / "checkpoints/step_000040.pt", weights_only=True)["splats"]
    save_ply("none.ply", {name: value[:0] for name, value in saved.items()})
    assert "none.ply: holds no Gaussian" in refused(tiny, "--init", "none.ply")
    with pytest.raises(GsDensifyError, match="holds no Gaussian"):
        evaluate(["none.ply", "--scene", str(tiny)])
    with pytest.raises(GsDensifyError, match="holds no Gaussian"):
        look_at(Path("none.ply"))


def test_points_are_named_where_gaussians_are_wanted(tiny: Path, cloud: np.ndarray) -> None:
    write_cloud(cloud, "little")
    with pytest.raises(GsDensifyError) as caught:
        evaluate(["cloud.ply", "--scene", str(tiny)])
    assert "these are points (gs-train --init FILE starts from them)" in str(caught.value)
