"""Everything that a user can cause ends in one of these: values that make one line, and a code."""


class GsDensifyError(Exception):
    """What was found, what was expected, and what to do; printed as one line, exit code 2.

    Attributes:
        found: what is there, or happened, with the place (a file, a view, a step).
        expected: what was expected; empty where `found` says it.
        action: what the user can do; empty where nothing helps but what was expected.
        option: the option concerned by its dotted name, e.g. `data.test-every`; empty without one.
    """

    exit_code = 2

    def __init__(
        self, found: str, *, expected: str = "", action: str = "", option: str = ""
    ) -> None:
        super().__init__(found)
        self.found, self.expected, self.action, self.option = found, expected, action, option

    @property
    def found_where(self) -> str:
        """Returns what was found, after the option concerned: `--option found`."""
        return f"--{self.option} {self.found}" if self.option else self.found

    def __str__(self) -> str:
        """Returns the line: `--option found; expected; action`."""
        parts = [part.strip() for part in (self.found_where, self.expected, self.action) if part]
        return " ".join("; ".join(parts).split())


def reason_of(error: Exception) -> str:
    """Returns in one line why a file cannot be read: the system's word, without file and number."""
    words = error.strerror if isinstance(error, OSError) else None
    return " ".join((words or str(error)).split())


class ConfigError(GsDensifyError):
    """An option, or a combination of options, that cannot be carried out."""


class SceneError(GsDensifyError):
    """A scene folder, COLMAP model or photo that cannot be used."""


class BackendError(GsDensifyError):
    """A rasteriser or device that this machine does not have."""


class ResultError(GsDensifyError):
    """A file of a run that is missing, damaged, or of another version."""


class DownloadError(GsDensifyError):
    """Something that cannot be fetched, or does not arrive as it should."""


class DivergenceError(GsDensifyError):
    """A training whose loss or parameters became infinite or NaN."""


class PausedError(GsDensifyError):
    """A run that was asked to end, and has saved a checkpoint to go on from."""

    exit_code = 75  # EX_TEMPFAIL of sysexits.h: it is to be tried again


class InterruptedRunError(PausedError):
    """A run that Ctrl-C has ended, and that has saved a checkpoint to go on from."""

    exit_code = 130


class LostProcessError(GsDensifyError):
    """Another of the processes that train together has ended before its work was done."""


class StrategyError(GsDensifyError):
    """A densification strategy that broke its contract while training."""

    exit_code = 3


class NonFiniteError(StrategyError):
    """A strategy that left infinite or NaN parameters behind."""
