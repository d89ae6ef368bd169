"""Which outputs a run has."""

from gs_densify.runs.outputs.base import Output, RunFacts
from gs_densify.runs.outputs.compat import CompatFiles
from gs_densify.runs.outputs.mls_bench import MlsBenchLines
from gs_densify.runs.outputs.model_files import ModelFiles


def outputs_of(facts: RunFacts, *, resumed_at: int) -> list[Output]:
    """Returns the outputs of a run that goes on after `resumed_at` steps, 0 if it begins."""
    outputs: list[Output] = [ModelFiles(facts), CompatFiles(facts)]
    if facts.config.protocol == "mls-bench":
        outputs.append(MlsBenchLines(facts, step=resumed_at))
    return outputs
