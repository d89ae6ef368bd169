"""The figures of a run at Weights & Biases, or with WANDB_MODE=offline in its folder alone."""

import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from gs_densify.config.file import to_mapping
from gs_densify.errors import ConfigError
from gs_densify.messages import is_quiet
from gs_densify.results import EvaluationRecord, MetricsRow, Results, atomic_write
from gs_densify.runs import layout
from gs_densify.runs.outputs import scalars
from gs_densify.runs.outputs.base import Output, RunFacts, require_package

PROJECT = "gs_densify"
RUN_ID = "run_id.txt"


class WandbLog(Output):
    """Logs to a run of its own, with which `--resume` goes on."""

    @classmethod
    def check(cls) -> None:
        """Raises ConfigError where wandb is not installed, or nobody is logged in."""
        require_package("wandb")
        import wandb

        with _in_one_line():
            if wandb.setup().settings.mode == "online":
                wandb.login()

    def __init__(self, facts: RunFacts) -> None:
        """Begins the run, or goes on with it.

        Raises:
            ConfigError: wandb refuses it.
        """
        import wandb

        super().__init__(facts)
        config, folder = facts.config, facts.folder / layout.WANDB
        folder.mkdir(exist_ok=True)
        with _in_one_line():
            self._run = wandb.init(
                project=PROJECT,
                name=f"{facts.scene.name}/{Path(config.strategy).stem}/{config.seed}",
                id=_run_id(folder / RUN_ID),
                resume="allow",
                dir=str(facts.folder),
                config=to_mapping(config),
                settings=wandb.Settings(console="off", silent=is_quiet()),
            )
        self._is_done = False

    def logged(self, row: MetricsRow) -> None:
        """Logs the figures; wandb passes over steps that it has already."""
        self._run.log(scalars.of_row(row), step=row.step)

    def evaluated(self, record: EvaluationRecord) -> None:
        """Logs the scores."""
        self._run.log(scalars.of_evaluation(record), step=record.step)

    def finished(self, results: Results) -> None:
        """Notes that the run is done."""
        self._is_done = True

    def close(self) -> None:
        """Sends what is left, and says whether the run is done."""
        self._run.finish(exit_code=0 if self._is_done else 1)


@contextmanager
def _in_one_line() -> Iterator[None]:
    """Raises ConfigError where wandb complains."""
    import wandb

    try:
        yield
    except wandb.Error as error:
        raise ConfigError(
            f"wandb: {' '.join(str(error).split()).rstrip('.')}",
            action="run wandb login, or set WANDB_MODE=offline",
            option="log-to",
        ) from error


def _run_id(path: Path) -> str:
    """Returns the id in a file, which is made where it is not there."""
    if not path.is_file():
        with atomic_write(path) as file:
            file.write(secrets.token_hex(4).encode())
    return path.read_text().strip()
