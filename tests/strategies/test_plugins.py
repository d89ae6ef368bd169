"""Strategies from a user's file and from installed packages."""

import os
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

from gs_densify.errors import ConfigError
from gs_densify.strategies.plugin import FileReference, check_class, parse_reference
from gs_densify.strategies.registry import build_strategy, known_names, load_strategy_class

GSPLAT_STYLE = """
from dataclasses import dataclass
from gsplat.strategy.base import Strategy
from gsplat.strategy.ops import duplicate, split

@dataclass
class {name}(Strategy):
    rate: float = 0.5
    def initialize_state(self, scene_scale: float = 1.0):
        return {{}}
    def step_pre_backward(self, params, optimizers, state, step, info):
        pass
    def step_post_backward(self, params, optimizers, state, step, info, packed=False):
        pass
"""
PLAIN = """
import dataclasses

class Helper:
    pass

@dataclasses.dataclass
class {name}:
    {fields}
    def step_post_backward(self, params, optimizers, state, step, info):
        pass
"""


def write(folder: Path, text: str, name: str = "mine.py") -> Path:
    path = folder / name
    path.write_text(textwrap.dedent(text))
    return path


def plain(name: str = "Only", fields: str = "rate: float = 0.5") -> str:
    return PLAIN.format(name=name, fields=fields)


def test_paths_are_told_from_names():
    assert parse_reference("default") is None
    assert parse_reference("a/b.py") == FileReference(Path("a/b.py"), None)
    assert parse_reference("a/b.py:Two") == FileReference(Path("a/b.py"), "Two")
    assert parse_reference("C:/x/b.py:Two") == FileReference(Path("C:/x/b.py"), "Two")
    for text in ("a/b.py", "a/b.py:Two"):
        assert str(parse_reference(text)) == text


def test_a_file_written_for_gsplat_is_loaded_with_its_options(tmp_path):
    path = write(tmp_path, GSPLAT_STYLE.format(name="CustomStrategy"))
    strategy = build_strategy(str(path), {"rate": 0.25})
    assert type(strategy).__name__ == "CustomStrategy"
    assert strategy.rate == 0.25
    assert strategy.initialize_state(scene_scale=2.0) == {}


def test_custom_strategy_is_preferred_and_another_class_can_be_named(tmp_path):
    path = write(tmp_path, plain("Other") + plain("CustomStrategy"))
    assert load_strategy_class(str(path)).__name__ == "CustomStrategy"
    assert load_strategy_class(f"{path}:Other").__name__ == "Other"


def test_the_only_class_with_the_hook_is_found_imported_ones_are_not(tmp_path):
    text = "from gs_densify.strategies.methods.default import DefaultStrategy\n" + plain("Mine")
    assert load_strategy_class(str(write(tmp_path, text))).__name__ == "Mine"


def test_a_subclass_of_a_built_in_one_needs_no_decorator(tmp_path):
    text = """
        from gs_densify.strategies.default import DefaultStrategy
        class Mine(DefaultStrategy):
            def step_pre_backward(self, *args):
                super().step_pre_backward(*args)
    """
    assert build_strategy(str(write(tmp_path, text)), {"prune_opa": 0.1}).prune_opa == 0.1


def test_a_file_is_executed_once_and_again_after_an_edit(tmp_path):
    path = write(tmp_path, plain())
    first = load_strategy_class(str(path))
    assert load_strategy_class(str(path)) is first
    write(tmp_path, plain(fields="rate: float = 0.75"))
    assert load_strategy_class(str(path))().rate == 0.75


def test_an_edit_within_a_second_to_the_same_size_is_what_runs(tmp_path, monkeypatch):
    monkeypatch.setattr(sys, "dont_write_bytecode", False)
    path, second = write(tmp_path, plain(fields="rate: float = 0.5")), 10**9
    os.utime(path, ns=(7 * second, 7 * second))
    assert build_strategy(str(path), {}).rate == 0.5
    write(tmp_path, plain(fields="rate: float = 0.7"))
    os.utime(path, ns=(7 * second, 7 * second + 1))
    assert build_strategy(str(path), {}).rate == 0.7
    assert list(tmp_path.iterdir()) == [path]


def test_two_files_of_one_name_do_not_replace_one_another(tmp_path):
    for folder, value in (("a", 1.0), ("b", 2.0)):
        (tmp_path / folder).mkdir()
        text = "from __future__ import annotations\n" + plain(fields=f"rate: float = {value}")
        write(tmp_path / folder, text)
    loaded = [load_strategy_class(str(tmp_path / folder / "mine.py")) for folder in "ab"]
    assert [cls().rate for cls in loaded] == [1.0, 2.0]
    assert loaded[0].__module__ != loaded[1].__module__


def test_a_module_beside_the_file_can_be_imported(tmp_path):
    write(tmp_path, "RATE = 0.125", "rates_of_mine.py")
    path = write(tmp_path, "from rates_of_mine import RATE\n" + plain(fields="rate: float = RATE"))
    assert load_strategy_class(str(path))().rate == 0.125


