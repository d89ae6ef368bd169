"""Further trainables by name: what is trained beside the Gaussians. Imports no torch."""

from gs_densify.registry import Entry, Registry

MODULES: Registry[Entry] = Registry(
    "trainable module",
    "gs_densify.modules",
    {
        "exposure": Entry(
            "gs_densify.training.modules.exposure:Exposure",
            "an affine change of colours for each training view, for photos of varying exposure",
        ),
    },
)
