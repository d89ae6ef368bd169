"""A window shows what the evaluation scores, and what its controls ask for."""

import dataclasses
import math
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from scipy.spatial.transform import Rotation
from test_viewer_camera import make_view

from gs_densify.evaluation.quantisation import quantize
from gs_densify.evaluation.strip import absolute_error, error_heat
from gs_densify.images.heat import heat
from gs_densify.rendering.base import RenderSettings
from gs_densify.rendering.rasterizers import rasterizer_for
from gs_densify.rendering.renderer import Renderer
from gs_densify.results import MetricRecord, Scores
from gs_densify.scene.scene import View
from gs_densify.viewer.camera import Camera, camera_of
from gs_densify.viewer.paint import Look, Painter
from gs_densify.viewer.shots import Shot

WIDTH, HEIGHT = 60, 40
FRONT = 2.5  # cuts off the front of the cloud
AHEAD = Camera((1, 0, 0, 0), (0, 0, 0), fov=2 * math.atan(0.5), aspect=WIDTH / HEIGHT)


def make_splats(count: int = 80, sh_degree: int = 3) -> dict[str, torch.Tensor]:
    return {
        "means": torch.randn(count, 3) * 0.6,
        "scales": torch.randn(count, 3) * 0.3 - 2.0,
        "quats": torch.randn(count, 4),
        "opacities": torch.randn(count) * 2.0,
        "sh0": torch.randn(count, 1, 3),
        "shN": torch.randn(count, (sh_degree + 1) ** 2 - 1, 3) * 0.2,
    }


def make_painter(
    splats: dict[str, torch.Tensor], *, antialiased: bool = False, near_plane: float = 0.01
) -> Painter:
    rasterizer = rasterizer_for(splats["means"].device)
    settings = RenderSettings(antialiased=antialiased, near_plane=near_plane)
    return Painter(Renderer(rasterizer, settings), splats)


def photo(seed: int) -> View:
    """A photo taken 3 units from the origin, looking at it."""
    rotation = Rotation.random(random_state=seed).as_matrix()
    return make_view(rotation, -3.0 * rotation[2], 70.0, 75.0, (WIDTH, HEIGHT))


@pytest.mark.parametrize("antialiased", [False, True])
@pytest.mark.parametrize("sh_degree", [0, 3])
def test_shows_the_pixels_that_are_scored(antialiased: bool, sh_degree: int) -> None:
    _check_pixels_that_are_scored("cpu", antialiased, sh_degree)


@pytest.mark.gpu
def test_shows_the_pixels_that_are_scored_on_a_gpu() -> None:
    _check_pixels_that_are_scored("cuda", True, 3)


def _check_pixels_that_are_scored(device: str, antialiased: bool, sh_degree: int) -> None:
    splats = {name: value.to(device) for name, value in make_splats(sh_degree=sh_degree).items()}
    painter = make_painter(splats, antialiased=antialiased, near_plane=FRONT)
    whole = make_painter(splats, antialiased=antialiased)
    for seed in range(4):
        view = photo(seed)
        scored, camera = painter.renderer.view(splats, view), camera_of(view)
        shown = painter.paint(camera, WIDTH, HEIGHT, Look(sh_degree=sh_degree))
        assert scored.max() > 0.2
        seen = whole.paint(camera, WIDTH, HEIGHT, Look(sh_degree=sh_degree))
        assert (seen - scored).abs().max() > 0.2, "some Gaussians are nearer than that"
        torch.testing.assert_close(shown, scored, atol=2e-5, rtol=0)
        pixels = painter.picture(camera, WIDTH, HEIGHT, Look(sh_degree=sh_degree))
        assert pixels.dtype == np.uint8 and pixels.shape == (HEIGHT, WIDTH, 3)
        expected = quantize(scored).mul(255).round().cpu().numpy()
        assert np.abs(pixels - expected).max() <= 1  # a last bit that falls on the other side


def test_a_lower_sh_degree_ignores_the_higher_coefficients() -> None:
    splats = make_splats()
    cut = splats | {"shN": splats["shN"][:, :3]}
    shown = make_painter(splats).paint(camera_of(photo(0)), WIDTH, HEIGHT, Look(sh_degree=1))
    expected = make_painter(cut).paint(camera_of(photo(0)), WIDTH, HEIGHT, Look(sh_degree=1))
    torch.testing.assert_close(shown, expected)


def test_the_background_is_what_the_gaussians_leave() -> None:
    painter, look = make_painter(make_splats()), Look(sh_degree=3)
    camera = camera_of(photo(1))
    on_black = painter.paint(camera, WIDTH, HEIGHT, look)
    alpha = painter.paint(
        camera, WIDTH, HEIGHT, dataclasses.replace(look, quantity="alpha", background=(1, 0, 0))
    )
    on_teal = dataclasses.replace(look, background=(0.0, 0.5, 1.0))
    expected = on_black + (1 - alpha) * torch.tensor([0.0, 0.5, 1.0])
    torch.testing.assert_close(painter.paint(camera, WIDTH, HEIGHT, on_teal), expected)
    assert 0 <= alpha.min() < 0.1 and 0.5 < alpha.max() <= 1


