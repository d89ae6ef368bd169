"""Processes that hold the same Gaussians, and share the views, make the steps of one process."""

import copy
import multiprocessing
import operator
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any, get_args

import pytest
import torch
import torch.distributed as dist
from gsplat.strategy import DefaultStrategy as GsplatDefault

from gs_densify.check.miniature import Miniature, load_miniature, make_trainer
from gs_densify.config.options import LearningRates, Parallel, RenderOptions, TrainConfig
from gs_densify.config.strategy import strategy_for
from gs_densify.distributed.group import ALONE, Group
from gs_densify.errors import StrategyError
from gs_densify.messages import NoBar
from gs_densify.strategies import ops, statistics
from gs_densify.strategies.adapter import StrategyAdapter
from gs_densify.strategies.base import Strategy
from gs_densify.strategies.methods.adaptive import AdaptiveStrategy
from gs_densify.strategies.methods.default import DefaultStrategy
from gs_densify.strategies.methods.mcmc import MCMCStrategy
from gs_densify.strategies.methods.mini_splatting import MiniSplattingStrategy
from gs_densify.strategies.registry import BUILTIN
from gs_densify.training.replicas import InfoOfAll
from gs_densify.training.trainer import Trainer

SIZE = 2
STOPS = (11, 22)


class Wavering(Strategy):
    """Decides otherwise in the second process."""

    def step_post_backward(self, params: Any, optimizers: Any, state: Any, step: int, info: Any,
                           packed: bool = False) -> None:  # fmt: skip
        is_second = dist.is_initialized() and dist.get_rank() == 1
        with torch.no_grad():
            if step == 12:
                params["means"] += 0.5 * is_second
            if step == 14:
                optimizers["means"].state[params["means"]]["exp_avg"].add_(0.5 * is_second)
        if step in (6, 8):
            rows = torch.arange(len(params["means"])) < 5
            ops.split(params, optimizers, state, torch.rand(len(rows)) < 0.1 if is_second else rows)


# The gradient of a turned sphere is rounding alone, and Adam makes a whole step of it.
RATES = LearningRates(quats=0.0)
OPTIONS: dict[str, Any] = {
    "default": {"render": RenderOptions(background="random")},
    "mcmc": {"lr": LearningRates(quats=0.0, visible_only=True)},
    "adaptive": {"render": RenderOptions(dropout=0.2)},
    "gsplat-default": {"modules": ("exposure",)},
    "mini-splatting": {},
    "wavering": {"render": RenderOptions(dropout=0.2)},
}
STRATEGIES = {
    "default": lambda: DefaultStrategy(
        refine_start_iter=2, refine_every=5, refine_stop_iter=20, grow_grad2d=4e-3
    ),
    "mcmc": lambda: MCMCStrategy(max_gaussians=1000, refine_start_iter=2, refine_every=5),
    # Four steps are joined once growth has stopped.
    "adaptive": lambda: AdaptiveStrategy(
        refine_start_iter=2, refine_every=5, refine_stop_iter=12, late_sum=4
    ),
    "gsplat-default": lambda: GsplatDefault(
        refine_start_iter=2, refine_every=5, grow_grad2d=4e-3, verbose=False
    ),
    # What splits is what enters most pixels; the model is never made anew, which draws pixels.
    "mini-splatting": lambda: MiniSplattingStrategy(
        refine_start_iter=2, refine_every=5, grow_grad2d=1.0, blur_area=2e-3
    ),
    "wavering": Wavering,
}


def trained(name: str, scene: Miniature, group: Group) -> list[dict[str, Any]]:
    """What checkpoints hold at the stops; of a process that follows, none."""
    settings = {"lr": RATES, **OPTIONS[name]}
    config = TrainConfig(
        scene="tiny", steps=STOPS[-1], batch_size=SIZE, gpus=group.size, log_every=7, **settings
    )
    trainer = make_trainer(config, scene, StrategyAdapter(name, STRATEGIES[name]()), group)
    if not group.is_first:
        trainer.follow()
        return []
    found = []
    for stop in STOPS:
        rows: list[Any] = []
        trainer.run(stop, rows.append, NoBar())
        state = trainer.state_dict()
        losses = {"losses": torch.tensor([row.loss for row in rows])}
        found.append({**losses, **{one: tensors_of(state[one]) for one in PARTS}})
    trainer.dismiss()
    return found


ON_A_CPU = [name for name, entry in BUILTIN.items() if not entry.needs_cuda]


