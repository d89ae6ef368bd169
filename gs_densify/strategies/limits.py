"""Limits of a strategy's options."""

from collections.abc import Callable, Iterable

from gs_densify.errors import ConfigError


def require(
    strategy: object, names: Iterable[str], allowed: Callable[[float], bool], expected: str
) -> None:
    """Refuses options of `strategy` whose value is not `allowed`.

    Args:
        strategy: the object that has them as attributes.
        names: its options, in the order in which they are looked at.
        allowed: whether a value is.
        expected: the same in words, for who set the option.

    Raises:
        ConfigError: the first that is not allowed.
    """
    for name in names:
        value = getattr(strategy, name)
        if not allowed(value):
            raise ConfigError(f"{name} is {value}", expected=expected)
