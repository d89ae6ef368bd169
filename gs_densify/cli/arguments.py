"""The arguments of gs-train: a scene, a strategy with its own options, files and flags on top."""

import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, NoReturn, cast

import tyro

from gs_densify import messages
from gs_densify.cli.choices import (
    CHOICES,
    brought,
    check_not_taken_back,
    choices_in,
    for_choices,
    near_plane_remarks,
    without_limit_of_preset,
)
from gs_densify.config import file as config_file
from gs_densify.config.file import ConfigFile
from gs_densify.config.former_options import translate_retired_flags
from gs_densify.config.layers import strategy_defaults
from gs_densify.config.length import check_length
from gs_densify.config.options import Parallel, TrainConfig
from gs_densify.config.strategy import TARGET_OPTIONS, check_budget
from gs_densify.distributed.environment import is_one_of_several, number_of_processes
from gs_densify.errors import ConfigError
from gs_densify.flags.check import check
from gs_densify.flags.forms import options_in
from gs_densify.flags.help import Page
from gs_densify.flags.parse import asks_for_help, parse, parse_known
from gs_densify.flags.values import whole_number
from gs_densify.runs import layout as run_folder
from gs_densify.runs.paths import with_absolute_paths
from gs_densify.scene.presets import PRESETS
from gs_densify.strategies.plugin import parse_reference
from gs_densify.strategies.registry import BUILTIN, build_strategy, load_strategy_class, options_of

PROGRAM = "gs-train"

COMMON = (
    *("--scene", "--data-root", "--downscale", "--data.masks"),
    *("--strategy", "--preset", "--steps", "--budget", "--max-gaussians", "--seed"),
    *("--init", "--init.sh-degree", "--modules", "--render.antialiased", "--device", "--gpus"),
    *("--config", "--resume", "--checkpoint-minutes", "--dry-run", "--quiet"),
    *("--out", "--label", "--export", "--log-to"),
    *("--protocol", "--data.test-every", "--evaluation.steps", "--evaluation.lpips"),
    "--lpips-weights",
)
"""Options that people use, in the order in which help shows them."""

_STRAY = "a scene is given with --scene: gs-train --scene {word}"


@dataclasses.dataclass(frozen=True)
class _NoOptions:
    """Name a strategy (--strategy NAME --help) to see its options here."""


_Given = tyro.conf.UseAppendAction[tuple[str, ...]]
"""The values of an option, as texts, each time that it is given: the last one counts."""


@dataclasses.dataclass(frozen=True)
class _Early:
    """The arguments on which the meaning of the others depends, read by the same parser."""

    config: _Given = ()
    scene: _Given = ()
    strategy: _Given = ()
    protocol: _Given = ()
    preset: _Given = ()
    downscale: _Given = ()
    gpus: _Given = ()
    budget: _Given = ()
    dry_run: Annotated[bool, tyro.conf.FlagCreatePairsOff] = False
    asks_for_help: tyro.conf.Suppress[bool] = False

    @property
    def choices(self) -> dict[str, str]:
        """Returns those of `choices.CHOICES` that are given, in words or by torchrun."""
        chosen = {name: given[-1] for name in CHOICES if (given := getattr(self, name))}
        started = {"gpus": str(number_of_processes())} if is_one_of_several() else {}
        return started | chosen

    def has_budget(self, values: Mapping[str, Any]) -> bool:
        """Returns whether there is a budget, among the arguments or in a file's `values`."""
        return str(self.budget[-1] if self.budget else values.get("budget")) != "None"


_Targets = dataclasses.make_dataclass(
    "_Targets",
    [
        (name, Annotated[_Given, tyro.conf.arg(name=f"strategy.{name.replace('_', '-')}")], ())
        for name in TARGET_OPTIONS
    ],
)
"""The strategy's options beside which --budget counts only where they say the same."""


@dataclasses.dataclass(frozen=True)
class _Resume:
    """The argument beside which few others have an effect, and these."""

    resume: Path | None = None
    scene: _Given = ()
    data_root: _Given = ()
    gpus: _Given = ()
    parallel: _Given = ()
    quiet: Annotated[bool, tyro.conf.FlagCreatePairsOff] = False
    debug: Annotated[bool, tyro.conf.FlagCreatePairsOff] = False


