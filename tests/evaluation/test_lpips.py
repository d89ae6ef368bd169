import urllib.error
from dataclasses import fields
from pathlib import Path

import imageio.v3 as imageio
import numpy as np
import pytest
import torch
from random_lpips import random_network, random_weights
from torch import Tensor

from gs_densify.evaluation import lpips
from gs_densify.evaluation.lpips import BACKBONES, VARIANTS, Lpips, LpipsUnavailable, find_weights
from gs_densify.evaluation.metrics import MetricUnavailable
from gs_densify.results import Scores

SHARED = Path(__file__).resolve().parents[3] / "shared" / "lpips"
CPU = torch.device("cpu")

# LPIPS 0.1 of the three 64x64 example images of richzhang/PerceptualSimilarity (BSD-2), as both
# `lpips` 0.1.4 and torchmetrics 1.9.0 give it: (ex_ref : ex_p0, ex_ref : ex_p1).
REFERENCE = {"lpips_alex": (0.72188, 0.13757), "lpips_vgg": (0.56861, 0.42166)}


def plain_lpips(network: Lpips, a: Tensor, b: Tensor, signed: bool) -> float:
    """Zhang et al. 2018, eq. 1, in float64: features by torch, the distance by numpy loops."""
    features = network.features.double()
    outputs = []
    for image in (a, b):
        x = image.double() * 2 - 1 if signed else image.double()
        x = (x - torch.tensor(lpips.SHIFT)) / torch.tensor(lpips.SCALE)
        x = x.permute(2, 0, 1)[None]
        taps = []
        for i, layer in enumerate(features):
            x = layer(x)
            if i in network.backbone.taps:
                taps.append(x[0].numpy())
        outputs.append(taps)
    network.features.float()
    total = 0.0
    for head, first, second in zip(network.heads, *outputs, strict=True):
        per_pixel = []
        for y in range(first.shape[1]):
            for x_ in range(first.shape[2]):
                u, v = first[:, y, x_], second[:, y, x_]
                u, v = u / np.sqrt((u * u).sum() + 1e-8), v / np.sqrt((v * v).sum() + 1e-8)
                per_pixel.append(float((head.double().numpy() * (u - v) ** 2).sum()))
        total += sum(per_pixel) / len(per_pixel)
    return total


@pytest.fixture
def offline(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> list[str]:
    """No weights anywhere, no network; returns the addresses asked for."""
    asked: list[str] = []

    def no_network(url: str, *_: object, **__: object) -> None:
        asked.append(url)
        raise urllib.error.URLError("no network\nhere")

    monkeypatch.setattr(torch.hub, "download_url_to_file", no_network)
    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path / "hub"))
    monkeypatch.setattr(lpips, "_failed_downloads", {})
    monkeypatch.delenv(lpips.WEIGHTS_VARIABLE, raising=False)
    return asked


@pytest.mark.parametrize(("backbone", "size"), [("alexnet", (40, 52)), ("vgg16", (16, 23))])
@pytest.mark.parametrize("signed", [True, False])
def test_distance_is_the_formula(backbone: str, size: tuple[int, int], signed: bool) -> None:
    network = random_network(backbone)
    a, b = torch.rand(*size, 3), torch.rand(*size, 3)
    expected = plain_lpips(network, a, b, signed)
    assert expected > 1e-3
    assert network(a, b, signed=signed) == pytest.approx(expected, rel=1e-4)


@pytest.mark.parametrize("backbone", BACKBONES)
def test_distance_is_zero_for_equal_images_and_symmetric(backbone: str) -> None:
    network = random_network(backbone)
    a, b = torch.rand(33, 35, 3), torch.rand(33, 35, 3)
    assert network(a, a, signed=True) == 0
    assert network(a, b, signed=True) == pytest.approx(network(b, a, signed=True), rel=1e-5)
    assert network(a, b, signed=True) == network(a, b, signed=True) > 0