def trained_by_each(
    scene: Miniature, names: Sequence[str], device: str, group: Group
) -> dict[str, list[Any]]:
    """The numbers of Gaussians, and the parameters, that each strategy leaves."""
    found = {}
    own = {"mini-splatting": {"num_depth_points": 400}}
    for name in names:
        config = TrainConfig(
            scene="tiny", steps=12, batch_size=SIZE, gpus=group.size, strategy=name,
            schedule_factor=0.0005, strategy_options={"refine_every": 4, **own.get(name, {})},
        )  # fmt: skip
        adapter = StrategyAdapter(name, strategy_for(config))
        place = device if device == "cpu" else f"{device}:{group.rank}"
        trainer = make_trainer(config, scene, adapter, group, place)
        if not group.is_first:
            trainer.follow()
        else:
            trainer.run(12, lambda row: None, NoBar())
            trainer.dismiss()
        found[name] = [trainer.progress.peak_gaussians, tensors_of(dict(trainer.splats))]
    return found


PARTS = ("splats", "optimizers", "gradients", "modules")


def tensors_of(tree: Any) -> Any:
    if isinstance(tree, torch.Tensor):
        return tree.detach().clone()
    return {key: tensors_of(one) for key, one in tree.items()} if isinstance(tree, dict) else None


def in_process(rank: int, work: Callable[[Group], Any], folder: Path, backends: str) -> None:
    torch.set_num_threads(1)
    if "nccl" in backends:
        torch.cuda.set_device(rank)
    store = dist.FileStore(str(folder / "store"), SIZE)
    dist.init_process_group(backends, store=store, rank=rank, world_size=SIZE)
    torch.save(work(Group(rank, SIZE)), folder / f"{rank}.pt")
    dist.destroy_process_group()


def started(
    work: Callable[[Group], Any], folder: Path, start: str = "fork", backends: str = "gloo"
) -> list[Any]:
    context = multiprocessing.get_context(start)
    processes = [
        context.Process(target=in_process, args=(rank, work, folder, backends))
        for rank in range(SIZE)
    ]
    for process in processes:
        process.start()
    return processes


def found_by(processes: list[Any], folder: Path) -> list[Any]:
    """What the work gave in each process."""
    for process in processes:
        process.join(300)
        assert process.exitcode == 0
    return [torch.load(folder / f"{rank}.pt", weights_only=True) for rank in range(SIZE)]


@pytest.fixture(scope="module")
def scene() -> Miniature:
    """Seven views: the last batch of an epoch leaves the second process none."""
    return load_miniature()


@pytest.mark.parametrize("name", STRATEGIES)
def test_two_processes_make_the_steps_of_one(name, scene, tmp_path):
    """Across refinements, which draw, and steps whose gradients are summed."""
    processes = started(partial(trained, name, scene), tmp_path)
    mine = trained(name, scene, ALONE)
    theirs, _ = found_by(processes, tmp_path)
    assert len(mine[-1]["splats"]["means"]) != len(scene.points)
    for first, second in zip(mine, theirs, strict=True):
        for at, one in leaves(first):
            error = (one - dict(leaves(second))[at]).abs().flatten().double()
            assert not len(error) or error.quantile(0.95) < 1e-5, at


def assert_each_trained(found: list[Any], names: Sequence[str], before: int) -> None:
    """The model has changed, and is the same in both processes, bit for bit."""
    first, second = found
    assert [*first] == [*names]
    for name, (peak, params) in first.items():
        assert peak != before or len(params["means"]) != peak, name
        for at, one in leaves(params):
            assert torch.equal(one, dict(leaves(second[name][1]))[at].to(one.device)), (name, at)


def test_every_strategy_trains_in_two_processes(scene, tmp_path):
    processes = started(partial(trained_by_each, scene, ON_A_CPU, "cpu"), tmp_path)
    assert_each_trained(found_by(processes, tmp_path), ON_A_CPU, len(scene.points))


@pytest.mark.gpu
@pytest.mark.skipif(torch.cuda.device_count() < SIZE, reason="needs two GPUs")
def test_every_strategy_trains_on_two_gpus(scene, tmp_path):
    work = partial(trained_by_each, scene, [*BUILTIN], "cuda")
    processes = started(work, tmp_path, "spawn", "cpu:gloo,cuda:nccl")
    assert_each_trained(found_by(processes, tmp_path), [*BUILTIN], len(scene.points))


class Late(Strategy):
    """Updates after every fourth step."""

    def update_every(self, step: int) -> int:
        return 4

    def step_post_backward(self, *args: Any, **kwargs: Any) -> None:
        pass


