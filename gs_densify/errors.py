"""Everything that a user can cause ends in one of these: one line of text and an exit code."""


class GsDensifyError(Exception):
    """What was found; what was expected; what to do. Printed as one line, exit code 2."""

    exit_code = 2


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


class StrategyError(GsDensifyError):
    """A densification strategy that broke its contract while training."""

    exit_code = 3


class NonFiniteError(StrategyError):
    """A strategy that left infinite or NaN parameters behind."""