@pytest.mark.parametrize("backbone", BACKBONES)
def test_the_smallest_size_is_the_smallest_that_the_layers_take(backbone: str) -> None:
    network = random_network(backbone)
    smallest = BACKBONES[backbone].smallest
    image = torch.rand(smallest, smallest + 9, 3)
    assert network(image, 1 - image, signed=True) > 0
    small = torch.rand(3, smallest - 1, smallest + 9)
    with pytest.raises(RuntimeError):
        network.features(small[None])
    with pytest.raises(MetricUnavailable, match=f"at least {smallest} pixels"):
        network(small.permute(1, 2, 0), small.permute(1, 2, 0), signed=True)


def test_every_variant_has_a_score_and_a_backbone() -> None:
    names = {item.name for item in fields(Scores)}
    assert {name for name in names if name.startswith("lpips")} == set(VARIANTS)
    assert {variant.backbone for variant in VARIANTS.values()} == set(BACKBONES)
    assert lpips.lpips_record("lpips_vgg").input_range == "[-1, 1]"
    assert lpips.lpips_record("lpips_vgg_01").input_range == "[0, 1]"


@pytest.mark.parametrize("name", REFERENCE)
def test_published_weights_give_the_reference_values(name: str) -> None:
    if not SHARED.is_dir():
        pytest.skip(f"no LPIPS weights: {SHARED.name} is not beside the repository")
    images = [
        torch.as_tensor(np.array(imageio.imread(SHARED / "reference" / f"{stem}.png")[..., :3]))
        for stem in ("ex_ref", "ex_p0", "ex_p1")
    ]
    ref, p0, p1 = (image.float().div(255) for image in images)
    variant = VARIANTS[name]
    network = Lpips.load(variant.backbone, SHARED, CPU)
    found = [network(ref, other, signed=variant.signed) for other in (p0, p1)]
    assert found == pytest.approx(REFERENCE[name], abs=1e-4)


@pytest.mark.parametrize("whole_model", [False, True])
def test_both_file_layouts_give_the_same_network(
    whole_model: bool, tmp_path: Path, offline: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    spec, weights = BACKBONES["alexnet"], random_weights("alexnet")
    if whole_model:
        state = {f"features.{key}": value for key, value in weights.items()}
        state["classifier.1.weight"] = torch.zeros(2, 2)
        torch.save(state, tmp_path / spec.torchvision_file)
    else:
        torch.save(weights, tmp_path / spec.features_file)
    monkeypatch.setenv(lpips.WEIGHTS_VARIABLE, str(tmp_path))
    loaded = Lpips.load("alexnet", None, CPU)
    expected = Lpips(spec, weights, lpips._load_heads(spec))
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
    assert offline == []


def test_without_weights_the_reason_is_one_line_and_the_network_is_tried_once(
    offline: list[str],
) -> None:
    for _ in range(2):
        with pytest.raises(LpipsUnavailable, match="no network here") as caught:
            Lpips.load("alexnet", None, CPU)
        assert "\n" not in str(caught.value) and "--lpips-weights" in str(caught.value)
    assert offline == ["https://download.pytorch.org/models/alexnet-owt-7be5be79.pth"]


def test_a_folder_that_does_not_exist_is_not_passed_over(
    tmp_path: Path, offline: list[str]
) -> None:
    with pytest.raises(LpipsUnavailable, match="does not exist"):
        find_weights("alexnet", tmp_path / "none")
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


@pytest.mark.parametrize("damage", ["text", "cut", "list", "other", "shape", "keys", "pickle"])
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
    elif damage == "other":
        torch.save({"0.weight": weights["0.weight"]}, path)
    else:
        torch.save(weights, path)
        path.write_bytes(b"no weights" if damage == "text" else path.read_bytes()[:1000])
    with pytest.raises(LpipsUnavailable, match=path.name) as caught:
        Lpips.load("alexnet", tmp_path, CPU)
    assert "\n" not in str(caught.value)
