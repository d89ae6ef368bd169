"""Frames of a video: the sharpest in each stretch, and none where the camera stands still."""

import itertools
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from corner_photos import view
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from gs_densify.errors import ConfigError, SceneError
from gs_densify.reconstruct.video import Frame, pick_frames, sharpest

PIXEL = Image.new("RGB", (1, 1))


@given(st.lists(st.floats(0, 1), max_size=60), st.floats(1, 15))
def test_frames_are_sharp_and_apart(sharpness: list[float], spacing: float) -> None:
    frames = [Frame(i, PIXEL, one, np.zeros((32, 32))) for i, one in enumerate(sharpness)]
    picked = list(sharpest(frames, spacing))
    numbers = [frame.number for frame in picked]
    assert len(numbers) == len({number // spacing for number in numbers}), "one of a stretch"
    assert all(later - one >= spacing / 2 for one, later in itertools.pairwise(numbers))
    for last, frame in zip([-spacing, *numbers], picked, strict=False):
        stretch = [
            other
            for other in frames
            if other.number // spacing == frame.number // spacing
            and other.number - last >= spacing / 2
        ]
        assert frame.sharpness == max(other.sharpness for other in stretch)


def test_without_the_extra_it_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "imageio_ffmpeg", None)
    with pytest.raises(ConfigError, match=r"pip install 'gs-densify\[video\]'"):
        pick_frames(tmp_path / "v.mp4", tmp_path / "frames", 10)
    assert not (tmp_path / "frames").exists()


def test_frames_of_a_video(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    ffmpeg = pytest.importorskip("imageio_ffmpeg", reason="the extra `video` is not installed")
    sharp = {4, 9, 16, 21}
    writer = ffmpeg.write_frames(str(tmp_path / "v.mp4"), (160, 120), fps=10, quality=9)
    writer.send(None)
    for number in range(36):
        picture = Image.fromarray(view(0.5 + 0.02 * min(number, 24), width=160))
        small = picture if number in sharp else picture.reduce(3).resize(picture.size)
        writer.send(np.asarray(small).tobytes())
    writer.close()
    pick_frames(tmp_path / "v.mp4", tmp_path / "frames", 6)
    names = [path.name for path in sorted((tmp_path / "frames").iterdir())]
    assert names[:4] == [f"frame_{number:06}.jpg" for number in sorted(sharp)]
    assert len(names) == 5, "the camera stands still in the last stretch"
    said = capsys.readouterr().err
    assert "5 of about 36 frames picked" in said
    assert "left out: 1 photo shows the same as the frame before" in said
    (tmp_path / "text.mp4").write_text("no video")
    with pytest.raises(SceneError, match=r"text.mp4 cannot be read as a video \(.*\); play it"):
        pick_frames(tmp_path / "text.mp4", tmp_path / "frames", 6)


def test_a_video_that_does_not_say_its_duration_is_counted(tmp_path: Path) -> None:
    ffmpeg = pytest.importorskip("imageio_ffmpeg", reason="the extra `video` is not installed")
    video = tmp_path / "streamed.mkv"
    moving = [
        ffmpeg.get_ffmpeg_exe(),
        "-f",
        "lavfi",
        "-i",
        "testsrc2=duration=4:rate=10:size=96x64",
    ]
    # Into a pipe, where the duration cannot be filled in at the end.
    made = subprocess.run([*moving, "-f", "matroska", "pipe:1"], capture_output=True, check=True)
    video.write_bytes(made.stdout)
    assert next(ffmpeg.read_frames(str(video)))["duration"] == 0
    pick_frames(video, tmp_path / "frames", 5)
    assert len(list((tmp_path / "frames").iterdir())) == 5
