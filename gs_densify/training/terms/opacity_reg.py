"""The mean opacity, which makes Gaussians die that nothing needs (3DGS-MCMC, arXiv 2404.09591)."""

from torch import Tensor

from gs_densify.training.terms.base import LossInputs


def opacity_reg(inputs: LossInputs) -> Tensor:
    """Returns the mean opacity []."""
    return inputs.params["opacities"].sigmoid().mean()
