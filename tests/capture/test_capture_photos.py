"""Blur, exposure and duplicates: what is planted is found, what is not is not."""

from pathlib import Path

import numpy as np
import pytest
from capture_scenes import texture, write_photo
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from scipy.ndimage import gaussian_filter, uniform_filter1d

from gs_densify.capture.outliers import badly_exposed, blurred, clipped, near_duplicates, robust_z
from gs_densify.capture.photos import list_photos, measure_photos, sharpness_of

NAMES = [f"{i:02d}.png" for i in range(24)]
BLURS = {
    "defocus": lambda grey: gaussian_filter(grey, 1.0),
    "sideways": lambda grey: uniform_filter1d(grey, 5, axis=1),
    "up and down": lambda grey: uniform_filter1d(grey, 5, axis=0),
    "diagonal": lambda grey: np.mean([np.roll(grey, (k, k), (0, 1)) for k in range(4)], axis=0),
}


def write(folder: Path, changed: dict[int, np.ndarray] | None = None) -> Path:
    for i, name in enumerate(NAMES):
        write_photo(folder / name, (changed or {}).get(i, texture(i)))
    return folder


def measured(folder: Path):
    found, refused = measure_photos({name: folder / name for name in NAMES}, progress=False)
    assert not refused
    return found


def test_a_capture_without_faults_has_no_outliers(tmp_path: Path) -> None:
    photos = measured(write(tmp_path))
    assert [photo.name for photo in photos] == NAMES
    assert blurred(photos) == badly_exposed(photos) == clipped(photos) == []


@pytest.mark.parametrize("kind", BLURS)
@pytest.mark.parametrize("at", [0, 7, 23])
def test_a_blurred_photo_is_found_wherever_it_stands(kind: str, at: int, tmp_path: Path) -> None:
    photos = measured(write(tmp_path, {at: BLURS[kind](texture(at))}))
    (found,) = blurred(photos)
    assert found.name == NAMES[at] and found.z < -3.5 and found.value < 0.35


def test_a_dark_a_bright_and_a_clipped_photo_are_found(tmp_path: Path) -> None:
    changed = {3: 0.5 * texture(3), 12: texture(12), 20: 1.25 * texture(20)}
    changed[12][:30] = 255
    photos = measured(write(tmp_path, changed))
    assert {found.name for found in badly_exposed(photos)} >= {NAMES[3]}
    assert {found.name for found in clipped(photos)} >= {NAMES[12]}
    assert clipped(photos)[0].value == pytest.approx(0.25, abs=0.02)
    assert blurred(photos) == [], "brightness is no blur"


@settings(max_examples=25)
@given(st.integers(0, 99), st.floats(0.2, 4.0), st.floats(-50, 50), st.sampled_from(sorted(BLURS)))
def test_sharpness_ignores_gain_and_offset_and_falls_with_blur(
    seed: int, gain: float, offset: float, kind: str
) -> None:
    grey = texture(seed)
    sharp = sharpness_of(grey)
    assert sharpness_of(gain * grey + offset) == pytest.approx(sharp, rel=1e-6)
    assert sharpness_of(BLURS[kind](grey)) < 0.5 * sharp
    for turned in (grey.T, grey[::-1], grey[:, ::-1]):
        assert sharpness_of(turned) == pytest.approx(sharp, rel=1e-6)


def test_flat_and_very_small_photos_have_a_sharpness(tmp_path: Path) -> None:
    for i, shape in enumerate([(40, 40), (1, 1), (15, 80), (16, 16)]):
        write_photo(tmp_path / f"{i}.png", np.full(shape, 99.0))
    photos, refused = measure_photos(list_photos(tmp_path), progress=False)
    assert not refused and [photo.sharpness for photo in photos] == [0, 0, 0, 0]
    assert [photo.brightness for photo in photos] == [99, 99, 99, 99]


@settings(max_examples=50)
@given(
    st.lists(st.floats(-1e3, 1e3), min_size=5, max_size=40), st.floats(0.1, 10), st.floats(-9, 9)
)
def test_robust_z_does_not_depend_on_unit_and_zero(
    values: list[float], unit: float, zero: float
) -> None:
    differences, z = robust_z(np.array(values))
    moved, z_moved = robust_z(unit * np.array(values) + zero)
    np.testing.assert_allclose(moved, unit * differences, atol=1e-6)
    if np.median(np.abs(differences)) > 1e-3:
        np.testing.assert_allclose(z_moved, z, rtol=1e-4, atol=1e-4)


def test_robust_z_of_normal_values_is_about_normal() -> None:
    _, z = robust_z(np.random.default_rng(0).normal(5.0, 3.0, 4000))
    assert 0.9 < z.std() < 1.2 and (np.abs(z) > 3.5).mean() < 0.006


def test_few_photos_have_no_outliers() -> None:
    assert robust_z(np.array([0.0, 0.0, 0.0, 1e6]))[1].tolist() == [0, 0, 0, 0]


def test_duplicates_share_place_direction_and_pixels(tmp_path: Path) -> None:
    noise = np.random.default_rng(1).normal(0, 2, texture().shape)
    photos = measured(write(tmp_path, {5: texture(4) + noise, 9: texture(8), 13: texture(12)}))
    centers = np.arange(24.0)[:, None] * [1.0, 0.0, 0.0]
    directions = np.tile([0.0, 1.0, 0.0], (24, 1))
    centers[5] = centers[4] + 0.001
    centers[13] = centers[12]
    directions[13] = [0.0, np.cos(0.05), np.sin(0.05)]  # 9: elsewhere; 13: turned by 3 degrees
    centers[17] = centers[16]  # other pixels
    assert near_duplicates(photos, centers, directions, 4.0) == [(NAMES[4], NAMES[5])]


def test_photos_are_listed_by_suffix_in_every_folder(tmp_path: Path) -> None:
    for name in ("b.JPG", "a/c.png", "a/b.jpeg"):
        write_photo(tmp_path / name, texture())
    (tmp_path / "notes.txt").write_text("no photo")
    (tmp_path / "folder.png").mkdir()
    found = list_photos(tmp_path)
    assert list(found) == ["a/b.jpeg", "a/c.png", "b.JPG"]
    assert found["a/b.jpeg"] == tmp_path / "a/b.jpeg"
    assert list_photos(tmp_path / "none") == {}


def test_every_kind_of_photo_is_measured_or_named(tmp_path: Path) -> None:
    grey = Image.fromarray(texture().astype(np.uint8))
    grey.save(tmp_path / "grey.jpg")
    grey.convert("RGB").resize((3000, 2000)).save(tmp_path / "large.jpg")
    grey.convert("CMYK").save(tmp_path / "print.jpg")
    grey.save(tmp_path / "grey.tif")
    (tmp_path / "cut.jpg").write_bytes((tmp_path / "large.jpg").read_bytes()[:5000])
    (tmp_path / "text.png").write_text("no photo")
    photos, refused = measure_photos(list_photos(tmp_path), progress=False)
    assert {p.name: p.size for p in photos} == {
        "grey.jpg": (160, 120),
        "grey.tif": (160, 120),
        "large.jpg": (3000, 2000),
        "print.jpg": (160, 120),
    }
    assert sorted(refused) == ["cut.jpg", "text.png"]
    assert all(name in reason and "\n" not in reason for name, reason in refused.items())
