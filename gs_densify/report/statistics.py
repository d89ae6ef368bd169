"""Means over seeds, and paired differences with what is noise in them."""

import math
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

CONFIDENCE = 0.95


@dataclass(frozen=True, kw_only=True)
class Spread:
    """A quantity over n seeds. Null where one of them lacks it."""

    mean: float | None
    std: float | None
    """Sample standard deviation (n - 1); null for one seed."""
    n: int


@dataclass(frozen=True, kw_only=True)
class Difference:
    """The mean of paired differences, method minus baseline."""

    mean: float
    low: float | None
    high: float | None
    """The interval that holds the true mean with 95 % confidence; null for fewer than two pairs."""
    p: float | None
    """Probability of so large a mean, either way, where there is no difference; null likewise."""
    n: int
    """Number of pairs: views of a scene, or scenes."""

    @property
    def is_noise(self) -> bool:
        """Returns whether the pairs do not tell the difference from none."""
        return self.low is None or self.high is None or self.low <= 0.0 <= self.high


def spread(values: Sequence[float | None]) -> Spread:
    """Returns mean and sample deviation; null where a value is."""
    known = [value for value in values if value is not None]
    if not known or len(known) < len(values):
        return Spread(mean=None, std=None, n=len(values))
    std = statistics.stdev(known) if len(known) > 1 else None
    return Spread(mean=statistics.fmean(known), std=std, n=len(known))


def paired(method: Sequence[float], baseline: Sequence[float]) -> Difference:
    """Returns the paired differences of two methods, with Student's t test (two-sided).

    Args:
        method: a value for each pair.
        baseline: the other value of each pair.
    """
    differences = [a - b for a, b in zip(method, baseline, strict=True)]
    mean, n = statistics.fmean(differences), len(differences)
    if n < 2:
        return Difference(mean=mean, low=None, high=None, p=None, n=n)
    error = statistics.stdev(differences) / math.sqrt(n)
    if error == 0.0:  # all pairs differ by the same: nothing is left to chance
        return Difference(mean=mean, low=mean, high=mean, p=float(mean == 0.0), n=n)
    from scipy.special import stdtr, stdtrit  # scipy.stats takes 0.7 s longer to import

    reach = float(stdtrit(n - 1, 0.5 + CONFIDENCE / 2)) * error
    p = 2.0 * float(stdtr(n - 1, -abs(mean) / error))
    return Difference(mean=mean, low=mean - reach, high=mean + reach, p=p, n=n)


def paired_by_name(method: Mapping[str, float], baseline: Mapping[str, float]) -> Difference | None:
    """Returns the differences of what both have under one name; None where there is nothing."""
    names = [name for name in method if name in baseline]
    if not names:
        return None
    return paired([method[name] for name in names], [baseline[name] for name in names])
