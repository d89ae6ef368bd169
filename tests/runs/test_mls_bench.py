"""The benchmark preset: its settings, and the lines that scripts parse."""

from types import SimpleNamespace

import pytest

from gs_densify.cli.arguments import parse_train_arguments
from gs_densify.errors import ConfigError, SceneError
from gs_densify.results import EvaluationRecord, MetricsRow, Scores
from gs_densify.runs.loaded_scene import load
from gs_densify.runs.outputs.all import outputs_of
from gs_densify.runs.outputs.mls_bench import MlsBenchLines
from gs_densify.runs.train import train
from gs_densify.scene.load import load_scene
from gs_densify.scene.presets import resolve_scene

PROTOCOL = ["--protocol", "mls-bench"]


@pytest.mark.parametrize("scene", ["garden", "bonsai"])
def test_the_protocol_sets_what_the_task_fixes(scene):
    config = parse_train_arguments(["--scene", scene, *PROTOCOL])
    assert (config.downscale, config.steps, config.seed) == (8, 30_000, 42)
    assert config.evaluation.steps == (7_000, 30_000)
    assert config.evaluation.lpips == ("lpips_alex",)
    assert config.lr.weight_decay == 0.01
    assert config.render.absgrad
    assert config.render.near_plane == 0.01, "gsplat's"
    assert config.data.normalize == "focus", "gsplat's"
    assert config.data.test_every == 8
    assert config.loss.ssim == 0.2


def test_a_recipe_is_left_out_of_the_frozen_loop_and_flags_count_for_more():
    assert parse_train_arguments(["--scene", "garden", "--strategy", "mcmc"]).init.opacity == 0.5
    scene = ["--scene", "garden", "--strategy", "mcmc", *PROTOCOL]
    assert parse_train_arguments(scene).init.opacity == 0.1
    assert parse_train_arguments([*scene, "--init.opacity", "0.4"]).init.opacity == 0.4
    assert parse_train_arguments([*scene, "--downscale", "4"]).downscale == 4
    other_world = parse_train_arguments([*scene, "--data.normalize", "cameras"])
    assert other_world.data.normalize == "cameras"


def test_an_unknown_protocol_is_refused():
    with pytest.raises(ConfigError, match="protocol"):
        parse_train_arguments(["--scene", "garden", "--protocol", "mls"])


def test_the_missing_folder_of_factor_8_is_named():
    config = parse_train_arguments(["--scene", "tiny", *PROTOCOL])
    with pytest.raises(SceneError, match="images_8 does not exist"):
        load(config)


def record(step: int, psnr: float, lpips: float | None = 0.1) -> EvaluationRecord:
    scores = Scores(psnr=1.0, psnr_float=psnr, ssim=0.75, lpips_alex=lpips)
    return EvaluationRecord(step=step, scores=scores, num_gaussians=step, train_seconds=1.0)


def row(step: int, loss: float | None = 0.5) -> MetricsRow:
    return MetricsRow(step=step, loss=loss, terms={"l1": 0.25}, num_gaussians=7, train_seconds=1.0)


def test_the_lines_have_the_form_of_the_task():
    lines: list[str] = []
    scene = SimpleNamespace(
        train_views=[None] * 161, test_views=[None] * 24, scene_scale=1.2345 / 1.1
    )
    printed = MlsBenchLines(SimpleNamespace(scene=scene, resumed_at=0), write=lines.append)
    printed.loaded()
    printed.initialized(138766)
    for step in (100, 4900, 5000, 5100, 9999, 10_050):
        printed.logged(row(step))
    evaluations = [record(7000, 30.5), record(30_000, 30.25, None)]
    wall_time = SimpleNamespace(total=456.78)
    printed.finished(SimpleNamespace(evaluations=evaluations, wall_time=wall_time))
    assert lines == [
        "Loaded 161 train, 24 val images. Scene scale: 1.23",
        "Initialized 138766 Gaussians",
        "TRAIN_METRICS: step=5000, loss=0.5000, l1=0.2500, ssim_loss=nan, num_gs=7",
        "TRAIN_METRICS: step=10050, loss=0.5000, l1=0.2500, ssim_loss=nan, num_gs=7",
        "TEST_METRICS: best_psnr=30.5000, psnr=30.2500, ssim=0.7500, lpips=nan, num_gs=30000,"
        " elapsed=456.8",
    ]


def test_other_protocols_print_no_such_lines():
    kinds = {}
    for protocol in ("default", "mls-bench"):
        config = SimpleNamespace(protocol=protocol, log_to=())
        outputs = outputs_of(SimpleNamespace(config=config, resumed_at=0))
        kinds[protocol] = {type(output) for output in outputs}
    assert kinds["mls-bench"] - kinds["default"] == {MlsBenchLines}


def test_a_run_prints_the_lines_to_stdout(tmp_path, capsys):
    flags = "--downscale 1 --steps 6 --evaluation.steps 3 --evaluation.lpips --device cpu"
    out = ["--out", str(tmp_path / "run")]
    config = parse_train_arguments(["--scene", "tiny", *PROTOCOL, *flags.split(), *out])
    results, _ = train(config, ["test"])
    loaded, initialized, tested = capsys.readouterr().out.splitlines()
    source = resolve_scene("tiny")
    scene = load_scene(source.root, name="tiny", normalize="focus")
    radius = f"{1.1 * scene.scene_scale:.2f}"
    assert loaded == f"Loaded 28 train, 4 val images. Scene scale: {radius}"
    assert results.protocol.conditions.normalize == "focus"
    assert initialized == "Initialized 640 Gaussians"
    values = dict(part.split("=") for part in tested.removeprefix("TEST_METRICS: ").split(", "))
    assert list(values) == ["best_psnr", "psnr", "ssim", "lpips", "num_gs", "elapsed"]
    assert values["psnr"] == f"{results.scores['psnr_float']:.4f}"
    assert values["num_gs"] == str(results.counts.final)
