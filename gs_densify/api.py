"""What Python programs and notebooks call: the commands' functions, with their options as keywords.

An option is called as on the command line, `_` for `-`; groups are dictionaries
(`loss={"ssim": 0.3}`), and `strategy_options` has the strategy's own. The arguments become a
command line, so that recipe, scene, preset and protocol count as they do there.
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from os import PathLike
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from gs_densify.cli import eval as gs_eval
from gs_densify.cli import train as gs_train
from gs_densify.cli.summary import scores_text
from gs_densify.config.file import flags_of
from gs_densify.errors import ConfigError
from gs_densify.messages import quiet as kept_quiet
from gs_densify.results import (
    MetricsRow,
    Results,
    Scores,
    ViewScores,
    load_results,
    read_metrics,
)
from gs_densify.results.names import METRICS, RESULTS
from gs_densify.results.scored import Scored, load_scored
from gs_densify.results.views import load_views
from gs_densify.runs.open_model import Request, open_model

_COMMAND_LINE_ONLY = ("dry_run", "debug", "compare")


@dataclass(frozen=True, repr=False)
class Run:
    """A complete run, as the files in its folder say."""

    folder: Path
    results: Results
    """What `results.json` holds."""
    views: list[ViewScores]
    """Scores of the held-out views."""

    @property
    def scores(self) -> Scores:
        """Returns the means over the held-out views by the metric's name, e.g. `psnr`."""
        return self.results.scores

    @cached_property
    def metrics(self) -> list[MetricsRow]:
        """Returns the lines of `metrics.jsonl`: losses and numbers of Gaussians over the steps."""
        return read_metrics(self.folder / METRICS)

    @cached_property
    def splats(self) -> Mapping[str, Tensor]:
        """Returns the Gaussians of the last checkpoint, on the CPU, in the world of the run.

        They are means [N, 3], scales [N, 3] as logarithms, quats [N, 4] (w, x, y, z), opacities [N]
        as logits, and the SH coefficients sh0 [N, 1, 3] and shN [N, K, 3].

        Raises:
            ResultError: the checkpoint was removed, or is damaged.
        """
        return open_model(self.folder, Request()).splats

    def __repr__(self) -> str:
        """Returns the folder and the scores."""
        return f"Run {self.folder}\n{scores_text(self.results, self.views)}"


def train(
    scene: str | PathLike[str] | None = None,
    strategy: str | PathLike[str] | None = None,
    *,
    strategy_options: Mapping[str, Any] | None = None,
    quiet: bool = False,
    **options: Any,
) -> Run:
    """Trains and scores as `gs-train` does, and returns the run.

    `train("garden", "mcmc", steps=7000)` is `gs-train --scene garden --strategy mcmc --steps 7000`,
    and `train(resume=FOLDER)` is `gs-train --resume FOLDER`. With `gpus` above 1 a script calls it
    below `if __name__ == "__main__":`, since the other processes import the script.

    Args:
        scene: a preset's name, or the path of a scene.
        strategy: a strategy's name, or the path of its file, with `:ClassName` behind it where
            that holds several; the default is gs-train's.
        strategy_options: options of the strategy, as `--strategy.OPTION`.
        quiet: print doubts about the data and errors alone.
        options: all others of gs-train.

    Raises:
        GsDensifyError: what ends gs-train with a message; `InterruptedRunError` where the kernel
            of a notebook is interrupted, once a checkpoint is saved.
    """
    given = {"scene": scene, "strategy": strategy, **options}
    argv = _arguments({name: value for name, value in given.items() if value is not None})
    argv += flags_of({"strategy": dict(strategy_options or {})})
    with kept_quiet(quiet), _threads_as_before():
        config, is_begun = gs_train.parsed(argv)
        _, folder = gs_train.trained(config, argv, is_begun=is_begun)
    return load(folder)


def load(folder: str | PathLike[str]) -> Run:
    """Returns the run in a folder that `gs-train` or `train` wrote.

    Raises:
        ResultError: there is none, it is not complete, or its files are damaged.
    """
    path = Path(folder)
    results = load_results(path / RESULTS)
    return Run(path, results, load_views(path, results))


def evaluate(model: Run | str | PathLike[str], *, quiet: bool = False, **options: Any) -> Scored:
    """Scores a model again as `gs-eval` does, and returns the scores and the folder of the files.

    Args:
        model: a run, the folder of one, a checkpoint, or a PLY.
        quiet: print doubts about the data and errors alone.
        options: those of gs-eval, e.g. `protocol="inria"`; a PLY needs `scene`.

    Raises:
        GsDensifyError: what ends gs-eval with a message.
    """
    path = model.folder if isinstance(model, Run) else Path(model)
    argv = [str(path), *_arguments(options)]
    with kept_quiet(quiet), _threads_as_before():
        _, _, folder = gs_eval.scored(gs_eval.parsed(argv), argv)
    return load_scored(folder)


def _arguments(options: Mapping[str, Any]) -> list[str]:
    for name in _COMMAND_LINE_ONLY:
        if name in options:
            raise ConfigError(f"'{name}' is for the command line alone")
    return flags_of(options)


@contextmanager
def _threads_as_before() -> Iterator[None]:
    """Undoes the number of threads that a run sets, which is not that for the next one."""
    before = torch.get_num_threads()
    try:
        yield
    finally:
        torch.set_num_threads(before)
