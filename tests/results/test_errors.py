"""Errors as values: the line that they make."""

import pytest

from gs_densify.errors import ConfigError, GsDensifyError, StrategyError


def test_the_line_has_what_was_found_expected_and_what_to_do() -> None:
    error = ConfigError("is 1", expected="at least 2 is needed", action="give 8", option="data.k")
    assert str(error) == "--data.k is 1; at least 2 is needed; give 8"
    assert (error.found, error.expected, error.action, error.option) == (
        "is 1",
        "at least 2 is needed",
        "give 8",
        "data.k",
    )
    assert str(GsDensifyError("all\n is  said")) == "all is said"
    assert GsDensifyError.exit_code == 2 and StrategyError.exit_code == 3


@pytest.mark.parametrize("kind", [ConfigError, StrategyError])
def test_they_can_be_raised_with_one_sentence(kind: type[GsDensifyError]) -> None:
    with pytest.raises(kind, match=r"^one sentence$"):
        raise kind("one sentence")
