"""Compiles the kernels for the GPU at hand, once, and finds them again.

What was built is kept under torch's folder of extensions (`TORCH_EXTENSIONS_DIR`), under a name
that says from what: the sources, torch's and CUDA's versions and the GPU's architecture. A build
that is there is imported without asking ninja, which takes a second.
"""

from __future__ import annotations

import hashlib
import importlib.util
import shutil
from functools import cache
from pathlib import Path
from types import ModuleType

import torch

from gs_densify import messages
from gs_densify.errors import BackendError

SOURCES = Path(__file__).parent / "cuda"
_FLAGS = ["-O3", "--expt-relaxed-constexpr", "-lineinfo"]


@cache
def kernels() -> ModuleType:
    """Returns the compiled extension.

    Raises:
        BackendError: there is no CUDA compiler, or it fails.
    """
    name = f"gs_densify_own_{_digest()}"
    folder = _folder(name)
    library = folder / f"{name}.so"
    if library.is_file():
        return _imported(name, library)
    return _built(name)


def unavailable() -> str | None:
    """Returns why the kernels cannot be had here, or None where they can."""
    if not torch.cuda.is_available():
        return "torch sees no CUDA device"
    if (_folder(name := f"gs_densify_own_{_digest()}") / f"{name}.so").is_file():
        return None
    if _compiler() is None:
        return "there is no CUDA compiler (nvcc), which builds it at its first use"
    return None


def _compiler() -> str | None:
    from torch.utils.cpp_extension import CUDA_HOME

    own = Path(CUDA_HOME or "/nonexistent") / "bin" / "nvcc"
    return str(own) if own.is_file() else shutil.which("nvcc")


def _digest() -> str:
    """Returns a name for what decides the build, of 16 characters."""
    text = hashlib.sha256()
    for path in sorted(SOURCES.iterdir()):
        text.update(path.name.encode() + b"\0" + path.read_bytes())
    major, minor = torch.cuda.get_device_capability()
    text.update(f"{torch.__version__} {torch.version.cuda} {major}.{minor} {_FLAGS}".encode())
    return text.hexdigest()[:16]


def _folder(name: str) -> Path:
    from torch.utils.cpp_extension import _get_build_directory

    return Path(_get_build_directory(name, verbose=False))


def _imported(name: str, library: Path) -> ModuleType:
    spec = importlib.util.spec_from_file_location(name, library)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def _built(name: str) -> ModuleType:
    from torch.utils.cpp_extension import load

    if _compiler() is None:
        raise BackendError(
            "Rasteriser 'own' is compiled at its first use and there is no CUDA compiler (nvcc)",
            expected="expected nvcc of the CUDA version that torch was built for",
            action="install the CUDA toolkit, or use --render.rasterizer gsplat",
        )
    messages.remark("Compiling the rasteriser for this GPU, once (about a minute)")
    sources = sorted(str(p) for p in SOURCES.iterdir() if p.suffix in (".cu", ".cpp"))
    try:
        module: ModuleType = load(name, sources, extra_cflags=["-O2"], extra_cuda_cflags=_FLAGS)
    except (RuntimeError, OSError) as error:
        raise BackendError(
            f"Rasteriser 'own' could not be compiled: {_first_error(str(error))}",
            expected="expected nvcc, a C++ compiler and ninja that fit torch",
            action="mend that, or use --render.rasterizer gsplat",
        ) from error
    return module


def _first_error(text: str) -> str:
    """Returns the line of a compiler's output that says what is wrong."""
    lines = text.splitlines()
    return next((line.strip() for line in lines if "error" in line.lower()), lines[0])
