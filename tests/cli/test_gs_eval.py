"""gs-eval on runs, checkpoints and PLYs, under each protocol; comparisons."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from commands import SMOKE, come_near_to_a_camera, refusal, run

from gs_densify.cli.eval import command
from gs_densify.config.options import TrainConfig
from gs_densify.errors import BackendError, ConfigError, ResultError, SceneError
from gs_densify.evaluation.strip import read_strip
from gs_densify.model.files.ply import load_ply, save_ply
from gs_densify.model.transform import transform_splats
from gs_densify.results import (
    Scores,
    load_evaluation,
    load_json,
    load_per_view,
    load_results,
    save_json,
)
from gs_densify.results.record import load_record
from gs_densify.runs.loaded_scene import find_scene, near_plane_of
from gs_densify.viewer.model import open_model

CPU = ["--device", "cpu", "--lpips"]


def scored(*arguments: object, out: Path) -> Scores:
    """The mean scores of a real call in this process."""
    command([*map(str, arguments), *CPU, "--out", str(out)])
    return load_evaluation(out / "evaluation.json").scores


@pytest.fixture(scope="module")
def antialiased_run(tiny: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run in a normalised world, rendered antialiased."""
    folder = tmp_path_factory.mktemp("antialiased")
    options = ["--scene", tiny, "--out", "run", *SMOKE, "--render.antialiased"]
    done = run("gs-train", *options, cwd=folder)
    assert done.returncode == 0, done.stderr
    return folder / "run"


@pytest.fixture
def copy(finished_run: Path, tmp_path: Path) -> Path:
    shutil.copytree(finished_run, tmp_path / "copy")
    return tmp_path / "copy"


def as_gsplat_writes(source: Path, target: Path) -> None:
    """The same Gaussians without normals and header comments."""
    lines, _, body = source.read_bytes().partition(b"end_header\n")
    header = lines.decode().splitlines()
    names = [line.split()[2] for line in header if line.startswith("property")]
    rows = np.frombuffer(body, dtype=[(name, "<f4") for name in names])
    kept = [name for name in names if name not in ("nx", "ny", "nz")]
    header = [x for x in header if x.split()[-1] in kept or not x.startswith(("prop", "comment"))]
    plain = np.stack([rows[name] for name in kept], axis=1)
    target.write_bytes(("\n".join([*header, "end_header"]) + "\n").encode() + plain.tobytes())


def close(found: Scores, expected: Scores) -> bool:
    assert found["psnr"] is not None and found["ssim"] is not None
    decibels = (found["psnr"] - expected["psnr"], found["psnr_float"] - expected["psnr_float"])
    return max(map(abs, decibels)) < 0.01 and abs(found["ssim"] - expected["ssim"]) < 1e-3


