"""LPIPS (Zhang et al. 2018, The Unreasonable Effectiveness of Deep Features) in its variants.

The linear heads (version 0.1) lie among the files of torchmetrics, which is not imported for them:
it would import torchvision, where that is installed, and take many seconds. The backbones are built
from the tables of `lpips_weights`, without torchvision. Nothing is read or fetched before
`Lpips.load`.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn.functional import conv2d

from gs_densify.evaluation.lpips_weights import (
    BACKBONES,
    Backbone,
    LpipsUnavailable,
    digest_of,
    find_weights,
    is_published,
    load_weights,
)
from gs_densify.evaluation.metrics.checks import (
    exact_convolutions,
    require_size,
    require_valid,
)
from gs_densify.evaluation.metrics.metric import Compute, Setting
from gs_densify.results import LpipsRecord

# Input statistics of the LPIPS scaling layer, for images in [-1, 1].
SHIFT = (-0.030, -0.088, -0.188)
SCALE = (0.458, 0.448, 0.450)

_COMMON_SIZE = (480, 640)
"""Height and width."""


@dataclass(frozen=True)
class Variant:
    """One way to compute LPIPS that is in use."""

    backbone: str
    signed: bool
    """Inputs scaled to [-1, 1], for which the heads were fitted; else left in [0, 1]."""


VARIANTS = {
    "lpips_alex": Variant("alexnet", signed=True),
    "lpips_vgg": Variant("vgg16", signed=True),
    # The inputs that Inria's code feeds: VGG in [0, 1], where the heads expect [-1, 1].
    "lpips_vgg_01": Variant("vgg16", signed=False),
}


def _make(name: str, setting: Setting) -> Compute:
    """Returns the variant `name`; those of one backbone share its network.

    Raises:
        LpipsUnavailable: where the weights or the heads cannot be had.
    """
    variant = VARIANTS[name]
    key = f"lpips {variant.backbone}"
    if key not in setting.shared:
        setting.shared[key] = Lpips.load(variant.backbone, setting.lpips_weights, setting.device)
    network: Lpips = setting.shared[key]
    if network.unknown_weights is not None:
        setting.unknown_weights[name] = network.unknown_weights

    def compute(image: Tensor, target: Tensor, valid_mask: Tensor | None) -> float:
        if valid_mask is not None:
            require_valid(valid_mask)
        return network(image, target, signed=variant.signed)

    return compute


make_alex = partial(_make, "lpips_alex")
make_vgg = partial(_make, "lpips_vgg")
make_vgg_01 = partial(_make, "lpips_vgg_01")


def lpips_record(name: str, unknown_weights: str | None = None) -> LpipsRecord:
    """Says how the variant `name` is computed, for the protocol of a result file, with the digest
    of its weights where they are not the published ones.
    """
    variant = VARIANTS[name]
    return LpipsRecord(
        network=variant.backbone,
        input_range="[-1, 1]" if variant.signed else "[0, 1]",
        package=f"gs_densify, linear heads 0.1 of torchmetrics {_heads_version()}",
        weights=unknown_weights,
    )


def _heads_version() -> str:
    try:
        return version("torchmetrics")
    except PackageNotFoundError:
        return "(not installed)"  # the scores are null, with the reason


class Lpips(nn.Module):
    """The distance of two images in the feature space of one backbone."""

    def __init__(
        self, backbone: Backbone, weights: Mapping[str, Tensor], heads: list[Tensor]
    ) -> None:
        """Builds the network.

        Args:
            backbone: its layers.
            weights: state dict of the layers, keys `0.weight`, `0.bias`, ...
            heads: for each tap the weight [C] of each channel.
        """
        super().__init__()
        self.backbone = backbone
        self.unknown_weights: str | None = None
        """Digest of weights that are not the published ones."""
        layers = (_layer(i, kind, weights) for i, kind in enumerate(backbone.layers))
        self.features = nn.Sequential(*layers)
        self.heads = nn.ParameterList(nn.Parameter(head.reshape(-1)) for head in heads)
        self.shift: Tensor
        self.scale: Tensor
        self.register_buffer("shift", torch.tensor(SHIFT))
        self.register_buffer("scale", torch.tensor(SCALE))
        self.requires_grad_(False)
        self.eval()

    @classmethod
    def load(cls, backbone: str, weights_dir: str | Path | None, device: torch.device) -> "Lpips":
        """Builds the network of that name with the weights that are found.

        Raises:
            LpipsUnavailable: where the weights or the heads cannot be had.
        """
        spec = BACKBONES[backbone]
        weights = load_weights(backbone, find_weights(backbone, weights_dir))
        network = cls(spec, weights, _load_heads(spec)).to(device)
        if not is_published(backbone, weights):
            network.unknown_weights = digest_of(weights)[:16]
        return network

    @torch.no_grad()
    def forward(self, image: Tensor, target: Tensor, *, signed: bool) -> float:
        """Returns the distance of two images [H, W, 3] in [0, 1] (eq. 1 of the paper).

        Raises:
            MetricUnavailable: where the images are too small for the network.
        """
        require_size(image, self.backbone.smallest, "LPIPS")
        pair = torch.stack([image, target]).float().permute(0, 3, 1, 2)
        pair = 2 * pair - 1 if signed else pair
        total = 0.0
        with exact_convolutions():
            # One image at a time: convolutions of another batch size may differ in the last bits.
            taps = zip(*(list(self._taps(image[None])) for image in pair), strict=True)
            for head, (first, second) in zip(self.heads, taps, strict=True):
                difference = (_unit(first) - _unit(second)).square()
                total += torch.einsum("c,nchw->nhw", head, difference).double().mean().item()
        return total

    def _taps(self, batch: Tensor) -> Iterator[Tensor]:
        x = (batch - self.shift[:, None, None]) / self.scale[:, None, None]
        for i, layer in enumerate(self.features):
            x = layer(x)
            if i in self.backbone.taps:
                yield x


@torch.no_grad()
def load_kernels(backbone: str, device: torch.device) -> None:
    """Lets CUDA load cuDNN and its kernels for the layers of a backbone, on zeros of a common size.

    The settings of `exact_convolutions` are given with each call: set for the process, they would
    count for the other threads, too.
    """
    x = torch.zeros(1, 3, *_COMMON_SIZE, device=device)
    for kind in BACKBONES[backbone].layers:
        if not isinstance(kind, tuple):
            x = _without_weights(kind)(x)
            continue
        channels_in, channels_out, kernel, stride, padding = kind
        weight = torch.zeros(channels_out, channels_in, kernel, kernel, device=device)
        x = torch.cudnn_convolution(
            x, weight, [padding] * 2, [stride] * 2, [1, 1], 1, False, True, False
        )  # one group; not benchmark, deterministic, not allow_tf32


class _Convolution(nn.Module):
    """nn.Conv2d with given weights, made without the random ones that it would draw first.

    torch's own ways to leave these out import a package for symbolic mathematics.
    """

    def __init__(self, weight: Tensor, bias: Tensor, stride: int, padding: int) -> None:
        super().__init__()
        self.weight, self.bias = nn.Parameter(weight.clone()), nn.Parameter(bias.clone())
        self.stride, self.padding = stride, padding

    def forward(self, x: Tensor) -> Tensor:
        return conv2d(x, self.weight, self.bias, self.stride, self.padding)


def _layer(position: int, kind: tuple[int, ...] | str, weights: Mapping[str, Tensor]) -> nn.Module:
    if isinstance(kind, str):
        return _without_weights(kind)
    weight, bias = weights[f"{position}.weight"], weights[f"{position}.bias"]
    return _Convolution(weight, bias, stride=kind[3], padding=kind[4])


def _without_weights(kind: str) -> nn.Module:
    if kind == "relu":
        return nn.ReLU()
    return nn.MaxPool2d(int(kind.removeprefix("pool")), stride=2)


def _unit(features: Tensor) -> Tensor:
    """Scales the channels of each pixel to unit length; the epsilon is torchmetrics'."""
    return features / features.square().sum(1, keepdim=True).add(1e-8).sqrt()


def _load_heads(spec: Backbone) -> list[Tensor]:
    """Returns weights [C] of each tap's channels."""
    path = _heads_folder() / spec.head_file
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
        heads = [state[f"lin{i}.model.1.weight"].flatten() for i in range(len(spec.taps))]
        if digest_of(state) != spec.head_digest:
            raise ValueError("other heads")
        return heads
    except Exception as error:  # of a damaged file torch raises nearly anything
        raise LpipsUnavailable(
            f"{path} is missing or does not hold the heads of LPIPS 0.1; install torchmetrics again"
        ) from error


def _heads_folder() -> Path:
    """Returns where torchmetrics' wheels put the heads, beside its own LPIPS."""
    package = find_spec("torchmetrics")  # looks for the package, and runs nothing of it
    if package is None or package.origin is None:
        raise LpipsUnavailable("torchmetrics, which has its heads, is missing; install it again")
    return Path(package.origin).parent / "functional/image/lpips_models"
