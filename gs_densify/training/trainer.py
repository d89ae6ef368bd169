"""The training loop. It names no method: densification is known by its contract alone."""

import time
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Any, cast

import torch
from torch import Tensor

from gs_densify.config.loss_terms import LOSS_TERMS
from gs_densify.config.modules import MODULES
from gs_densify.config.options import TrainConfig
from gs_densify.config.parallel import replicas, sharers
from gs_densify.distributed.group import ALONE, Group
from gs_densify.messages import Bar, NoBar
from gs_densify.model import adam, shards
from gs_densify.model.gaussians import Optimizers, Params
from gs_densify.model.row_gradients import has_row
from gs_densify.model.types import Splats
from gs_densify.rendering.base import RenderOutput
from gs_densify.rendering.device import wait_for
from gs_densify.rendering.part import of_part
from gs_densify.rendering.renderer import Renderer
from gs_densify.rendering.rows_rasterizer import by_rows
from gs_densify.rendering.sharded.renderer import sharded
from gs_densify.results import MetricsRow
from gs_densify.scene.scene import View
from gs_densify.strategies.adapter import StrategyAdapter
from gs_densify.strategies.base import StepInfo
from gs_densify.training import dropout, schedules
from gs_densify.training.batches import Batch, BatchSampler, ViewStore
from gs_densify.training.divergence import OWN_TERM
from gs_densify.training.losses import photometric_loss
from gs_densify.training.modules.base import Modules
from gs_densify.training.passes import Restraint
from gs_densify.training.probe import Probe
from gs_densify.training.rates import Rates, make_optimizers
from gs_densify.training.replicas import Replicas
from gs_densify.training.resolution import coarse_to_fine
from gs_densify.training.terms.base import LossInputs, WeightedTerm
from gs_densify.training.watch import Watch

_SPECTRUM_VIEWS = 16


