"""The figures of a run as event files for TensorBoard."""

import textwrap

import yaml

from gs_densify.config.file import to_mapping
from gs_densify.results import EvaluationRecord, MetricsRow
from gs_densify.runs import layout
from gs_densify.runs.outputs import scalars
from gs_densify.runs.outputs.base import Output, RunFacts, require_package


class TensorBoardLog(Output):
    """Writes the folder `tensorboard` of a run, through torch's writer."""

    @classmethod
    def check(cls) -> None:
        """Raises ConfigError where TensorBoard is not installed."""
        require_package("tensorboard")

    def __init__(self, facts: RunFacts) -> None:
        """Opens a file; in a run that goes on, TensorBoard drops what is later than its step."""
        from torch.utils.tensorboard import SummaryWriter

        super().__init__(facts)
        step = facts.resumed_at
        self._writer = SummaryWriter(
            str(facts.folder / layout.TENSORBOARD), purge_step=step + 1 if step else None
        )
        if not step:
            text = yaml.safe_dump(to_mapping(facts.config), sort_keys=False, allow_unicode=True)
            self._writer.add_text("config", textwrap.indent(text, "    "), 0)  # Markdown's code

    def logged(self, row: MetricsRow) -> None:
        """Writes the figures."""
        self._add(scalars.of_row(row), row.step)

    def evaluated(self, record: EvaluationRecord) -> None:
        """Writes the scores."""
        self._add(scalars.of_evaluation(record), record.step)

    def close(self) -> None:
        """Ends the file."""
        self._writer.close()

    def _add(self, values: dict[str, float], step: int) -> None:
        for name, value in values.items():
            self._writer.add_scalar(name, value, step)
