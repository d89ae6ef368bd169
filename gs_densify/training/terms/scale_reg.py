"""The mean scale, which keeps Gaussians small (3DGS-MCMC, arXiv 2404.09591)."""

from torch import Tensor

from gs_densify.training.terms.base import LossInputs


def scale_reg(inputs: LossInputs) -> Tensor:
    """Returns the mean of the three scales [], world units."""
    return inputs.params["scales"].exp().mean()