REFUSED = {
    "import": ("import torch\nimport not_there_at_all", r"line 2: .*ModuleNotFoundError: No mod"),
    "syntax": ("x = 1\nif x\n", r"line 2: cannot be imported: SyntaxError: expected ':'"),
    "raises": ("def f():\n    raise ValueError('a\\nb')\n\nf()", r"line 2: .*ValueError: a b$"),
    "exits": ("import sys\nsys.exit(3)", r"line 2: .*SystemExit: 3"),
    "empty": ("", r"no class with the method step_post_backward \(found: none\)"),
    "several": (plain("One") + plain("Two"), r"several classes .* \(found: One, Two\); call one"),
    "no dataclass": (
        "class A:\n    def step_post_backward(self): pass",
        "A is no dataclass, .*put @dataclass above",
    ),
    "undecorated": (
        "from gsplat.strategy.base import Strategy\nclass A(Strategy):\n    rate: float = 1.0\n"
        "    def step_post_backward(self): pass",
        "A is no dataclass",
    ),
    "no default": (plain(fields="rate: float"), "option 'rate' of Only has no default"),
    "a function": (plain(fields="rate: object = len"), "option 'rate' of Only is no number"),
    "a mapping": (
        plain(fields="rate: dict[str, int] = dataclasses.field(default_factory=dict)"),
        "option 'rate' of Only is no number",
    ),
    "nested tuples": (plain(fields="rate: tuple = ((1, 2),)"), "option 'rate' of Only is no num"),
    "a lying type": (plain(fields="rate: float = object()"), "option 'rate' of Only is no num"),
    "unknown type": (plain(fields="rate: 'Rate' = 1"), "NameError: name 'Rate' is not defined"),
    "constructor": (
        plain(fields="def __post_init__(self): raise ValueError('no')"),
        r"Only\(\) fails: ValueError: no",
    ),
}


@pytest.mark.parametrize(("text", "expected"), REFUSED.values(), ids=REFUSED.keys())
def test_what_is_wrong_with_a_file_is_said_in_one_line(tmp_path, text, expected):
    path = write(tmp_path, text)
    with pytest.raises(ConfigError, match=expected) as caught:
        load_strategy_class(str(path))
    assert "\n" not in str(caught.value)
    assert str(path) in str(caught.value)


def test_a_missing_file_and_a_missing_class_are_refused(tmp_path):
    with pytest.raises(ConfigError, match=r"none\.py: there is no such file"):
        load_strategy_class(str(tmp_path / "none.py"))
    path = write(tmp_path, plain("Mine"))
    with pytest.raises(ConfigError, match=r"no class 'Yours'; its classes with .*: Mine$"):
        load_strategy_class(f"{path}:Yours")
    with pytest.raises(ConfigError, match="Helper has no method step_post_backward"):
        load_strategy_class(f"{path}:Helper")


def test_options_of_plain_types_are_accepted(tmp_path):
    fields = """a: int | None = None
    b: tuple[float, ...] = (1.0, 2.0)
    c: list[int] = dataclasses.field(default_factory=lambda: [1])
    d: 'str' = "text"
    e: bool = True
    f: object = dataclasses.field(init=False, default=len)
    """
    check_class(load_strategy_class(str(write(tmp_path, plain(fields=fields)))), "here")


@pytest.fixture
def install(tmp_path, monkeypatch):
    """A function that puts a package with entry points onto the path."""

    def put(package: str, entry_points: str, text: str = "") -> None:
        folder = tmp_path / f"{package}-1.0.dist-info"
        folder.mkdir()
        (folder / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {package}\nVersion: 1.0\n")
        (folder / "entry_points.txt").write_text(f"[gs_densify.strategies]\n{entry_points}\n")
        (tmp_path / f"{package}_code.py").write_text(text)
        monkeypatch.syspath_prepend(str(tmp_path))

    return put


def test_a_package_offers_a_strategy_by_name(install):
    install("offers", "bold = offers_code:Bold", plain("Bold"))
    assert "bold" in known_names()
    assert build_strategy("bold", {"rate": 2.0}).rate == 2.0


def test_a_package_cannot_take_the_name_of_a_built_in_strategy(install):
    install("clashing", "default = clashing_code:Bold", plain("Bold"))
    with pytest.raises(ConfigError, match="'default' is built in, and package clashing offers"):
        load_strategy_class("default")
    load_strategy_class("mcmc")


def test_two_packages_cannot_share_a_name(install):
    install("first_one", "twice = first_one_code:A", plain("A"))
    install("second_one", "twice = second_one_code:A", plain("A"))
    with pytest.raises(ConfigError, match="'twice' is offered by package first_one and by"):
        load_strategy_class("twice")


def test_a_package_that_cannot_be_loaded_is_named(install):
    install("broken_one", "bust = broken_one_code:A\nconstant = broken_one_code:B", "B = 3")
    with pytest.raises(ConfigError, match=r"'bust' \(package broken_one\): cannot be imported"):
        load_strategy_class("bust")
    with pytest.raises(ConfigError, match=r"'constant' .*: is no class"):
        load_strategy_class("constant")


def test_loading_a_file_needs_no_torch_of_ours(tmp_path):
    path = write(tmp_path, plain())
    code = (
        "import sys; from gs_densify.strategies.registry import load_strategy_class as load;"
        f" load({str(path)!r}); print('torch' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.stdout.strip() == "False", done.stderr
