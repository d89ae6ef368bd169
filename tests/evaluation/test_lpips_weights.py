"""Where the LPIPS backbones are looked for, and what is refused."""

import dataclasses
import hashlib
import urllib.error
from pathlib import Path

import pytest
import torch
from random_lpips import random_weights

from gs_densify.errors import ConfigError
from gs_densify.evaluation import lpips_weights
from gs_densify.evaluation.lpips_weights import (
    BACKBONES,
    LpipsUnavailable,
    check_local,
    digest_of,
    find_weights,
)
from gs_densify.evaluation.metrics import Setting, lpips
from gs_densify.evaluation.metrics.lpips import Lpips, _load_heads, lpips_record

CPU = torch.device("cpu")


@pytest.fixture
def offline(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> list[str]:
    """No weights anywhere, no network; returns the addresses asked for."""
    asked: list[str] = []

    def no_network(url: str, *_: object, **__: object) -> None:
        asked.append(url)
        raise urllib.error.URLError("no network\nhere")

    monkeypatch.setattr(torch.hub, "download_url_to_file", no_network)
    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path / "hub"))
    monkeypatch.setattr(lpips_weights, "_failed_downloads", {})
    monkeypatch.delenv(lpips_weights.WEIGHTS_VARIABLE, raising=False)
    return asked


def called_published(
    monkeypatch: pytest.MonkeyPatch, backbone: str, weights: dict[str, torch.Tensor]
) -> None:
    """Lets `weights` pass for those of torchvision's file."""
    spec = dataclasses.replace(BACKBONES[backbone], digest=digest_of(weights))
    monkeypatch.setitem(BACKBONES, backbone, spec)


