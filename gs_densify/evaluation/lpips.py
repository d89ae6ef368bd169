"""LPIPS (Zhang et al. 2018, The Unreasonable Effectiveness of Deep Features) in its variants.

The linear heads (version 0.1) come with torchmetrics, which takes the backbones from torchvision.
Here the backbones are built from the tables below, so that torchvision is not needed. Their
ImageNet weights are looked for, in this order: in the folder given (or the one named by the
environment variable GS_LPIPS_WEIGHTS), in torch hub's cache, on download.pytorch.org.
Nothing is read or fetched before `Lpips.load`.
"""

import os
import pickle
import socket
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from http.client import HTTPException
from importlib import resources
from importlib.metadata import version
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn.utils import skip_init

from gs_densify.evaluation.metrics import MetricUnavailable, exact_convolutions, require_size
from gs_densify.results import LpipsRecord

WEIGHTS_VARIABLE = "GS_LPIPS_WEIGHTS"
DOWNLOAD_TIMEOUT = 20.0  # seconds without an answer

Layers = tuple[tuple[int, ...] | str, ...]

# Input statistics of the LPIPS scaling layer, for images in [-1, 1].
SHIFT = (-0.030, -0.088, -0.188)
SCALE = (0.458, 0.448, 0.450)


class LpipsUnavailable(MetricUnavailable):
    """LPIPS cannot be computed here; the text is the reason, for the result file."""


@dataclass(frozen=True)
class Backbone:
    """A feature network: where its weights are found, its layers, where features are taken."""

    features_file: str
    torchvision_file: str
    head_file: str
    layers: Layers
    """(in, out, kernel, stride, padding) of a convolution; `relu`, or a max pooling."""
    taps: tuple[int, ...]
    smallest: int
    """Pixels of the shortest side below which a layer has no output."""

    @property
    def url(self) -> str:
        """Where torchvision publishes the weights."""
        return f"https://download.pytorch.org/models/{self.torchvision_file}"

    @property
    def hash_prefix(self) -> str:
        """The start of the file's SHA-256, which torchvision puts into its name."""
        return Path(self.torchvision_file).stem.rpartition("-")[2]


@dataclass(frozen=True)
class Variant:
    """One way to compute LPIPS that is in use."""

    backbone: str
    signed: bool
    """Inputs scaled to [-1, 1], for which the heads were fitted; else left in [0, 1]."""


def _vgg_block(channels_in: int, channels_out: int, convolutions: int) -> Layers:
    layers: list[tuple[int, ...] | str] = []
    for i in range(convolutions):
        layers += [(channels_in if i == 0 else channels_out, channels_out, 3, 1, 1), "relu"]
    return tuple(layers)


BACKBONES = {
    "alexnet": Backbone(
        features_file="alexnet_features.pth",
        torchvision_file="alexnet-owt-7be5be79.pth",
        head_file="alex.pth",
        layers=(
            *((3, 64, 11, 4, 2), "relu", "pool3"),
            *((64, 192, 5, 1, 2), "relu", "pool3"),
            *((192, 384, 3, 1, 1), "relu"),
            *((384, 256, 3, 1, 1), "relu"),
            *((256, 256, 3, 1, 1), "relu"),
        ),
        taps=(1, 4, 7, 9, 11),
        smallest=31,
    ),
    "vgg16": Backbone(
        features_file="vgg16_features.pth",
        torchvision_file="vgg16-397923af.pth",
        head_file="vgg.pth",
        layers=(
            *(*_vgg_block(3, 64, 2), "pool2"),
            *(*_vgg_block(64, 128, 2), "pool2"),
            *(*_vgg_block(128, 256, 3), "pool2"),
            *(*_vgg_block(256, 512, 3), "pool2"),
            *_vgg_block(512, 512, 3),
        ),
        taps=(3, 8, 15, 22, 29),
        smallest=16,
    ),
}

VARIANTS = {
    "lpips_alex": Variant("alexnet", signed=True),
    "lpips_vgg": Variant("vgg16", signed=True),
    # The inputs that Inria's code feeds: VGG in [0, 1], where the heads expect [-1, 1].
    "lpips_vgg_01": Variant("vgg16", signed=False),
}


def lpips_record(name: str) -> LpipsRecord:
    """Say how the variant `name` is computed, for the protocol of a result file."""
    variant = VARIANTS[name]
    return LpipsRecord(
        network=variant.backbone,
        input_range="[-1, 1]" if variant.signed else "[0, 1]",
        package=f"gs_densify, linear heads 0.1 of torchmetrics {version('torchmetrics')}",
    )


