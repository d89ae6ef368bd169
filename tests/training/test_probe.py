"""What a strategy gets to see of a training view through the probe."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from tqdm import tqdm

from gs_densify.check.miniature import Miniature, load_miniature, make_trainer
from gs_densify.config.options import TrainConfig
from gs_densify.strategies.adapter import StrategyAdapter


def probed(scene: Miniature, look: Callable[[Any, int], Any]) -> Any:
    """What `look` finds, called with the probe and the number of Gaussians after a step."""

    class Looking:
        def step_post_backward(self, params: Any, info: dict[str, Any]) -> None:
            self.found = look(info["probe"], len(params["means"]))

    strategy = Looking()
    trainer = make_trainer(
        TrainConfig(scene="tiny", steps=1), scene, StrategyAdapter("l", strategy)
    )
    with tqdm(disable=True) as bar:
        trainer.run(1, lambda row: None, bar)
    return strategy.found


@pytest.fixture(scope="module")
def scene() -> Miniature:
    return load_miniature()


def test_a_probe_shows_the_view_asked_for_by_its_own_camera(scene: Miniature) -> None:
    views = probed(scene, lambda probe, count: [probe(i) for i in range(len(probe))])
    assert len(views) == len(scene.views)
    for found, view, photo in zip(views, scene.views, scene.photos, strict=True):
        torch.testing.assert_close(found.image[0], torch.from_numpy(photo).float() / 255)
        torch.testing.assert_close(found.viewmat, torch.from_numpy(view.cam_from_world).float())
        torch.testing.assert_close(found.K, torch.from_numpy(view.K).float())
        assert found.channels is found.attributed is None
        assert not found.render.requires_grad


def test_channels_are_composited_and_maps_attributed_with_the_same_weights(
    scene: Miniature,
) -> None:
    """Both are sums over Gaussians k and pixels p of the map times the weight of k in p."""
    ramp = torch.linspace(0, 1, 48)[None, None, :, None].expand(1, 32, 48, 1)

    def look(probe: Any, count: int) -> tuple[Any, Any]:
        ones = torch.ones(count, 1)
        return probe(2, channels=ones), probe(2, maps=lambda image, render: ramp)

    composited, attributed = probed(scene, look)
    torch.testing.assert_close(composited.channels, composited.alpha)
    assert composited.alpha.max() > 0.1
    torch.testing.assert_close(attributed.render, composited.render)
    torch.testing.assert_close(attributed.attributed.sum(), (ramp * composited.alpha).sum())


def test_a_probe_takes_maps_or_channels(scene: Miniature) -> None:
    def look(probe: Any, count: int) -> None:
        with pytest.raises(ValueError, match="maps or channels, not both"):
            probe(0, maps=lambda image, render: image, channels=torch.ones(count, 1))

    probed(scene, look)
