"""Trainer settings that a scene preset brings. Imports no torch."""

from collections.abc import Mapping
from typing import Any

SCENE_DEFAULTS: Mapping[str, Mapping[str, Any]] = {
    # Small enough for a CPU: 1/20 of the published schedule.
    "tiny": {"steps": 1500, "schedule_factor": 0.05},
}
