"""The arguments of gs-train: a scene, a strategy with its own options, files and flags on top."""

import argparse
import dataclasses
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Annotated, Any

import tyro

from gs_densify.config import file as config_file
from gs_densify.config.flags import parse
from gs_densify.config.former_options import translate_retired_flags
from gs_densify.config.layers import strategy_defaults, trainer_defaults
from gs_densify.config.options import TrainConfig
from gs_densify.errors import ConfigError
from gs_densify.runs import layout as run_folder
from gs_densify.scene.presets import PRESETS
from gs_densify.strategies.registry import (
    BUILTIN,
    build_strategy,
    load_strategy_class,
    options_of,
    recipe_of,
)

PROGRAM = "gs-train"

_REQUIRED = "(required)"


@dataclasses.dataclass(frozen=True)
class _NoOptions:
    """Name a strategy (--strategy NAME --help) to see its options here."""


def parse_train_arguments(argv: Sequence[str]) -> TrainConfig:
    """The resolved configuration of a command line; exits after `--help`."""
    early = _read_early(argv)
    values = {} if early.config is None else config_file.read_mapping(early.config)
    for key in values.keys() & {"config", "resume", "dry_run", "dry-run"}:
        raise ConfigError(f"--config {early.config}: '{key}' is for the command line alone")
    options_in_file = dict(values.pop("strategy", {}))
    name = options_in_file.pop("name", None)
    name = early.strategy or name or _default_of("strategy")
    scene = early.scene or values.get("scene")
    if not early.help and scene is None:
        raise ConfigError(
            f"--scene is missing; name a preset ({', '.join(PRESETS)}) or a COLMAP folder"
        )
    # Plain help needs no strategy, hence no torch; options of a strategy need its class.
    needs_options = not early.help or early.strategy is not None or early.config is not None
    options_form = load_strategy_class(name) if needs_options else _NoOptions
    in_file = config_file.flags_of({**values, "strategy": options_in_file})
    choices = ("protocol", "preset") if needs_options else ("protocol",)
    of_file = {choice: str(values[choice]) for choice in choices if values.get(choice)}
    given = {choice: value for choice in choices if (value := getattr(early, choice))}
    defaults_of: Any = partial(
        trainer_defaults,
        str(scene or _REQUIRED),
        options_form,
        recipe=recipe_of(name, options_form),
        protocol=_default_of("protocol"),
        downscale=_whole(early.downscale or values.get("downscale")),
    )
    defaults = defaults_of(**of_file | given)
    if given and values:
        _check_choices(given, early.config, values, defaults_of(**of_file), defaults)
    parsed: Any = parse(
        _form(options_form, defaults),
        translate_retired_flags([*in_file, "--strategy", name, *argv]),
        program=PROGRAM,
        description=_description(),
    )
    options = options_of(parsed.options)
    build_strategy(name, options)
    return dataclasses.replace(parsed.train, strategy_options=options)


def parse_resumed(argv: Sequence[str]) -> TrainConfig | None:
    """The configuration of the run that --resume names, `out` being its folder; None without it.

    Raises:
        ConfigError: other options stand beside --resume, or there is no run to go on with.
    """
    early = argparse.ArgumentParser(add_help=False, allow_abbrev=False, exit_on_error=False)
    early.add_argument("--resume", type=Path)
    early.add_argument("-h", "--help", action="store_true")
    known, others = _parse_known(early, argv)
    run: Path | None = known.resume
    if run is None or known.help:
        return None
    if others:
        raise ConfigError(
            f"--resume goes on with the options in {run / run_folder.CONFIG}; leave out {others[0]}"
        )
    config = run / run_folder.CONFIG
    if not config.is_file():
        raise ConfigError(
            f"--resume {run}: no {run_folder.CONFIG}; name the folder that gs-train wrote"
        )
    return dataclasses.replace(parse_train_arguments(["--config", str(config)]), out=run)


def wants_dry_run(argv: Sequence[str]) -> bool:
    """Whether --dry-run is among the arguments."""
    return bool(_read_early(argv).dry_run)


