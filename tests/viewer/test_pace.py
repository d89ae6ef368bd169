"""Pictures are as large as the time allows."""

from hypothesis import given
from hypothesis import strategies as st

from gs_densify.viewer.pace import FEWEST, Pace

sides = st.integers(16, 4000)


@given(sides, sides, st.floats(1, 1e8))
def test_a_picture_has_the_windows_shape_and_at_most_its_size(width, height, pixels) -> None:
    columns, rows = Pace(1.0, pixels).fit(width, height)
    assert 1 <= columns <= width and 1 <= rows <= height
    assert abs(columns - rows * width / height) <= 0.5 + 0.5 * width / height
    # Rounding adds half a pixel to each side at most.
    assert (columns - 0.5) * (rows - 0.5) <= max(pixels, FEWEST) or (columns, rows) == (1, 1)


@given(st.floats(1e5, 1e9), st.floats(0.02, 2.0))
def test_settles_at_what_the_machine_can_do(pixels_a_second: float, seconds: float) -> None:
    pace = Pace(seconds, 20_000)
    for _ in range(40):
        width, height = pace.fit(10_000, 10_000)
        pace.learn(width * height, width * height / pixels_a_second)
    width, height = pace.fit(10_000, 10_000)
    expected = min(max(pixels_a_second * seconds, FEWEST), 1e8)
    assert 0.9 * expected < width * height < 1.1 * expected


def test_one_outlier_does_not_make_a_picture_tiny() -> None:
    pace = Pace(0.1, 1_000_000)
    pace.learn(1_000_000, 100.0)
    assert pace.pixels == 250_000


def test_a_fast_machine_gets_whole_pictures_at_once() -> None:
    assert Pace(0.1, float("inf")).fit(3840, 2160) == (3840, 2160)
