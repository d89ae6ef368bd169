"""Commands in processes that have begun with everything imported: forks of one server.

Importing torch takes longer than most of what tests ask of a command. A fork has its own memory,
arguments, environment, folder, output and exit code; what it shares with the others is what Python
does at its start: its hash seed, its encoding, and which modules are loaded.
"""

import importlib
import multiprocessing
import os
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path

_FORKS = multiprocessing.get_context("forkserver")
_FORKS.set_forkserver_preload(
    [
        "gs_densify.cli.summary",
        "gs_densify.runs.evaluate",
        "gs_densify.runs.forecast",
        "gs_densify.runs.train",
        "tyro",
    ]
)


def run_fork(
    program: str,
    module: str,
    arguments: list[str],
    *,
    cwd: Path,
    environment: Mapping[str, str],
    timeout: float,
) -> subprocess.CompletedProcess:
    """Call `main` of a module as its script would, and wait for the end of the process."""
    with tempfile.TemporaryDirectory() as folder:
        streams = [Path(folder) / name for name in ("stdout", "stderr")]
        for stream in streams:
            stream.touch()
        process = _FORKS.Process(
            target=_become,
            args=(module, [program, *arguments], str(cwd), dict(environment), *map(str, streams)),
        )
        process.start()
        process.join(timeout)
        if process.exitcode is None:
            process.kill()
            process.join()
            raise subprocess.TimeoutExpired([program, *arguments], timeout)
        return subprocess.CompletedProcess(
            [program, *arguments], process.exitcode, *(stream.read_text() for stream in streams)
        )


def _become(
    module: str, argv: list[str], cwd: str, environment: dict[str, str], stdout: str, stderr: str
) -> None:
    for number, path in ((1, stdout), (2, stderr)):
        os.dup2(os.open(path, os.O_WRONLY), number)
    if (paths := environment.get("PYTHONPATH")) != os.environ.get("PYTHONPATH"):
        _import_anew(paths or "")
    os.environ.clear()
    os.environ.update(environment)
    os.chdir(cwd)
    sys.argv = argv
    importlib.import_module(module).main()


def _import_anew(paths: str) -> None:
    """Forget the package, which looks for other packages' extensions while it is imported."""
    sys.path[:0] = paths.split(os.pathsep)
    for name in [name for name in sys.modules if name.split(".")[0] == "gs_densify"]:
        del sys.modules[name]
