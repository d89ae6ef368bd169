"""What becomes of a render before it is scored or shown."""

from torch import Tensor

from gs_densify.results import Quantisation


def quantize(image: Tensor, how: Quantisation = "uint8-round") -> Tensor:
    """Clamps to [0, 1] and gives what a saved 8-bit picture would be read back as.

    `uint8-round` takes the nearest of 256 levels, `uint8-truncate` the level below (numpy's
    `astype`), and `float` leaves the values as they are.
    """
    image = image.clamp(0, 1)
    if how == "float":
        return image
    levels = image.mul(255)
    return (levels.round() if how == "uint8-round" else levels.floor()).div(255)
