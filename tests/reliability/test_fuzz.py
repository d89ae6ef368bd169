"""Mutated files for every parser: each is read, or refused in one line, and in time."""

import random
import shutil
import signal
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType

import numpy as np
import pycolmap
import pytest
from forks import run
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from long_form import cases
from PIL import Image

from gs_densify.bench.file import read_study
from gs_densify.config.file import flags_of, read_mapping
from gs_densify.errors import GsDensifyError, ResultError
from gs_densify.evaluation.strip import read_strip
from gs_densify.model.files.base import load_model
from gs_densify.model.files.points import read_points
from gs_densify.report.published import known
from gs_densify.report.runs import load_run
from gs_densify.results import load_evaluation, load_per_view, load_results, read_metrics
from gs_densify.runs.checkpoint import load_checkpoint
from gs_densify.scene.formats.colmap.read import read_model
from gs_densify.scene.formats.tiny.make import make_tiny
from gs_densify.scene.photos.decode import read_header, read_mask, read_photo
from gs_densify.scene.split import read_test_list

SHORT, LONG = 20, cases("GS_FUZZ", 20_000)
HANG = 20
OPTIONS = "--scene tiny --downscale 4 --steps 2 --device cpu --evaluation.lpips".split()
NUMBERS = (b"0", b"-1", b"1e999", b"nan", b"-inf", b"4294967296", b"99999999999999999999", b"1.5")
WORDS = (b"null", b"true", b'"x"', b"[]", b"{}", b"&a [*a]", b"!!python/object:os.system x", b"~")
BYTES = (b"\0" * 8, b"\xff" * 8, b"\x7f\xff\xff\xff", b"\0\0\0\x80", b"\xc3\x28", b"\r", b"\n\n")
STUDY = b"scenes: [tiny, bonsai]\nmethods:\n  a: {strategy: adaptive}\n  b: {strategy: mcmc}\n"
PUBLISHED = b"a: {method: A, source: B, protocol: C, scores: {garden: {psnr: 27.5, count: 100}}}\n"
LIST = "a.png\nsub/b.png\n# three\nc d.png\n\n\u00e4.png\n".encode()


def read_config(path: Path) -> None:
    """What tyro then parses are flags, of which each is checked as those of a command line are."""
    flags_of(read_mapping(path))


READERS: dict[str, tuple[str, Callable[[Path], object]]] = {
    "results": ("run/results.json", load_results),
    "scores of views": ("run/per_view.json", load_per_view),
    "evaluation": ("scored/evaluation.json", load_evaluation),
    "figures": ("run/metrics.jsonl", read_metrics),
    "record": ("record.run.json", load_run),
    "config": ("config.yml", read_config),
    "study": ("study.yml", read_study),
    "published": ("published.yml", known.__wrapped__),
    "test list": ("list.txt", read_test_list),
    "checkpoint": ("run/checkpoints/step_000002.pt", lambda path: load_checkpoint(path, "cpu")),
    "ply": ("run/point_cloud.ply", load_model),
    "points": ("points.ply", read_points),
    "cameras": ("bin/cameras.bin", lambda path: read_model(path.parent)),
    "images": ("bin/images.bin", lambda path: read_model(path.parent)),
    "points3D": ("bin/points3D.bin", lambda path: read_model(path.parent)),
    "cameras in text": ("txt/cameras.txt", lambda path: read_model(path.parent)),
    "images in text": ("txt/images.txt", lambda path: read_model(path.parent)),
    "points3D in text": ("txt/points3D.txt", lambda path: read_model(path.parent)),
    "png": ("photo.png", lambda path: read_photo(path, use_alpha=True)),
    "jpeg": ("photo.jpg", lambda path: read_photo(path, use_alpha=True)),
    "tiff": ("photo.tif", lambda path: read_photo(path, use_alpha=True)),
    "webp": ("photo.webp", lambda path: read_photo(path, use_alpha=True)),
    "header of a photo": ("photo.gif", read_header),
    "mask": ("mask.png", read_mask),
    "picture of a view": ("strip.png", lambda path: read_strip(path, 3)),
}
"""The file of each parser, and what reads it."""


def mutated(content: bytes, draw: random.Random) -> bytes:
    """The content after one to four changes of bytes, numbers, words or lines."""
    for _ in range(draw.choice((1, 1, 2, 4))):
        start = draw.randrange(len(content) + 1)
        size = draw.choice((0, 1, 2, 4, 8, draw.randrange(64)))
        change = draw.randrange(6)
        if change == 0:
            content = content[:start]
        elif change == 1:
            patch = draw.choice((*NUMBERS, *WORDS, *BYTES))
            content = content[:start] + patch + content[start + size :]
        elif change == 2:
            content = content[:start] + draw.randbytes(size) + content[start + size :]
        elif change == 3:  # a part again, there or elsewhere
            other = draw.randrange(len(content) + 1)
            content = content[:other] + content[start : start + size] + content[other:]
        elif change == 4:
            content = _with_another_token(content, draw)
        else:
            lines = content.split(b"\n")
            one, two = draw.randrange(len(lines)), draw.randrange(len(lines))
            lines[one], lines[two] = lines[two], lines[one]
            content = b"\n".join(lines)
    return content


