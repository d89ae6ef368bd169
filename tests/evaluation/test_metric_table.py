"""The table of metrics, and what it refuses of other packages."""

import dataclasses
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

from gs_densify.errors import ConfigError
from gs_densify.evaluation.evaluate import evaluate_views
from gs_densify.evaluation.metrics import (
    ALWAYS,
    BUILTIN,
    LPIPS,
    check_further,
    find_metric,
    known_names,
)
from gs_densify.evaluation.metrics.lpips import VARIANTS
from gs_densify.evaluation.metrics.metric import Setting
from gs_densify.evaluation.scoring import Scoring
from gs_densify.results import STANDARD_METRICS

CODE = """
from gs_densify.evaluation.metrics import Metric, MetricUnavailable

def fixed(value):
    return Metric(
        label="F", higher_is_better=True, computed="a number", make=lambda setting: value
    )

def fails(render, photo, valid_mask):
    raise KeyError("oops")

def cannot(render, photo, valid_mask):
    raise MetricUnavailable("not of this view")

def unprepared(setting):
    raise OSError("no model here")

GOOD = fixed(lambda render, photo, valid_mask: (render - photo).abs().mean())
NAN = fixed(lambda render, photo, valid_mask: float("nan"))
FAILS = fixed(fails)
CANNOT = fixed(cannot)
UNPREPARED = Metric(label="F", higher_is_better=True, computed="", make=unprepared)
NO_METRIC = 3
"""


@pytest.fixture
def offer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
    """A function that puts a package with these entry points onto the path."""

    def put(entry_points: str, package: str = "offers") -> None:
        folder = tmp_path / f"{package}-1.5.dist-info"
        folder.mkdir()
        (folder / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {package}\nVersion: 1.5\n")
        (folder / "entry_points.txt").write_text(f"[gs_densify.metrics]\n{entry_points}\n")
        (tmp_path / "offers_metrics.py").write_text(CODE)
        monkeypatch.syspath_prepend(str(tmp_path))
        monkeypatch.delitem(sys.modules, "offers_metrics", raising=False)

    return put


def test_the_table_is_what_every_file_names() -> None:
    assert tuple(BUILTIN)[: len(STANDARD_METRICS)] == STANDARD_METRICS
    assert (*ALWAYS, *LPIPS) == STANDARD_METRICS
    assert set(LPIPS) == set(VARIANTS)
    assert [name for name in BUILTIN if not BUILTIN[name].higher_is_better] == list(LPIPS)
    assert [name for name in BUILTIN if BUILTIN[name].sees == "float"] == ["psnr_float"]


@pytest.mark.parametrize("name", ALWAYS)
def test_each_metric_is_found_where_the_table_says(name: str) -> None:
    compute = BUILTIN[name].prepare(Setting("reflect", None, torch.device("cpu")))
    image = torch.rand(16, 16, 3)
    better, worse = compute(image, image, None), compute(image, 1 - image, None)
    assert better > worse


def test_the_table_is_read_without_torch() -> None:
    code = (
        "import sys, gs_densify.evaluation.metrics, gs_densify.evaluation.scoring, "
        "gs_densify.cli.summary, gs_densify.config.options; print('torch' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.stdout.strip() == "False", done.stderr


def test_standard_and_unknown_names_are_refused() -> None:
    with pytest.raises(ConfigError, match="'ssim', which is always computed; leave it out"):
        check_further(["ssim"])
    with pytest.raises(ConfigError, match=r"variants stand in --evaluation.lpips"):
        check_further(["lpips_vgg"])
    with pytest.raises(ConfigError, match="has 'fid'; known: none; install the package"):
        check_further(["fid"])


def test_what_a_package_offers_is_checked(offer: Callable[..., None]) -> None:
    offer(
        "good = offers_metrics:GOOD\nthree = offers_metrics:NO_METRIC\nlost = offers_metrics:NONE\n"
        "num_gaussians = offers_metrics:GOOD\ntrain_seconds = offers_metrics:GOOD\n"
        "a-b = offers_metrics:GOOD\npsnr = offers_metrics:GOOD"
    )
    assert known_names() == ["a-b", "good", "lost", "num_gaussians", "three", "train_seconds"]
    assert find_metric("good").record().package == "offers 1.5"
    for name, reason in {
        "three": r"'three' \(package offers\): is no gs_densify.evaluation.metrics.Metric",
        "lost": r"'lost' \(package offers\): cannot be imported: AttributeError",
        "num_gaussians": "cannot have this name",
        "train_seconds": "cannot have this name",
        "a-b": "cannot have this name",
        "psnr": "'psnr' is built in, and package offers offers another",
    }.items():
        with pytest.raises(ConfigError, match=reason):
            find_metric(name)


def test_two_packages_cannot_share_a_name(offer: Callable[..., None]) -> None:
    offer("good = offers_metrics:GOOD")
    offer("good = offers_metrics:GOOD", package="others")
    with pytest.raises(ConfigError, match="'good' is offered by package offers and by package o"):
        find_metric("good")


def test_the_faults_of_a_package_are_reasons(offer: Callable[..., None]) -> None:
    """A run is not lost at its end to a metric that does not work."""
    offer("\n".join(f"{n.lower()} = offers_metrics:{n}" for n in REASONS))
    view = SimpleNamespace(name="a.png")
    photo = torch.randint(0, 256, (16, 16, 3), dtype=torch.uint8)
    render = torch.rand(16, 16, 3)
    names = tuple(name.lower() for name in REASONS)
    found = evaluate_views(lambda view: render, [view], [photo], Scoring(metrics=names))
    for name, reason in REASONS.items():
        assert found.unavailable.get(name.lower()) == reason
        assert (found.scores[name.lower()] is None) == (reason is not None)
        assert found.views[0].scores[name.lower()] == found.scores[name.lower()]
    quantised = render.mul(255).round().div(255)
    expected = float((quantised - photo.float() / 255).abs().mean())
    assert found.scores["good"] == pytest.approx(expected, rel=1e-5)
    assert found.scores["psnr"] is not None


REASONS = {
    "GOOD": None,
    "NAN": "a.png: it is nan",
    "FAILS": "a.png: it fails: KeyError: 'oops'",
    "CANNOT": "a.png: not of this view",
    "UNPREPARED": "it fails: OSError: no model here",
}


def test_a_fault_of_a_metric_of_ours_is_no_reason(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(setting: Setting) -> None:
        raise KeyError("a fault of ours")

    monkeypatch.setitem(BUILTIN, "ssim", dataclasses.replace(BUILTIN["ssim"], make=broken))
    with pytest.raises(KeyError):
        evaluate_views(lambda view: None, [None], [None], Scoring())


def test_a_further_metric_of_ours_needs_a_line_of_the_table(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    double = dataclasses.replace(BUILTIN["ssim"], label="Twice", computed="again")
    monkeypatch.setitem(BUILTIN, "twice", double)
    assert known_names() == ["twice"]
    check_further(["twice"])
    photo = torch.randint(0, 256, (16, 16, 3), dtype=torch.uint8)
    view = SimpleNamespace(name="a.png")
    scoring = Scoring(metrics=("twice",))
    found = evaluate_views(lambda view: torch.rand(16, 16, 3), [view], [photo], scoring)
    assert found.scores["twice"] == found.scores["ssim"] is not None
    assert list(found.scores) == [*STANDARD_METRICS, "twice"]
