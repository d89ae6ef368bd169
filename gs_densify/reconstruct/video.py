"""Frames of a video, picked for sharpness and spacing, through ffmpeg as imageio brings it."""

import importlib
import logging
import shutil
from collections.abc import Iterable, Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from gs_densify.capture.photos import LONGEST_SIDE, sharpness_of
from gs_densify.errors import ConfigError, SceneError
from gs_densify.messages import remark, tracked
from gs_densify.reconstruct import left_out

_LOOKED_AT = 8
"""Frames of which one is picked, at most: more cost time and are hardly sharper."""
_FEWEST = 3
"""Frames of which one is picked, at least."""
_CLOSEST = 0.5
"""Two frames that are picked are at least this share of the mean spacing apart."""
_STILL = 1.0
"""Mean difference of grey values of thumbnails below which the camera has not moved."""
_THUMBNAIL = (32, 32)
_QUALITY = 95


@dataclass(frozen=True, eq=False)
class Frame:
    """A frame of a video that may be picked."""

    number: int
    picture: Image.Image
    sharpness: float
    thumbnail: np.ndarray
    """[32, 32] float32 grey values."""


def pick_frames(video: Path, folder: Path, wanted: int) -> None:
    """Writes up to `wanted` frames of a video into a new folder as JPEG, named by their numbers.

    Raises:
        ConfigError: the extra `video` is not installed.
        SceneError: the video cannot be read.
    """
    count, pictures = _open(video)
    spacing = max(count / wanted, _FEWEST)
    step = max(1, int(spacing / _LOOKED_AT))
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    looked_at = (
        frame_of(number, picture)
        for number, picture in enumerate(tracked(pictures, "frames", count, unit="frame"))
        if number % step == 0
    )
    picked, still = [], []
    last: Frame | None = None
    for frame in sharpest(looked_at, spacing):
        name = f"frame_{frame.number:06d}.jpg"
        if last is not None and np.abs(frame.thumbnail - last.thumbnail).mean() < _STILL:
            still.append(name)
            continue
        frame.picture.save(folder / name, quality=_QUALITY, subsampling=0)
        picked.append(name)
        last = frame
    remark(f"video: {len(picked)} of about {count:,} frames picked, the sharpest in each stretch")
    left_out.say(left_out.STILL, still)


def frame_of(number: int, picture: Image.Image) -> Frame:
    """Returns a frame with its measures."""
    small = picture.convert("L")
    small.thumbnail((LONGEST_SIDE, LONGEST_SIDE))
    thumbnail = small.resize(_THUMBNAIL, Image.Resampling.BOX)
    return Frame(
        number=number,
        picture=picture,
        sharpness=sharpness_of(np.asarray(small, np.float32)),
        thumbnail=np.asarray(thumbnail, np.float32),
    )


def sharpest(frames: Iterable[Frame], spacing: float) -> Iterator[Frame]:
    """Yields the sharpest frame of each stretch of `spacing` frames, of those that are not too
    near to the one before.
    """
    best: Frame | None = None
    last = -spacing
    for frame in frames:
        if best is not None and frame.number // spacing > best.number // spacing:
            yield best
            last, best = best.number, None
        is_apart = frame.number - last >= _CLOSEST * spacing
        if is_apart and (best is None or frame.sharpness > best.sharpness):
            best = frame
    if best is not None:
        yield best


def _open(video: Path) -> tuple[int, Iterator[Image.Image]]:
    """Returns about how many frames a video has, and the frames, upright."""
    try:
        ffmpeg: Any = importlib.import_module("imageio_ffmpeg")
    except ImportError:
        raise ConfigError(
            f"{video} is a video, and imageio-ffmpeg, which reads them, is not installed",
            action="pip install 'gs-densify[video]', or name a folder of photos",
        ) from None
    logging.getLogger("imageio_ffmpeg").setLevel(logging.ERROR)
    reader = ffmpeg.read_frames(str(video))
    try:
        about = next(reader)
        count = round(about["duration"] * about["fps"])
        if not count:  # recorded or streamed without either; counting decodes all of it
            count, _ = ffmpeg.count_frames_and_secs(str(video))
    except (OSError, RuntimeError) as error:
        reason = str(error).strip().splitlines()[-1]
        raise SceneError(
            f"{video} cannot be read as a video ({reason})",
            action="play it to see whether it is whole, and copy it again",
        ) from None

    def pictures() -> Iterator[Image.Image]:
        with closing(reader):
            for data in reader:
                yield Image.frombytes("RGB", about["size"], data)

    return max(1, count), pictures()
