"""What is said about parts of a scene that do not agree, though a training could start."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Doubt:
    """Something that is probably wrong with a scene, and what to do about it."""

    found: str
    action: str
    photos: tuple[str, ...] = ()
    """Names of those concerned; empty where it is all of them."""

    def __str__(self) -> str:
        """Returns one line."""
        return f"{self.found}; {self.action}"
