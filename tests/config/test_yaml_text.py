"""YAML that would take all memory, or never end, is refused in words."""

from collections.abc import Callable
from pathlib import Path

import pytest
import yaml

from gs_densify.bench.file import read_study
from gs_densify.config.file import flags_of, read_config
from gs_densify.config.yaml_text import load_yaml
from gs_densify.errors import ConfigError

BOMB = "a0: &a0 [1, 2]\n" + "".join(
    f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 9)}]\n" for i in range(1, 12)
)


@pytest.mark.parametrize("read", [read_config, read_study])
@pytest.mark.parametrize(
    ("text", "said"),
    [
        (BOMB, "aliases stand for more than 100,000 values"),
        ("a: &a [*a]\n", "an alias stands for what it is in itself"),
        ("a: &a {b: {c: *a}}\n", "an alias stands for what it is in itself"),
        ("a: " + "[" * 3000 + "]" * 3000, "nested too deeply"),
        ("a: " + "{b: " * 3000 + "}" * 3000, "nested too deeply"),
        ("a: 2024-13-40\n", "month must be in 1..12"),
    ],
)
def test_yaml_that_has_no_end_is_refused(
    read: Callable[[Path], object], text: str, said: str, tmp_path: Path
) -> None:
    path = tmp_path / "options.yml"
    path.write_text(text)
    with pytest.raises(ConfigError, match=rf"is not valid YAML \(.*{said}"):
        read(path)


def test_aliases_that_say_something_twice_are_read() -> None:
    text = "base: &base {a: 1, b: [2, 3]}\none: {<<: *base, a: 4}\ntwo: *base\n"
    assert load_yaml(text) == yaml.safe_load(text)
    assert load_yaml("") is None


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({"render": "--help"}, "--render is '--help'"),
        ({"evaluation": {"lpips": ["lpips_vgg", "-h"]}}, "--evaluation.lpips is '-h'"),
        ({"help": True}, "'help' is for the command line alone"),
        ({"h": None}, "'h' is for the command line alone"),
        ({"help_all": True}, "'help_all' is for the command line alone"),
        ({"version": 1}, "'version' is for the command line alone"),
    ],
)
def test_a_file_gives_values_and_no_flags(values: dict, said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        flags_of(values)


def test_negative_numbers_are_values() -> None:
    assert flags_of({"a": [-1, -1.5], "b": "-2e-3"}) == ["--a", "-1", "-1.5", "--b", "-2e-3"]
