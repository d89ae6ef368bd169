"""The training loop. It names no method: densification is known by its contract alone."""

import time
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch
from torch import Tensor

from gs_densify.config.modules import MODULES
from gs_densify.config.options import TrainConfig
from gs_densify.config.parallel import replicas, sharers
from gs_densify.distributed import orders
from gs_densify.distributed.group import ALONE, Group
from gs_densify.distributed.orders import ordered
from gs_densify.messages import Bar, NoBar
from gs_densify.model import shards
from gs_densify.model.adam import UpdateInBackward
from gs_densify.model.gaussians import Optimizers, Params
from gs_densify.model.types import Splats
from gs_densify.rendering.device import wait_for
from gs_densify.rendering.part import of_part
from gs_densify.rendering.renderer import Renderer
from gs_densify.rendering.rows_rasterizer import by_rows
from gs_densify.rendering.sharded.renderer import sharded
from gs_densify.results import MetricsRow
from gs_densify.scene.scene import View
from gs_densify.strategies.adapter import StrategyAdapter
from gs_densify.strategies.base import StepInfo
from gs_densify.training.batches import BatchSampler, ViewStore
from gs_densify.training.forward import Forward, zero_channels
from gs_densify.training.losses import photometric_loss
from gs_densify.training.modules.base import Modules
from gs_densify.training.passes import Restraint
from gs_densify.training.probe import Probe
from gs_densify.training.progress import Progress
from gs_densify.training.rates import Rates, make_optimizers
from gs_densify.training.replicas import Replicas
from gs_densify.training.resolution import coarse_to_fine
from gs_densify.training.schedule import Schedule
from gs_densify.training.step_info import scale_gradients, step_info
from gs_densify.training.terms.base import LossInputs
from gs_densify.training.terms.further import FurtherTerms
from gs_densify.training.updates import Updates
from gs_densify.training.watch import Watch

_HOST = torch.device("cpu")
_NO_BAR = NoBar()
_SPECTRUM_VIEWS = 16