def test_the_exported_ply_gives_the_scores_of_the_run(
    antialiased_run: Path, tiny: Path, tmp_path: Path
) -> None:
    expected = load_results(antialiased_run / "results.json")
    ply = antialiased_run / "point_cloud.ply"
    done = run("gs-eval", ply, "--scene", tiny, "--out", tmp_path / "e", *CPU, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert done.stderr == "", "the header says how to render it"
    results = load_evaluation(tmp_path / "e" / "evaluation.json")
    assert close(results.scores, expected.scores)
    assert results.num_gaussians == expected.counts.final
    assert (results.strategy, results.seed, results.step) == (None, None, None)
    assert results.protocol.conditions.antialiased
    assert "strategy" not in results.config and results.config["render"]["antialiased"]
    for view, stored in zip(
        load_per_view(tmp_path / "e" / "per_view.json").views,
        load_per_view(antialiased_run / "per_view.json").views,
        strict=True,
    ):
        assert view.name == stored.name
        assert close(view.scores, stored.scores)
    assert len(list((tmp_path / "e" / "renders").iterdir())) == 4


def test_a_ply_that_does_not_say_is_rendered_as_asked(
    antialiased_run: Path, tiny: Path, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    ply = tmp_path / "gsplat.ply"
    as_gsplat_writes(antialiased_run / "point_cloud.ply", ply)
    assert load_ply(ply).antialiased is None
    expected = load_results(antialiased_run / "results.json").scores
    arguments = [ply, "--scene", tiny]
    assert close(scored(*arguments, "--antialiased", out=tmp_path / "a"), expected)
    assert capsys.readouterr().err == ""
    assert not close(scored(*arguments, out=tmp_path / "b"), expected)
    assert "does not say whether it was trained antialiased" in capsys.readouterr().err
    assert not load_evaluation(tmp_path / "b/evaluation.json").protocol.conditions.antialiased


def test_dust_before_a_camera_is_cut_off_unless_it_is_asked_for(
    finished_run: Path, tiny: Path, tmp_path: Path
) -> None:
    stored = load_results(finished_run / "results.json")
    assert stored.protocol.conditions.near_plane == 0.05
    assert stored.protocol.conditions.rasterizer == "reference"
    assert stored.config["render"]["rasterizer"] == "auto", "another machine may take another"
    scene = find_scene(TrainConfig(scene=str(tiny)))
    camera = np.linalg.inv(scene.test_views[0].cam_from_world)
    mean = torch.tensor(camera @ [0.0, 0.0, 0.03, 1.0])[:3].float()
    splats = load_ply(finished_run / "point_cloud.ply").splats
    dust = {name: value[:1] for name, value in splats.items()}
    to_colmap = np.linalg.inv(scene.normalized_from_colmap)
    dust |= transform_splats(
        {**dust, "means": mean[None], "scales": torch.full((1, 3), -5.0)}, to_colmap
    )
    dust["opacities"] = torch.full_like(dust["opacities"], 5.0)
    save_ply(tmp_path / "dusty.ply", {name: torch.cat([splats[name], dust[name]]) for name in dust})
    arguments = [tmp_path / "dusty.ply", "--scene", tiny]
    assert close(scored(*arguments, out=tmp_path / "a"), stored.scores)
    low = scored(*arguments, "--near-plane", 0.01, out=tmp_path / "b")
    assert low["psnr"] is not None and stored.scores["psnr"] is not None
    assert low["psnr"] < stored.scores["psnr"] - 0.5
    conditions = load_evaluation(tmp_path / "b/evaluation.json").protocol.conditions
    assert conditions.near_plane == 0.01
    assert conditions.normalize is None, "a PLY does not say where it was trained"


def test_what_a_run_found_is_in_its_results_and_its_configuration_has_what_was_asked(
    copy: Path, tiny: Path, tmp_path: Path
) -> None:
    stored = load_results(copy / "results.json")
    text = (copy / "config.yml").read_text()
    assert "  near_plane: null\n" in text and text.startswith("format: 2\n")
    assert stored.config["render"]["near_plane"] is None
    found = stored.protocol.conditions.near_plane
    checkpoint = torch.load(copy / "checkpoints/step_000040.pt", weights_only=True)
    assert checkpoint["run"]["found"]["near_plane"] == found == 0.05
    shutil.copytree(tiny, tmp_path / "moved")
    come_near_to_a_camera(tmp_path / "moved")
    scene = TrainConfig(scene=str(tmp_path / "moved"))
    assert near_plane_of(scene, find_scene(scene)) < 0.05
    for files in ("as now", "without its results", "without a line"):
        if files == "without its results":
            (copy / "results.json").unlink()
        if files == "without a line":
            (copy / "config.yml").write_text(text.replace("  near_plane: null\n", ""))
        out = tmp_path / files
        assert scored(copy, "--scene", tmp_path / "moved", out=out) == stored.scores
        again = load_evaluation(out / "evaluation.json")
        assert again.protocol.conditions.near_plane == found
        assert again.config["render"]["near_plane"] is None
    config = text.replace(f"scene: {tiny}\n", f"scene: {tmp_path / 'moved'}\n")
    (copy / "config.yml").write_text(config)
    shown = open_model(copy)
    assert shown.settings.near_plane == found
    before, now = (
        {view.name: view.cam_from_world for view in find_scene(one).views}
        for one in (TrainConfig(scene=str(tiny)), scene)
    )
    poses = {shot.name: shot.view.cam_from_world for shot in shown.shots if shot.view is not None}
    assert poses.keys() == before.keys()
    for name, pose in poses.items():
        np.testing.assert_allclose(pose, before[name], atol=1e-12)
    assert any(not np.allclose(now[name], before[name]) for name in now), "what is found now"


@pytest.mark.parametrize(
    ("line", "in_results", "expected"),
    [
        ("  near_plane: 0.03\n", 0.03, 0.03),
        ("  near_plane: null\n", 0.02, 0.02),
        ("  near_plane: null\n", None, 0.05),
        ("", 0.01, 0.01),
        ("", None, 0.01),
    ],
    ids=["saved as found", "open", "open and unfinished", "before the option", "and unfinished"],
)
def test_runs_of_earlier_versions_are_scored_as_they_were_trained(
    line: str, in_results: float | None, expected: float, copy: Path, tmp_path: Path
) -> None:
    config, last = copy / "config.yml", copy / "checkpoints/step_000040.pt"
    text = config.read_text().replace("format: 2\n", "")
    config.write_text(text.replace("  near_plane: null\n", line))
    contents = torch.load(last, weights_only=True)
    del contents["run"]["found"]
    torch.save(contents, last)
    values = json.loads((copy / "results.json").read_text())
    values["protocol"]["conditions"]["near_plane"] = in_results
    (copy / "results.json").write_text(json.dumps(values))
    if in_results is None:
        (copy / "results.json").unlink()
    scored(copy, out=tmp_path / "e")
    again = load_evaluation(tmp_path / "e/evaluation.json")
    assert again.protocol.conditions.near_plane == expected


def test_a_run_under_a_protocol_in_a_world_left_as_it_was(tiny: Path, tmp_path: Path) -> None:
    options = ["--scene", tiny, "--out", "r", *SMOKE, "--protocol", "inria", "--data.no-normalize"]
    done = run("gs-train", *options, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "held-out views, protocol inria: PSNR" in done.stdout
    results = load_results(tmp_path / "r/results.json")
    assert (results.protocol.name, results.protocol.ssim_borders) == ("inria", "zero")
    assert results.protocol.conditions.normalize == "none"
    assert scored(tmp_path / "r", out=tmp_path / "again") == results.scores
    ply = [tmp_path / "r/point_cloud.ply", "--scene", tiny, "--protocol", "inria"]
    assert close(scored(*ply, out=tmp_path / "ply"), results.scores)


def test_a_checkpoint_gives_the_scores_of_its_step(
    finished_run: Path, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    found = scored(finished_run / "checkpoints/step_000020.pt", out=tmp_path / "e")
    assert found == load_results(finished_run / "results.json").evaluations[0].scores
    assert "equal to the stored scores to the last digit" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("name", "quantisation", "borders"),
    [
        ("inria", "uint8-round", "zero"),
        ("gsplat", "float", "valid"),
        ("nerfbaselines", "uint8-truncate", "valid"),
        ("mls-bench", "float", "reflect"),
    ],
)
def test_a_run_is_scored_under_each_protocol(
    name: str, quantisation: str, borders: str, finished_run: Path, tmp_path: Path, capsys
) -> None:
    found = scored(finished_run, "--protocol", name, out=tmp_path / "e")
    results = load_evaluation(tmp_path / "e" / "evaluation.json")
    assert results.protocol.name == name
    assert (results.protocol.quantisation, results.protocol.ssim_borders) == (quantisation, borders)
    assert load_per_view(tmp_path / "e" / "per_view.json").protocol == name
    stored = load_results(finished_run / "results.json").scores
    assert found["psnr_float"] == stored["psnr_float"]
    assert (found["psnr"] == stored["psnr"]) == (quantisation == "uint8-round")
    assert (found["psnr"] == found["psnr_float"]) == (quantisation == "float")
    assert (found["ssim"] == stored["ssim"]) is False
    said = capsys.readouterr().out
    assert f"protocol {name}: PSNR" in said
    assert f"not compared with the stored scores: name: default | {name}" in said


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["{ply}"], "a PLY does not name its scene; add --scene"),
        (["{ply}", "--scene", "{tiny}", "--step", "20"], "--step has no effect on "),
        (["{plain}", "--scene", "{tiny}", "--antialiased"], "header says that the model is not"),
        (["{run}", "--antialiased"], "--antialiased has no effect on "),
        (["{run}", "--near-plane", "0.1"], "--near-plane has no effect on "),
        (
            ["{run}", "--rasterizer", "opengl"],
            "--render.rasterizer is 'opengl'; known: auto, own, gsplat",
        ),
        (["{run}", "--rasterizer", "gsplat", "--device", "cpu"], "'gsplat' runs on cuda, and the"),
        (["{run}", "--pictures", "-5"], "--evaluation.pictures is -5; it must be at least -1"),
        (["{run}", "--test-every", "4"], "--test-every has no effect on "),
        (["{run}", "--step", "21"], "there is no such checkpoint"),
        (["{run}/checkpoints/step_000040.pt", "--step", "20"], "a checkpoint is of one step"),
        (["nowhere"], "there is no such file or folder; give a run's folder, a checkpoint or a"),
        (["{run}", "--protocol", "ours"], "--protocol"),
        (["{run}", "--force"], "--force has no effect on scoring a model"),
        (["{ply}", "--scene", "{tiny}", "--test-every", "0"], "0, which holds no view out; it"),
        (["{run}", "--test-list", "test.txt"], "--test-list has no effect on "),
        (
            ["{ply}", "--scene", "{tiny}", "--near-plane", "-1"],
            "--render.near-plane is -1.0; it must",
        ),
        (["--aggregate", "{run}"], "--aggregate is gone; gs-report RUN... averages runs"),
        (["--aggregate={run}", "--mean", "mean_7"], "gs-report RUN... averages runs"),
        ([], "nothing given to work on"),
        (["{run}", "--compare", "a", "b"], "two are compared, as --compare A B"),
        (["--compare", "{run}", "{tiny}"], "no config.yml"),
    ],
)
def test_what_does_not_fit_is_refused_in_one_line(
    arguments: list[str],
    message: str,
    antialiased_run: Path,
    finished_run: Path,
    tiny: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    places = {
        "ply": antialiased_run / "point_cloud.ply",
        "plain": finished_run / "point_cloud.ply",
        "run": finished_run,
        "tiny": tiny,
    }
    before = sorted(finished_run.rglob("*"))
    with pytest.raises((BackendError, ConfigError, ResultError)) as caught:
        command([argument.format(**places) for argument in arguments])
    assert message in str(caught.value) and "\n" not in str(caught.value)
    assert sorted(finished_run.rglob("*")) == before
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("line", "wrong", "message"),
    [
        ("test_every: 8", "test_every: -1", "--data.test-every is -1; it must be at least 0"),
        ("batch_size: 1", "batch_size: some", "--batch-size is 'some'; expected a whole number"),
    ],
)
def test_what_is_wrong_in_a_run_s_configuration_is_said_of_that_file(
    line: str, wrong: str, message: str, copy: Path
) -> None:
    path = copy / "config.yml"
    text = path.read_text()
    assert line in text
    path.write_text(text.replace(line, wrong))
    with pytest.raises(ConfigError) as caught:
        command([str(copy)])
    assert str(caught.value).startswith(f"{path}: {message}")


