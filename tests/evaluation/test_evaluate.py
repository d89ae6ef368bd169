import copy
import math
from dataclasses import dataclass

import numpy as np
import pytest
import torch
from random_lpips import random_network
from torch import Tensor

from gs_densify.errors import ResultError
from gs_densify.evaluation.evaluate import Evaluation, evaluate_views, mean_scores
from gs_densify.evaluation.lpips_weights import LpipsUnavailable
from gs_densify.evaluation.metrics import lpips as lpips_module
from gs_densify.evaluation.metrics.lpips import Lpips
from gs_densify.evaluation.metrics.psnr import psnr
from gs_densify.evaluation.metrics.ssim import ssim
from gs_densify.evaluation.quantisation import quantize
from gs_densify.evaluation.scoring import Scoring
from gs_densify.results import STANDARD_METRICS, Scores, ViewScores

SIZES = ((40, 33), (37, 48), (52, 31))


@dataclass(frozen=True)
class View:
    name: str
    render: Tensor


def scene() -> tuple[list[View], list[np.ndarray]]:
    generator = np.random.default_rng(0)
    photos = [generator.integers(0, 256, (*size, 3), dtype=np.uint8) for size in SIZES]
    for photo in photos:
        photo.flags.writeable = False
    noise = [torch.from_numpy(0.1 * generator.standard_normal(p.shape)).float() for p in photos]
    renders = [torch.tensor(p).float() / 255 + n for p, n in zip(photos, noise, strict=True)]
    return [View(f"sub/{i}.JPG", image) for i, image in enumerate(renders)], photos


def run(lpips: tuple[str, ...] = (), device: str = "cpu", **options: object) -> Evaluation:
    views, photos = scene()
    scoring = Scoring(lpips=lpips, **options)
    return evaluate_views(lambda view: view.render, views, photos, scoring, device=device)


