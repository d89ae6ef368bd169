"""The terms of the loss besides the photometric one, as options. Imports no torch.

A further term is a file in `training/terms/` and a line here; a package offers one in the
entry-point group `gs_densify.loss_terms`.
"""

import dataclasses
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any

import tyro

from gs_densify.registry import Entry, Registry


@dataclass(frozen=True)
class TermEntry(Entry):
    """A term, and the weight that it has where none is given."""

    weight: float = 0.0


LOSS_TERMS: Registry[TermEntry] = Registry(
    "term of the loss",
    "gs_densify.loss_terms",
    {
        "opacity_reg": TermEntry(
            "gs_densify.training.terms.opacity_reg:opacity_reg", "Weight of the mean opacity."
        ),
        "scale_reg": TermEntry(
            "gs_densify.training.terms.scale_reg:scale_reg",
            "Weight of the mean scale (world units).",
        ),
    },
)


@dataclass(frozen=True, kw_only=True)
class _PhotometricOptions:
    """What is minimised: (1 - ssim) L1 + ssim (1 - SSIM) + weighted terms."""

    ssim: float = 0.2
    """Weight of 1 - SSIM, 0 to 1."""

    def weights(self) -> dict[str, float]:
        """Returns the weight of each further term, by name."""
        names = [one.name for one in dataclasses.fields(self) if one.name != "ssim"]
        return {name: getattr(self, name) for name in names}


def _with_terms() -> type[_PhotometricOptions]:
    """Returns the options with one more for the weight of each term."""
    fields: list[Any] = [
        (
            name,
            Annotated[float, tyro.conf.arg(help=_summary(name))],
            dataclasses.field(default=_default(name), kw_only=True),
        )
        for name in LOSS_TERMS.names()
    ]
    base = _PhotometricOptions
    made = dataclasses.make_dataclass("LossOptions", fields, bases=(base,), frozen=True)
    made.__doc__, made.__module__ = base.__doc__, __name__
    return made


def _summary(name: str) -> str:
    if name in LOSS_TERMS.builtin:
        return LOSS_TERMS.builtin[name].summary
    return f"Weight of the term {name} of {LOSS_TERMS.offered()[name].value}."


def _default(name: str) -> float:
    return LOSS_TERMS.builtin[name].weight if name in LOSS_TERMS.builtin else 0.0


if TYPE_CHECKING:
    LossOptions = _PhotometricOptions
else:
    LossOptions = _with_terms()