@pytest.mark.parametrize("whole_model", [False, True])
def test_both_file_layouts_give_the_same_network(
    whole_model: bool, tmp_path: Path, offline: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    spec, weights = BACKBONES["alexnet"], random_weights("alexnet")
    called_published(monkeypatch, "alexnet", weights)
    if whole_model:
        state = {f"features.{key}": value for key, value in weights.items()}
        state["classifier.1.weight"] = torch.zeros(2, 2)
        torch.save(state, tmp_path / spec.torchvision_file)
    else:
        torch.save(weights, tmp_path / spec.features_file)
    monkeypatch.setenv(lpips_weights.WEIGHTS_VARIABLE, str(tmp_path))
    loaded = Lpips.load("alexnet", None, CPU)
    expected = Lpips(spec, weights, _load_heads(spec))
    a, b = torch.rand(32, 32, 3), torch.rand(32, 32, 3)
    assert loaded(a, b, signed=True) == expected(a, b, signed=True)
    assert offline == []


def test_the_cache_of_torch_hub_is_used_before_the_network(
    tmp_path: Path, offline: list[str]
) -> None:
    cached = tmp_path / "hub" / "checkpoints" / BACKBONES["vgg16"].torchvision_file
    cached.parent.mkdir(parents=True)
    cached.touch()
    assert find_weights("vgg16", tmp_path) == cached
    smaller = cached.with_name(BACKBONES["vgg16"].features_file)
    smaller.touch()
    assert find_weights("vgg16", tmp_path) == smaller
    assert offline == []


def test_without_weights_the_reason_is_one_line_and_the_network_is_tried_once(
    offline: list[str],
) -> None:
    for _ in range(2):
        with pytest.raises(LpipsUnavailable, match="no network here") as caught:
            Lpips.load("alexnet", None, CPU)
        assert "\n" not in str(caught.value)
        assert "gs-scene lpips-weights" in str(caught.value)
    assert offline == ["https://download.pytorch.org/models/alexnet-owt-7be5be79.pth"]


def test_a_folder_that_does_not_exist_is_not_passed_over(
    tmp_path: Path, offline: list[str]
) -> None:
    with pytest.raises(LpipsUnavailable, match="does not exist"):
        find_weights("alexnet", tmp_path / "none")
    (tmp_path / "file").touch()
    with pytest.raises(LpipsUnavailable, match="is no folder"):
        find_weights("alexnet", tmp_path / "file")
    assert offline == []


def test_a_folder_without_the_weights_is_said_before_the_training(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, offline: list[str]
) -> None:
    assert check_local(["alexnet"], None) == []
    (said,) = check_local(["alexnet"], tmp_path)
    assert said.startswith(f"{tmp_path}: has neither alexnet_features.pth nor alexnet-owt-")
    monkeypatch.setenv(lpips_weights.WEIGHTS_VARIABLE, str(tmp_path))
    assert check_local(["alexnet"], None) == [said]
    assert offline == []


def test_the_hash_in_the_file_name_is_checked_on_download(
    monkeypatch: pytest.MonkeyPatch, offline: list[str], tmp_path: Path
) -> None:
    seen: dict[str, object] = {}

    def download(url: str, target: str, hash_prefix: str) -> None:
        seen.update(target=target, hash=hash_prefix)
        Path(target).touch()

    monkeypatch.setattr(torch.hub, "download_url_to_file", download)
    path = find_weights("vgg16", None)
    assert path.is_file() and path.parent == tmp_path / "hub" / "checkpoints"
    assert seen == {"target": str(path), "hash": "397923af"}


@pytest.mark.parametrize(
    "damage", ["text", "half", "cut", "bit", "nan", "list", "other", "shape", "keys", "pickle"]
)
def test_a_damaged_file_is_refused_by_name(damage: str, tmp_path: Path, offline: list[str]) -> None:
    path = tmp_path / BACKBONES["alexnet"].features_file
    weights: dict = dict(random_weights("alexnet"))
    if damage == "list":
        torch.save([1, 2], path)
    elif damage == "pickle":
        torch.save({"0.weight": Path("code that must not run")}, path)
    elif damage == "shape":
        torch.save(weights | {"0.weight": torch.zeros(64, 3, 3, 3)}, path)
    elif damage == "keys":
        torch.save({1: torch.zeros(1)}, path)
    elif damage == "nan":
        torch.save(weights | {"3.bias": weights["3.bias"] * float("nan")}, path)
    elif damage == "other":
        torch.save({"0.weight": weights["0.weight"]}, path)
    else:
        torch.save(weights, path)
        whole = path.read_bytes()
        middle = len(whole) // 2
        flipped = whole[:middle] + bytes([whole[middle] ^ 64]) + whole[middle + 1 :]
        damaged = {"text": b"no weights", "half": b"half", "cut": whole[:1000], "bit": flipped}
        path.write_bytes(damaged[damage])
    with pytest.raises(ConfigError, match=f"{path.name}.*gs-scene lpips-weights"):
        check_local(["alexnet"], tmp_path)
    with pytest.raises(LpipsUnavailable, match=path.name) as caught:
        Lpips.load("alexnet", tmp_path, CPU)
    assert "\n" not in str(caught.value)


def test_weights_that_are_not_the_published_ones_are_named(
    tmp_path: Path, offline: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    spec, weights = BACKBONES["alexnet"], random_weights("alexnet")
    torch.save(weights, tmp_path / spec.features_file)
    (remark,) = check_local(["alexnet"], tmp_path)
    assert spec.features_file in remark and "not the published weights" in remark
    setting = Setting("reflect", tmp_path, CPU)
    lpips.make_alex(setting)
    assert setting.unknown_weights == {"lpips_alex": digest_of(weights)[:16]}
    unknown = lpips_record("lpips_alex", setting.unknown_weights["lpips_alex"])
    assert unknown.weights and lpips_record("lpips_alex").weights is None

    torch.save(weights, tmp_path / spec.torchvision_file)
    (tmp_path / spec.features_file).unlink()
    with pytest.raises(LpipsUnavailable, match=r"alexnet-owt.*not those that its name says"):
        Lpips.load("alexnet", tmp_path, CPU)

    whole = (tmp_path / spec.torchvision_file).read_bytes()
    right = f"alexnet-owt-{hashlib.sha256(whole).hexdigest()[:8]}.pth"
    with monkeypatch.context() as renamed:
        renamed.setitem(BACKBONES, "alexnet", dataclasses.replace(spec, torchvision_file=right))
        (tmp_path / right).write_bytes(whole)
        assert len(check_local(["alexnet"], tmp_path)) == 1  # the file that its name says

    called_published(monkeypatch, "alexnet", weights)
    assert check_local(["alexnet"], tmp_path) == []
    setting = Setting("reflect", tmp_path, CPU)
    lpips.make_alex(setting)
    assert setting.unknown_weights == {}


def test_nothing_is_fetched_by_the_look_at_what_is_here(tmp_path: Path, offline: list[str]) -> None:
    assert check_local(BACKBONES, None) == []
    with pytest.raises(ConfigError, match="does not exist"):
        check_local(BACKBONES, tmp_path / "none")
    assert offline == []
