"""The defaults of the methods that gsplat has, too, are gsplat's."""

import dataclasses

import gsplat.strategy
import pytest

from gs_densify.strategies.methods.default import DefaultStrategy
from gs_densify.strategies.methods.mcmc import MCMCStrategy

RENAMED = {"cap_max": "max_gaussians"}


@pytest.mark.parametrize(
    ("ours", "theirs"),
    [
        (DefaultStrategy, gsplat.strategy.DefaultStrategy),
        (MCMCStrategy, gsplat.strategy.MCMCStrategy),
    ],
)
def test_options_have_gsplats_defaults(ours: type, theirs: type) -> None:
    expected = {
        field.name: field.default
        for field in dataclasses.fields(theirs)
        if field.name not in ("verbose", "key_for_gradient")  # of its prints, of 2DGS
    }
    found = {field.name: field.default for field in dataclasses.fields(ours)}
    assert {name: found[RENAMED.get(name, name)] for name in expected} == expected