def test_other_files_are_refused_by_the_command(copy: Path, tiny: Path, tmp_path: Path) -> None:
    compressed = tmp_path / "compressed.ply"
    header = "ply\nformat binary_little_endian 1.0\nelement chunk 1\nproperty float min_x\n"
    compressed.write_bytes(f"{header}element vertex 1\nend_header\n".encode() + bytes(4))
    said = refusal(run("gs-eval", compressed, "--scene", tiny, cwd=tmp_path))
    assert "is a compressed PLY, which is not read; export a plain one" in said
    alone = tmp_path / "alone" / "model" / "step_000040.pt"
    alone.parent.mkdir(parents=True)
    shutil.copyfile(copy / "checkpoints/step_000040.pt", alone)
    assert "no config.yml beside it" in refusal(run("gs-eval", alone, cwd=tmp_path))


def test_photos_that_a_protocol_lacks_are_made_where_that_is_asked_for(
    finished_run: Path, tmp_path: Path
) -> None:
    smaller = [finished_run, "--protocol", "inria", "--downscale", "2"]
    with pytest.raises(SceneError, match=r"--data\.image-source resized to make them"):
        scored(*smaller, out=tmp_path / "a")
    assert scored(*smaller, "--image-source", "resized", out=tmp_path / "b")["psnr"]
    protocol = load_evaluation(tmp_path / "b/evaluation.json").protocol
    assert protocol.name == "inria (changed: data.image_source)"
    assert (protocol.image_source, protocol.downscale) == ("resized", 2)
    with pytest.raises(SceneError, match=r"--data\.image-source resized has no effect at"):
        scored(finished_run, "--image-source", "resized", out=tmp_path / "c")


