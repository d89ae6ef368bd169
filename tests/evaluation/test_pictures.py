"""Which views have pictures, and what is in these."""

from dataclasses import dataclass
from pathlib import Path

import imageio.v3 as imageio
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from gs_densify.errors import ResultError
from gs_densify.evaluation.evaluate import evaluate_views
from gs_densify.evaluation.pictures import WorstPictures, picture_name, save_comparison
from gs_densify.evaluation.scoring import Scoring
from gs_densify.evaluation.strip import (
    ERROR_AT_END,
    Panel,
    absolute_error,
    error_heat,
    read_strip,
    save_strip,
)
from gs_densify.images.heat import heat

LIGHTNESS = np.array([0.299, 0.587, 0.114])


@dataclass(frozen=True)
class View:
    name: str
    error: float


def written(folder: Path, count: int) -> list[str]:
    """Scores five views with these errors, and returns the views that have pictures."""
    views = [View(f"sub/{i}.JPG", error) for i, error in enumerate((0.02, 0.3, 0.1, 0.2, 0.05))]
    photos = [np.full((31, 40, 3), 100, dtype=np.uint8)] * len(views)
    kept = WorstPictures(folder, count)
    evaluate_views(
        lambda view: torch.full((31, 40, 3), 100 / 255 + view.error),
        *(views, photos, Scoring()),
        on_view=kept,
    )
    kept.write()
    return [view.name for view in views if (folder / picture_name(view.name)).exists()]


@pytest.mark.parametrize(("count", "expected"), [(0, ""), (1, "1"), (3, "123"), (-1, "01234")])
def test_the_views_with_the_worst_scores_have_pictures(
    tmp_path: Path, count: int, expected: str
) -> None:
    assert written(tmp_path, count) == [f"sub/{i}.JPG" for i in expected]


def test_pictures_hold_photo_render_error_and_a_caption(tmp_path: Path) -> None:
    written(tmp_path, 1)
    path = tmp_path / picture_name("sub/1.JPG")
    photo, render, error = read_strip(path, 3)
    assert (photo == 100).all() and (render == round(100 + 0.3 * 255)).all()
    assert (error == heat(np.ones(1))).all()  # 0.3 is beyond the scale
    strip = imageio.imread(path)
    assert strip.shape[1] == 3 * 40 and (strip[31:].min(axis=-1) > 128).sum() > 100  # letters


def test_an_error_that_was_nearly_black_is_seen_and_more_of_it_is_lighter() -> None:
    photo = np.zeros((1, 256, 3), dtype=np.uint8)
    render = np.arange(256, dtype=np.uint8)[None, :, None].repeat(3, axis=2)
    light = error_heat(absolute_error(photo, render))[0] @ LIGHTNESS
    assert light[0] == 0 and light[8] > 20  # 3 % of white
    assert (np.diff(light) >= -1e-9).all()
    assert (light[round(ERROR_AT_END * 255) + 1 :] == light[-1]).all()


@settings(max_examples=25)
@given(
    width=st.integers(1, 120),
    height=st.integers(1, 60),
    count=st.integers(1, 4),
    caption=st.lists(st.text(max_size=40), max_size=5),
)
def test_pictures_are_read_back_whatever_the_caption(
    tmp_path_factory: pytest.TempPathFactory, width: int, height: int, count: int, caption: list
) -> None:
    path = tmp_path_factory.mktemp("strips") / "a.png"
    generator = np.random.default_rng(width)
    pictures = generator.integers(0, 256, (count, height, width, 3), dtype=np.uint8)
    save_strip(path, [Panel(one, "error", ("0", "1")) for one in pictures], caption)
    np.testing.assert_array_equal(read_strip(path, count), pictures)


def test_names_that_are_no_text_are_drawn(tmp_path: Path) -> None:
    photo = np.zeros((20, 30, 3), dtype=np.uint8)
    save_comparison(tmp_path / "a.png", photo, photo, ["a\udcff\n", "PSNR 1 dB"])
    assert len(read_strip(tmp_path / "a.png", 3)) == 3


def test_files_of_former_versions_are_read(tmp_path: Path) -> None:
    Image.new("RGB", (30, 7), (9, 9, 9)).save(tmp_path / "a.png")
    assert [part.shape for part in read_strip(tmp_path / "a.png", 3)] == [(7, 10, 3)] * 3


def test_picture_names_are_safe_and_distinct(tmp_path: Path) -> None:
    names = ["a.JPG", "a.png", "sub/a.JPG", "sub_a.JPG", "sub\\a.JPG", "../a.JPG", "/etc/a.JPG"]
    names += ["..", ".", ".a", "ü.png", "u.png", "a b.png", "a_b.png", "\n", ""]
    names += ["x" * 300 + "/1", "x" * 255, "x" * 256]
    pictures = [picture_name(name) for name in names]
    assert len(set(pictures)) == len(names)
    assert pictures[0] == "a.JPG.png"
    for picture in pictures:
        assert (tmp_path / picture).parent == tmp_path and not picture.startswith(".")
        (tmp_path / picture).touch()


def test_a_picture_that_cannot_be_written_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    photo = np.zeros((2, 2, 3), dtype=np.uint8)
    with pytest.raises(ResultError, match="cannot be written"):
        save_comparison(tmp_path / "file" / "a.png", photo, photo, [])
