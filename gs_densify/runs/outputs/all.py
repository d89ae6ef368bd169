"""Which outputs a run has."""

from gs_densify.config.options import TrainConfig
from gs_densify.config.outputs import OUTPUTS
from gs_densify.runs.outputs.base import Output, RunFacts
from gs_densify.runs.outputs.compat import CompatFiles
from gs_densify.runs.outputs.mls_bench import MlsBenchLines
from gs_densify.runs.outputs.model_files import ModelFiles


def check_outputs(config: TrainConfig) -> None:
    """Raises ConfigError where an output that --log-to names cannot work here."""
    for name in config.log_to:
        OUTPUTS.load(name).check()


def outputs_of(facts: RunFacts) -> list[Output]:
    """Returns the outputs of a run."""
    outputs: list[Output] = [ModelFiles(facts), CompatFiles(facts)]
    if facts.config.protocol == "mls-bench":
        outputs.append(MlsBenchLines(facts))
    return outputs + [OUTPUTS.load(name)(facts) for name in facts.config.log_to]
