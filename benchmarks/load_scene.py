"""Measure how long a scene takes to load and how much memory its photos take; JSON on stdout.

python benchmarks/load_scene.py path/to/scene [--downscale N] [--workers N]
"""

import argparse
import json
import os
import threading
import time
from pathlib import Path

from gs_densify.scene.load import PhotoOptions, load_scene
from gs_densify.scene.photos.load import load_photos


def resident() -> int:
    """Bytes of this process in memory now."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE")


class PeakResident:
    """The largest resident size while the block runs, sampled every 2 ms."""

    def __enter__(self) -> "PeakResident":
        self.bytes, self._done = resident(), threading.Event()
        self._thread = threading.Thread(target=self._watch)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._done.set()
        self._thread.join()

    def _watch(self) -> None:
        while not self._done.wait(0.002):
            self.bytes = max(self.bytes, resident())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("scene", type=Path)
    parser.add_argument("--downscale", type=int, default=1)
    parser.add_argument("--workers", type=int)
    arguments = parser.parse_args()

    start = resident()
    marks = [time.perf_counter()]
    with PeakResident() as peak:
        scene = load_scene(
            arguments.scene,
            name=arguments.scene.name,
            downscale=arguments.downscale,
            photos=PhotoOptions(image_source="auto"),
        )
        marks.append(time.perf_counter())
        photos = load_photos(scene.views, workers=arguments.workers)
        marks.append(time.perf_counter())
    pixels = sum(photo.pixels.nbytes for photo in photos)
    record = {
        "scene": scene.name,
        "photos": len(photos),
        "sizes": scene.image_sizes,
        "workers": arguments.workers or min(16, os.cpu_count() or 1),
        "model_seconds": marks[1] - marks[0],
        "photo_seconds": marks[2] - marks[1],
        "pixel_bytes": pixels,
        "peak_over_pixels": (peak.bytes - start) / pixels,
    }
    print(json.dumps(record, indent=2))


if __name__ == "__main__":
    main()
