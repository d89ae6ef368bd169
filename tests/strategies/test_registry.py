"""Strategies by name: built-in ones, their recipes, and the refusals."""

import dataclasses
import subprocess
import sys

import pytest

from gs_densify.config.file import with_overrides
from gs_densify.config.options import TrainConfig
from gs_densify.errors import BackendError, ConfigError
from gs_densify.strategies import registry
from gs_densify.strategies.registry import (
    BUILTIN,
    build_strategy,
    load_strategy_class,
    options_of,
    recipe_of,
    require_device,
)


def test_the_registry_imports_neither_torch_nor_gsplat():
    code = (
        "import sys; import gs_densify.strategies.registry as r; r.known_names();"
        " print([m for m in ('torch', 'gsplat', 'numpy') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.stdout.strip() == "[]", done.stderr


@pytest.mark.parametrize("name", BUILTIN)
def test_a_built_in_strategy_is_a_dataclass_with_the_hook_and_a_line_of_summary(name):
    cls = load_strategy_class(name)
    assert dataclasses.is_dataclass(cls)
    assert callable(cls.step_post_backward)
    summary = BUILTIN[name].summary
    assert summary and "\n" not in summary


@pytest.mark.parametrize("name", BUILTIN)
def test_a_strategy_is_rebuilt_from_its_options(name):
    built = build_strategy(name, {})
    again = build_strategy(name, options_of(built))
    assert options_of(again) == options_of(built)


@pytest.mark.parametrize("name", BUILTIN)
def test_a_recipe_holds_options_of_the_trainer(name):
    recipe = recipe_of(name, load_strategy_class(name))
    with_overrides(TrainConfig(scene="tiny"), recipe)  # refuses what it does not know


def test_the_recipe_of_gsplat_mcmc_is_that_of_its_example_trainer():
    cls = load_strategy_class("gsplat-mcmc")
    assert recipe_of("gsplat-mcmc", cls) == {
        "init.opacity": 0.5,
        "init.scale": 0.1,
        "loss.opacity_reg": 0.01,
        "loss.scale_reg": 0.01,
    }


def test_a_recipe_of_the_class_is_taken_and_must_be_a_mapping():
    own = type("Own", (), {"recipe": {"init.opacity": 0.3}})
    assert recipe_of("own.py", own) == {"init.opacity": 0.3}
    with pytest.raises(ConfigError, match="recipe is list; a mapping"):
        recipe_of("own.py", type("Bad", (), {"recipe": ["init.opacity"]}))
    assert recipe_of("own.py", type("None_", (), {})) == {}


def test_an_unknown_name_is_refused_with_the_known_ones():
    with pytest.raises(ConfigError, match=r"unknown strategy 'defualt'; did you mean default\?$"):
        load_strategy_class("defualt")


def test_an_unknown_option_is_refused_with_the_known_ones():
    with pytest.raises(ConfigError, match=r"no option 'grow'; it has: .*grow_grad2d"):
        build_strategy("default", {"grow": 1.0})


def test_options_that_the_class_refuses_are_an_error_of_one_line(monkeypatch):
    def fail(**options):
        raise ValueError("two\nlines")

    monkeypatch.setattr(registry.dataclasses, "fields", lambda cls: ())
    monkeypatch.setattr(registry, "load_strategy_class", lambda name: fail)
    with pytest.raises(ConfigError, match=r"^strategy 'x' refuses .*: ValueError: two lines$"):
        build_strategy("x", {})


def test_cuda_code_is_refused_on_a_cpu_and_accepted_on_a_gpu():
    with pytest.raises(BackendError, match="'gsplat-mcmc' calls gsplat's CUDA code"):
        require_device("gsplat-mcmc", "cpu")
    require_device("gsplat-mcmc", "cuda")
    require_device("default", "cpu")
    require_device("custom.py", "cpu")