def _read_early(argv: Sequence[str]) -> argparse.Namespace:
    """The arguments on which the meaning of the others depends."""
    early = argparse.ArgumentParser(add_help=False, allow_abbrev=False, exit_on_error=False)
    early.add_argument("--config", type=Path)
    early.add_argument("--strategy")
    early.add_argument("--scene")
    early.add_argument("--protocol")
    early.add_argument("--preset")
    early.add_argument("--dry-run", action="store_true")
    early.add_argument("--downscale")
    early.add_argument("-h", "--help", action="store_true")
    return _parse_known(early, argv)[0]


def _parse_known(
    parser: argparse.ArgumentParser, argv: Sequence[str]
) -> tuple[argparse.Namespace, list[str]]:
    try:
        return parser.parse_known_args(list(argv))
    except argparse.ArgumentError as error:
        raise ConfigError(f"{error.argument_name}: a value is missing") from None


def _check_choices(
    given: Mapping[str, str],
    file: Path,
    values: Mapping[str, Any],
    before: TrainConfig,
    after: TrainConfig,
) -> None:
    """Refuse a --protocol or --preset of which the file takes a setting back."""
    in_file = config_file.by_dotted_name(values)
    plain = config_file.by_dotted_name(config_file.to_mapping(before))
    for name, value in config_file.by_dotted_name(config_file.to_mapping(after)).items():
        is_chosen = name not in ("protocol", "preset") and value != plain[name]
        if is_chosen and in_file.get(name, value) != value:
            flags = " ".join(f"--{choice} {chosen}" for choice, chosen in given.items())
            raise ConfigError(
                f"{flags} makes {name} {value}, but {file} sets it to {in_file[name]}; remove that"
                " line from the file, or leave the option out"
            )


def _whole(value: Any) -> int | None:
    """`value` as a number; None where it is none, which is for the parser to say."""
    text = str(value)
    return int(text) if text.isascii() and text.isdigit() else None


def _form(options_class: type, defaults: TrainConfig) -> type:
    """A dataclass for tyro: TrainConfig's options, the strategy's under `strategy.`, --config."""
    options_class = _without_state(options_class)
    help_dry_run = (
        "Load the scene, time a few steps, print photos, Gaussians, expected memory and time,"
        " and write nothing."
    )
    help_resume = (
        "Folder of a run that was interrupted: finish it from its last checkpoint, with the options"
        " that it has."
    )
    help_config = "YAML file with options, as saved in a run's folder; flags count for more."
    fields: list[Any] = [
        (
            "train",
            Annotated[TrainConfig, tyro.conf.arg(name="")],
            defaults,
        ),
        (
            "options",
            Annotated[options_class, tyro.conf.arg(name="strategy")],
            dataclasses.field(
                default_factory=lambda: strategy_defaults(defaults.scene, options_class)
            ),
        ),
        (
            "config_file",
            Annotated[Path | None, tyro.conf.arg(name="config", help=help_config)],
            None,
        ),
        (
            "resume",
            Annotated[Path | None, tyro.conf.arg(help=help_resume)],
            None,
        ),
        (
            "dry_run",
            Annotated[bool, tyro.conf.arg(help=help_dry_run), tyro.conf.FlagCreatePairsOff],
            False,
        ),
    ]
    return dataclasses.make_dataclass("Arguments", fields, frozen=True)


def _without_state(cls: type) -> type:
    """`cls`, of which tyro does not show the fields with `init=False`: they are no options."""
    own = [
        (
            one.name,
            Annotated[Any, tyro.conf.Suppress],
            dataclasses.field(init=False, default=one.default, default_factory=one.default_factory),
        )
        for one in dataclasses.fields(cls)
        if not one.init
    ]
    if not own:
        return cls
    is_frozen = cls.__dataclass_params__.frozen  # type: ignore[attr-defined]
    return dataclasses.make_dataclass(cls.__name__, own, bases=(cls,), frozen=is_frozen)


def _description() -> str:
    lines = [f"{name}: {entry.summary}" for name, entry in BUILTIN.items()]
    return "\n\n".join([TrainConfig.__doc__ or "", "Strategies:", *lines])


def _default_of(name: str) -> Any:
    return next(f.default for f in dataclasses.fields(TrainConfig) if f.name == name)
