"""Logs that a run can keep beside its own files, by name. Imports no torch."""

from gs_densify.registry import Entry, Registry

OUTPUTS: Registry[Entry] = Registry(
    "output of a run",
    "gs_densify.outputs",
    {
        "tensorboard": Entry(
            "gs_densify.runs.outputs.tensorboard:TensorBoardLog",
            "event files for TensorBoard in the run's folder",
        ),
        "wandb": Entry(
            "gs_densify.runs.outputs.wandb:WandbLog",
            "a run of the project gs_densify at Weights & Biases",
        ),
    },
)
