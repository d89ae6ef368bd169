"""Renders training views for a strategy that scores Gaussians; test views are out of its reach."""

from collections.abc import Callable
from typing import Any, cast

import torch
from torch import Tensor

from gs_densify.rendering.base import RenderOutput
from gs_densify.rendering.renderer import Renderer
from gs_densify.strategies.base import ProbedView, StepInfo
from gs_densify.training.batches import ViewStore


class Probe:
    """Called with the index of a training view; `len` is their number."""

    def __init__(
        self,
        views: ViewStore,
        splats: torch.nn.ParameterDict,
        renderer: Renderer,
        *,
        sh_degree: Callable[[], int],
    ) -> None:
        self._views, self._splats, self._renderer = views, splats, renderer
        self._sh_degree = sh_degree

    def __len__(self) -> int:
        return len(self._views)

    def __call__(
        self,
        index: int,
        *,
        maps: Callable[[Tensor, Tensor], Tensor] | None = None,
        channels: Tensor | None = None,
    ) -> ProbedView:
        """Renders training view `index` on black; gradients of the model are not touched.

        `maps(image, render)`, both [1,H,W,3], gives per-pixel maps [1,H,W,M]; `channels` [N,M] are
        composited like colours. One of the two at most.
        """
        if maps is not None and channels is not None:
            raise ValueError("a probe takes maps or channels, not both")
        batch = self._views.batch([[index]])
        if maps is None:
            with torch.no_grad():
                output = self._render(batch.viewmats, batch.Ks, batch.size, channels)
            attributed = None
        else:
            output, attributed = self._attribute(batch.viewmats, batch.Ks, batch, maps)
        return ProbedView(
            image=batch.images,
            render=batch.composited(output.image),
            alpha=output.alpha,
            info=cast(StepInfo, output.info),
            channels=output.aux,
            attributed=attributed,
            viewmat=batch.viewmats[0],
            K=batch.Ks[0],
        )

    def _attribute(
        self, viewmats: Tensor, Ks: Tensor, batch: Any, maps: Callable[[Tensor, Tensor], Tensor]
    ) -> tuple[RenderOutput, Tensor]:
        # The number of maps is known from the maps alone, which need the render first.
        with torch.no_grad():
            plain = self._render(viewmats, Ks, batch.size, None)
            wanted = maps(batch.images, batch.composited(plain.image))
        zeros = wanted.new_zeros(len(self._splats["means"]), wanted.shape[-1], requires_grad=True)
        with torch.enable_grad():
            output = self._render(viewmats, Ks, batch.size, zeros)
            assert output.aux is not None
            (attributed,) = torch.autograd.grad((wanted * output.aux).sum(), zeros)
        return plain, attributed

    def _render(
        self, viewmats: Tensor, Ks: Tensor, size: tuple[int, int], aux: Tensor | None
    ) -> RenderOutput:
        frozen = {name: value.detach() for name, value in self._splats.items()}
        return self._renderer(frozen, viewmats, Ks, *size, sh_degree=self._sh_degree(), aux=aux)
