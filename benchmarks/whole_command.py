"""Where each second of gs-train goes, from the command to the last file, in fresh processes.

python benchmarks/whole_command.py [--runs N] [--cold] [--record FILE] FLAGS OF GS-TRAIN...

A table of seconds: the parts of `wall_time` (docs/results.md); `outside`, what the process takes
before and after them (starting Python, results.json, leaving CUDA); `wall`, all of it by a clock
outside; `not training`, all but the steps after the first; and the MB that were read from the disk,
which are few where the files were in the page cache. With --cold the first run finds neither
Python's packages nor the scene there, and Triton's kernels not compiled.
"""

import argparse
import json
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from gs_densify.results import load_results
from gs_densify.scene.presets import resolve_scene

PACKAGES = ("torch", "nvidia", "triton", "gsplat", "pycolmap", "scipy", "numpy", "PIL")


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--cold", action="store_true")
    parser.add_argument("--record", type=Path, help="append a JSON line for each run")
    arguments, flags = parser.parse_known_args()
    # Beside the code, not in /tmp, which may be memory: files are waited for.
    with tempfile.TemporaryDirectory(dir=".", prefix=".whole_command-") as folder:
        environment = dict(os.environ)
        if arguments.cold:
            environment["TRITON_CACHE_DIR"] = str(Path(folder).resolve() / "triton")
            evict(files_of(PACKAGES, flags))
        rows = []
        for number in range(arguments.runs):
            rows.append(measure(flags, Path(folder) / str(number), environment))
            if arguments.record is not None:
                with arguments.record.open("a") as file:
                    file.write(f"{json.dumps({'run': number + 1, **rows[-1]})}\n")
    print(table(rows))


def measure(flags: list[str], out: Path, environment: dict[str, str]) -> dict[str, Any]:
    """Run gs-train once; its parts and what they leave out."""
    read = resource.getrusage(resource.RUSAGE_CHILDREN).ru_inblock
    started = time.perf_counter()
    done = subprocess.run(
        [sys.executable, "-m", "gs_densify.cli.train", *flags, "--out", str(out)],
        env=environment,
        capture_output=True,
        text=True,
    )
    wall = time.perf_counter() - started
    if done.returncode:
        sys.exit(done.stderr or done.stdout)
    results = load_results(out / "results.json")
    parts = results.wall_time.parts
    return {
        **{name: round(seconds, 3) for name, seconds in parts.items()},
        "outside": round(wall - results.wall_time.total, 3),
        "wall": round(wall, 3),
        "not training": round(wall - parts["train"], 3),
        "MB read": (resource.getrusage(resource.RUSAGE_CHILDREN).ru_inblock - read) * 512 // 10**6,
        "scores": {"psnr": results.scores.psnr, "lpips_alex": results.scores.lpips_alex},
        "hardware": results.hardware.gpu or f"{results.hardware.cpu_count} processors",
        "torch": results.versions["torch"],
        "command": " ".join(["gs-train", *flags]),
    }


def table(rows: list[dict[str, Any]]) -> str:
    """The runs one below the other; the last row has the medians of all but the first."""
    names = [name for name, value in rows[0].items() if isinstance(value, (int, float))]
    lines = [[str(i + 1), *(f"{row[name]:.2f}" for name in names)] for i, row in enumerate(rows)]
    if len(rows) > 2:
        columns = ([row[name] for row in rows[1:]] for name in names)
        lines.append(["median but 1", *(f"{statistics.median(column):.2f}" for column in columns)])
    lines.insert(0, ["run", *names])
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    return "\n".join(
        "  ".join(cell.rjust(width) for cell, width in zip(line, widths, strict=True))
        for line in lines
    )


def files_of(packages: Iterable[str], flags: list[str]) -> Iterable[Path]:
    """The files of Python packages, and of the scene that the flags name."""
    early = argparse.ArgumentParser(add_help=False)
    early.add_argument("--scene", required=True)
    early.add_argument("--data-root", type=Path)
    scene = early.parse_known_args(flags)[0]
    folders = [resolve_scene(scene.scene, data_root=scene.data_root, downscale=1).root]
    for package in packages:
        spec = find_spec(package)
        folders += [] if spec is None else map(Path, spec.submodule_search_locations or ())
    return (path for folder in folders for path in folder.rglob("*") if path.is_file())


def evict(paths: Iterable[Path]) -> None:
    """Ask the system to drop files from its page cache, which needs no rights."""
    for path in paths:
        descriptor = os.open(path, os.O_RDONLY)
        os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)
        os.close(descriptor)


if __name__ == "__main__":
    main()