def test_a_run_with_another_split_is_not_scored_under_a_protocol(copy: Path) -> None:
    text = (copy / "config.yml").read_text()
    (copy / "config.yml").write_text(text.replace("test_every: 8", "test_every: 4"))
    with pytest.raises(ConfigError, match="every 4th photo held out, but protocol inria holds"):
        command([str(copy), "--protocol", "inria"])


@pytest.fixture
def two(copy: Path, tmp_path: Path) -> tuple[Path, Path]:
    """A finished run, and the evaluation of its earlier checkpoint."""
    scored(copy, "--step", 20, out=tmp_path / "early")
    return tmp_path / "early", copy


def test_two_models_are_compared_view_by_view(
    two: tuple[Path, Path], tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    early, late = two
    command(["--compare", str(early), str(late), "--out", str(tmp_path / "c")])
    said = capsys.readouterr().out
    found = json.loads((tmp_path / "c/comparison.json").read_text())
    first, second = (load_per_view(folder / "per_view.json").views for folder in two)
    assert [view["name"] for view in found["views"]] == [view.name for view in first]
    for view, a, b in zip(found["views"], first, second, strict=True):
        assert view["difference"]["psnr"] == b.scores["psnr"] - a.scores["psnr"]
        assert view["name"] in said
    assert found["difference"]["lpips_alex"] is None
    assert (found["first"]["step"], found["second"]["step"]) == (20, 40)
    assert found["protocol_differences"] == []
    assert "4 difference pictures" in said
    for picture in sorted((tmp_path / "c/renders").iterdir()):
        photo, a, b, change = (part.astype(int) for part in read_strip(picture, 4))
        stored = [read_strip(folder / "renders" / picture.name, 3) for folder in two]
        np.testing.assert_array_equal(photo, stored[0][0])
        np.testing.assert_array_equal(a, stored[0][1])
        np.testing.assert_array_equal(b, stored[1][1])
        nearer = np.abs(b - photo).sum(2) < np.abs(a - photo).sum(2)
        assert (change[..., 0][nearer] == 0).all() and (change[..., 1][nearer] > 0).all()
        assert (change[..., 1][~nearer] == 0).all()


def test_different_protocols_are_compared_only_by_force(
    two: tuple[Path, Path], tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    scored(two[1], "--protocol", "gsplat", out=tmp_path / "gsplat")
    pair = ["--compare", str(two[1]), str(tmp_path / "gsplat"), "--out", str(tmp_path / "c")]
    with pytest.raises(ResultError, match=r"not scored alike: .*uint8-round"):
        command(pair)
    assert not (tmp_path / "c").exists()
    command([*pair, "--force"])
    assert "NOT SCORED ALIKE: ssim_borders: reflect | valid" in capsys.readouterr().out


def test_a_protocol_scores_both_models_anew(copy: Path, tiny: Path, tmp_path: Path) -> None:
    pair = ["--compare", copy / "checkpoints/step_000020.pt", copy / "point_cloud.ply"]
    done = run(
        "gs-eval", *pair, "--scene", tiny, "--protocol", "inria", *CPU, "--out", "c", cwd=tmp_path
    )
    assert done.returncode == 0, done.stderr
    found = json.loads((tmp_path / "c/comparison.json").read_text())
    names = [found[side]["protocol"]["name"] for side in ("first", "second")]
    assert names == ["inria", "inria"]
    assert found["difference"]["psnr"] > 0
    assert (tmp_path / "c/first/evaluation.json").is_file()


def test_a_ply_of_another_trainer_is_scored(tiny: Path, finished_run: Path, tmp_path: Path) -> None:
    """Any Gaussians in COLMAP's frame; here those of the run, in another order and SH degree 0."""
    contents = load_ply(finished_run / "point_cloud.ply")
    few = {name: values.flip(0) for name, values in contents.splats.items()}
    few["shN"] = few["shN"][:, :0]
    save_ply(tmp_path / "other.ply", few)
    found = scored(tmp_path / "other.ply", "--scene", tiny, out=tmp_path / "e")
    assert found["psnr"] == pytest.approx(
        load_results(finished_run / "results.json").scores["psnr"], abs=1.0
    )


def test_a_run_of_the_first_release_is_compared_with_a_later_one(tmp_path: Path) -> None:
    first = Path(__file__).parents[1] / "results/version_1"
    record = load_record(
        Path(__file__).parents[2] / "benchmarks/records/bonsai_30k/adaptive_30k.run.json"
    )
    save_json(tmp_path / "later/results.json", record.results)
    save_json(tmp_path / "later/per_view.json", record.per_view())
    assert load_json(first / "results.json")["schema_version"] == 1
    done = run("gs-eval", "--compare", first, tmp_path / "later", "--out", "c", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    comparison = json.loads((tmp_path / "c/comparison.json").read_text())
    assert len(comparison["views"]) == 37
    assert "0 difference pictures" in done.stdout
    before = load_results(first / "results.json").scores["psnr"]
    assert before is not None and record.results.scores["psnr"] is not None
    assert comparison["difference"]["psnr"] == record.results.scores["psnr"] - before


def test_averaging_names_the_command_that_does_it(finished_run: Path, tmp_path: Path) -> None:
    done = run("gs-eval", "--aggregate", finished_run, finished_run, cwd=tmp_path)
    assert refusal(done) == "gs-eval: --aggregate is gone; gs-report RUN... averages runs"
    assert list(tmp_path.iterdir()) == []