def late_trainer(parallel: Parallel, scene: Miniature, group: Group) -> Trainer:
    config = TrainConfig(
        scene="tiny", steps=30, batch_size=SIZE, gpus=group.size, modules=("exposure",),
        parallel=parallel if group.size > 1 else "views",
    )  # fmt: skip
    return make_trainer(config, scene, StrategyAdapter("late", Late()), group)


def summed_by_modules(parallel: Parallel, scene: Miniature, group: Group) -> torch.Tensor:
    """The gradient of an exposure, amid steps whose gradients are summed, in a checkpoint."""
    trainer = late_trainer(parallel, scene, group)
    if not group.is_first:
        trainer.follow()
        return torch.zeros(0)
    trainer.run(6)
    state = trainer.state_dict()
    trainer.dismiss()
    return state["modules"]["exposure"]["gradients"]["change"].clone()


@pytest.mark.parametrize("parallel", get_args(Parallel))
def test_a_checkpoint_amid_a_sum_has_the_gradients_of_modules_of_all(parallel, scene, tmp_path):
    work = partial(summed_by_modules, parallel, scene)
    theirs, _ = found_by(started(work, tmp_path), tmp_path)
    mine = work(ALONE)
    assert mine.abs().amax() > 0
    torch.testing.assert_close(theirs, mine, rtol=1e-3, atol=1e-6)


def gone_on_with(
    parallel: Parallel, scene: Miniature, state: dict[str, Any], group: Group
) -> list[torch.Tensor]:
    """Moments after the update that ends a sum, which was begun before a checkpoint."""
    trainer = late_trainer(parallel, scene, group)
    trainer.load_state_dict(copy.deepcopy(state))
    if not group.is_first:
        trainer.follow()
        return []
    trainer.run(8)
    state = trainer.state_dict()
    trainer.dismiss()
    of_module = state["modules"]["exposure"]["optimizer"]["state"][0]["exp_avg"]
    return [of_module, state["optimizers"]["means"]["state"][0]["exp_avg"].abs().sum()]


@pytest.mark.parametrize("parallel", get_args(Parallel))
def test_what_was_summed_before_a_checkpoint_counts_once(parallel, scene, tmp_path):
    trainer = late_trainer(parallel, scene, ALONE)
    trainer.run(6)
    work = partial(gone_on_with, parallel, scene, trainer.state_dict())
    theirs, _ = found_by(started(work, tmp_path), tmp_path)
    torch.testing.assert_close(theirs, work(ALONE), rtol=1e-3, atol=1e-6)


def leaves(tree: Any, at: str = "") -> list[tuple[str, torch.Tensor]]:
    if isinstance(tree, torch.Tensor):
        return [(at, tree)]
    found = tree.items() if isinstance(tree, dict) else ()
    return [leaf for key, one in found for leaf in leaves(one, f"{at} {key}")]


def test_entries_are_brought_together_where_they_are_read():
    asked: list[int] = []

    def twice(rows: torch.Tensor) -> torch.Tensor:
        asked.append(len(rows))
        return torch.cat([rows, rows])

    means2d = torch.zeros(1, 3, 2, requires_grad=True)
    entries = {"means2d": means2d, "radii": torch.ones(1, 3, 2), "flatten_ids": 1, "width": 4}
    info = InfoOfAll(entries, slice(0, 1), twice)
    assert info["means2d"] is means2d
    assert asked == []
    means2d.grad = torch.ones(1, 3, 2)
    info.has_gradients()
    assert "flatten_ids" not in info
    with pytest.raises(StrategyError, match="read top_contributors or"):
        info["flatten_ids"]
    whole = {**info}
    assert whole["radii"].shape == whole["means2d"].shape == (2, 3, 2)
    assert (info.get("width"), info.get("height", 5), info.get("flatten_ids")) == (4, 5, None)
    assert asked == [1, 1]


class Beside:
    """A process beside another that has found the same."""

    def summed(self, values: torch.Tensor) -> torch.Tensor:
        return values.mul_(2)

    def maxima(self, values: torch.Tensor) -> torch.Tensor:
        return values


def of_two_views(part: slice) -> InfoOfAll:
    """A Gaussian that is drawn and one that is not, in two views alike, each of one process."""
    means2d = 2 * torch.zeros(1, 2, 2, requires_grad=True)
    means2d.retain_grad()
    means2d.grad = torch.tensor([[[3.0, 4.0], [7.0, 9.0]]])
    radii = torch.tensor([[[1, 1], [0, 0]]])
    entries = {"means2d": means2d, "radii": radii, "width": 2, "height": 2, "n_cameras": 1}
    info = InfoOfAll(entries, part, lambda rows: torch.cat([rows, rows]), Beside())
    info["n_cameras"] = 2
    info.has_gradients()
    return info


