"""When a run saves checkpoints, which of them stay, and how it is resumed from one."""

import shlex
from collections.abc import Mapping
from typing import Any

from gs_densify.config.options import TrainConfig
from gs_densify.errors import StrategyError
from gs_densify.messages import remark
from gs_densify.runs.background import Background
from gs_densify.runs.checkpoint import from_bytes, save_checkpoint, to_bytes
from gs_densify.runs.checkpoint_files import checkpoint_path, checkpoints, step_of
from gs_densify.runs.held_folder import HeldFolder
from gs_densify.runs.interval import Interval


class CheckpointWriter:
    """Writes the checkpoints of a run beside what follows: the newest stays, and the scored ones.

    Attributes:
        until_next: the time until a checkpoint that nobody asks for.
        why_not_resumable: what of the strategy no checkpoint can hold; None where all is held.
    """

    def __init__(self, config: TrainConfig, held: HeldFolder, writing: Background) -> None:
        self._config, self._held, self._writing = config, held, writing
        self.until_next = Interval(60 * config.checkpoint_minutes)
        self.why_not_resumable: StrategyError | None = None

    @property
    def is_there(self) -> bool:
        """Returns whether there is a checkpoint."""
        return bool(checkpoints(self._held.path))

    @property
    def how_to_resume(self) -> str:
        """Returns the command."""
        return f"gs-train --resume {shlex.quote(str(self._held.named))}"

    def start(self, contents: Mapping[str, Any]) -> None:
        """Begins to write the state of a run; those before it that were not scored go when it is
        there.

        Raises:
            StrategyError: the strategy's state cannot be stored, and --checkpoint-every asks for
                runs to go on from; else that is said, once, and the model alone is kept.
        """
        self.until_next.begin()
        self._writing.start(self._write, contents["step"], self._storable(contents))

    def _write(self, step: int, contents: Mapping[str, Any]) -> None:
        self._held.check()
        save_checkpoint(checkpoint_path(self._held.path, step), contents)
        self.remove_before(step)

    def remove_before(self, step: int) -> None:
        """Removes the checkpoints of earlier steps that were not scored.

        A process that was killed between two files has left one.
        """
        for path in checkpoints(self._held.path):
            if step_of(path) < step and step_of(path) not in self._config.scored_steps:
                path.unlink()

    def _storable(self, contents: Mapping[str, Any]) -> Mapping[str, Any]:
        try:
            from_bytes(to_bytes(contents["strategy_state"]))
        except StrategyError as error:
            if self._config.checkpoint_every is not None:
                raise
            if self.why_not_resumable is None:
                remark(f"checkpoints of this run cannot be resumed: {error}")
            self.why_not_resumable = error
            self.until_next = Interval(0)  # what is saved by time is for runs to go on from
            return {**contents, "strategy_state": None}
        return contents
