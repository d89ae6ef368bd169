"""The protocols by name: what each sets, and that the block says what was done."""

import dataclasses
import typing

import pytest

from gs_densify.cli.arguments import parse_train_arguments
from gs_densify.config import layers as presets
from gs_densify.config.layers import EVALUATION_PROTOCOLS, protocol_name
from gs_densify.config.options import DataOptions, TrainConfig
from gs_densify.evaluation.metrics import LPIPS
from gs_densify.evaluation.protocol import build_protocol
from gs_densify.results import Conditions, protocol_differences
from gs_densify.runs.loaded_scene import load
from gs_densify.runs.score import scoring_of

CONDITIONS = Conditions(seed=None, steps=None, antialiased=False, gpu=None, versions={})
# quantisation, SSIM's borders, LPIPS: as docs/evaluation.md documents them.
EXPECTED = {
    "default": ("uint8-round", "reflect", ("lpips_alex", "lpips_vgg")),
    "inria": ("uint8-round", "zero", ("lpips_vgg_01",)),
    "gsplat": ("float", "valid", ("lpips_alex",)),
    "nerfbaselines": ("uint8-truncate", "valid", ("lpips_alex", "lpips_vgg")),
    "mls-bench": ("float", "reflect", ("lpips_alex",)),
}


def parsed(*flags: str) -> TrainConfig:
    return parse_train_arguments(["--scene", "tiny", "--strategy", "default", *flags])


def block(config: TrainConfig, *, is_official: bool = False, **changes: object):
    scene = load(dataclasses.replace(config, downscale=1), test_only=True).scene
    return build_protocol(
        dataclasses.replace(scene, **changes),
        scoring_of(config),
        name=protocol_name(config),
        is_official=is_official,
        conditions=CONDITIONS,
    )


@pytest.mark.parametrize("name", EXPECTED)
def test_a_protocol_by_name_sets_how_views_are_scored(name: str) -> None:
    config = parsed("--protocol", name)
    options = config.evaluation
    assert (options.quantisation, options.ssim_borders, options.lpips) == EXPECTED[name]
    assert set(options.lpips) <= set(LPIPS)
    made = block(config)
    assert (made.name, made.quantisation, made.ssim_borders) == (name, *EXPECTED[name][:2])
    assert set(made.lpips) == set(EXPECTED[name][2])


def test_only_one_protocol_changes_the_training() -> None:
    plain = dataclasses.asdict(parsed())
    for name in EXPECTED.keys() - {"mls-bench"}:
        config = dataclasses.asdict(parsed("--protocol", name))
        changed = {key for key in plain if plain[key] != config[key]}
        assert changed <= {"protocol", "evaluation"}


def test_no_two_protocols_may_be_compared() -> None:
    blocks = [block(parsed("--protocol", name)) for name in EXPECTED]
    for i, first in enumerate(blocks):
        for second in blocks[i + 1 :]:
            assert protocol_differences(first, second)


def test_a_protocol_with_an_option_changed_says_which() -> None:
    changed = ["--evaluation.quantisation", "float", "--data.test-every", "4"]
    config = parsed("--protocol", "inria", *changed, "--evaluation.lpips")
    expected = "inria (changed: evaluation.quantisation, data.test_every)"
    assert protocol_name(config) == expected
    assert block(config).name == expected
    assert protocol_name(parsed("--evaluation.lpips", "lpips_vgg_01")) == "default"


def test_every_protocol_sets_the_same_options() -> None:
    assert len({frozenset(settings) for settings in EVALUATION_PROTOCOLS.values()}) == 1


def test_the_image_source_is_what_the_scene_says() -> None:
    config = parsed()
    assert block(config).image_source == "as found"
    assert block(config, is_official=True).image_source == "as found", "at factor 1 nothing is made"
    assert block(config, is_official=True, downscale=4).image_source == "official"
    assert block(config, is_official=False, downscale=4).image_source == "as found"
    resized = {"image_source": "resized", "resize_filter": "bicubic", "downscale": 4}
    made = block(config, is_official=True, **resized)
    assert (made.image_source, made.resize_filter) == ("resized", "bicubic")
    made = block(config, undistorted=True, masks=True)
    assert made.undistorted and made.masks


@pytest.mark.parametrize(
    ("protocol", "scene", "downscale", "source"),
    [
        ("inria", "garden", None, "found"),
        ("gsplat", "garden", None, "resized"),
        ("nerfbaselines", "bonsai", None, "found"),
        ("gsplat", "a/capture", 2, "resized"),
        ("gsplat", "garden", 1, None),
        ("gsplat", "a/capture", None, None),
        ("default", "garden", None, None),
        ("mls-bench", "garden", 8, None),
    ],
)
def test_the_photos_of_a_scene_at_a_factor_are_chosen(
    protocol: str, scene: str, downscale: int | None, source: str | None
) -> None:
    settings = presets.evaluation_settings(protocol, scene, downscale)
    assert settings.get("data.image_source") == source
    assert source in (None, *typing.get_args(typing.get_type_hints(DataOptions)["image_source"]))