def _with_another_token(content: bytes, draw: random.Random) -> bytes:
    """Replaces what stands between two blanks, colons or commas."""
    ends = [i for i, byte in enumerate(content[:4096]) if byte in b" :,\n[]{}"]
    if len(ends) < 2:
        return content
    which = draw.randrange(len(ends) - 1)
    token = draw.choice((*NUMBERS, *WORDS))
    return content[: ends[which] + 1] + token + content[ends[which + 1] :]


@contextmanager
def no_hang() -> Iterator[None]:
    def complain(number: int, frame: FrameType | None) -> None:
        raise AssertionError(f"took over {HANG} s")

    before = signal.signal(signal.SIGALRM, complain)
    signal.alarm(HANG)
    try:
        yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Good files of every kind, small ones."""
    folder = tmp_path_factory.mktemp("fuzz") / "files"
    folder.mkdir()
    for name, *options in (
        ("gs-train", *OPTIONS, "--strategy", "default", "--out", "run", "--schedule-factor", "1"),
        ("gs-eval", "run", "--device", "cpu", "--out", "scored"),
        ("gs-report", "run", "--record", "records"),
    ):
        ended = run(name, *options, folder=folder)
        assert ended.code == 0, ended.said
    next(folder.glob("records/*.run.json")).rename(folder / "record.run.json")
    (folder / "study.yml").write_bytes(STUDY)
    (folder / "published.yml").write_bytes(PUBLISHED)
    (folder / "list.txt").write_bytes(LIST)
    shutil.copy(folder / "run/config.yml", folder)
    _write_models(folder)
    _write_pictures(folder)
    return folder


def _write_models(folder: Path) -> None:
    make_tiny(folder / "scene")
    model = pycolmap.Reconstruction(folder / "scene/sparse/0")
    for number in list(model.points3D)[8:]:
        model.delete_point3D(number)
    for kind, write in (("bin", model.write_binary), ("txt", model.write_text)):
        (folder / kind).mkdir()
        write(folder / kind)
    points = b"".join(b"%d %d 0 255 9 7\n" % (i, -i) for i in range(5))
    names = "".join(f"property float {axis}\n" for axis in "xyz")
    names += "".join(f"property uchar {color}\n" for color in ("red", "green", "blue"))
    points = points.replace(b" 0 255", b" 0.5 255")
    header = f"ply\nformat ascii 1.0\nelement vertex 5\n{names}end_header\n"
    (folder / "points.ply").write_bytes(header.encode() + points)


def _write_pictures(folder: Path) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (12, 18, 4), np.uint8)
    for name, mode in (("photo.png", "RGBA"), ("photo.jpg", "RGB"), ("photo.tif", "RGB")):
        Image.fromarray(pixels).convert(mode).save(folder / name)
    Image.fromarray(pixels).save(folder / "photo.webp", lossless=True)
    Image.fromarray(pixels).convert("P").save(folder / "photo.gif")
    Image.fromarray(pixels).convert("L").save(folder / "mask.png")
    Image.fromarray(pixels).convert("RGB").save(folder / "strip.png")


def check_mutated(files: Path, what: str, count: int) -> None:
    """Reads the file of a parser in mutated form, `count` times."""
    name, read = READERS[what]
    path = files / name
    content = path.read_bytes()
    read(path)
    refused = [0]

    @settings(max_examples=count, suppress_health_check=HealthCheck)
    @given(st.integers(0, 2**62))
    def check(seed: int) -> None:
        path.write_bytes(mutated(content, random.Random(seed)))
        try:
            with no_hang():
                read(path)
        except GsDensifyError as error:
            assert "\n" not in str(error)
            refused[0] += 1

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # Pillow's of odd metadata
            check()
    finally:
        path.write_bytes(content)
    print(f"\n{what}: {count:,} inputs, {refused[0]:,} refused in words", end="")


@pytest.mark.parametrize("what", READERS)
def test_a_mutated_file_is_read_or_refused_in_words(what: str, files: Path) -> None:
    check_mutated(files, what, SHORT)


@pytest.mark.long
@pytest.mark.parametrize("what", READERS)
def test_many_mutated_files(what: str, files: Path) -> None:
    check_mutated(files, what, LONG)


def test_a_file_of_text_that_claims_more_than_it_holds_asks_for_no_memory(files: Path) -> None:
    path = files / "many.ply"
    text = (files / "points.ply").read_bytes()
    path.write_bytes(text.replace(b"vertex 5", b"vertex 4294967296"))
    with pytest.raises(ResultError, match="expected 4294967296 lines of 6 numbers"):
        read_points(path)