def test_smaller_gaussians_are_smaller_gaussians() -> None:
    splats, camera = make_splats(), camera_of(photo(2))
    halved = splats | {"scales": (splats["scales"].exp() * 0.5).log()}
    shown = make_painter(splats).paint(camera, WIDTH, HEIGHT, Look(sh_degree=3, scale=0.5))
    expected = make_painter(halved).paint(camera, WIDTH, HEIGHT, Look(sh_degree=3))
    torch.testing.assert_close(shown, expected, atol=1e-5, rtol=0)


def test_faint_gaussians_are_left_out_as_if_they_were_not_there() -> None:
    splats, camera = make_splats(), camera_of(photo(3))
    kept = torch.sigmoid(splats["opacities"]) >= 0.6
    assert 0 < kept.sum() < len(kept)
    rest = {name: value[kept] for name, value in splats.items()}
    shown = make_painter(splats).paint(camera, WIDTH, HEIGHT, Look(sh_degree=3, min_opacity=0.6))
    expected = make_painter(rest).paint(camera, WIDTH, HEIGHT, Look(sh_degree=3))
    torch.testing.assert_close(shown, expected)


def _wall(x: float, depth: float) -> dict[str, torch.Tensor]:
    """An opaque ball that hides a piece of the picture."""
    return {
        "means": torch.tensor([[x * depth, 0.0, depth]]),
        "scales": torch.full((1, 3), math.log(0.1 * abs(depth))),
        "quats": torch.tensor([[1.0, 0.0, 0.0, 0.0]]),
        "opacities": torch.tensor([8.0]),
        "sh0": torch.zeros(1, 1, 3),
        "shN": torch.zeros(1, 0, 3),
    }


def test_depth_has_the_colour_of_near_over_depth() -> None:
    near, far = _wall(-0.3, 2.0), _wall(0.3, 4.0)
    splats = {name: torch.cat([near[name], far[name]]) for name in near}
    look = Look(sh_degree=0, quantity="depth", background=(0.0, 0.0, 1.0))
    shown = make_painter(splats).paint(AHEAD, WIDTH, HEIGHT, look)
    left, right = shown[HEIGHT // 2, 18], shown[HEIGHT // 2, 42]  # x = +-0.3 at 40 px a unit
    last, half = heat(np.array([1.0, 0.5])) / 255
    np.testing.assert_allclose(left, last, atol=0.06)  # a ball lets a little through
    np.testing.assert_allclose(right, half, atol=0.06)
    assert shown[0, WIDTH // 2].tolist() == [0.0, 0.0, 1.0]


def test_depth_of_nothing_is_the_background() -> None:
    look = Look(sh_degree=0, quantity="depth", background=(0.2, 0.4, 0.6))
    shown = make_painter(_wall(0.0, -2.0)).paint(AHEAD, WIDTH, HEIGHT, look)
    torch.testing.assert_close(shown, torch.tensor([0.2, 0.4, 0.6]).expand_as(shown))


def test_a_photo_is_shown_beside_its_render_and_its_error(tmp_path: Path) -> None:
    view = dataclasses.replace(photo(2), name="p.png", path=tmp_path / "p.png")
    painter = make_painter(make_splats())
    shown = painter.picture(camera_of(view), WIDTH, HEIGHT, Look(sh_degree=3))
    Image.fromarray(255 - shown).save(view.path)
    shot = Shot("p.png", camera_of(view), "held out", view, Scores(psnr=12.3456))
    whole = painter.comparison(shot, 3 * WIDTH, 2 * HEIGHT)
    assert whole.shape == (2 * HEIGHT, 3 * WIDTH, 3)
    is_first = (whole[:HEIGHT, :WIDTH] == 255 - shown[0]).all(axis=(1, 2))
    rows = whole[int(np.argmax(is_first)) :][:HEIGHT]
    photo_part, render_part, error_part = np.split(rows, 3, axis=1)
    np.testing.assert_array_equal(photo_part, 255 - shown)
    assert np.abs(render_part.astype(int) - shown).max() <= 1
    expected = error_heat(absolute_error(photo_part, render_part))
    np.testing.assert_array_equal(error_part, expected)
    # A metric whose package is not installed here.
    shot = dataclasses.replace(
        shot,
        scores=Scores(psnr=12.3456, mae=4.0),
        metrics={"mae": MetricRecord(label="mean error", higher_is_better=False, computed="mean")},
    )
    assert (painter.comparison(shot, 3 * WIDTH, 2 * HEIGHT) != whole).any(), "it is in the caption"


def test_a_large_photo_is_rendered_in_the_size_that_it_is_shown_in(tmp_path: Path) -> None:
    view = dataclasses.replace(photo(2), path=tmp_path / "p.png")
    Image.new("RGB", (WIDTH, HEIGHT), (255, 255, 255)).save(view.path)
    painter = make_painter(make_splats())
    small = painter.comparison(Shot("p", camera_of(view), view=view), WIDTH, HEIGHT)
    white = (small[:, : WIDTH // 3] == 255).all(axis=-1)
    assert white.sum() >= (WIDTH // 3) * 13  # 20 x 13 pixels of photo
