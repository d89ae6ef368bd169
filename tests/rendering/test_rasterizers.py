"""Rasterisers by name: which one a device gets, what is refused, and what one more takes."""

import subprocess
import sys
from importlib.metadata import EntryPoint, EntryPoints
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

from gs_densify.config.options import RenderOptions, TrainConfig
from gs_densify.config.renderer import renderer_for
from gs_densify.errors import BackendError, ConfigError
from gs_densify.registry import Entry
from gs_densify.rendering import rasterizers
from gs_densify.rendering.own import build
from gs_densify.rendering.own.rasterizer import OwnRasterizer
from gs_densify.rendering.rasterizers import RASTERIZERS, make_rasterizer, rasterizer_for
from gs_densify.rendering.reference.rasterizer import ReferenceRasterizer

CPU, CUDA = torch.device("cpu"), torch.device("cuda")


@pytest.mark.parametrize("name", RASTERIZERS.builtin)
def test_every_entry_names_a_class_that_has_its_name(name: str) -> None:
    assert RASTERIZERS.load(name).name == name


def test_auto_takes_the_reference_on_a_cpu() -> None:
    assert rasterizer_for(CPU).name == "reference"
    assert rasterizer_for(CPU, "reference").name == "reference"


@pytest.mark.gpu
def test_a_gpu_takes_own_and_may_be_given_another() -> None:
    assert rasterizer_for(torch.device("cuda")).name == "own"
    assert rasterizer_for(torch.device("cuda"), "gsplat").name == "gsplat"
    assert rasterizer_for(torch.device("cuda:0"), "reference").name == "reference"


