"""The training loop. It names no method: densification is known by its contract alone."""

import time
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from tqdm import tqdm

from gs_densify.rendering.base import Rasterizer, RenderOutput, render_splats
from gs_densify.results import MetricsRow
from gs_densify.splats import adam, model
from gs_densify.strategies import ops
from gs_densify.training import schedules
from gs_densify.training.config import TrainConfig
from gs_densify.training.device import wait_for
from gs_densify.training.losses import photometric_loss
from gs_densify.training.probe import Probe
from gs_densify.training.resolution import coarse_to_fine
from gs_densify.training.strategy_host import StrategyHost
from gs_densify.training.views import Batch, BatchSampler, ViewStore

_SPECTRUM_VIEWS = 16


@dataclass
class Progress:
    """What the loop has done so far."""

    step: int = 0
    train_seconds: float = 0.0
    peak_gaussians: int = 0
    first_step_at: float | None = None
    """When the first step of this process was done, of `time.perf_counter`."""


class Trainer:
    """Parameters, optimisers, views and a strategy, and the step that joins them."""

    def __init__(
        self,
        config: TrainConfig,
        splats: torch.nn.ParameterDict,
        views: ViewStore,
        rasterizer: Rasterizer,
        host: StrategyHost,
        *,
        scene_scale: float,
        near_plane: float,
    ) -> None:
        self.config = config
        self.splats = splats
        self.views = views
        self.rasterizer = rasterizer
        self.host = host
        self._projection: dict[str, Any] = {
            "antialiased": config.render.antialiased,
            "near_plane": near_plane,
        }
        self.section: Callable[[str], AbstractContextManager[Any]] = nullcontext
        """Wraps each part of a step, named data, render, loss, ...: for profilers."""
        self._resolution = coarse_to_fine(
            views.sample(_SPECTRUM_VIEWS),
            views.sizes,
            config.render.coarse_until * config.steps,
        )
        self.sampler = BatchSampler(views.sizes, config.batch_size, config.seed)
        rates = {name: getattr(config.lr, name) for name in model.NAMES}
        rates["means"] *= scene_scale
        self.optimizers = model.create_optimizers(
            splats, rates, batch_size=config.batch_size, weight_decay=config.lr.weight_decay
        )
        self._drawn: tuple[Tensor, Tensor] | None = None
        self._initial_means_lr = self.optimizers["means"].param_groups[0]["lr"]
        self._probe = Probe(
            views,
            splats,
            rasterizer,
            sh_degree=lambda: self._sh_degree(self.progress.step),
            **self._projection,
        )
        host.start(splats, self.optimizers, scene_scale=scene_scale)
        self.progress = Progress(peak_gaussians=ops.count(splats))

    def run(self, until: int, on_log: Callable[[MetricsRow], None], bar: tqdm) -> None:
        """Train to step `until`; `on_log` gets a line of figures at its steps.

        Ordinary steps do not wait for the GPU: losses are read at logging steps only.
        """
        device = self.splats["means"].device
        mark, mark_step = time.perf_counter(), self.progress.step
        while self.progress.step < until:
            terms, done = self._step(self.progress.step, self._room(until))
            self.progress.step += done
            step = self.progress.step
            if self.progress.first_step_at is None:
                wait_for(device)
                self.progress.first_step_at = time.perf_counter()
            if step % self.config.log_every and step != until:
                continue
            self.host.check_finite(self.splats, step - 1)
            wait_for(device)
            now = time.perf_counter()
            self.progress.train_seconds += now - mark
            row = self._metrics_row(terms, 1e3 * (now - mark) / (step - mark_step))
            mark, mark_step = now, step
            on_log(row)
            bar.set_postfix_str(
                f"loss {row.loss:.4f}, {row.num_gaussians:,} Gaussians,"
                f" {row.step_milliseconds:.1f} ms/step"
            )
            bar.update(step - bar.n)

    def _room(self, until: int) -> int:
        """Steps before the next line of figures or the end."""
        step, every = self.progress.step, self.config.log_every
        return min(until, step - step % every + every) - step

    def _step(self, step: int, room: int = 1) -> tuple[dict[str, Tensor], int]:
        """One call of the rasteriser: terms of the loss, and the steps (at most `room`) it was."""
        host, section = self.host, self.section
        with section("data"):
            indices, together = self.sampler.take(min(room, host.steps_together(step)))
            batch = self.views.batch(indices)
            batch = batch.reduced(self._resolution.reduction(step))
            self._prefetch(step + together, room - together)
        with section("render"):
            num_maps = host.num_attributed_maps(step)
            aux = self._zero_channels(num_maps) if num_maps else None
            output = self._render(batch, step, aux)
        with section("loss"):
            render = batch.composited(output.image)
            loss, terms = photometric_loss(
                render, batch.images, self.config.loss.ssim, counted=batch.counted
            )
        with section("strategy"):
            means_lr = self._set_means_lr(step)
            info = self._completed_info(output, render, batch, means_lr)
            host.pre_backward(self.splats, self.optimizers, step, info)
            # The loss is a mean over the views: of several steps, their sum is wanted.
            total = together * self._with_regularisers(loss, step)
            if output.aux is not None:
                # Zero channels get gradients only themselves: sum over pixels of map times weight.
                maps = host.attributed_maps(step, info, shape=output.aux.shape)
                total = total + (maps.detach() * output.aux).sum()
        with section("backward"):
            total.backward()
        if aux is not None:
            info["attributed"] = aux.grad
        with section("optimizer"):
            self._update(step, together, info)
        with section("strategy"):
            host.post_backward(
                self.splats,
                self.optimizers,
                step,
                info,
                means_lr=means_lr,
                packed=self.config.render.packed,
            )
        self.progress.peak_gaussians = max(self.progress.peak_gaussians, ops.count(self.splats))
        return {"loss": loss.detach(), **terms}, together

    def _prefetch(self, step: int, room: int) -> None:
        """Begin to copy the views of the next call, where photos are streamed from the host."""
        together = self.host.steps_together(step)
        self.views.prefetch(self.sampler.peek(min(room or self.config.log_every, together))[0])

    def _update(self, step: int, together: int, info: dict[str, Any]) -> None:
        """Step the optimisers, where the strategy does not sum gradients of further steps first."""
        visible = self._drawn_since_update(info) if self.config.lr.visible_only else None
        if (step + together) % self.host.update_every(step) == 0:
            adam.update(self.optimizers, visible)
            self._drawn = None

    def _drawn_since_update(self, info: dict[str, Any]) -> Tensor:
        """Which Gaussians [N] any view drew whose gradients the parameters hold."""
        means = self.splats["means"]
        drawn = (info["radii"] > 0).all(-1).any(0)
        before = self._drawn_so_far()
        if before is not None:
            drawn |= before
        self._drawn = (means, drawn)
        return drawn

    def _drawn_so_far(self) -> Tensor | None:
        """None where a strategy's operations put other parameters in place, without gradients."""
        if self._drawn is None or self._drawn[0] is not self.splats["means"]:
            return None
        return self._drawn[1]

    def _zero_channels(self, count: int) -> Tensor:
        means = self.splats["means"]
        return torch.zeros(len(means), count, device=means.device, requires_grad=True)

    def _completed_info(
        self, output: RenderOutput, render: Tensor, batch: Batch, means_lr: float
    ) -> dict[str, Any]:
        return {
            **output.info,
            "means_lr": means_lr,
            "image": batch.images,
            "render": render,
            "reduction": batch.reduction,
            "views": batch.indices,
            "num_train_views": len(self.views),
            "probe": self._probe,
        }

    def _sh_degree(self, step: int) -> int:
        every = max(1, round(self.config.render.sh_degree_every * self.config.schedule_factor))
        highest = self.config.init.sh_degree
        scheduled = schedules.sh_degree(step, every=every, highest=highest)
        return self.host.sh_degree(step, scheduled, highest=highest)

    def _render(self, batch: Batch, step: int, aux: Tensor | None) -> RenderOutput:
        options = self.config.render
        backgrounds = None
        if options.background == "random":
            backgrounds = torch.rand(len(batch.indices), 3, device=batch.images.device)
        return render_splats(
            self.rasterizer,
            self.splats,
            batch.viewmats,
            batch.Ks,
            *batch.size,
            sh_degree=self._sh_degree(step),
            backgrounds=backgrounds,
            **self._projection,
            absgrad=options.absgrad or self.host.needs_absgrad(step),
            packed=options.packed,
            aux=aux,
        )

    def _with_regularisers(self, loss: Tensor, step: int) -> Tensor:
        options = self.config.loss
        if options.opacity_reg > 0:
            loss = loss + options.opacity_reg * self.splats["opacities"].sigmoid().mean()
        if options.scale_reg > 0:
            loss = loss + options.scale_reg * self.splats["scales"].exp().mean()
        own = self.host.regularization(self.splats, step)
        return loss if own is None else loss + own

    def _set_means_lr(self, step: int) -> float:
        rate = schedules.means_lr(
            self._initial_means_lr,
            self.config.lr.means_final,
            self.host.lr_step(step),
            self.config.steps,
        )
        self.optimizers["means"].param_groups[0]["lr"] = rate
        return rate

    def _metrics_row(self, terms: dict[str, Tensor], step_milliseconds: float) -> MetricsRow:
        return MetricsRow(
            step=self.progress.step,
            **{name: float(value) for name, value in terms.items()},
            num_gaussians=ops.count(self.splats),
            train_seconds=self.progress.train_seconds,
            step_milliseconds=step_milliseconds,
            means_lr=self.optimizers["means"].param_groups[0]["lr"],
            device_bytes=_allocated(self.splats["means"].device),
        )

    def state_dict(self) -> dict[str, Any]:
        """All that changes while training."""
        return {
            "step": self.progress.step,
            "train_seconds": self.progress.train_seconds,
            "peak_gaussians": self.progress.peak_gaussians,
            "splats": {name: value.detach() for name, value in self.splats.items()},
            "optimizers": {name: one.state_dict() for name, one in self.optimizers.items()},
            "strategy_state": dict(self.host.state),
            "sampler": self.sampler.state_dict(),
            # Amid steps whose gradients are summed.
            "gradients": {
                name: value.grad for name, value in self.splats.items() if value.grad is not None
            },
            "drawn": self._drawn_so_far(),
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on where `state_dict` was taken, in place."""
        device = self.splats["means"].device
        restored = model.to_parameters(state["splats"], device)
        for name, optimizer in self.optimizers.items():
            self.splats[name] = restored[name]
            if name in state["gradients"]:
                restored[name].grad = state["gradients"][name].to(device, copy=True)
            optimizer.param_groups[0]["params"] = [restored[name]]
            optimizer.state.clear()
            optimizer.load_state_dict(state["optimizers"][name])
        self.host.state = dict(state["strategy_state"])
        drawn = state["drawn"]
        self._drawn = None if drawn is None else (restored["means"], drawn.to(device))
        self.sampler.load_state_dict(state["sampler"])
        self.progress = Progress(
            step=state["step"],
            train_seconds=state["train_seconds"],
            peak_gaussians=state["peak_gaussians"],
        )


def _allocated(device: torch.device) -> int | None:
    return torch.cuda.memory_allocated(device) if device.type == "cuda" else None