class Trainer:
    """Parameters, optimisers, views and a strategy, and the step that joins them."""

    def __init__(
        self,
        config: TrainConfig,
        splats: torch.nn.ParameterDict,
        views: ViewStore,
        renderer: Renderer,
        adapter: StrategyAdapter,
        *,
        scene_scale: float,
        extent: float | None = None,
        first_sh_degree: int = 0,
        group: Group = ALONE,
    ) -> None:
        """Takes Gaussians that are trained with `first_sh_degree` or more from the first step.

        Their means move by `scene_scale`; the strategy measures sizes by `extent`, if it differs.
        Of several processes in `group` each renders a part of the views; with --parallel gaussians
        it has a share of the Gaussians, else all of them.
        """
        self.config, self.views, self.adapter, self.group = config, views, adapter, group
        self._sharers, self._replicas = sharers(config, group), Replicas(replicas(config, group))
        self.renderer = by_rows(renderer) if config.render.offload else renderer
        """Of whole models; what is trained is rendered together with the other processes."""
        self._renderer = of_part(sharded(self.renderer, self._sharers), self._replicas.group)
        self.section: Callable[[str], AbstractContextManager[Any]] = nullcontext
        """Wraps each part of a step, named data, render, loss, ...: for profilers."""
        self.is_to_pause: Callable[[], bool] = lambda: False
        """Asked after each group of steps; where it says so in any process, `run` returns early."""
        self._one = torch.ones((), device=splats["means"].device)
        """The gradient of the loss by itself, which torch would make at each step."""

        self.restraint = Restraint(config, len(views))
        self.sampler = BatchSampler(views.sizes, config.batch_size, config.seed)
        coarse_steps = config.render.coarse_until * config.length
        resolution = coarse_to_fine(views.sample(_SPECTRUM_VIEWS), views.sizes, coarse_steps)
        self._schedule = Schedule(
            config, adapter, group.of_first(resolution), first_sh_degree=first_sh_degree
        )
        optimizers = make_optimizers(splats, config, scene_scale=scene_scale)
        self.rates = Rates(
            optimizers,
            steps=config.length,
            means_final=config.lr.means_final,
            others_final=self.restraint.others_final,
        )
        self._further_terms = FurtherTerms(config.loss.weights(), adapter)
        self.modules = Modules(
            {name: MODULES.load(name)(len(views)).to(self._one.device) for name in config.modules}
        )
        self._forward = Forward(
            config,
            adapter,
            self._renderer,
            self._schedule,
            self.modules,
            dropout=self.restraint.dropout,
        )
        self._probe = None  # where no process has the whole model
        if self._sharers.size == 1:
            self._probe = Probe(
                views,
                splats,
                self.renderer,
                sh_degree=lambda: self._schedule.sh_degree(self.progress.step),
            )

        self.gaussians = adapter.start(splats, optimizers, scene_scale=extent or scene_scale)
        self._updates = Updates(
            self.gaussians,
            self.modules,
            self._replicas,
            group,
            visible_only=config.lr.visible_only,
        )
        self._watch = Watch(adapter, self.gaussians)
        self._replicas.align(self.gaussians)
        self._offload()
        self.num_gaussians = self._count()
        """Of all processes."""
        self.progress = Progress(peak_gaussians=self.num_gaussians)

    @property
    def splats(self) -> Params:
        """Returns the model's parameters, of this process's Gaussians."""
        return self.gaussians.params

    @property
    def optimizers(self) -> Optimizers:
        """One for each parameter."""
        return self.gaussians.optimizers

    @ordered(told=1)
    def run(
        self,
        until: int,
        /,
        on_log: Callable[[MetricsRow], None] = lambda row: None,
        bar: Bar = _NO_BAR,
    ) -> bool:
        """Trains to step `until`; `on_log` gets a line of figures at its steps.

        Returns whether it was another process that wanted to pause, and this one did not.
        Ordinary steps do not wait for the GPU: losses are read at logging steps only.

        Raises:
            DivergenceError: the loss or a parameter became infinite or NaN.
            StrategyError: the strategy broke its contract.
        """
        device = self.splats["means"].device
        mark, mark_step = time.perf_counter(), self.progress.step
        is_to_pause = wants_to_pause = False
        while self.progress.step < until and not is_to_pause:
            room = self._schedule.room(self.progress.step, until)
            with self.adapter.answering(self.progress.step):
                terms, done = self.step(self.progress.step, room, is_checked=True)
            self.progress.step += done
            step = self.progress.step
            if self.progress.first_step_at is None:
                wait_for(device)
                self.progress.first_step_at = time.perf_counter()
            bar.update(step - bar.n)
            wants_to_pause = self.is_to_pause()
            (is_to_pause,) = self.group.any_of([wants_to_pause])
            if done < room and not is_to_pause:
                continue
            wait_for(device)
            now = time.perf_counter()
            self.progress.took(now - mark, self.views.waited())
            if done < room:
                self._watch.check_hook(step - 1)
                break
            row = self.metrics_row(terms, 1e3 * (now - mark) / (step - mark_step))
            mark, mark_step = now, step
            on_log(row)
            bar.set_postfix_str(
                f"loss {row.loss:.4f}, {row.num_gaussians:,} Gaussians,"
                f" {row.step_milliseconds:.1f} ms/step"
            )
        return is_to_pause and not wants_to_pause

    def step(
        self, step: int, room: int = 1, *, is_checked: bool = False
    ) -> tuple[dict[str, Tensor], int]:
        """Trains on the views of `step`, and of those of the `room` steps from it on that join it.

        Returns the terms of the loss, means over these steps, and their number. With `is_checked`
        non-finite values are looked for, which waits for the GPU, once `room` is used up.
        """
        adapter, section = self.adapter, self.section
        schedule, updates = self._schedule, self._updates
        with section("data"):
            count = schedule.num_joined(step, room, updates.summed)
            batch = self.views.batch(self.sampler.take(count), self.group)
            count = len(batch.steps)
            batch = batch.reduced(schedule.reduction(step))
            is_update = schedule.is_update(step, count, updates.summed)
            summed = 0 if is_update else updates.summed + count
            self._prefetch(step + count, room - count, summed)
        with section("render"):
            num_maps = adapter.num_attributed_maps(step)
            aux = zero_channels(self.splats, num_maps) if num_maps else None
            output = self._forward(self.splats, batch, step, aux, self._in_backward(is_update))
        with section("loss"):
            render = batch.composited(self.modules.image(output.image, batch.rendered))
            photometric, terms = photometric_loss(
                render, batch.images, self.config.loss.ssim, weights=batch.weights
            )
        with section("strategy"):
            means_lr = self.rates.set(adapter.lr_step(step + count - 1))
            own_info = step_info(
                output,
                render,
                batch,
                means_lr=means_lr,
                num_views=len(self.views),
                probe=self._probe,
            )
            info = self._replicas.info(own_info, batch)
            adapter.pre_backward(self.gaussians, step, info)
            further = self._further_terms(
                LossInputs(self.splats, render, output.alpha, batch, step, self._share)
            )
            total = sum(further.values(), photometric)
            terms = _means({**terms, **further, "loss": total}, count)
            if output.aux is not None and batch.rendered:
                # Zero channels get gradients only themselves: sum over pixels of map times weight.
                maps = adapter.attributed_maps(step, own_info, shape=output.aux.shape)
                total = total + (maps.detach() * output.aux).sum()
        with section("backward"), updates.backward_pass():
            total.backward(self._one)
        self._watch.losses.append(step, terms)
        with section("optimizer"):
            self._replicas.after_backward(info, aux)
            updates.add(count, info)
            if is_update:
                updates.step()
        is_checked = is_checked and count == room
        if is_checked:
            self._watch.check_update(step)
        with section("strategy"):
            if count > 1:
                scales = self._replicas.own(batch.gradient_scales(), batch)
                scale_gradients(own_info, scales, packed=self.config.render.packed)
            self._call_post_backward(step, info, means_lr)
        if is_checked:
            self._watch.check_hook(step)
            self._watch.losses.clear()
        self.num_gaussians = self._count()
        self.progress.peak_gaussians = max(self.progress.peak_gaussians, self.num_gaussians)
        return terms, count

    def metrics_row(self, terms: dict[str, Tensor], step_milliseconds: float) -> MetricsRow:
        """Returns the line of figures of the present step, whose loss has `terms` []."""
        sums = self.group.total(*(float(value) for value in terms.values()))
        values: dict[str, float | None] = dict(zip(terms, sums, strict=True))
        return MetricsRow(
            step=self.progress.step,
            loss=values.pop("loss"),
            terms=values,
            num_gaussians=self.num_gaussians,
            train_seconds=self.progress.train_seconds,
            step_milliseconds=step_milliseconds,
            means_lr=self.rates.means,
            device_bytes=self.group.largest(_allocated(self.splats["means"].device)),
        )

    def _in_backward(self, is_update: bool) -> UpdateInBackward | None:
        """Returns the update for the backward pass to make, where no further term adds to it."""
        if not is_update or self._further_terms.may_be:
            return None
        return self._updates.in_backward()

    def _prefetch(self, step: int, room: int, summed: int) -> None:
        """Begins to copy the views of the next call where photos are not on the device, and to read
        those of later ones where they are on the disk.
        """
        if self.views.is_streamed:
            count = self._schedule.num_joined(step, room or self.config.log_every, summed)
            later = self.sampler.upcoming(self.views.num_ahead)
            self.views.prefetch(self.sampler.peek(count), self.group, later)

    def _call_post_backward(self, step: int, info: StepInfo, means_lr: float) -> None:
        """Calls the hook, and looks at what it left where it changed the model."""
        means, before = self.splats["means"], self.gaussians.num
        packed = self.config.render.packed
        marks = self._replicas.marks(self.gaussians)
        self.adapter.post_backward(self.gaussians, step, info, means_lr=means_lr, packed=packed)
        self._replicas.agree(self.gaussians, marks)
        if self.splats["means"] is not means:
            self._offload()
            if self._updates.summed:
                self._watch.check_gradients(step, self._updates.summed)
                self._updates.find_drawn()
        if self.gaussians.num != before:  # a refinement, which waits for the GPU anyway
            self._watch.check_hook(step)

    def _offload(self) -> None:
        """Moves to host memory what is to lie there, and a hook has made anew on the GPU."""
        if self.config.render.offload:
            self.gaussians.to_host_memory(("shN",))

    def _count(self) -> int:
        return round(self._sharers.total(self.gaussians.num)[0])

    @property
    def _share(self) -> float:
        """Returns the share of this process in a term of the loss about all Gaussians."""
        return self._replicas.share * self.gaussians.num / self.num_gaussians

    @ordered()
    def whole(self) -> Splats:
        """Returns the Gaussians of all processes, in the host's memory of the first; others get
        none. A process alone returns its own.
        """
        return {n: self._sharers.gathered(one.detach(), _HOST) for n, one in self.splats.items()}

    @torch.no_grad()
    def render(self, view: View) -> Tensor:
        """Returns what is scored of a view [H,W,3], on the first process; others have no part."""
        if self._sharers.size == 1:
            return self.renderer.view(self.splats, view)
        return self._render_together(view)[0]

    @ordered(told=1)
    @torch.no_grad()
    def _render_together(self, view: View) -> Tensor:
        """Returns a view of a model that processes share, [1,H,W,3] on the first of them."""
        return self._renderer.images(self.splats, view)

    @ordered()
    def peak_device_bytes(self) -> int | None:
        """Returns the most device memory that one process has held at a time; None on a CPU."""
        device = self.splats["means"].device
        is_gpu = device.type == "cuda"
        return self.group.largest(torch.cuda.max_memory_allocated(device) if is_gpu else None)

    def dismiss(self) -> None:
        """Says to the processes that follow that there is nothing more to do."""
        orders.dismiss(self)

    def follow(self) -> None:
        """Does what the first process's trainer does, on another process, until dismissed."""
        orders.follow(self)

    @ordered()
    def state_dict(self) -> dict[str, Any]:
        """Returns all that changes while training; of several processes the first gets that of all,
        in host memory.
        """
        self._updates.collect()
        return shards.gathered(self.own_state(), self._sharers, self.adapter.totals)

    def own_state(self) -> dict[str, Any]:
        """Returns what changes of this process's Gaussians, and with them."""
        return {
            **self.progress.state_dict(),
            **self.gaussians.state_dict(),
            "sampler": self.sampler.state_dict(),
            "modules": self.modules.state_dict(),
            **self._updates.state_dict(),
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Goes on where `state_dict` was taken, in place; several processes take a share each."""
        state = shards.dealt(state, self._sharers, self.adapter.totals)
        step = state["step"]
        # Earlier versions updated at multiples of the interval, and did not save the number.
        state.setdefault("summed", step % self.adapter.update_every(step))
        self.gaussians.load_state_dict(state)
        self.sampler.load_state_dict(state["sampler"])
        self.modules.load_state_dict(state.get("modules", {}))
        self._updates.load_state_dict(state)
        self.progress = Progress.of(state)
        self.num_gaussians = self._count()


def _allocated(device: torch.device) -> int | None:
    return torch.cuda.memory_allocated(device) if device.type == "cuda" else None


def _means(sums: dict[str, Tensor], count: int) -> dict[str, Tensor]:
    """Returns the means over `count` steps, without gradients."""
    values = {name: value.detach() for name, value in sums.items()}
    return values if count == 1 else {name: value / count for name, value in values.items()}