def accumulated(info: InfoOfAll) -> list[list[float]]:
    names = {"total": "grad2d", "views": "count", "largest": "largest"}
    state = {name: torch.zeros(2) for name in names.values()}
    statistics.accumulate_gradients(state, 2, info, absolute=False, packed=False, **names)
    return [state[name].tolist() for name in names.values()]


OF_TWO = [[20.0, 0.0], [2.0, 0.0], [10.0, 0.0]]


def test_statistics_bring_sums_together_and_no_views():
    info = of_two_views(slice(0, 1))
    assert accumulated(info) == OF_TWO
    assert info.is_unread("means2d", "radii")
    assert accumulated(of_two_views(slice(1, 1))) == [[0.0] * 2] * 3  # rendered in vain


def doubled(info: InfoOfAll) -> None:
    info["means2d"].grad.mul_(2)


def drawn(info: InfoOfAll) -> None:
    info["radii"][:] = 1


def written(info: InfoOfAll) -> None:
    info["radii"] = torch.zeros(2, 2, 2)


def wider(info: InfoOfAll) -> None:
    info["width"] = info["height"] = 4


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        (doubled, [[40.0, 0.0], [2.0, 0.0], [20.0, 0.0]]),
        (drawn, [[20.0, 4 * 130**0.5], [2.0, 2.0], [10.0, 2 * 130**0.5]]),
        (written, [[0.0] * 2] * 3),
        (wider, [[40.0, 0.0], [2.0, 0.0], [20.0, 0.0]]),
    ],
)
def test_statistics_are_of_what_a_strategy_has_made_of_its_info(change, expected):
    info = of_two_views(slice(0, 1))
    change(info)
    for found, wanted in zip(accumulated(info), expected, strict=True):
        assert found == pytest.approx(wanted)


class Rows:
    """Stands for an entry [C, ...] of the views of one process."""


ACCESSES = {
    "item": lambda info: info["radii"],
    "get": lambda info: info.get("radii"),
    "pop": lambda info: (info.pop("radii"), "radii" in info, info.pop("radii", 3)),
    "pop tiles": lambda info: info.pop("isect_ids", None),
    "popitem": lambda info: sorted(map(str, (info.popitem() for _ in range(3)))),
    "setdefault": lambda info: (info.setdefault("radii", 1), info.setdefault("new", 2), {**info}),
    "setdefault tiles": lambda info: (info.setdefault("isect_ids", 3), info["isect_ids"]),
    "update": lambda info: (info.update(radii=7, new=8), {**info}),
    "update with": lambda info: (info.update([("radii", 7)]), info["radii"]),
    "set": lambda info: (info.__setitem__("radii", 7), info["radii"], info["depths"]),
    "delete": lambda info: (info.__delitem__("radii"), "radii" in info, len(info), {**info}),
    "clear": lambda info: (info.clear(), len(info), bool(info), list(info)),
    "items": lambda info: (list(info.items()), ("radii", "all") in info.items()),
    "values": lambda info: list(info.values()),
    "keys": lambda info: (list(info.keys()), list(info), len(info), "isect_ids" in info),
    "or": lambda info: (info | {"width": 5}, {"width": 5, "radii": 0} | info),
    "or in place": lambda info: (operator.ior(info, {"radii": 7})["radii"], info["depths"]),
    "copies": lambda info: (info.copy(), copy.copy(info), dict(info), {**info}),
    "equal": lambda info: (info == {"radii": "all", "depths": "all", "width": 4}, info == {}),
    "written before": lambda info: (info.update(means2d=7), told(info), info["means2d"]),
}


def told(info: InfoOfAll | dict[str, Any]) -> None:
    if isinstance(info, InfoOfAll):
        info.has_gradients()


@pytest.mark.parametrize("access", ACCESSES.values(), ids=ACCESSES)
def test_every_access_is_that_of_a_dictionary_about_all_views(access):
    entries = {"radii": Rows(), "depths": Rows(), "width": 4, "isect_ids": Rows()}
    plain = {"radii": "all", "depths": "all", "width": 4}
    info = InfoOfAll(entries, slice(0, 1), lambda rows: "all")
    assert access(info) == access(plain)


def test_what_is_only_named_is_not_brought_together():
    entries = {"radii": Rows(), "means2d": Rows()}
    info = InfoOfAll(entries, slice(0, 1), lambda rows: pytest.fail("asked"))
    assert "radii" in info and len(info) == 2 and list(info) == ["radii", "means2d"]
    assert repr(info) == "InfoOfAll(radii, means2d)" and info["means2d"] is entries["means2d"]
