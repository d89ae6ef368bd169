"""A torch that was not tested is used, and said."""

from importlib import metadata
from pathlib import Path

import pytest
import torch

from gs_densify.config.options import TrainConfig
from gs_densify.runs.device import device_for
from gs_densify.runs.tested import untested


@pytest.fixture
def requires(monkeypatch: pytest.MonkeyPatch) -> None:
    lines = ["numpy<3,>=1.26", "torch<=2.13.0,>=2.11", "torch<9; extra == 'test'"]
    monkeypatch.setattr(metadata, "requires", lambda name: lines)


@pytest.mark.parametrize(
    ("version", "is_tested"),
    [
        ("2.11.0", True),
        ("2.13.0+cpu", True),
        ("2.12.0a0+git1234", True),
        ("2.10.0", False),
        ("2.14.0+cu130", False),
    ],
)
def test_the_range_is_that_of_the_requirement(
    version: str, is_tested: bool, requires: None
) -> None:
    said = untested("torch", version)
    assert (said is None) == is_tested
    if said:
        assert f"torch {version} is not among the tested releases (<=2.13.0,>=2.11)" in said


def test_a_run_goes_on_with_it(
    requires: None, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    config = TrainConfig(scene="tiny", device="cpu", strategy="default")
    device_for(config)
    assert capsys.readouterr().err == ""
    monkeypatch.setattr(torch, "__version__", "2.99.0")
    assert device_for(config) == torch.device("cpu")
    assert capsys.readouterr().err.startswith("torch 2.99.0 is not among the tested releases")


def test_nothing_is_said_where_the_package_is_not_installed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def missing(name: str) -> None:
        raise metadata.PackageNotFoundError(name)

    monkeypatch.setattr(metadata, "requires", missing)
    assert untested("torch", "0.1") is None


def test_what_is_shown_on_pypi_needs_no_other_file() -> None:
    page = (Path(__file__).parents[2] / "docs/pypi.md").read_text()
    assert "](" not in page and "<img" not in page
