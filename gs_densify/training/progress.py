"""What a training has done so far."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any


@dataclass
class Progress:
    """Steps, time and Gaussians of a training."""

    step: int = 0
    train_seconds: float = 0.0
    photo_seconds: float | None = None
    """Of these, in which steps waited for photos from the disk; None where none are read there."""
    peak_gaussians: int = 0
    first_step_at: float | None = None
    """When the first step of this process was done, of `time.perf_counter`."""

    def took(self, seconds: float, waited: float | None) -> None:
        """Adds the time of some steps, and how much of it they waited for photos."""
        self.train_seconds += seconds
        if waited is not None:
            self.photo_seconds = (self.photo_seconds or 0.0) + waited

    def state_dict(self) -> dict[str, Any]:
        """Returns what another process that goes on has to know."""
        return {
            "step": self.step,
            "train_seconds": self.train_seconds,
            "photo_seconds": self.photo_seconds,
            "peak_gaussians": self.peak_gaussians,
        }

    @classmethod
    def of(cls, state: Mapping[str, Any]) -> Progress:
        """Returns what `state_dict` gave; earlier versions have not saved `photo_seconds`."""
        return cls(
            step=state["step"],
            train_seconds=state["train_seconds"],
            photo_seconds=state.get("photo_seconds"),
            peak_gaussians=state["peak_gaussians"],
        )
