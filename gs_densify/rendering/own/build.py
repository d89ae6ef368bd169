"""Compiles the kernels for the GPU at hand, once, and finds them again.

What was built is kept in the folder of caches (`GS_CACHE`) under a name that says from what: the
sources, torch's and CUDA's versions and the GPU's architecture. A build that is there is imported
without asking ninja, and without torch's module for extensions, which takes a second.
"""

from __future__ import annotations

import hashlib
import importlib.util
import os
import shutil
from functools import cache
from pathlib import Path
from types import ModuleType

import torch

from gs_densify import messages
from gs_densify.errors import BackendError
from gs_densify.scene.cache import default_cache

SOURCES = Path(__file__).parent / "cuda"
_FLAGS = ["-O3", "-lineinfo"]


@cache
def kernels() -> ModuleType:
    """Returns the compiled extension.

    Raises:
        BackendError: there is no CUDA compiler, or it fails.
    """
    name = f"gs_densify_own_{_digest()}"
    library = _folder(name) / f"{name}.so"
    return _imported(name, library) if library.is_file() else _built(name)


def unavailable() -> str | None:
    """Returns why the kernels cannot be had here, or None where they can as far as is known."""
    if not torch.cuda.is_available():
        return "torch sees no CUDA device"
    if _compiler() is not None:  # asked first: the other question starts CUDA
        return None
    name = f"gs_densify_own_{_digest()}"
    if (_folder(name) / f"{name}.so").is_file():
        return None
    return "there is no CUDA compiler (nvcc), which builds it at its first use"


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
    major, minor = torch.cuda.get_device_capability()
    text.update(f"{torch.__version__} {torch.version.cuda} {major}.{minor} {_FLAGS}".encode())
    return text.hexdigest()[:16]


def _folder(name: str) -> Path:
    return default_cache() / "kernels" / name


def _imported(name: str, library: Path) -> ModuleType:
    spec = importlib.util.spec_from_file_location(name, library)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def _built(name: str) -> ModuleType:
    if _compiler() is None:
        raise BackendError(
            "Rasteriser 'own' is compiled at its first use and there is no CUDA compiler (nvcc)",
            expected="expected nvcc of the CUDA version that torch was built for",
            action="install the CUDA toolkit, or use --render.rasterizer gsplat",
        )
    from torch.utils.cpp_extension import load

    messages.remark("Compiling the rasteriser for this GPU, once (about a minute)")
    sources = sorted(str(p) for p in SOURCES.iterdir() if p.suffix in (".cu", ".cpp"))
    folder = _folder(name)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        module: ModuleType = load(
            name,
            sources,
            extra_cflags=["-O2"],
            extra_cuda_cflags=_FLAGS,
            build_directory=str(folder),
        )
    except (RuntimeError, OSError) as error:
        raise BackendError(
            f"Rasteriser 'own' could not be compiled: {_first_error(str(error))}",
            expected="expected nvcc, a C++ compiler and ninja that fit torch, and room in"
            f" {folder.parent}",
            action="mend that, or use --render.rasterizer gsplat",
        ) from error
    return module


def _first_error(text: str) -> str:
    """Returns the line of a compiler's output that says what is wrong."""
    lines = [line.strip() for line in text.splitlines() if line.strip()] or ["it does not say why"]
    return next((line for line in lines if "error" in line.lower()), lines[0])
