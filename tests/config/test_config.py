"""The configuration object and its files."""

import dataclasses
from pathlib import Path

import pytest
import yaml

from gs_densify.cli.arguments import parse_train_arguments
from gs_densify.config.file import from_mapping, read_mapping, save_config, with_overrides
from gs_densify.config.layers import protocol_name
from gs_densify.config.options import (
    DataOptions,
    EvaluationOptions,
    InitOptions,
    LearningRates,
    RenderOptions,
    TrainConfig,
)
from gs_densify.config.strategy import strategy_for, with_fitted_schedule
from gs_densify.errors import ConfigError
from gs_densify.scene.presets import MIPNERF360

REPOSITORY = Path(__file__).resolve().parents[2]


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"steps": 0}, "--steps is 0; it must be at least 1"),
        ({"init": InitOptions(opacity=1.0)}, "--init.opacity is 1.0; it must be between"),
        ({"init": InitOptions(sh_degree=4)}, "--init.sh-degree is 4; it must be between 0 and 3"),
        ({"max_gaussians": 0}, "--max-gaussians is 0"),
        (
            {"data": DataOptions(test_every=0, test_list=Path("test.txt"))},
            "--data.test-list does not go with --data.test-every 0",
        ),
        ({"data": DataOptions(test_every=-8)}, "--data.test-every is -8; it must be at least 0"),
        ({"downscale": 0}, "--downscale is 0"),
        ({"evaluation": EvaluationOptions(lpips=("lpips",))}, "known: lpips_alex"),
        (
            {"steps": 10, "evaluation": EvaluationOptions(steps=(11,))},
            "after steps 1 to 10; give --evaluation.steps anew",
        ),
        ({"steps": 10, "profile": (4, 11)}, "two rising steps from 0 to 10"),
        (
            {"steps": 10, "profile": (4, 9), "evaluation": EvaluationOptions(steps=(4, 6, 9))},
            "an evaluation or a checkpoint after step 6 inside",
        ),
        (
            {"lr": LearningRates(visible_only=True), "render": RenderOptions(packed=True)},
            "--lr.visible-only does not go with --render.packed",
        ),
        (
            {"render": RenderOptions(packed=True, offload=True)},
            "--render.offload does not go with --render.packed",
        ),
        (
            {"init": InitOptions(sh_degree=0), "render": RenderOptions(offload=True)},
            "--render.offload has no effect with --init.sh-degree 0",
        ),
        (
            {"gpus": 2, "batch_size": 2, "render": RenderOptions(offload=True)},
            "--render.offload does not go with several GPUs",
        ),
    ],
)
def test_values_out_of_range_are_refused_in_words(values: dict, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        TrainConfig(scene="tiny", **values)


def test_a_saved_configuration_reads_back_equal(tmp_path: Path) -> None:
    argv = "--scene tiny --strategy default --steps 77 --lr.means 3e-4"
    argv += " --render.antialiased --data.no-normalize"
    argv += " --evaluation.steps 5 9 --strategy.grow-grad2d 0.001 --max-gaussians 900"
    argv += " --render.background random --evaluation.lpips"
    config = parse_train_arguments(argv.split())
    save_config(config, tmp_path / "config.yml")
    again = parse_train_arguments(["--config", str(tmp_path / "config.yml")])
    assert again == config
    assert from_mapping(read_mapping(tmp_path / "config.yml"), "config.yml") == config


def test_flags_count_for_more_than_the_file_and_the_file_for_more_than_presets(
    tmp_path: Path,
) -> None:
    path = tmp_path / "mine.yml"
    path.write_text("scene: tiny\nsteps: 50\nstrategy: {name: default, grow_grad2d: 0.5}\n")
    config = parse_train_arguments(["--config", str(path), "--steps", "60"])
    assert (config.steps, config.strategy_options["grow_grad2d"]) == (60, 0.5)
    assert config.lr.means == 1.6e-3, "the tiny preset's rate stays"


FORMER = sorted((Path(__file__).parent / "former_configs").glob("*.yml"))
"""The config.yml of runs that earlier versions made."""


def test_there_are_configurations_of_former_runs() -> None:
    assert len(FORMER) == 8


@pytest.mark.parametrize("path", FORMER, ids=lambda path: path.stem)
def test_configurations_of_former_runs_are_still_read(path: Path) -> None:
    config = parse_train_arguments(["--config", str(path)])
    own = from_mapping(read_mapping(path), str(path))
    assert own.steps == config.steps
    fitted = with_fitted_schedule(config).schedule_factor
    assert fitted == pytest.approx(with_fitted_schedule(own).schedule_factor, rel=1e-12)
    if "near_plane" not in path.read_text():
        assert own.render.near_plane == 0.01, "the run was made with gsplat's"
        assert config.render.near_plane is None, "a new one finds its own"


@pytest.mark.parametrize(
    ("text", "late_sum"),
    [
        ("strategy: {name: adaptive, late_updates: false}", 0),
        ("strategy: {name: adaptive, late_updates: true}", 5),
        ("schedule_factor: 0.25\nstrategy: {late-updates: true}", 20),  # 5 once it is scaled
    ],
)
def test_options_of_earlier_versions_mean_what_they_did(
    text: str, late_sum: int, tmp_path: Path
) -> None:
    path = tmp_path / "old.yml"
    path.write_text(f"scene: tiny\nrender: {{half_until: 0.0}}\n{text}\n")
    assert parse_train_arguments(["--config", str(path)]).strategy_options["late_sum"] == late_sum


@pytest.mark.parametrize(
    ("flags", "expected"),
    [
        ("--data.normalize", "cameras"),
        ("--data.normalize --steps 9", "cameras"),
        ("--data.no-normalize", "none"),
        ("--data.no_normalize --steps 9", "none"),
        ("--data.normalize focus", "focus"),
        ("--data.normalize=none", "none"),
    ],
)
def test_worlds_have_names_and_what_was_said_before_means_what_it_did(
    flags: str, expected: str
) -> None:
    argv = ["--scene", "tiny", "--strategy", "default", *flags.split()]
    assert parse_train_arguments(argv).data.normalize == expected


@pytest.mark.parametrize(("value", "expected"), [("true", "cameras"), ("false", "none")])
@pytest.mark.parametrize("protocol", ["default", "mls-bench"])
def test_a_saved_truth_value_names_the_world_that_it_meant(
    value: str, expected: str, protocol: str, tmp_path: Path
) -> None:
    path = tmp_path / "old.yml"
    path.write_text(f"scene: tiny\nprotocol: {protocol}\ndata: {{normalize: {value}}}\n")
    assert parse_train_arguments(["--config", str(path)]).data.normalize == expected
    assert from_mapping(read_mapping(path), str(path)).data.normalize == expected


@pytest.mark.parametrize(
    ("near_plane", "of_the_run", "of_a_new_one", "said"),
    [
        (None, 0.01, None, "before there was --render.near-plane: its run drew from 0.01 on"),
        ("near_plane: 0.2", 0.2, 0.2, "0.2 is taken over (--render.near-plane None: by the scene)"),
        ("near-plane: 0.2", 0.2, 0.2, "0.2 is taken over (--render.near-plane None: by the scene)"),
        ("near_plane: null", None, None, ""),
    ],
)
@pytest.mark.parametrize("is_old", [True, False])
def test_the_near_plane_of_a_run_s_file_is_the_run_s_or_was_asked_for(
    near_plane: str | None,
    of_the_run: float | None,
    of_a_new_one: float | None,
    said: str,
    is_old: bool,
    tmp_path: Path,
    capsys: pytest.CaptureFixture,
) -> None:
    """Files without a format's number hold what was found; a missing line means the default."""
    path = tmp_path / "config.yml"
    save_config(TrainConfig(scene="tiny", strategy="default"), path)
    first, *lines = path.read_text().splitlines()
    assert first == "format: 2"
    own = [] if near_plane is None else [f"  {near_plane}"]
    index = lines.index("  near_plane: null")
    lines = [*lines[:index], *own, *lines[index + 1 :]]
    path.write_text("\n".join(lines if is_old else [first, *lines]))
    if near_plane is None and not is_old:
        of_the_run = None
    assert from_mapping(read_mapping(path), str(path)).render.near_plane == of_the_run
    given = ["--config", str(path)]
    assert parse_train_arguments(given).render.near_plane == of_a_new_one
    heard = capsys.readouterr().err
    assert said in heard if is_old and said else heard == ""
    follow = ["--render.near-plane", "0.01" if near_plane is None else "None"]
    follows = parse_train_arguments([*given, *follow]).render.near_plane
    assert follows == (0.01 if near_plane is None else None)
    assert capsys.readouterr().err == "", "nothing is left to be said"


def test_of_a_near_plane_that_a_protocol_brings_nothing_is_said(
    tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    path = tmp_path / "config.yml"
    save_config(parse_train_arguments(["--scene", "garden", "--protocol", "mls-bench"]), path)
    path.write_text(path.read_text().replace("format: 2\n", ""))
    assert parse_train_arguments(["--config", str(path)]).render.near_plane == 0.01
    assert capsys.readouterr().err == ""


def test_a_file_of_a_later_version_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "config.yml"
    path.write_text("format: 3\nscene: tiny\n")
    with pytest.raises(ConfigError, match="is of format 3; this version reads up to 2"):
        parse_train_arguments(["--config", str(path)])


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("scene: tiny\nrender: {half_until: 0.1}\n", "half_until is gone; use render.coarse_until"),
        ("scene: tiny\nstepz: 5\n", "--stepz: no such option; did you mean --steps?"),
        ("scene: tiny\nsteps: many\n", "--steps is 'many'; expected a whole number"),
        ("- a\n", "holds no 'option: value' lines"),
        ("a: [\n", "is not valid YAML"),
        ("scene: tiny\nstrategy: {name: default, nope: 1}\n", "--strategy.nope"),
        ("scene: tiny\nstrategy: 3\n", "'strategy' must be a name"),
    ],
)
def test_wrong_files_are_refused_in_one_line(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "wrong.yml"
    path.write_text(text)
    with pytest.raises(ConfigError, match=message) as refused:
        parse_train_arguments(["--config", str(path)])
    assert "\n" not in str(refused.value)


def test_a_preset_or_protocol_that_the_file_takes_back_is_refused(tmp_path: Path) -> None:
    saved = tmp_path / "config.yml"
    flags = ["--scene", "garden", "--steps", "700", "--data.image-source", "resized"]
    save_config(parse_train_arguments(flags), saved)
    given = ["--config", str(saved)]
    assert parse_train_arguments([*given, "--protocol", "default"]).protocol == "default"
    with pytest.raises(
        ConfigError, match=r"--preset fast makes steps 9000, but .*config\.yml sets it to 700;"
    ):
        parse_train_arguments([*given, "--preset", "fast"])
    with pytest.raises(ConfigError, match=r"--protocol inria makes data\.image_source found"):
        parse_train_arguments([*given, "--protocol", "inria"])
    with pytest.raises(ConfigError, match=r"--protocol mls-bench makes downscale 8, but .* to 2;"):
        saved.write_text("scene: garden\ndownscale: 2\n")
        parse_train_arguments([*given, "--protocol", "mls-bench"])
    saved.write_text("scene: garden\nlog-every: 7\nsteps: 9000\n")
    assert parse_train_arguments([*given, "--preset", "fast"]).log_every == 7


@pytest.mark.parametrize(
    ("scene", "factor", "source"),
    [
        ("path", "4", "resized"),
        ("path", None, "auto"),
        ("bonsai", None, "resized"),
        ("bonsai", "1", "auto"),
    ],
)
def test_a_protocol_s_photos_follow_the_factor_that_is_given(
    scene: str, factor: str | None, source: str, tmp_path: Path
) -> None:
    flags = ["--scene", scene, "--protocol", "gsplat"]
    config = parse_train_arguments([*flags, *(["--downscale", factor] if factor else [])])
    assert config.data.image_source == source
    assert protocol_name(config) == "gsplat"
    file = tmp_path / "factor.yml"
    file.write_text(f"downscale: {factor or 'null'}\n")
    assert parse_train_arguments([*flags, "--config", str(file)]) == config


def test_overrides_by_dotted_name_refuse_unknown_options() -> None:
    config = with_overrides(TrainConfig(scene="x"), {"init.opacity": 0.5, "steps": 7})
    assert (config.init.opacity, config.steps) == (0.5, 7)
    with pytest.raises(ConfigError, match="no option 'opacities' in InitOptions"):
        with_overrides(config, {"init.opacities": 0.5})


def test_the_configuration_files_of_the_repository_load() -> None:
    files = sorted((REPOSITORY / "configs").rglob("*.yml"))
    files = [path for path in files if path.parent.name != "studies"]  # gs-bench reads those
    assert len(files) >= 10
    for path in files:
        config = parse_train_arguments(["--config", str(path)])
        if path.parent.name == "mipnerf360":
            assert config.scene == path.stem in MIPNERF360
            assert config.downscale is None, "else smaller photos of ours may stand in for images_N"


def test_every_option_says_what_it_means() -> None:
    source = (REPOSITORY / "gs_densify/config/options.py").read_text()
    for name in [field.name for field in dataclasses.fields(TrainConfig)]:
        assert f"    {name}:" in source
    assert yaml.safe_load("a: 1e-3") == {"a": "1e-3"}, "YAML 1.1 reads 1e-3 as text: flags parse it"


def test_a_preset_sets_length_and_budget_and_flags_count_for_more(tmp_path: Path) -> None:
    fast = parse_train_arguments(["--scene", "garden", "--preset", "fast"])
    assert (fast.steps, fast.max_gaussians) == (9_000, 1_000_000)
    assert with_fitted_schedule(fast).schedule_factor == 0.3
    assert strategy_for(fast).refine_stop_iter == 4500
    own = parse_train_arguments(["--scene", "garden", "--preset", "quality"])
    assert fast.lr == own.lr
    assert (fast.loss.ssim, fast.render.coarse_until) == (0.3, 0.25)
    longer = parse_train_arguments(["--scene", "garden", "--preset", "fast", "--steps", "12000"])
    assert longer.steps == 12_000
    tiny = parse_train_arguments(["--scene", "tiny", "--preset", "balanced"])
    assert tiny.steps == 600
    assert with_fitted_schedule(tiny).schedule_factor == pytest.approx(0.02)
    compact = parse_train_arguments(["--scene", "garden", "--preset", "compact"])
    assert (compact.lr, compact.loss.ssim) == (own.lr, 0.2), "of full length"
    assert (compact.steps, strategy_for(compact).max_gaussians) == (30_000, 470_000)
    save_config(fast, tmp_path / "config.yml")
    assert parse_train_arguments(["--config", str(tmp_path / "config.yml")]) == fast


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--protocol", "mls-bench"], "both say how long"),
        (["--strategy", "{plain}"], "neither scaled"),
    ],
)
def test_a_preset_that_cannot_take_effect_is_refused(
    flags: list[str], message: str, tmp_path: Path
) -> None:
    plain = tmp_path / "plain.py"
    plain.write_text(
        "from dataclasses import dataclass\n"
        "from gs_densify.strategies.base import Strategy\n\n\n"
        "@dataclass\nclass CustomStrategy(Strategy):\n    share: float = 0.5\n"
    )
    given = [flag.format(plain=plain) for flag in flags]
    with pytest.raises(ConfigError, match=message):
        parse_train_arguments(["--scene", "garden", "--preset", "fast", *given])