def parse_train_arguments(argv: Sequence[str]) -> TrainConfig:
    """Returns the configuration of a command line; exits after `--help`.

    Help runs no strategy's file that a --config file names. What becomes of a --config file that is
    meant for something else is said on stderr.
    """
    config = _parsed(argv)
    _check_number_of_processes(config.gpus)
    return config


def _parsed(argv: Sequence[str]) -> TrainConfig:
    early = _read_early(argv)
    if not early.config:
        return _parse(argv, early, None)
    saved = config_file.read_config(Path(early.config[-1]))
    for key in saved.values.keys() & {"config", "resume", "dry_run", "dry-run", "quiet", "debug"}:
        raise ConfigError(f"{saved.path}: '{key}' is for the command line alone", option="config")
    strategy = choices_in(saved.values)["strategy"]
    if early.asks_for_help and parse_reference(strategy) is not None:
        return _parse(argv, early, None)
    file, remarks = for_choices(saved, early.choices)
    config = _parse(argv, early, file)
    for remark in remarks + near_plane_remarks(saved, config):
        messages.remark(f"{PROGRAM}: {remark}")
    return config


def parse_resumed(argv: Sequence[str]) -> TrainConfig | None:
    """Returns the configuration of the run that --resume names, `out` being its folder; None
    without it.

    Raises:
        ConfigError: other options stand beside --resume, or there is no run to go on with.
    """
    known, others = _read(_Resume, argv)
    run: Path | None = known.resume
    if run is None or asks_for_help(others):
        return None
    if others:
        raise ConfigError(
            f"goes on with the options in {run / run_folder.CONFIG}",
            action=f"leave out {others[0]}",
            option="resume",
        )
    path = run / run_folder.CONFIG
    if not path.is_file():
        raise ConfigError(
            f"{run}: no {run_folder.CONFIG}",
            action="name the folder that gs-train wrote",
            option="resume",
        )
    saved = ConfigFile(path, config_file.read_mapping(path), config_file.FORMAT)
    config = dataclasses.replace(_parse([], _Early(), saved), out=run)
    if known.data_root:
        config = dataclasses.replace(config, data_root=Path(known.data_root[-1]))
    if known.scene:
        config = dataclasses.replace(config, scene=known.scene[-1])
    return with_absolute_paths(_on_gpus(config, known))


def _on_gpus(config: TrainConfig, known: _Resume) -> TrainConfig:
    """Returns the configuration of a run that goes on on those GPUs that are asked for."""
    gpus = number_of_processes() if is_one_of_several() else config.gpus
    if known.gpus:
        gpus = _number(known.gpus[-1])
    parallel = known.parallel[-1] if known.parallel else config.parallel
    if gpus == 1 and not known.parallel:
        parallel = "views"
    _check_number_of_processes(gpus)
    if gpus > config.batch_size:
        raise ConfigError(
            f"is {gpus}, and a step of this run has {config.batch_size} views, of which each GPU"
            " renders one at least",
            action=f"give --gpus {config.batch_size} or fewer",
            option="gpus",
        )
    return dataclasses.replace(config, gpus=gpus, parallel=cast(Parallel, parallel))


def _number(text: str) -> int:
    try:
        return whole_number(text)
    except ValueError:
        raise ConfigError(f"is {text!r}", expected="expected a number", option="gpus") from None


def _check_number_of_processes(gpus: int) -> None:
    """Refuses another number of GPUs than torchrun has started processes."""
    if is_one_of_several() and gpus != number_of_processes():
        raise ConfigError(
            f"is {gpus}, and {number_of_processes()} processes were started together",
            action="leave it out under torchrun",
            option="gpus",
        )


def wants_dry_run(argv: Sequence[str]) -> bool:
    """Returns whether --dry-run is among the arguments."""
    return _read_early(argv).dry_run


def wants_quiet(argv: Sequence[str]) -> bool:
    """Returns whether --quiet is among the arguments; no option takes such a value."""
    return "--quiet" in argv


def _read_early(argv: Sequence[str]) -> _Early:
    early, others = _read(_Early, argv)
    return dataclasses.replace(early, asks_for_help=asks_for_help(others))


def _read(form: Any, argv: Sequence[str]) -> tuple[Any, list[str]]:
    """Returns the arguments of `form` among others, and these."""
    return parse_known(form, argv, program=PROGRAM)


