"""The backbones of LPIPS: their layers, and where their ImageNet weights are found.

They are looked for, in this order: in the folder given (or the one named by the environment
variable GS_LPIPS_WEIGHTS), in torch hub's cache, on download.pytorch.org. A file is either
torchvision's of the whole network or `gs-scene lpips-weights`' of its feature layers alone: the
digest of those layers tells whether they are the published ones.
"""

import hashlib
import os
import socket
import zipfile
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from http.client import HTTPException
from pathlib import Path

import torch
from torch import Tensor

from gs_densify.errors import ConfigError
from gs_densify.evaluation.metrics.metric import MetricUnavailable

WEIGHTS_VARIABLE = "GS_LPIPS_WEIGHTS"
DOWNLOAD_TIMEOUT = 20.0  # seconds without an answer

Layers = tuple[tuple[int, ...] | str, ...]


class LpipsUnavailable(MetricUnavailable):
    """LPIPS cannot be computed here; the text is the reason, for the result file."""


@dataclass(frozen=True)
class Backbone:
    """A feature network: where its weights are found, its layers, where features are taken."""

    features_file: str
    torchvision_file: str
    head_file: str
    digest: str
    """`digest_of` the published weights of the layers."""
    head_digest: str
    """`digest_of` the heads of LPIPS 0.1."""
    layers: Layers
    """(in, out, kernel, stride, padding) of a convolution; `relu`, or a max pooling."""
    taps: tuple[int, ...]
    smallest: int
    """Pixels of the shortest side below which a layer has no output."""

    @property
    def url(self) -> str:
        """Returns where torchvision publishes the weights."""
        return f"https://download.pytorch.org/models/{self.torchvision_file}"

    @property
    def hash_prefix(self) -> str:
        """Returns the start of the file's SHA-256, which torchvision puts into its name."""
        return Path(self.torchvision_file).stem.rpartition("-")[2]

    @property
    def convolutions(self) -> list[tuple[int, tuple[int, ...]]]:
        """Returns the position and row of each layer that has weights."""
        return [(i, layer) for i, layer in enumerate(self.layers) if isinstance(layer, tuple)]


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
        digest="8eed026b364dd02bdf76d6ca5a9bfaa0efb090d22a8b79ad51186269c08605c7",
        head_digest="885a51c7aba6f7ccf3321ca5f345fbd72201f3347f0a88e807016be494493f5d",
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
        digest="2b36fb93d5999585cb8768685c9bf7c6c5e6a7982cca582d3138b2910433df50",
        head_digest="09016f6c713efecd87823d0ac57b392f1c5c47de4e54122e04c71f80cc4650a3",
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


def find_weights(backbone: str, weights_dir: str | Path | None = None) -> Path:
    """Returns the file with the weights of a backbone, downloading it where need be.

    Raises:
        LpipsUnavailable: where it can be had nowhere, or the folder given does not exist.
    """
    return find_local(backbone, weights_dir) or _download_once(backbone)


def find_local(backbone: str, weights_dir: str | Path | None = None) -> Path | None:
    """Returns the file with the weights of a backbone; None where it would be downloaded.

    Raises:
        LpipsUnavailable: the folder given does not exist.
    """
    folder = _folder_given(weights_dir)
    if folder and not Path(folder).is_dir():
        found = "is no folder" if Path(folder).exists() else "does not exist"
        raise LpipsUnavailable(f"the folder of LPIPS weights {folder} {found}")
    places = ([Path(folder)] if folder else []) + [default_folder()]
    return next((path for place in places if (path := local_weights(backbone, place))), None)


def _folder_given(weights_dir: str | Path | None) -> str | Path | None:
    return weights_dir or os.environ.get(WEIGHTS_VARIABLE)


def default_folder() -> Path:
    """Returns where torch hub keeps downloads; looked into without being named."""
    return Path(torch.hub.get_dir()) / "checkpoints"


def local_weights(backbone: str, folder: Path) -> Path | None:
    """Returns the file in `folder` that has the weights of a backbone."""
    spec = BACKBONES[backbone]
    paths = (folder / spec.features_file, folder / spec.torchvision_file)
    return next((path for path in paths if path.is_file()), None)


_failed_downloads: dict[str, str] = {}


def _download_once(backbone: str) -> Path:
    """Returns a download that failed is not tried again by this process: each try may cost a
    timeout.
    """
    spec = BACKBONES[backbone]
    if backbone not in _failed_downloads:
        try:
            return download_weights(backbone, default_folder())
        except LpipsUnavailable as error:
            _failed_downloads[backbone] = str(error)
    raise LpipsUnavailable(
        f"no weights: {_failed_downloads[backbone]}; run gs-scene lpips-weights, or put "
        f"{spec.features_file} or {spec.torchvision_file} into a folder and name it with "
        f"--lpips-weights or {WEIGHTS_VARIABLE}"
    )