@pytest.mark.parametrize(
    ("flags", "source"),
    [
        ("--scene path --protocol gsplat --downscale 4", "resized"),
        ("--scene path --protocol inria --downscale=4", "found"),
        ("--scene garden --protocol gsplat", "resized"),
        ("--scene garden --protocol gsplat --downscale 1", "auto"),
        ("--config {file}", "resized"),
        ("--config {file} --downscale 1", "auto"),
    ],
)
def test_a_protocol_takes_the_photos_of_the_factor_that_is_asked_for(
    flags: str, source: str, tmp_path: Path
) -> None:
    file = tmp_path / "own.yml"
    file.write_text("scene: path\nprotocol: gsplat\ndownscale: 4\n")
    config = parse_train_arguments(flags.format(file=file).split())
    assert config.data.image_source == source
    assert protocol_name(config) == config.protocol, "nothing was changed"


def test_a_text_in_yaml_is_as_it_was_written(tmp_path: Path) -> None:
    path = tmp_path / "options.yml"
    lines = [
        "scene: 007",
        "label: 1.50",
        "steps: 0900",
        "max_gaussians: 1_000",
        "lr: {means: 1.0e-3}",
    ]
    path.write_text("\n".join(lines))
    config = parse_train_arguments(["--config", str(path)])
    assert (config.scene, config.label) == ("007", "1.50")
    assert (config.steps, config.max_gaussians, config.lr.means) == (900, 1000, 0.001)
    save_config(config, path)
    assert parse_train_arguments(["--config", str(path)]) == config