def _parse(argv: Sequence[str], early: _Early, file: ConfigFile | None) -> TrainConfig:
    """Returns the configuration of a file and of the flags on top of it."""
    values, given = {} if file is None else file.values, early.choices
    choices = choices_in(values) | given
    if not early.asks_for_help and "scene" not in choices:
        _refuse_without_scene(argv)
    name = choices["strategy"]
    words = translate_retired_flags(argv)
    # Plain help needs no strategy, hence no torch; options of a strategy need its class.
    needs_options = not early.asks_for_help or file is not None or "strategy" in given
    form = load_strategy_class(name) if needs_options else _NoOptions
    has_budget = early.has_budget(values)
    if file is not None:
        if has_budget:
            file = without_limit_of_preset(file)
            values = file.values
        check_not_taken_back(file, choices, given, form, has_budget=has_budget)
    whole = _form(form, brought(choices, form, has_budget=has_budget))
    in_file = [] if file is None else _flags_in(file, whole)
    parsed: Any = parse(
        whole,
        [*in_file, "--strategy", name, *words],
        program=PROGRAM,
        page=_page(whole),
        stray=_STRAY,
    )
    options = options_of(parsed.options)
    build_strategy(name, options)
    config = dataclasses.replace(parsed.train, strategy_options=options)
    check_length(config)
    if config.budget is not None:
        targets, _ = _read(_Targets, argv)
        check_budget(config, [target for target, texts in vars(targets).items() if texts])
    return config


def _refuse_without_scene(argv: Sequence[str]) -> NoReturn:
    """Says what else is wrong with the words, which may be why there is no scene, or asks for one.

    The options of a strategy's own are not looked at.
    """
    words = [w for w in translate_retired_flags(argv) if not w.startswith("--strategy.")]
    form = _form(_NoOptions, TrainConfig(scene=""))
    check(options_in(form), words, PROGRAM, stray=_STRAY)
    raise ConfigError(
        "is missing",
        action=f"name a preset ({', '.join(PRESETS)}) or a COLMAP folder",
        option="scene",
    )


def _flags_in(file: ConfigFile, form: type) -> list[str]:
    """Returns what a file says as flags; refuses what the form does not take, with its name."""
    try:
        words = config_file.flags_of(_without_name(file.values))
        check(options_in(form), words, PROGRAM)
        return words
    except ConfigError as error:
        raise ConfigError(
            f"{file.path}: {error.found_where}", expected=error.expected, action=error.action
        ) from None


def _without_name(values: Mapping[str, Any]) -> dict[str, Any]:
    """Returns what a file says, but for the strategy's name."""
    options = {name: value for name, value in values.get("strategy", {}).items() if name != "name"}
    return {**values, "strategy": options}


def _form(options_class: type, defaults: TrainConfig) -> type:
    """Returns a dataclass for tyro: TrainConfig's options, the strategy's under `strategy.`,
    --config.
    """
    options_class = _without_state(options_class)
    help_dry_run = (
        "Foretell memory and time; write nothing. The scene is loaded, and a few steps are timed."
    )
    help_quiet = (
        "Show errors, and doubts about the data, alone. There are no progress, remarks and"
        " summary, but what --protocol mls-bench or --dry-run prints."
    )
    help_debug = "Show the whole traceback of an error, not only the lines of a file of yours."
    help_resume = (
        "Folder of a run to finish. It goes on from its last checkpoint, with the options that it"
        " has. Of a scene that has moved since, --scene or --data-root says where it is; --gpus may"
        " be another number."
    )
    help_config = (
        "YAML file with options. It is as saved in a run's folder; flags count for more. With"
        " another scene, strategy, protocol, preset or downscale than a saved file has, only what"
        " did not come with those is taken over; options of another strategy never are."
    )
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
        (
            "quiet",
            Annotated[bool, tyro.conf.arg(help=help_quiet), tyro.conf.FlagCreatePairsOff],
            False,
        ),
        (
            "debug",
            Annotated[bool, tyro.conf.arg(help=help_debug), tyro.conf.FlagCreatePairsOff],
            False,
        ),
    ]
    form = dataclasses.make_dataclass("Arguments", fields, frozen=True)
    form.__doc__ = TrainConfig.__doc__
    return form


def _without_state(cls: type) -> type:
    """Returns `cls`, of which tyro shows no fields with `init=False`: they are no options."""
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


def _page(form: type) -> Page:
    strategies = [(name, entry.summary) for name, entry in BUILTIN.items()]
    heading = "strategies; gs-train --strategy NAME --help: the options of one, too"
    return Page(PROGRAM, form, COMMON, ("strategy",), (heading, strategies))