@pytest.fixture
def random_networks(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """LPIPS with random backbones instead of files; returns the backbones that were loaded."""
    loaded: list[str] = []

    def load(backbone: str, weights_dir: object, device: torch.device) -> Lpips:
        loaded.append(backbone)
        return copy.deepcopy(random_network(backbone)).to(device)

    monkeypatch.setattr(Lpips, "load", load)
    return loaded


def test_scores_are_those_of_each_view_and_their_means() -> None:
    views, photos = scene()
    result = run()
    assert [view.name for view in result.views] == [view.name for view in views]
    for scored, view, photo in zip(result.views, views, photos, strict=True):
        truth = torch.tensor(photo).float() / 255
        assert scored.scores["psnr"] == psnr(quantize(view.render), truth)
        assert scored.scores["psnr_float"] == psnr(view.render.clamp(0, 1), truth)
        assert scored.scores["ssim"] == ssim(quantize(view.render), truth)
    for name in ("psnr", "psnr_float", "ssim"):
        each = [view.scores[name] for view in result.views]
        assert result.scores[name] == pytest.approx(sum(each) / len(each), rel=1e-15)
    assert result.scores["psnr"] != result.scores["psnr_float"]


@pytest.mark.parametrize("quantisation", ["uint8-round", "uint8-truncate", "float"])
@pytest.mark.parametrize("ssim_borders", ["reflect", "valid", "zero"])
def test_scores_follow_the_protocol(quantisation: str, ssim_borders: str) -> None:
    views, photos = scene()
    result = run(quantisation=quantisation, ssim_borders=ssim_borders)
    for scored, view, photo in zip(result.views, views, photos, strict=True):
        truth = torch.tensor(photo).float() / 255
        picture = quantize(view.render, quantisation)
        assert scored.scores["psnr"] == psnr(picture, truth)
        assert scored.scores["ssim"] == ssim(picture, truth, borders=ssim_borders)
    assert result.scores["psnr_float"] == run().scores["psnr_float"]
    if quantisation == "float":
        assert result.scores["psnr"] == result.scores["psnr_float"]


def masked(masks: list, quantisation: str = "uint8-round", **options: object) -> Evaluation:
    views, photos = scene()
    scoring = Scoring(quantisation=quantisation, **options)
    return evaluate_views(lambda view: view.render, views, photos, scoring, masks=masks)


@pytest.mark.parametrize("quantisation", ["uint8-round", "uint8-truncate", "float"])
def test_masked_pixels_have_no_influence(quantisation: str, random_networks: list[str]) -> None:
    masks = [np.random.default_rng(i).random(size) < 0.6 for i, size in enumerate(SIZES)]
    views, photos = scene()
    shown = []
    before = masked(masks, quantisation, lpips=("lpips_alex",))
    for view, mask in zip(views, masks, strict=True):
        view.render[torch.from_numpy(~mask)] = 7.0
    scoring = Scoring(quantisation=quantisation, lpips=("lpips_alex",))
    after = evaluate_views(
        lambda view: view.render,
        views,
        photos,
        scoring,
        masks=masks,
        on_view=lambda view, truth, picture, scores: shown.append((truth, picture)),
    )
    assert after == before
    for (truth, picture), mask, scored in zip(shown, masks, after.views, strict=True):
        assert torch.equal(picture[~mask], truth[~mask])
        counted = torch.from_numpy(mask)
        assert scored.scores["psnr"] == psnr(picture, truth, counted)
        assert scored.scores["ssim"] == ssim(picture, truth, valid_mask=counted)


def test_a_mask_that_counts_everything_or_none_changes_nothing() -> None:
    everything = [np.ones(size, dtype=bool) for size in SIZES]
    for name in ("psnr", "psnr_float", "ssim"):
        found, expected = (r.scores[name] for r in (masked(everything), run()))
        assert found == pytest.approx(expected, rel=1e-12)
    assert masked([None, None, None]) == run()


def test_a_view_without_a_counted_pixel_makes_the_scores_null(random_networks: list[str]) -> None:
    masks = [None, np.zeros(SIZES[1], dtype=bool), None]
    result = masked(masks, lpips=("lpips_alex",))
    assert set(result.scores.missing()) == set(STANDARD_METRICS)
    for name in ("psnr", "psnr_float", "lpips_alex"):
        assert result.unavailable[name] == "sub/1.JPG: the mask excludes every pixel"
    assert "sub/1.JPG" in result.unavailable["ssim"]
    assert result.views[1].scores == Scores()
    for i in (0, 2):
        assert result.views[i] == run(lpips=("lpips_alex",)).views[i]


def test_masks_that_do_not_fit_are_refused() -> None:
    with pytest.raises(ValueError, match=r"mask torch.bool \[3, 3\]; expected bool \[40, 33\]"):
        masked([np.ones((3, 3), dtype=bool), None, None])
    with pytest.raises(ValueError, match=r"mask torch\.uint8"):
        masked([np.ones(SIZES[0], dtype=np.uint8), None, None])
    with pytest.raises(ValueError, match="and 1 masks"):
        masked([None])


@pytest.mark.parametrize("threads", [1, 2])
def test_the_same_model_gives_the_same_digits_again(
    threads: int, random_networks: list[str]
) -> None:
    torch.set_num_threads(threads)
    assert run(lpips=("lpips_alex",)) == run(lpips=("lpips_alex",))


@pytest.mark.gpu
def test_the_same_model_gives_the_same_digits_again_on_a_gpu(random_networks: list[str]) -> None:
    names = tuple(lpips_module.VARIANTS)
    first = run(lpips=names, device="cuda")
    assert run(lpips=names, device="cuda") == first
    on_cpu = run(lpips=names)
    for name in STANDARD_METRICS:  # TF32 would differ in the fourth digit
        expected = on_cpu.scores[name]
        assert first.scores[name] == pytest.approx(expected, rel=5e-5)


def test_every_null_has_a_reason_and_no_score_has_one(random_networks: list[str]) -> None:
    for names in ((), ("lpips_vgg",), tuple(lpips_module.VARIANTS)):
        result = run(lpips=names)
        assert set(result.unavailable) == set(result.scores.missing())
        assert set(result.scores.missing()) == set(lpips_module.VARIANTS) - set(names)


def test_variants_share_a_backbone_and_differ(random_networks: list[str]) -> None:
    result = run(lpips=("lpips_vgg", "lpips_vgg_01"))
    assert random_networks == ["vgg16"]
    assert result.scores["lpips_vgg"] != result.scores["lpips_vgg_01"]


def test_nothing_is_loaded_that_was_not_asked_for(random_networks: list[str]) -> None:
    run()
    assert random_networks == []


def test_lpips_without_weights_is_null_with_its_reason(monkeypatch: pytest.MonkeyPatch) -> None:
    def unavailable(*_: object) -> Lpips:
        raise LpipsUnavailable("no weights here")

    monkeypatch.setattr(Lpips, "load", unavailable)
    result = run(lpips=("lpips_alex",))
    assert result.scores["lpips_alex"] is None
    assert result.unavailable["lpips_alex"] == "no weights here"
    assert result.scores["psnr"] == run().scores["psnr"]


def test_a_view_too_small_for_ssim_makes_its_mean_null_and_keeps_the_others() -> None:
    views, photos = scene()
    views[1] = View("small.png", views[1].render[:9])
    photos[1] = photos[1][:9]
    result = evaluate_views(lambda view: view.render, views, photos, Scoring())
    assert result.scores["ssim"] is None and result.scores["psnr"] is not None
    assert result.unavailable["ssim"].startswith("small.png: SSIM needs at least 11 pixels")
    assert result.views[0].scores["ssim"] is not None and result.views[1].scores["ssim"] is None


def test_photos_may_be_tensors() -> None:
    views, photos = scene()
    tensors = [torch.tensor(photo) for photo in photos]
    assert evaluate_views(lambda view: view.render, views, tensors, Scoring()) == run()


def test_no_gradient_is_recorded_and_the_render_is_not_changed() -> None:
    views, photos = scene()
    image = views[0].render.clone().requires_grad_()

    def render(view: View) -> Tensor:
        assert not torch.is_grad_enabled()
        return image

    evaluate_views(render, views[:1], photos[:1], Scoring())
    assert torch.equal(image, views[0].render)


def test_a_render_that_is_not_finite_names_its_view() -> None:
    views, photos = scene()
    views[1].render[0, :2] = math.nan
    with pytest.raises(ResultError, match=r"sub/1\.JPG: 2 of 1776 pixels") as caught:
        evaluate_views(lambda view: view.render, views, photos, Scoring())
    assert "\n" not in str(caught.value)


def test_arguments_that_do_not_fit_are_refused() -> None:
    views, photos = scene()

    def render(view: View) -> Tensor:
        return view.render

    with pytest.raises(ResultError, match="no test view"):
        evaluate_views(render, [], [], Scoring())
    with pytest.raises(ValueError, match="3 views, but 2 images"):
        evaluate_views(render, views, photos[:2], Scoring())
    with pytest.raises(ValueError, match="unknown LPIPS"):
        evaluate_views(render, views, photos, Scoring(lpips=("lpips",)))
    with pytest.raises(ValueError, match="expected uint8"):
        evaluate_views(render, views[:1], [photos[0] / 255.0], Scoring())
    with pytest.raises(ValueError, match="render"):
        evaluate_views(render, views[:1], [photos[0][1:]], Scoring())


def test_a_mean_of_incomplete_scores_is_null() -> None:
    views = [
        ViewScores(name="a", scores=Scores(psnr=1.0, ssim=0.5)),
        ViewScores(name="b", scores=Scores(psnr=2.0)),
    ]
    assert mean_scores(views) == Scores(psnr=1.5)
    assert mean_scores([]) == Scores(**dict.fromkeys(STANDARD_METRICS))
