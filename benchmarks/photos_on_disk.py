"""Photos that are read from the disk while training, beside the same in memory.

python benchmarks/photos_on_disk.py make SCENE OUT --photos N --width W

makes a scene of N photos: those of SCENE, enlarged to W pixels in width, under as many names as it
takes (hard links), with the poses that belong to them.

python benchmarks/photos_on_disk.py rate SCENE

says how fast the pixels of a scene are read by as many threads as a run has: from the disk, and
again from the page cache where they fit there.

python benchmarks/photos_on_disk.py run SCENE NAME [--evict] FLAGS OF GS-TRAIN...

trains once, in a process of its own, and prints a JSON line: milliseconds a step (the median of the
lines of metrics.jsonl but the first two), the share of the training in which steps waited for
photos, the peak of host memory, seconds to load, GB that the process read from the disk. With
--evict the pixels of all scenes in the cache leave the page cache first, so that they come from the
disk itself.
"""

import argparse
import json
import os
import random
import resource
import shutil
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pycolmap
from PIL import Image

from gs_densify.results import load_results, read_metrics
from gs_densify.scene.cache import default_cache
from gs_densify.scene.load import load_scene
from gs_densify.scene.photos.pixel_file import PixelFile
from gs_densify.training.read_ahead import READERS


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    commands = parser.add_subparsers(required=True, dest="command")
    making = commands.add_parser("make")
    making.add_argument("scene", type=Path)
    making.add_argument("out", type=Path)
    making.add_argument("--photos", type=int, default=2000)
    making.add_argument("--width", type=int, default=3000)
    rating = commands.add_parser("rate")
    rating.add_argument("scene", type=Path)
    running = commands.add_parser("run", allow_abbrev=False)
    running.add_argument("scene")
    running.add_argument("name")
    running.add_argument("--evict", action="store_true")
    arguments, flags = parser.parse_known_args()
    if arguments.command == "make":
        make(arguments.scene, arguments.out, arguments.photos, arguments.width)
    elif arguments.command == "rate":
        rate(arguments.scene)
    else:
        if arguments.evict:
            evict()
        print(json.dumps(run(arguments.scene, arguments.name, flags)), flush=True)


def make(scene: Path, out: Path, count: int, width: int) -> None:
    """Writes photos and model of a scene of `count` photos."""
    sparse = out / "sparse" / "0"
    sparse.mkdir(parents=True)
    (out / "images").mkdir()
    model = pycolmap.Reconstruction(scene / "sparse" / "0")
    names = sorted(image.name for image in model.images.values())
    with ProcessPoolExecutor() as pool:
        first = names[:count]
        files = [out / "images" / f"{0:03d}_{Path(name).stem}.jpg" for name in first]
        sources = [scene / "images" / name for name in first]
        list(pool.map(enlarge, sources, files, [width] * len(first)))
    model.write_text(sparse)
    lines = (sparse / "images.txt").read_text().splitlines()
    lines = [line for line in lines if not line.startswith("#")]
    poses = {line.split()[9]: " ".join(line.split()[1:9]) for line in lines[::2]}
    written = []
    for number in range(count):
        name, copy = names[number % len(names)], number // len(names)
        file = f"{copy:03d}_{Path(name).stem}.jpg"
        if copy:
            os.link(files[number % len(names)], out / "images" / file)
        written.append(f"{number + 1} {poses[name]} {file}\n\n")
    (sparse / "images.txt").write_text("".join(written))
    points = (sparse / "points3D.txt").read_text().splitlines()
    # Without tracks, which name other images.
    kept = [" ".join(line.split()[:8]) for line in points if not line.startswith("#")]
    (sparse / "points3D.txt").write_text("\n".join(kept) + "\n")
    for name in ("rigs.txt", "frames.txt"):
        (sparse / name).unlink(missing_ok=True)


def enlarge(source: Path, target: Path, width: int) -> None:
    with Image.open(source) as image:
        size = (width, round(image.height * width / image.width))
        image.convert("RGB").resize(size, Image.Resampling.BICUBIC).save(target, quality=92)


def evict() -> None:
    """Takes the pixels of all scenes out of the page cache, once they are on the disk."""
    for path in (default_cache() / "pixels").glob("*.pixels"):
        descriptor = os.open(path, os.O_RDONLY)
        os.fdatasync(descriptor)
        os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)
        os.close(descriptor)


def rate(scene: Path) -> None:
    """Prints a JSON line with the rates."""
    views = load_scene(scene, name=scene.name).views
    file, rows = PixelFile(views), list(range(len(views)))
    file.make(rows)
    random.Random(0).shuffle(rows)
    size, found = sum(map(file.length, rows)), {}

    def read(row: int) -> None:
        if not hasattr(own, "buffer"):
            own.buffer = np.ones(longest, np.uint8)
        file.read_into(row, own.buffer[: file.length(row)])

    longest = max(map(file.length, rows))
    for name in ("checked, from the disk", "from the disk", "again"):
        if name != "again":
            evict()
        own = threading.local()
        with ThreadPoolExecutor(READERS) as pool:
            started = time.perf_counter()
            list(pool.map(read, rows))
        found[f"{name}, GB/s"] = round(size / 1e9 / (time.perf_counter() - started), 2)
    print(json.dumps({"GB": round(size / 1e9, 2), **found}))


def run(scene: str, name: str, flags: list[str]) -> dict[str, object]:
    """Trains once, and returns the figures."""
    out = Path(tempfile.mkdtemp(dir=".", prefix=".photos_on_disk-")) / "run"
    started, read = time.perf_counter(), blocks_read()
    command = [sys.executable, "-m", "gs_densify.cli.train", "--scene", scene, "--out", str(out)]
    done = subprocess.run([*command, *flags], capture_output=True, text=True)
    wall = time.perf_counter() - started
    if done.returncode:
        sys.exit(done.stderr[-3000:] or done.stdout)
    results, rows = load_results(out / "results.json"), list(read_metrics(out / "metrics.jsonl"))
    shutil.rmtree(out.parent)
    steps = [row.step_milliseconds for row in rows[2:] if row.step_milliseconds is not None]
    waited = results.wall_time.photos
    return {
        "name": name,
        "flags": flags,
        "step ms": round(statistics.median(steps), 3),
        "each": [round(step, 2) for step in steps],
        "waited share": None if waited is None else round(waited / results.wall_time.train, 5),
        "host GB": round((results.peak_memory.host or 0) / 1e9, 2),
        "GPU GB": round((results.peak_memory.device or 0) / 1e9, 2),
        "Gaussians": results.counts.final,
        "load s": round(results.wall_time.load, 1),
        "train s": round(results.wall_time.train, 1),
        "wall s": round(wall, 1),
        "GB from disk": round((blocks_read() - read) * 512 / 1e9, 2),
        "photos": results.protocol.n_train,
        "sizes": [f"{size.width}x{size.height}" for size in results.protocol.sizes],
        "hardware": results.hardware.gpu or f"{results.hardware.cpu_count} processors",
        "seed": results.seed,
    }


def blocks_read() -> int:
    return resource.getrusage(resource.RUSAGE_CHILDREN).ru_inblock


if __name__ == "__main__":
    main()