def download_weights(backbone: str, folder: Path) -> Path:
    """Downloads torchvision's file of a backbone, checks the hash in its name; returns its path.

    Raises:
        LpipsUnavailable: where it cannot be had.
    """
    spec = BACKBONES[backbone]
    path = folder / spec.torchvision_file
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with _socket_timeout(DOWNLOAD_TIMEOUT):
            torch.hub.download_url_to_file(spec.url, str(path), spec.hash_prefix)
    except (OSError, HTTPException, RuntimeError) as error:  # RuntimeError: a wrong hash
        reason = " ".join(str(error).split())
        raise LpipsUnavailable(f"{spec.url} could not be downloaded ({reason})") from None
    return path


@contextmanager
def _socket_timeout(seconds: float) -> Iterator[None]:
    """Sets a timeout: torch.hub has none of its own and may wait for ever behind a firewall."""
    before = socket.getdefaulttimeout()
    socket.setdefaulttimeout(seconds)
    try:
        yield
    finally:
        socket.setdefaulttimeout(before)


def load_weights(backbone: str, path: Path) -> dict[str, Tensor]:
    """Reads the state dict of a backbone's layers: keys `0.weight`, `0.bias`, ...

    Other weights than the published ones are read, too, unless the file has torchvision's name.

    Raises:
        LpipsUnavailable: for a file that is damaged or holds something else.
    """
    try:
        if zipfile.is_zipfile(path):  # torch compares no check sums
            with zipfile.ZipFile(path) as file:
                if file.testzip() is not None:
                    raise ValueError("other check sums")
        state = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # of a damaged file torch raises nearly anything
        raise LpipsUnavailable(f"{path} is damaged or no file of weights") from error
    if not isinstance(state, dict) or not all(isinstance(key, str) for key in state):
        raise LpipsUnavailable(f"{path} is no dictionary of weights")
    weights = _strip(state)
    require_shapes(backbone, weights, str(path))
    if not all(bool(value.isfinite().all()) for value in weights.values()):
        raise LpipsUnavailable(f"{path} is damaged: it has weights that are not finite")
    is_known = is_published(backbone, weights) or path.name != BACKBONES[backbone].torchvision_file
    if not is_known and not _has_named_sum(backbone, path):
        raise LpipsUnavailable(f"{path} is damaged: its weights are not those that its name says")
    return weights


def _has_named_sum(backbone: str, path: Path) -> bool:
    digest = hashlib.sha256()
    with path.open("rb") as file:
        for block in iter(lambda: file.read(1 << 20), b""):
            digest.update(block)
    return digest.hexdigest().startswith(BACKBONES[backbone].hash_prefix)


def check_local(backbones: Iterable[str], weights_dir: str | Path | None) -> list[str]:
    """Reads the weights that are here, as a scoring would; nothing is downloaded.

    Returns:
        A remark on each file of weights that are not the published ones, and on each that is not
        in the folder given, nor in torch's cache.

    Raises:
        ConfigError: the folder given does not exist, or a file is damaged.
    """
    remarks = []
    folder = _folder_given(weights_dir)
    try:
        for backbone in backbones:
            path = find_local(backbone, weights_dir)
            if path is None and folder:
                spec = BACKBONES[backbone]
                remarks.append(
                    f"{folder}: has neither {spec.features_file} nor {spec.torchvision_file};"
                    " a download will be tried when views are scored"
                )
            if path is not None and not is_published(backbone, load_weights(backbone, path)):
                remarks.append(
                    f"{path}: not the published weights of {backbone}; LPIPS is comparable only"
                    " with scores of the same ones"
                )
    except LpipsUnavailable as error:
        raise ConfigError(
            f"LPIPS: {error}",
            action="run gs-scene lpips-weights for a folder with good ones, or score without LPIPS"
            " (--evaluation.lpips without a name)",
        ) from None
    return remarks


def is_published(backbone: str, weights: Mapping[str, Tensor]) -> bool:
    """Returns whether these are the weights of torchvision's file."""
    return digest_of(weights) == BACKBONES[backbone].digest


def digest_of(tensors: Mapping[str, Tensor]) -> str:
    """Returns the SHA-256 of names and float32 values, in the order of the names."""
    digest = hashlib.sha256()
    for name in sorted(tensors):
        digest.update(name.encode())
        digest.update(tensors[name].detach().float().contiguous().numpy().astype("<f4").tobytes())
    return digest.hexdigest()


def require_shapes(backbone: str, weights: Mapping[str, Tensor], source: str) -> None:
    """Refuses what does not fit the layers of a backbone, with a LpipsUnavailable."""
    expected: dict[str, tuple[int, ...]] = {}
    for i, layer in BACKBONES[backbone].convolutions:
        channels_in, channels_out, kernel = layer[:3]
        expected[f"{i}.weight"] = (channels_out, channels_in, kernel, kernel)
        expected[f"{i}.bias"] = (channels_out,)
    if {key: tuple(getattr(value, "shape", ())) for key, value in weights.items()} != expected:
        raise LpipsUnavailable(f"{source} does not hold the weights of {backbone}")


def _strip(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Keys of a whole torchvision model to those of its `features`."""
    prefix = "features."
    inside = {key.removeprefix(prefix): state[key] for key in state if key.startswith(prefix)}
    return inside or dict(state)
