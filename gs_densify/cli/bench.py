"""gs-bench: a comparison study, scenes x methods x seeds x presets, in one command."""

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, cast

import tyro
import yaml

from gs_densify.bench.options import RunOptions
from gs_densify.cli.app import importing, run_command
from gs_densify.config.options import PresetName
from gs_densify.config.yaml_text import load_yaml
from gs_densify.errors import ConfigError
from gs_densify.flags.parse import parse

if TYPE_CHECKING:
    from gs_densify.bench.study import Study

PROGRAM = "gs-bench"


@dataclasses.dataclass(frozen=True, kw_only=True)
class BenchArguments:
    """Run a comparison study: scenes x methods x seeds x presets, one gs-train each.

    The same command again goes on with a study: cells that are done stay, what has changed since is
    run again, and what it replaces is kept.
    """

    study: Annotated[Path | None, tyro.conf.Positional] = None
    """YAML file of the study (docs/studies.md); flags count for more."""
    scenes: tuple[str, ...] = ()
    """Scenes: presets, folders, or names of the file's."""
    methods: Annotated[tuple[str, ...], tyro.conf.arg(aliases=["--strategies"])] = ()
    """Methods: strategies, their files, or labels of the file's."""
    seeds: tuple[int, ...] = ()
    """Seeds of every method (default: 42)."""
    presets: tuple[PresetName, ...] = ()
    """Presets of gs-train, each with every method."""
    budget: str | None = None
    """Gaussians with which every method ends, for example 500k or 1M."""
    options: tuple[str, ...] = ()
    """Options of gs-train for all cells: KEY=VALUE, for example steps=10000 evaluation.lpips=[]."""
    retries: int | None = None
    """Further attempts at a cell that failed (default: 1)."""
    timeout: str | None = None
    """The longest time of one attempt, for example 90m or 2h."""
    out: Path | None = None
    """Folder of the study (default: studies/NAME, by the file's name; of a study.yml that gs-bench
    saved: where it lies)."""
    run: Annotated[RunOptions, tyro.conf.arg(name="")] = dataclasses.field(
        default_factory=RunOptions
    )


def command(argv: Sequence[str]) -> int:
    """Parses, prints the plan, and runs what is to be done; 1 where a cell has failed."""
    arguments: BenchArguments = parse(
        BenchArguments, argv, program=PROGRAM, markers=(tyro.conf.FlagCreatePairsOff,)
    )
    if arguments.study is None and arguments.out is None:
        raise ConfigError(
            "is missing", action="name a folder for the study, or give a study's file", option="out"
        )
    # Late: --help and a wrong flag answer without torch.
    with importing():
        from gs_densify.bench.conduct import conduct
        from gs_densify.cli.arguments import parse_train_arguments

    study = _study(arguments)
    return conduct(
        study,
        arguments.out or _folder(cast(Path, arguments.study)),
        arguments.run,
        parse_train_arguments,
        [PROGRAM, *argv],
    )


def _folder(study: Path) -> Path:
    """Returns the folder of a study by its file: the one in which it was saved, if it was."""
    from gs_densify.bench.folder import RECORD

    is_saved = (study.parent / RECORD).is_file()
    return study.parent if is_saved else Path("studies") / study.stem


def _study(arguments: BenchArguments) -> "Study":
    """Returns the study of the file, where there is one, with what flags say."""
    from gs_densify.bench.file import read_study
    from gs_densify.bench.study import Overrides, Study, with_overrides

    path = arguments.study
    study = Study((), (), where="flags") if path is None else read_study(path)
    flags = Overrides(
        scenes=arguments.scenes,
        methods=arguments.methods,
        seeds=arguments.seeds,
        presets=arguments.presets,
        budget=arguments.budget,
        options=_options(arguments.options),
        retries=arguments.retries,
        timeout=arguments.timeout,
    )
    return with_overrides(study, flags, Path())


def _options(given: Sequence[str]) -> dict[str, Any]:
    """Returns KEY=VALUE as options, the value read as in a YAML file."""
    found: dict[str, Any] = {}
    for text in given:
        key, sign, value = text.partition("=")
        if not sign or not key.strip():
            raise ConfigError(f"has '{text}'", expected="KEY=VALUE", option="options")
        try:
            found[key.strip()] = load_yaml(value)
        except yaml.YAMLError:
            raise ConfigError(
                f"has '{text}', whose value is not valid YAML", option="options"
            ) from None
    return found


def main() -> None:
    """Runs gs-bench."""
    run_command(PROGRAM, command)


if __name__ == "__main__":
    main()
