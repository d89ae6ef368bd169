"""Strategy files of before import modules under names that they no longer have."""

import importlib
import subprocess
import sys

import pytest


@pytest.mark.parametrize(
    ("former", "present"),
    [
        ("default", "methods.default"),
        ("mini_splatting", "methods.mini_splatting"),
        ("births", "splits"),
    ],
)
def test_a_former_name_is_the_same_module(former: str, present: str) -> None:
    one, other = (
        importlib.import_module(f"gs_densify.strategies.{name}") for name in (former, present)
    )
    assert one is other
    assert one.__spec__ is not None and one.__spec__.name == f"gs_densify.strategies.{present}"


def test_a_file_that_imports_from_them_gets_the_classes_of_the_registry() -> None:
    code = (
        "from gs_densify.strategies.default import DefaultStrategy\n"
        "from gs_densify.strategies import births, ops, statistics\n"
        "from gs_densify.strategies.registry import load_strategy_class\n"
        "assert load_strategy_class('default') is DefaultStrategy and births.revised_clone\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_other_names_are_still_missing() -> None:
    with pytest.raises(ModuleNotFoundError):
        importlib.import_module("gs_densify.strategies.deaths")
