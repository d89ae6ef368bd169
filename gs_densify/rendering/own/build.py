"""Compiles the kernels for the GPU at hand, once, and finds them again.

What was built is kept in the folder of caches (`GS_CACHE`) under a name that says from what: the
sources, torch's and CUDA's versions and the GPU's architecture. A build that is there is imported
without asking ninja, and without torch's module for extensions, which takes a second.
"""

from __future__ import annotations

import fcntl
import hashlib
import importlib.util
import os
import platform
import shutil
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from types import ModuleType

import torch

from gs_densify import messages
from gs_densify.errors import BackendError
from gs_densify.scene.cache import default_cache

SOURCES = Path(__file__).parent / "cuda"
LEAST_CAPABILITY = (8, 0)
"""Sums over a warp in one instruction, which the kernels use, came with it."""

_FLAGS = ["-O3", "-lineinfo"]
_ARCHITECTURES = "TORCH_CUDA_ARCH_LIST"


@cache
def kernels() -> ModuleType:
    """Returns the compiled extension.

    Raises:
        BackendError: there is no CUDA compiler, or it fails.
    """
    name = f"gs_densify_own_{_digest()}"
    return _kept(name) or _built(name)


def unavailable() -> str | None:
    """Returns why the kernels cannot be had here, or None where they can as far as is known."""
    if not torch.cuda.is_available():
        return "torch sees no CUDA device"
    capability = torch.cuda.get_device_capability()
    if capability < LEAST_CAPABILITY:
        found, least = (".".join(map(str, one)) for one in (capability, LEAST_CAPABILITY))
        return f"the GPU has compute capability {found}, where {least} is the least"
    if _compiler() is None and not _library(f"gs_densify_own_{_digest()}").is_file():
        return "there is no CUDA compiler (nvcc), which builds it at its first use"
    return None


def _compiler() -> Path | None:
    """Returns nvcc as torch looks for it: in CUDA_HOME, on the PATH, or where CUDA is put."""
    home = os.environ.get("CUDA_HOME") or os.environ.get("CUDA_PATH")
    on_path = shutil.which("nvcc")
    places = [Path(home) / "bin" / "nvcc"] if home else []
    places += [Path(on_path)] if on_path else []
    places += [Path("/usr/local/cuda/bin/nvcc")]
    return next((place for place in places if place.is_file()), None)


def _digest() -> str:
    """Returns a name for what decides the build, of 16 characters."""
    text = hashlib.sha256()
    for path in sorted(SOURCES.iterdir()):
        text.update(path.name.encode() + b"\0" + path.read_bytes())
    python = f"{sys.implementation.cache_tag} {platform.machine()}"
    built_for = f"{torch.__version__} {torch.version.cuda} {_capability()} {_FLAGS}"
    text.update(f"{python} {built_for}".encode())
    return text.hexdigest()[:16]


def _capability() -> str:
    """Returns the compute capability of the GPU, as `9.0`."""
    return ".".join(map(str, torch.cuda.get_device_capability()))


def _library(name: str) -> Path:
    return default_cache() / "kernels" / name / f"{name}.so"


def _kept(name: str) -> ModuleType | None:
    """Returns what was built before, or None: half of a file counts for nothing."""
    library = _library(name)
    if not library.is_file():
        return None
    spec = importlib.util.spec_from_file_location(name, library)
    assert spec is not None and spec.loader is not None
    try:
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
    except ImportError:
        return None
    return module


def _built(name: str) -> ModuleType:
    if _compiler() is None:
        raise BackendError(
            "Rasteriser 'own' is compiled at its first use and there is no CUDA compiler (nvcc)",
            expected="expected nvcc of the CUDA version that torch was built for",
            action="install the CUDA toolkit, or use rasteriser gsplat",
        )
    folder = _library(name).parent
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with _one_at_a_time(folder):
            return _kept(name) or _compiled(name)
    except (RuntimeError, OSError) as error:
        raise BackendError(
            f"Rasteriser 'own' could not be compiled: {_first_error(str(error))}",
            expected="expected nvcc, a C++ compiler and ninja that fit torch, and room in"
            f" {folder.parent}",
            action="mend that, or use rasteriser gsplat",
        ) from error


def _compiled(name: str) -> ModuleType:
    """Builds in a folder that nobody else knows, so that what a killed process leaves is in no
    one's way, and puts the library into its place whole.
    """
    from torch.utils.cpp_extension import load

    messages.remark("Compiling the rasteriser for this GPU, once (about a minute)")
    sources = sorted(str(p) for p in SOURCES.iterdir() if p.suffix in (".cu", ".cpp"))
    library = _library(name)
    with TemporaryDirectory(prefix="build_", dir=library.parent) as place, _for_this_gpu():
        module: ModuleType = load(
            name,
            sources,
            extra_cflags=["-O2"],
            extra_cuda_cflags=_FLAGS,
            build_directory=place,
        )
        os.replace(Path(place) / library.name, library)
    return module


@contextmanager
def _one_at_a_time(folder: Path) -> Iterator[None]:
    """Waits for other processes that build; the system frees the lock of one that dies."""
    with (folder / "lock").open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


@contextmanager
def _for_this_gpu() -> Iterator[None]:
    """Names the GPU's own architecture to torch, whatever the environment names."""
    before = os.environ.get(_ARCHITECTURES)
    os.environ[_ARCHITECTURES] = _capability()
    try:
        yield
    finally:
        if before is None:
            del os.environ[_ARCHITECTURES]
        else:
            os.environ[_ARCHITECTURES] = before


def _first_error(text: str) -> str:
    """Returns the line of a compiler's output that says what is wrong."""
    lines = [line.strip() for line in text.splitlines() if line.strip()] or ["it does not say why"]
    return next((line for line in lines if "error" in line.lower()), lines[0])
