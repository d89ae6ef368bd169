"""Which code this is: digests of source files, and the commit of a checkout. Standard library only.

Results hold them, so that numbers which different code has made are not taken for one method's.
"""

import ast
import hashlib
import subprocess
from collections.abc import Iterable, Iterator
from functools import cache
from pathlib import Path

PACKAGE = Path(__file__).parent

_NO_NUMBERS = (
    *("cli", "viewer", "bench", "report", "check", "capture", "download", "results"),
    *("strategies/methods", "runs/outputs"),
)
"""Folders whose code changes no number of a run; each strategy has a digest of its own."""


@cache
def package_digest() -> str:
    """Returns a digest of the package's code that moves a number, whatever the strategy."""
    files = (path for path in sorted(PACKAGE.rglob("*.py")) if not _is_left_out(path))
    return digest_of(files, PACKAGE)


def module_digest(path: Path) -> str:
    """Returns a digest of a Python file and of what it imports from beside it, directly or not."""
    return digest_of(sorted(_with_imports(path.resolve())), path.resolve().parent)


def digest_of(files: Iterable[Path], root: Path) -> str:
    """Returns a digest of the names, relative to `root`, and the contents of files in it."""
    found = hashlib.sha256()
    for path in files:
        content = hashlib.sha256(path.read_bytes()).hexdigest()
        found.update(f"{path.relative_to(root).as_posix()} {content}\n".encode())
    return found.hexdigest()[:16]


@cache
def commit() -> str | None:
    """Returns the commit of the checkout that the package lies in, `+` behind it where files of the
    package differ from it; None where it was installed without one.
    """
    try:
        head = _git("rev-parse", "HEAD")
        changed = _git("status", "--porcelain", "--", ".")
    except (OSError, subprocess.CalledProcessError):
        return None
    return f"{head.strip()[:12]}{'+' if changed.strip() else ''}"


def _git(*arguments: str) -> str:
    tracked = ["git", "-C", str(PACKAGE), "ls-files", "--error-unmatch", "__init__.py"]
    subprocess.run(tracked, capture_output=True, check=True)
    done = subprocess.run(
        ["git", "-C", str(PACKAGE), *arguments], capture_output=True, text=True, check=True
    )
    return done.stdout


def _is_left_out(path: Path) -> bool:
    folder = path.parent.relative_to(PACKAGE).as_posix()
    return any(folder == name or folder.startswith(f"{name}/") for name in _NO_NUMBERS)


def _with_imports(path: Path) -> set[Path]:
    found, waiting = set(), [path]
    while waiting:
        current = waiting.pop()
        if current not in found:
            found.add(current)
            waiting += _imported_from_beside(current)
    return found


def _imported_from_beside(path: Path) -> Iterator[Path]:
    """Yields the modules in a file's folder that the file imports, by whatever name."""
    try:
        tree = ast.parse(path.read_bytes())
    except (SyntaxError, ValueError):
        return  # no run has imported it as it is
    for name in _imported_names(tree):
        for part in (name.partition(".")[0], name.rpartition(".")[2]):
            beside = path.parent / f"{part}.py"
            if beside.is_file():
                yield beside


def _imported_names(tree: ast.AST) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield from (node.module or "", *(alias.name for alias in node.names))