@dataclass
class Progress:
    """What the loop has done so far."""

    step: int = 0
    train_seconds: float = 0.0
    photo_seconds: float | None = None
    """Of these, in which steps waited for photos from the disk; None where none are read there."""
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
        self.config, self.group = config, group
        self._first_sh_degree = first_sh_degree
        self.views = views
        if config.render.offload:
            renderer = by_rows(renderer)
        self.renderer = renderer
        """Of whole models; what is trained is rendered together with the other processes."""
        self._sharers, self._replicas = sharers(config, group), Replicas(replicas(config, group))
        self._renderer = of_part(sharded(renderer, self._sharers), self._replicas.group)
        self.adapter = adapter
        self.section: Callable[[str], AbstractContextManager[Any]] = nullcontext
        """Wraps each part of a step, named data, render, loss, ...: for profilers."""
        self.restraint = Restraint(config, len(views))
        self.is_to_pause: Callable[[], bool] = lambda: False
        """Asked after each group of steps; where it says so in any process, `run` returns early."""
        coarse_steps = config.render.coarse_until * config.length
        self._resolution = group.of_first(
            coarse_to_fine(views.sample(_SPECTRUM_VIEWS), views.sizes, coarse_steps)
        )
        self.sampler = BatchSampler(views.sizes, config.batch_size, config.seed)
        optimizers = make_optimizers(splats, config, scene_scale=scene_scale)
        self._rates = Rates(
            optimizers,
            steps=config.length,
            means_final=config.lr.means_final,
            others_final=self.restraint.others_final,
        )
        self._summed = 0
        """Steps whose gradients the parameters hold."""
        self._visible: Tensor | None = None
        """[N], the Gaussians that any of these steps drew; kept for --lr.visible-only."""
        self._one = torch.ones((), device=splats["means"].device)
        """The gradient of the loss by itself, which torch would make at each step."""
        self._terms = [
            WeightedTerm(name, weight, LOSS_TERMS.load(name))
            for name, weight in config.loss.weights().items()
            if weight > 0
        ]
        device = splats["means"].device
        self.modules = Modules(
            {name: MODULES.load(name)(len(views)).to(device) for name in config.modules}
        )
        self._probe = Probe(
            views,
            splats,
            renderer,
            sh_degree=lambda: self._sh_degree(self.progress.step),
        )
        self.gaussians = adapter.start(splats, optimizers, scene_scale=extent or scene_scale)
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

    def whole(self) -> Splats:
        """Returns the Gaussians of all processes, in the host's memory of the first; others get
        none. A process alone returns its own.
        """
        if self._sharers.size == 1:
            return self.splats
        self.group.tell(("whole",))
        host = torch.device("cpu")
        return {n: self.group.gathered(one.detach(), host) for n, one in self.splats.items()}

    @torch.no_grad()
    def render(self, view: View) -> Tensor:
        """Returns what is scored of a view [H,W,3], on the first process; others have no part."""
        if self._sharers.size == 1:
            return self.renderer.view(self.splats, view)
        self.group.tell(("render", view))
        images = self._renderer.images(self.splats, view)
        return images[0] if self.group.is_first else images

    def peak_device_bytes(self) -> int | None:
        """Returns the most device memory that one process has held at a time; None on a CPU."""
        self.group.tell(("peak_device_bytes",))
        device = self.splats["means"].device
        is_gpu = device.type == "cuda"
        return self.group.largest(torch.cuda.max_memory_allocated(device) if is_gpu else None)

    def dismiss(self) -> None:
        """Says to the processes that follow that there is nothing more to do."""
        self.group.tell(None)

    def follow(self) -> None:
        """Does what the first process's trainer does, on another process, until dismissed."""
        while (order := self.group.told()) is not None:
            name, *values = order
            if name == "run":
                self.run(values[0], lambda row: None, NoBar())
            else:
                getattr(self, name)(*values)

    @property
    def optimizers(self) -> Optimizers:
        """One for each parameter."""
        return self.gaussians.optimizers

    def run(self, until: int, on_log: Callable[[MetricsRow], None], bar: Bar) -> bool:
        """Trains to step `until`; `on_log` gets a line of figures at its steps.

        Returns whether it was another process that wanted to pause, and this one did not.
        Ordinary steps do not wait for the GPU: losses are read at logging steps only.

        Raises:
            DivergenceError: the loss or a parameter became infinite or NaN.
            StrategyError: the strategy broke its contract.
        """
        self.group.tell(("run", until))
        device = self.splats["means"].device
        mark, mark_step = time.perf_counter(), self.progress.step
        is_to_pause = wants_to_pause = False
        while self.progress.step < until and not is_to_pause:
            room = self._room(until)
            with self.adapter.answering(self.progress.step):
                terms, done = self._step(self.progress.step, room, is_checked=True)
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
            self.progress.train_seconds += now - mark
            waited = self.views.waited()
            if waited is not None:
                self.progress.photo_seconds = (self.progress.photo_seconds or 0.0) + waited
            if done < room:
                self._watch.check_hook(step - 1)
                break
            row = self._metrics_row(terms, 1e3 * (now - mark) / (step - mark_step))
            mark, mark_step = now, step
            on_log(row)
            bar.set_postfix_str(
                f"loss {row.loss:.4f}, {row.num_gaussians:,} Gaussians,"
                f" {row.step_milliseconds:.1f} ms/step"
            )
        return is_to_pause and not wants_to_pause

    def _room(self, until: int) -> int:
        """Returns the number of steps before the next line of figures or the end."""
        step, every = self.progress.step, self.config.log_every
        return min(until, step - step % every + every) - step

    def _step(
        self, step: int, room: int = 1, *, is_checked: bool = False
    ) -> tuple[dict[str, Tensor], int]:
        """Trains on the views of `step`, and of those of the `room` steps from it on that join it.

        Returns the terms of the loss, means over these steps, and their number. With `is_checked`
        non-finite values are looked for, which waits for the GPU, once `room` is used up.
        """
        adapter, section = self.adapter, self.section
        with section("data"):
            count = self._num_joined(step, room, self._summed)
            batch = self.views.batch(self.sampler.take(count), self.group)
            count = len(batch.steps)
            batch = batch.reduced(self._resolution.reduction(step))
            is_update = self._is_update(step, count)
            self._prefetch(step + count, room - count, 0 if is_update else self._summed + count)
        with section("render"):
            num_maps = adapter.num_attributed_maps(step)
            aux = self._zero_channels(num_maps) if num_maps else None
            output = self._render(batch, step, aux)
        with section("loss"):
            render = batch.composited(self.modules.image(output.image, batch.rendered))
            photometric, terms = photometric_loss(
                render, batch.images, self.config.loss.ssim, weights=batch.weights
            )
        with section("strategy"):
            means_lr = self._rates.set(adapter.lr_step(step + count - 1))
            own_info = self._completed_info(output, render, batch, means_lr)
            info = self._replicas.info(own_info, batch)
            adapter.pre_backward(self.gaussians, step, info)
            further = self._further_terms(
                LossInputs(self.splats, render, output.alpha, batch, step, self._share)
            )
            total = photometric
            for term in further.values():
                total = total + term
            terms = _means({**terms, **further, "loss": total}, count)
            if output.aux is not None and batch.rendered:
                # Zero channels get gradients only themselves: sum over pixels of map times weight.
                maps = adapter.attributed_maps(step, own_info, shape=output.aux.shape)
                total = total + (maps.detach() * output.aux).sum()
        with section("backward"):
            total.backward(self._one)
        self._watch.losses.append(step, terms)
        with section("optimizer"):
            self._replicas.after_backward(info, aux)
            self._update(is_update, count, info)
        is_checked = is_checked and count == room
        if is_checked:
            self._watch.check_update(step)
        with section("strategy"):
            if count > 1:
                scales = self._replicas.own(batch.gradient_scales(), batch)
                _scale_gradients(own_info, scales, packed=self.config.render.packed)
            self._call_post_backward(step, info, means_lr)
        if is_checked:
            self._watch.check_hook(step)
            self._watch.losses.clear()
        self.num_gaussians = self._count()
        self.progress.peak_gaussians = max(self.progress.peak_gaussians, self.num_gaussians)
        return terms, count

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

    def _call_post_backward(self, step: int, info: StepInfo, means_lr: float) -> None:
        """Calls the hook, and looks at what it left where it changed the model."""
        means, before = self.splats["means"], self.gaussians.num
        packed = self.config.render.packed
        marks = self._replicas.marks(self.gaussians)
        self.adapter.post_backward(self.gaussians, step, info, means_lr=means_lr, packed=packed)
        self._replicas.agree(self.gaussians, marks)
        if self.splats["means"] is not means:
            self._offload()
            if self._summed:
                self._watch.check_gradients(step, self._summed)
                self._find_visible()
        if self.gaussians.num != before:  # a refinement, which waits for the GPU anyway
            self._watch.check_hook(step)

    def _num_joined(self, step: int, room: int, summed: int) -> int:
        """Returns how many steps from `step` on are rendered in one call, `room` at most.

        All of them see one SH degree and photos of one size.
        """
        count = min(room, self.adapter.steps_together(step, summed))
        if count == 1:
            return 1
        first = self._sh_degree(step), self._resolution.reduction(step)
        for later in range(step + 1, step + count):
            if (self._sh_degree(later), self._resolution.reduction(later)) != first:
                return later - step
        return count

    def _prefetch(self, step: int, room: int, summed: int) -> None:
        """Begins to copy the views of the next call where photos are not on the device, and to read
        those of later ones where they are on the disk.
        """
        if self.views.is_streamed:
            count = self._num_joined(step, room or self.config.log_every, summed)
            later = self.sampler.upcoming(self.views.num_ahead)
            self.views.prefetch(self.sampler.peek(count), self.group, later)

    def _is_update(self, step: int, count: int) -> bool:
        """Returns whether the optimisers step after `count` steps from `step` on.

        They do where as many gradients are summed as the strategy wants, and at the last step.
        """
        last = step + count - 1
        wanted = self.adapter.update_every(last)
        return self._summed + count >= wanted or last + 1 == self.config.length

    def _update(self, is_update: bool, count: int, info: Mapping[str, Any]) -> None:
        """Steps the optimisers, or leaves the gradients to be summed with those of later steps."""
        if self.config.lr.visible_only:
            drawn = (info["radii"] > 0).all(-1).any(0)
            self._visible = drawn if self._visible is None else self._visible | drawn
        self._summed += count
        if is_update:
            self._replicas.sum_gradients(self.splats)
            adam.update(self.optimizers, self._visible)
            self.modules.update(self.group)
            self._visible, self._summed = None, 0

    def _find_visible(self) -> None:
        """Tells those that were drawn by their gradients, once an operation has moved the rows."""
        if self.config.lr.visible_only:
            gradients = [v.grad for v in self.splats.values() if v.grad is not None]
            self._visible = torch.stack([has_row(one) for one in gradients]).any(dim=0)

    def _zero_channels(self, count: int) -> Tensor:
        means = self.splats["means"]
        return torch.zeros(len(means), count, device=means.device, requires_grad=True)

    def _completed_info(
        self, output: RenderOutput, render: Tensor, batch: Batch, means_lr: float
    ) -> StepInfo:
        added: StepInfo = {
            "means_lr": means_lr,
            "image": batch.images,
            "render": render,
            "reduction": batch.reduction,
            "views": batch.indices,
            "num_train_views": len(self.views),
        }
        if self._sharers.size == 1:
            added["probe"] = self._probe
        return cast(StepInfo, {**output.info, **added})

    def _sh_degree(self, step: int) -> int:
        factor = self.config.schedule_factor or 1.0
        every = max(1, round(self.config.render.sh_degree_every * factor))
        highest = self.config.init.sh_degree
        scheduled = schedules.sh_degree(step, every=every, highest=highest)
        scheduled = max(scheduled, min(self._first_sh_degree, highest))
        return self.adapter.sh_degree(step, scheduled, highest=highest)

    def _render(self, batch: Batch, step: int, aux: Tensor | None) -> RenderOutput:
        options = self.config.render
        backgrounds = None
        if options.background == "random":
            backgrounds = torch.rand(len(batch.indices), 3, device=batch.images.device)[batch.part]
        left_out = dropout.share_left_out(self.restraint.dropout, step, self.config.length)
        return self._renderer(
            dropout.without_some(self.splats, left_out),
            self.modules.cameras(batch.viewmats, batch.indices),
            batch.Ks,
            *batch.size,
            sh_degree=self._sh_degree(step),
            backgrounds=backgrounds,
            absgrad=options.absgrad or self.adapter.needs_absgrad(step),
            packed=options.packed,
            aux=aux,
            view=batch.rendered[0] if len(batch.rendered) == 1 else None,
        )

    def _further_terms(self, inputs: LossInputs) -> dict[str, Tensor]:
        """Returns the weighted terms of the loss besides the photometric one, by name.

        Each is the sum over the steps of the call.
        """
        terms = {one.name: one(inputs) for one in self._terms}
        own = self.adapter.regularization(self.splats, inputs.step)
        if own is None:
            return terms
        return {**terms, OWN_TERM: len(inputs.batch.steps) * inputs.share * own}

    def _metrics_row(self, terms: dict[str, Tensor], step_milliseconds: float) -> MetricsRow:
        sums = self.group.total(*(float(value) for value in terms.values()))
        values: dict[str, float | None] = dict(zip(terms, sums, strict=True))
        return MetricsRow(
            step=self.progress.step,
            loss=values.pop("loss"),
            terms=values,
            num_gaussians=self.num_gaussians,
            train_seconds=self.progress.train_seconds,
            step_milliseconds=step_milliseconds,
            means_lr=self._rates.means,
            device_bytes=self.group.largest(_allocated(self.splats["means"].device)),
        )

    def state_dict(self) -> dict[str, Any]:
        """Returns all that changes while training; of several processes the first gets that of all,
        in host memory.
        """
        self.group.tell(("state_dict",))
        if self._summed:
            for trained in (self.splats, *self.modules.parameters()):
                self._replicas.collect_gradients(trained)
        return shards.gathered(self.own_state(), self._sharers, self.adapter.totals)

    def own_state(self) -> dict[str, Any]:
        """Returns what changes of this process's Gaussians, and with them."""
        return {
            "step": self.progress.step,
            "train_seconds": self.progress.train_seconds,
            "photo_seconds": self.progress.photo_seconds,
            "peak_gaussians": self.progress.peak_gaussians,
            **self.gaussians.state_dict(),
            "sampler": self.sampler.state_dict(),
            "modules": self.modules.state_dict(),
            # Amid steps whose gradients are summed.
            "summed": self._summed,
            "drawn": self._visible,
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Goes on where `state_dict` was taken, in place; several processes take a share each."""
        state = shards.dealt(state, self._sharers, self.adapter.totals)
        self.gaussians.load_state_dict(state)
        drawn, step = state["drawn"], state["step"]
        self._visible = None if drawn is None else drawn.to(self.splats["means"].device)
        # Earlier versions updated at multiples of the interval, and did not save the number.
        self._summed = state.get("summed", step % self.adapter.update_every(step))
        self.sampler.load_state_dict(state["sampler"])
        self.modules.load_state_dict(state.get("modules", {}))
        for trained in (self.splats, *self.modules.parameters()):
            self._replicas.leave_gradients(trained)
        self.progress = Progress(
            step=step,
            train_seconds=state["train_seconds"],
            photo_seconds=state.get("photo_seconds"),
            peak_gaussians=state["peak_gaussians"],
        )
        self.num_gaussians = self._count()


def _allocated(device: torch.device) -> int | None:
    return torch.cuda.memory_allocated(device) if device.type == "cuda" else None


def _means(sums: dict[str, Tensor], count: int) -> dict[str, Tensor]:
    """Returns the means over `count` steps, without gradients."""
    values = {name: value.detach() for name, value in sums.items()}
    return values if count == 1 else {name: value / count for name, value in values.items()}


def _scale_gradients(info: Mapping[str, Any], scales: list[float], *, packed: bool) -> None:
    """Multiplies the image-plane gradients of each view by its scale, in place."""
    means2d = info["means2d"]
    kept = means2d.grad if means2d.retains_grad else None
    for gradient in (kept, getattr(means2d, "absgrad", None)):
        if gradient is None or not scales:
            continue
        if len(set(scales)) == 1:
            gradient.mul_(scales[0])
        else:
            by_view = gradient.new_tensor(scales)
            gradient.mul_(by_view[info["camera_ids"], None] if packed else by_view[:, None, None])
