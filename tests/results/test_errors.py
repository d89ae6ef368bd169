"""Errors as values: the line that they make, and options under another command's names."""

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


def test_options_are_renamed_wherever_they_stand() -> None:
    error = ConfigError("is 1", action="leave --data.masks out, not --x", option="data.test-every")
    renamed = error.with_options(lambda name: name.rpartition(".")[2])
    assert str(renamed) == "--test-every is 1; leave --masks out, not --x"
    assert type(renamed) is ConfigError and renamed.option == "test-every"
    of_a_file = ConfigError("config.yml: --data.test-every is 1")
    assert of_a_file.with_options(lambda name: "x") is of_a_file


@pytest.mark.parametrize("kind", [ConfigError, StrategyError])
def test_they_can_be_raised_with_one_sentence(kind: type[GsDensifyError]) -> None:
    with pytest.raises(kind, match=r"^one sentence$"):
        raise kind("one sentence")
