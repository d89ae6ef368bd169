"""The protocol block, what forbids a comparison, and files of older schema versions."""

import dataclasses
import json
from pathlib import Path

import pytest
from results_example import example_results

from gs_densify.errors import ResultError
from gs_densify.results import (
    SCHEMA_VERSION,
    Conditions,
    LpipsRecord,
    MetricRecord,
    Protocol,
    load_per_view,
    load_results,
    protocol_differences,
)

VERSION_1 = Path(__file__).with_name("version_1")
"""Files of a run, as the first release wrote them."""
PROTOCOL = example_results().protocol
LPIPS = PROTOCOL.lpips["lpips_vgg"]

CHANGES = {
    "name": "inria",
    "scene_name": "room",
    "image_dir": "images",
    "image_source": "resized",
    "resize_filter": "bicubic",
    "downscale": 2,
    "sizes": [],
    "undistorted": True,
    "masks": True,
    "test_every": 4,
    "split_rule": "a list",
    "test_images": ["a.png"],
    "n_train": 3,
    "n_test": 1,
    "quantisation": "float",
    "background": (1.0, 1.0, 1.0),
    "psnr": "mean of the channels' PSNR",
    "ssim_borders": "zero",
    "color_corrected": True,
}
METRIC = MetricRecord(label="A", higher_is_better=True, computed="in one way")
CIRCUMSTANCES = {
    "metrics": {"a": METRIC},
    "conditions": Conditions(seed=1, steps=7, antialiased=True, gpu="another", versions={}),
    "ssim": "another implementation of the same",
    "lpips": {"lpips_vgg": dataclasses.replace(LPIPS, package="another")},
}


def test_every_field_is_either_compared_or_a_circumstance() -> None:
    assert CHANGES.keys() | CIRCUMSTANCES.keys() == {f.name for f in dataclasses.fields(Protocol)}


@pytest.mark.parametrize("name", CHANGES)
def test_each_setting_forbids_a_comparison_by_name(name: str) -> None:
    changed = dataclasses.replace(PROTOCOL, **{name: CHANGES[name]})
    (difference,) = protocol_differences(PROTOCOL, changed)
    assert difference.startswith(f"{name}: ") and " | " in difference


def test_lists_are_told_apart_by_what_only_one_has() -> None:
    size = dataclasses.replace(PROTOCOL.sizes[0], width=640)
    names = [*PROTOCOL.test_images, *(f"{i}.png" for i in range(9))]
    changed = dataclasses.replace(PROTOCOL, sizes=[size], test_images=names)
    assert protocol_differences(PROTOCOL, changed) == [
        "sizes: 185 of 1297x840 | 185 of 640x840",
        "test_images: no other | 0.png, 1.png, 2.png and 6 more",
    ]


@pytest.mark.parametrize("name", CIRCUMSTANCES)
def test_circumstances_forbid_nothing(name: str) -> None:
    changed = dataclasses.replace(PROTOCOL, **{name: CIRCUMSTANCES[name]})
    assert changed != PROTOCOL
    assert protocol_differences(PROTOCOL, changed) == []


def test_what_belongs_to_a_scene_may_differ_across_scenes() -> None:
    own = ("scene_name", "image_dir", "downscale", "sizes", "undistorted", "masks")
    own += ("test_images", "n_train", "n_test")
    other = dataclasses.replace(PROTOCOL, **{name: CHANGES[name] for name in own})
    assert len(protocol_differences(PROTOCOL, other)) == len(own)
    assert protocol_differences(PROTOCOL, other, across_scenes=True) == []
    for name in CHANGES.keys() - set(own):
        changed = dataclasses.replace(other, **{name: CHANGES[name]})
        assert len(protocol_differences(PROTOCOL, changed, across_scenes=True)) == 1


@pytest.mark.parametrize("field", ["network", "input_range", "weights"])
def test_lpips_is_compared_where_both_have_it(field: str) -> None:
    other = dataclasses.replace(LPIPS, **{field: "other"})
    changed = dataclasses.replace(PROTOCOL, lpips={"lpips_vgg": other})
    (difference,) = protocol_differences(PROTOCOL, changed)
    assert difference.startswith("lpips_vgg: ")
    alex = LpipsRecord(network="alexnet", input_range="[-1, 1]", package="x")
    other_variant = dataclasses.replace(PROTOCOL, lpips={"lpips_alex": alex})
    assert protocol_differences(PROTOCOL, other_variant) == []


@pytest.mark.parametrize("field", ["computed", "unit", "sees"])
def test_a_further_metric_is_compared_where_both_have_it(field: str) -> None:
    with_metric = dataclasses.replace(PROTOCOL, metrics={"a": METRIC})
    other = dataclasses.replace(METRIC, **{field: "float"})
    changed = dataclasses.replace(PROTOCOL, metrics={"a": other})
    (difference,) = protocol_differences(with_metric, changed)
    assert difference.startswith("a: ")
    for wording in ({"label": "B"}, {"package": "x 2.0"}, {"format": ".1f"}):
        record = dataclasses.replace(METRIC, **wording)
        same = dataclasses.replace(PROTOCOL, metrics={"a": record})
        assert protocol_differences(with_metric, same) == []


def test_a_run_of_version_1_is_read() -> None:
    path = VERSION_1 / "results.json"
    stored = json.loads(path.read_text())
    assert stored["schema_version"] == 1
    results = load_results(path)
    assert results.schema_version == SCHEMA_VERSION
    assert dict(results.scores) == stored["scores"]
    assert list(results.scores) == list(stored["scores"])
    protocol = results.protocol
    assert (protocol.name, protocol.ssim_borders) == ("default", "reflect")
    assert (protocol.quantisation, protocol.resize_filter) == ("uint8-round", None)
    assert protocol.conditions.seed == stored["seed"]
    assert protocol.conditions.steps == stored["steps"]
    assert protocol.conditions.gpu == stored["hardware"]["gpu"]
    assert protocol.conditions.versions == stored["versions"]
    assert protocol.conditions.antialiased == stored["config"]["render"]["antialiased"]
    said = stored["protocol"].get("conditions", {}).get("rasterizer")  # None in older files
    assert protocol.conditions.rasterizer == said
    per_view = load_per_view(path.with_name("per_view.json"))
    assert [view.name for view in per_view.views] == protocol.test_images


@pytest.mark.parametrize("key", ["config", "hardware", "protocol", "seed", "versions"])
@pytest.mark.parametrize("damage", ["missing", "list", "null"])
def test_a_damaged_file_of_version_1_is_refused(key: str, damage: str, tmp_path: Path) -> None:
    value = json.loads((VERSION_1 / "results.json").read_text())
    if damage == "missing":
        del value[key]
    else:
        value[key] = [] if damage == "list" else None
    path = tmp_path / "results.json"
    path.write_text(json.dumps(value))
    with pytest.raises(ResultError) as caught:
        load_results(path)
    assert "\n" not in str(caught.value) and str(path) in str(caught.value)