def test_a_deterministic_one_is_had_where_sums_have_an_order(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def made(name: str) -> SimpleNamespace:  # without a GPU none can be
        on = getattr(RASTERIZERS.load(name), "deterministic_on", ())
        return SimpleNamespace(name=name, deterministic_on=on)

    monkeypatch.setattr(rasterizers, "make_rasterizer", made)
    for name in ("gsplat", "reference"):
        said = refusal(CUDA, name, deterministic=True)
        assert f"Rasteriser '{name}' cannot be deterministic on the cuda" in said
        assert "--render.deterministic" in said
    for device, name in ((CPU, "reference"), (CUDA, "own")):
        assert rasterizer_for(device, name, deterministic=True).deterministic
        assert not hasattr(rasterizer_for(device, name), "deterministic")


def refusal(*arguments: object, **options: bool) -> str:
    with pytest.raises(BackendError) as error:
        rasterizer_for(*arguments, **options)  # type: ignore[arg-type]
    assert "\n" not in str(error.value)
    return str(error.value)


def test_gsplat_on_a_cpu_is_refused_whether_or_not_there_is_a_gpu() -> None:
    line = refusal(CPU, "gsplat")
    assert "'gsplat' runs on cuda, and the device is the cpu" in line
    assert "expected auto or reference there" in line


def test_gsplat_without_a_gpu_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    for name in ("gsplat", "auto"):
        assert "no CUDA device" in refusal(torch.device("cuda:0"), name)


def test_own_says_what_it_lacks(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    assert "'own' runs on cuda, and the device is the cpu" in refusal(CPU, "own")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert "'own' was asked for and torch sees no CUDA device" in refusal(CUDA, "own")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda: (9, 0))
    monkeypatch.setattr(build, "_compiler", lambda: None)
    monkeypatch.setenv("GS_CACHE", str(tmp_path))
    assert "there is no CUDA compiler (nvcc)" in refusal(CUDA, "own")
    # What was compiled where there was one goes on working.
    name = f"gs_densify_own_{build._digest()}"
    library = tmp_path / "kernels" / name / f"{name}.so"
    library.parent.mkdir(parents=True)
    library.touch()
    assert rasterizer_for(CUDA, "own").name == "own"


@pytest.mark.parametrize("failure", [RuntimeError("x\nkernel.cu(3): error: y\nz"), OSError("full")])
def test_a_failed_compilation_ends_in_words(
    failure: Exception, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def load(*_: object, **__: object) -> None:
        raise failure

    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda: (9, 0))
    monkeypatch.setattr(build, "_compiler", lambda: Path("nvcc"))
    monkeypatch.setattr("torch.utils.cpp_extension.load", load)
    monkeypatch.setenv("GS_CACHE", str(tmp_path))
    with pytest.raises(BackendError, match=r"could not be compiled: (kernel.*error: y|full);"):
        build.kernels.__wrapped__()  # those that are loaded stay so


@pytest.mark.gpu
def test_auto_passes_over_own_where_it_cannot_be_had_or_has_no_packed_mode(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    device = torch.device("cuda")
    assert rasterizer_for(device, packed=True).name == "gsplat"
    monkeypatch.setattr(OwnRasterizer, "unavailable", staticmethod(lambda: "nvcc is gone"))
    assert rasterizer_for(device).name == "gsplat"
    assert "Rasteriser 'own' is left out: nvcc is gone" in capfd.readouterr().err
    assert "asked for and nvcc is gone" in refusal(device, "own")


def test_an_unknown_name_or_device_is_refused_with_what_is_known() -> None:
    for name in ("opengl", ""):
        with pytest.raises(
            ConfigError, match=f"no rasteriser '{name}'; known: own, gsplat, reference"
        ):
            rasterizer_for(CPU, name)
    meta = torch.device("meta")
    assert "'meta' has no rasteriser; expected cuda or cpu" in refusal(meta)
    assert "runs on cuda or cpu, and the device is the meta" in refusal(meta, "reference")
    with pytest.raises(ConfigError, match="known: own, gsplat, reference"):
        make_rasterizer("opengl")
    with pytest.raises(ConfigError, match="'opengl'; known: auto, own, gsplat, reference"):
        TrainConfig(scene="tiny", render=RenderOptions(rasterizer="opengl"))


def test_one_more_rasteriser_takes_its_file_and_a_line_of_the_table(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "flat_rasterizer.py").write_text(
        "from gs_densify.rendering.reference.rasterizer import ReferenceRasterizer\n"
        "class FlatRasterizer(ReferenceRasterizer):\n"
        "    name = 'flat'\n"
        "    devices = ('cpu', 'meta')\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    entry = Entry("flat_rasterizer:FlatRasterizer", "flat")
    monkeypatch.setattr(RASTERIZERS, "builtin", {**RASTERIZERS.builtin, "flat": entry})
    TrainConfig(scene="tiny", render=RenderOptions(rasterizer="flat"))
    found = rasterizer_for(CPU, "flat")
    assert found.name == "flat" and isinstance(found, ReferenceRasterizer)
    assert rasterizer_for(CPU).name == "reference", "which is before it"
    assert rasterizer_for(torch.device("meta")).name == "flat"
    assert "expected auto, reference or flat there" in refusal(CPU, "gsplat")


def test_a_package_offers_one(monkeypatch: pytest.MonkeyPatch) -> None:
    target = "gs_densify.rendering.reference.rasterizer:ReferenceRasterizer"
    point = EntryPoint("theirs", target, "gs_densify.rasterizers")
    monkeypatch.setattr(
        "gs_densify.entry_points._all_entry_points", lambda path: EntryPoints([point])
    )
    TrainConfig(scene="tiny", render=RenderOptions(rasterizer="theirs"))
    assert isinstance(rasterizer_for(CPU, "theirs"), ReferenceRasterizer)
    assert "runs on cuda or cpu" in refusal(torch.device("meta"), "theirs")


def test_a_run_gets_its_settings() -> None:
    options = RenderOptions(antialiased=True, rasterizer="reference")
    renderer = renderer_for(TrainConfig(scene="tiny", render=options), 0.3, CPU)
    assert renderer.rasterizer.name == "reference"
    assert (renderer.settings.antialiased, renderer.settings.near_plane) == (True, 0.3)


@pytest.mark.parametrize(
    ("code", "absent"),
    [
        ("from gs_densify.rendering import rasterizers", "torch"),
        ("from gs_densify.rendering import renderer", "gs_densify.rendering.reference.rasterizer"),
        (
            "from gs_densify.rendering.rasterizers import make_rasterizer\n"
            "make_rasterizer('reference')",
            "gsplat",
        ),
    ],
)
def test_what_is_not_asked_for_is_not_imported(code: str, absent: str) -> None:
    check = f"{code}\nimport sys; assert {absent!r} not in sys.modules"
    subprocess.run([sys.executable, "-c", check], check=True)


def test_the_help_of_the_option_names_them_all() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "gs_densify.cli.train", "--scene", "tiny", "--help-all"],
        capture_output=True,
        text=True,
        check=True,
    )
    words = " ".join(done.stdout.split())
    assert all(f"{name}: {entry.summary}" in words for name, entry in RASTERIZERS.builtin.items())
