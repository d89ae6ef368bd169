"""A strategy in training on the miniature, watched step by step. See `contract`."""

from collections.abc import Callable
from dataclasses import dataclass, field

from tqdm import tqdm

from gs_densify.check.miniature import Miniature, make_trainer
from gs_densify.check.rules import StepRecord
from gs_densify.config.options import TrainConfig
from gs_densify.config.strategy import most_gaussians, strategy_for
from gs_densify.errors import DivergenceError, GsDensifyError, NonFiniteError
from gs_densify.memory.host import limited_to_free
from gs_densify.memory.shortage import shortage_in_words
from gs_densify.model.gaussians import Gaussians
from gs_densify.results import MetricsRow
from gs_densify.runs.checkpoint import random_state, to_bytes
from gs_densify.strategies.adapter import AnyStrategy, StrategyAdapter
from gs_densify.strategies.base import Probe, StepInfo
from gs_densify.training.trainer import Trainer

STEPS = 80
"""Steps of the main run; the others end after `SHORT`."""
HALF = STEPS // 2
SHORT = HALF + 5


class WatchedAdapter(StrategyAdapter):
    """An adapter that writes down every step."""

    def __init__(self, name: str, strategy: AnyStrategy, *, max_gaussians: int | None) -> None:
        super().__init__(name, strategy, max_gaussians=max_gaussians)
        self.records: list[StepRecord] = []
        self.probe: Probe | None = None
        self._views: tuple[int, ...] = ()

    def pre_backward(self, gaussians: Gaussians, step: int, info: StepInfo) -> None:
        """Notes the views of the step."""
        self.probe, self._views = info["probe"], tuple(info["views"])
        super().pre_backward(gaussians, step, info)

    def post_backward(
        self, gaussians: Gaussians, step: int, info: StepInfo, *, means_lr: float, packed: bool
    ) -> None:
        """Notes the numbers of Gaussians."""
        before = gaussians.num
        super().post_backward(gaussians, step, info, means_lr=means_lr, packed=packed)
        self.records.append(StepRecord(step, before, gaussians.num, self._views))


@dataclass
class Subject:
    """A strategy under test with the runs that the checks share."""

    name: str
    config: TrainConfig
    scene: Miniature
    losses: list[float] = field(default_factory=list)
    snapshots: dict[int, bytes] = field(default_factory=dict)
    adapter: WatchedAdapter | None = None
    error: Exception | None = None
    """What ended the main run."""

    def start(
        self,
        config: TrainConfig | None = None,
        scene: Miniature | None = None,
        strategy: AnyStrategy | None = None,
    ) -> tuple[Trainer, WatchedAdapter]:
        """Returns a new run from step 0, of this strategy or, in its place, of another."""
        config, scene = config or self.config, scene or self.scene
        strategy = strategy or strategy_for(config)
        limit = most_gaussians(config, strategy)
        adapter = WatchedAdapter(self.name, strategy, max_gaussians=limit)
        return make_trainer(config, scene, adapter), adapter

    def advance(
        self, trainer: Trainer, until: int, on_log: Callable[[MetricsRow], None] = lambda row: None
    ) -> None:
        """Trains on to step `until`."""
        in_words = shortage_in_words(
            lambda: f"with {trainer.gaussians.num:,} Gaussians", {"cpu": ""}
        )
        with tqdm(disable=True) as bar, in_words, limited_to_free():
            trainer.run(until, on_log, bar)

    def carry_out_main_run(self) -> None:
        """Trains the run that most checks look at; its error is kept, not raised."""
        try:
            trainer, self.adapter = self.start()
            for step in (HALF, SHORT, STEPS):
                self.advance(trainer, step, lambda row: self.losses.append(row.loss or 0.0))
                self.snapshots[step] = stored(trainer)
        except Exception as error:
            self.error = error

    @property
    def has_diverged(self) -> bool:
        """Returns whether it was infinite or NaN values that ended the main run."""
        return isinstance(self.error, DivergenceError | NonFiniteError)

    @property
    def has_changed_number(self) -> bool:
        """Returns whether the number of Gaussians changed in the main run."""
        return any(one.before != one.after for one in self.records)

    @property
    def records(self) -> list[StepRecord]:
        """Returns the main run, step by step."""
        return self.adapter.records if self.adapter is not None else []


def stored(trainer: Trainer) -> bytes:
    """Returns all that a checkpoint holds, but for the time that it took."""
    device = trainer.splats["means"].device
    return to_bytes({**trainer.state_dict(), "random": random_state(device), "train_seconds": 0.0})


def described(error: Exception) -> str:
    """Returns the error in one line, with its type where it is not one of ours."""
    text = " ".join(str(error).split())
    return text if isinstance(error, GsDensifyError) else f"{type(error).__name__}: {text}"
