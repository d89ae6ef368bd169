import subprocess
import sys
from importlib.machinery import ModuleSpec
from importlib.metadata import PackageNotFoundError
from pathlib import Path

import imageio.v3 as imageio
import numpy as np
import pytest
import torch
from random_lpips import random_network
from torch import Tensor

from gs_densify.evaluation.lpips_weights import LpipsUnavailable
from gs_densify.evaluation.metrics import MetricUnavailable, lpips
from gs_densify.evaluation.metrics.lpips import BACKBONES, VARIANTS, Lpips
from gs_densify.results import STANDARD_METRICS

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
    names = set(STANDARD_METRICS)
    assert {name for name in names if name.startswith("lpips")} == set(VARIANTS)
    assert {variant.backbone for variant in VARIANTS.values()} == set(BACKBONES)
    assert lpips.lpips_record("lpips_vgg").input_range == "[-1, 1]"
    assert lpips.lpips_record("lpips_vgg_01").input_range == "[0, 1]"


@pytest.mark.parametrize("backbone", BACKBONES)
def test_kernels_are_loaded_for_the_convolutions_of_the_backbone(
    backbone: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """cuDNN's convolution, which a CPU lacks, takes the settings that scores are computed with."""
    seen = []

    def convolve(x: Tensor, weight: Tensor, padding: list[int], stride: list[int], *rest: object):
        assert rest == ([1, 1], 1, False, True, False)
        seen.append((weight.shape[1], weight.shape[0], weight.shape[2], stride[0], padding[0]))
        return torch.conv2d(x, weight, padding=padding, stride=stride)

    monkeypatch.setattr(torch, "cudnn_convolution", convolve)
    monkeypatch.setattr(lpips, "_COMMON_SIZE", (40, 50))
    lpips.load_kernels(backbone, CPU)
    assert seen == [layer for _, layer in BACKBONES[backbone].convolutions]


@pytest.mark.gpu
@pytest.mark.parametrize("backbone", BACKBONES)
def test_kernels_are_loaded_without_touching_the_settings(backbone: str) -> None:
    cudnn = torch.backends.cudnn
    before = cudnn.enabled, cudnn.benchmark, cudnn.deterministic, cudnn.allow_tf32
    lpips.load_kernels(backbone, torch.device("cuda"))
    torch.cuda.synchronize()
    assert (cudnn.enabled, cudnn.benchmark, cudnn.deterministic, cudnn.allow_tf32) == before


def test_the_heads_are_found_without_importing_torchmetrics() -> None:
    """Its import takes seconds, and fails beside a torchvision that does not fit the torch."""
    code = (
        "import sys, torch\n"
        "from gs_densify.evaluation.metrics.lpips import BACKBONES, _load_heads, lpips_record\n"
        "heads = {name: _load_heads(spec) for name, spec in BACKBONES.items()}\n"
        "assert [len(head) for head in heads['alexnet']] == [64, 192, 384, 256, 256]\n"
        "assert [len(head) for head in heads['vgg16']] == [64, 128, 256, 512, 512]\n"
        "assert all((head >= 0).all() for one in heads.values() for head in one)\n"
        "assert lpips_record('lpips_alex').package.split()[-1][0].isdigit()\n"
        "assert not {'torchmetrics', 'torchvision', 'scipy.signal'} & set(sys.modules)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("found", [None, "elsewhere/torchmetrics/__init__.py"])
def test_heads_that_are_missing_are_a_reason(
    found: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    spec = None if found is None else ModuleSpec("torchmetrics", None, origin=found)
    monkeypatch.setattr(lpips, "find_spec", lambda name: spec)
    with pytest.raises(LpipsUnavailable, match=r"torchmetrics.* install (it|torchmetrics) again"):
        lpips._load_heads(BACKBONES["alexnet"])


def test_a_protocol_can_be_written_without_torchmetrics(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(name: str) -> str:
        raise PackageNotFoundError(name)

    monkeypatch.setattr(lpips, "version", missing)
    assert lpips.lpips_record("lpips_alex").package.endswith("torchmetrics (not installed)")


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
    assert network.unknown_weights is None
    found = [network(ref, other, signed=variant.signed) for other in (p0, p1)]
    assert found == pytest.approx(REFERENCE[name], abs=1e-4)