class Lpips(nn.Module):
    """The distance of two images in the feature space of one backbone."""

    def __init__(
        self, backbone: Backbone, weights: Mapping[str, Tensor], heads: list[Tensor]
    ) -> None:
        """Build the network.

        Args:
            backbone: its layers.
            weights: state dict of the layers, keys `0.weight`, `0.bias`, ...
            heads: for each tap the weight [C] of each channel.
        """
        super().__init__()
        self.backbone = backbone
        self.features = nn.Sequential(*(_layer(kind) for kind in backbone.layers))
        self.features.load_state_dict(dict(weights))
        self.heads = nn.ParameterList(nn.Parameter(head.reshape(-1)) for head in heads)
        self.shift: Tensor
        self.scale: Tensor
        self.register_buffer("shift", torch.tensor(SHIFT))
        self.register_buffer("scale", torch.tensor(SCALE))
        self.requires_grad_(False)
        self.eval()

    @classmethod
    def load(cls, backbone: str, weights_dir: str | Path | None, device: torch.device) -> "Lpips":
        """Build the network of that name with its published weights.

        Raises:
            LpipsUnavailable: where the weights cannot be had.
        """
        spec = BACKBONES[backbone]
        path = find_weights(backbone, weights_dir)
        weights = _load_state(path)
        try:
            return cls(spec, _strip(weights), _load_heads(spec)).to(device)
        except RuntimeError as error:  # of load_state_dict
            raise LpipsUnavailable(f"{path} does not hold the weights of {backbone}") from error

    @torch.no_grad()
    def forward(self, image: Tensor, target: Tensor, *, signed: bool) -> float:
        """Return the distance of two images [H, W, 3] in [0, 1] (eq. 1 of the paper).

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


def _layer(kind: tuple[int, ...] | str) -> nn.Module:
    if kind == "relu":
        return nn.ReLU()
    if isinstance(kind, str):
        return nn.MaxPool2d(int(kind.removeprefix("pool")), stride=2)
    channels_in, channels_out, kernel, stride, padding = kind
    # The weights are loaded right after; drawing random ones takes longer than loading.
    return skip_init(nn.Conv2d, channels_in, channels_out, kernel, stride, padding)


def _unit(features: Tensor) -> Tensor:
    """Scale the channels of each pixel to unit length; the epsilon is torchmetrics'."""
    return features / features.square().sum(1, keepdim=True).add(1e-8).sqrt()


def find_weights(backbone: str, weights_dir: str | Path | None = None) -> Path:
    """Return the file with the weights of a backbone, downloading it where need be.

    Raises:
        LpipsUnavailable: where it can be had nowhere, or the folder given does not exist.
    """
    spec = BACKBONES[backbone]
    folder = weights_dir or os.environ.get(WEIGHTS_VARIABLE)
    names = (spec.features_file, spec.torchvision_file)
    if folder:
        if not Path(folder).is_dir():
            raise LpipsUnavailable(f"the folder of LPIPS weights {folder} does not exist")
        for name in names:
            if (Path(folder) / name).is_file():
                return Path(folder) / name
    cached = Path(torch.hub.get_dir()) / "checkpoints" / spec.torchvision_file
    if not cached.is_file():
        _download(spec, cached)
    return cached


_failed_downloads: dict[str, str] = {}


def _download(spec: Backbone, path: Path) -> None:
    """A download that failed is not tried again by this process: each try may cost a timeout."""
    if spec.url not in _failed_downloads:
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            with _socket_timeout(DOWNLOAD_TIMEOUT):
                torch.hub.download_url_to_file(spec.url, str(path), spec.hash_prefix)
            return
        except (OSError, HTTPException, RuntimeError) as error:  # RuntimeError: a wrong hash
            _failed_downloads[spec.url] = " ".join(str(error).split())
    raise LpipsUnavailable(
        f"no weights: {spec.url} could not be downloaded ({_failed_downloads[spec.url]}); put "
        f"{spec.features_file} or {spec.torchvision_file} into a folder and name it with "
        f"--lpips-weights or {WEIGHTS_VARIABLE}"
    )


@contextmanager
def _socket_timeout(seconds: float) -> Iterator[None]:
    """torch.hub has no timeout of its own and may wait for ever behind a firewall."""
    before = socket.getdefaulttimeout()
    socket.setdefaulttimeout(seconds)
    try:
        yield
    finally:
        socket.setdefaulttimeout(before)


def _load_state(path: Path) -> dict[str, Tensor]:
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
    except (OSError, RuntimeError, EOFError, ValueError, pickle.UnpicklingError) as error:
        raise LpipsUnavailable(f"{path} is damaged or no file of weights") from error
    if not isinstance(state, dict) or not all(isinstance(key, str) for key in state):
        raise LpipsUnavailable(f"{path} is no dictionary of weights")
    return state


def _strip(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Keys of a whole torchvision model to those of its `features`."""
    prefix = "features."
    inside = {key.removeprefix(prefix): state[key] for key in state if key.startswith(prefix)}
    return inside or dict(state)


def _load_heads(spec: Backbone) -> list[Tensor]:
    # Located as a file beside torchmetrics' own LPIPS, which is where its wheels put it.
    file = resources.files("torchmetrics") / "functional/image/lpips_models" / spec.head_file
    with resources.as_file(file) as path:
        state = torch.load(path, map_location="cpu", weights_only=True)
    return [state[f"lin{i}.model.1.weight"].flatten() for i in range(len(spec.taps))]
