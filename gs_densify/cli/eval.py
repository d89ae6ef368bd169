"""gs-eval: score a model again from its files, or compare two."""

import dataclasses
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import tyro

from gs_densify.cli.app import run_command
from gs_densify.config.options import ProtocolName
from gs_densify.errors import ConfigError
from gs_densify.flags.parse import parse

if TYPE_CHECKING:
    from gs_densify.results import EvaluationResults
    from gs_densify.results.scored import Scored
    from gs_densify.runs.open_model import OpenedModel

PROGRAM = "gs-eval"


def _also(name: str, *shorter: str) -> Any:
    """Gives an option its name in gs-train, which messages have, and shorter ones."""
    return tyro.conf.arg(name=name, aliases=shorter)


@dataclasses.dataclass(frozen=True, kw_only=True)
class EvalArguments:
    """Score a model on held-out views, from its files: a run, a checkpoint or any 3DGS PLY.

    Or compare two (--compare A B). gs-report makes tables of many.
    """

    model: Annotated[Path | None, tyro.conf.Positional] = None
    """Folder that gs-train wrote, a checkpoint in it, or a PLY in COLMAP's frame."""
    compare: tuple[Path, ...] = ()
    """Compare two models view by view: runs, evaluations, checkpoints or PLYs."""
    protocol: ProtocolName | None = None
    """Whose way of scoring (docs/evaluation.md; default: the run's)."""
    step: int | None = None
    """Score the checkpoint after this step (default: the latest)."""
    scene: str | None = None
    """A preset or the path of a COLMAP folder (default: the run's; a PLY needs it)."""
    data_root: Path | None = None
    """Folder that holds the preset scenes (default: the run's, or GS_DATA)."""
    downscale: int | None = None
    """Use images_N (default: the run's, or the preset's)."""
    image_source: Annotated[
        Literal["found", "resized"] | None, _also("data.image-source", "--image-source")
    ] = None
    """images_N as found, or made from images/ (default: the protocol's, or the run's)."""
    resize_filter: Annotated[
        Literal["area", "bicubic", "lanczos"] | None, _also("data.resize-filter", "--resize-filter")
    ] = None
    """Filter where photos are made smaller (default: the run's, or bicubic)."""
    masks: Annotated[Literal["auto", "none", "invert"] | None, _also("data.masks", "--masks")] = (
        None
    )
    """Which pixels are scored, as in gs-train (default: the run's, or auto)."""
    skip_missing: Annotated[
        bool, _also("data.skip-missing", "--skip-missing"), tyro.conf.FlagCreatePairsOff
    ] = False
    """Do without photos that are missing on disk, as long as at least half are there."""
    test_every: Annotated[int | None, _also("data.test-every", "--test-every")] = None
    """Every k-th photo is held out; for a PLY (default: 8); 1: score it on all photos."""
    test_list: Annotated[Path | None, _also("data.test-list", "--test-list")] = None
    """Score on the photos whose names are in this file, one a line; for a PLY."""
    antialiased: Annotated[bool, _also("render.antialiased", "--antialiased")] = False
    """The model is to be rendered antialiased; for a PLY whose header does not say."""
    near_plane: Annotated[float | None, _also("render.near-plane", "--near-plane")] = None
    """Depth below which nothing is drawn, in the normalised world; for a PLY (default: by
    the scene, as in gs-train; gsplat: 0.01)."""
    rasterizer: Annotated[str | None, _also("render.rasterizer", "--rasterizer")] = None
    """Rasteriser, as in gs-train (default: the run's)."""
    lpips: Annotated[tuple[str, ...] | None, _also("evaluation.lpips", "--lpips")] = None
    """LPIPS variants (default: the protocol's, or the run's): lpips_alex, lpips_vgg, lpips_vgg_01;
    without a name: none."""
    metrics: Annotated[tuple[str, ...] | None, _also("evaluation.metrics", "--metrics")] = None
    """Further metrics that installed packages offer (default: the run's); without a name: none."""
    lpips_weights: Annotated[Path | None, _also("evaluation.lpips-weights", "--lpips-weights")] = (
        None
    )
    """Folder with the LPIPS backbones (default: the run's, GS_LPIPS_WEIGHTS, torch's cache)."""
    pictures: Annotated[int | None, _also("evaluation.pictures", "--pictures")] = None
    """Views, the worst, of which a picture is written (default: the run's, or 4); -1: all."""
    device: Literal["auto", "cuda", "cpu"] = "auto"
    """Where to render."""
    force: bool = False
    """Compare although the two were scored under different protocols."""
    out: Path | None = None
    """Folder for the files (default: evaluations/TIME in the run or beside the PLY;
    comparisons/TIME here)."""


_MORE = "gs-report makes tables of more"
_SCORING = (
    *("protocol", "step", "scene", "data_root", "downscale", "image_source", "resize_filter"),
    *("masks", "skip_missing", "test_every", "test_list"),
    *("antialiased", "near_plane", "rasterizer", "lpips", "metrics", "lpips_weights", "pictures"),
    "device",
)
_MODES = {
    "model": _SCORING,
    "compare": (*_SCORING, "force"),
}
"""What each way of calling takes besides --out."""


def command(argv: Sequence[str]) -> None:
    """Parses, and does the one thing that is asked for."""
    arguments = parsed(argv)
    {"model": _score, "compare": _compare}[_mode(arguments)](arguments, argv)


def parsed(argv: Sequence[str]) -> EvalArguments:
    """Returns what a command line asks for, in which each option has an effect (ConfigError)."""
    if any(word.partition("=")[0] == "--aggregate" for word in argv):
        raise ConfigError("is gone", action="gs-report RUN... averages runs", option="aggregate")
    arguments: EvalArguments = parse(
        EvalArguments, argv, program=PROGRAM, stray=f"--compare A B compares two; {_MORE}"
    )
    _mode(arguments)
    return arguments


def _mode(arguments: EvalArguments) -> str:
    given = _given(arguments)
    modes = [name for name in _MODES if name in given]
    if "compare" in modes:
        _check_two(arguments)
    if not modes:
        raise ConfigError(
            "nothing given to work on",
            action="give one of: a run, checkpoint or PLY; --compare A B",
        )
    useless = [name for name in given if name not in (*modes, *_MODES[modes[0]], "out")]
    if useless:
        what = "scoring a model" if modes[0] == "model" else f"--{modes[0]}"
        raise ConfigError(f"has no effect on {what}", option=useless[0].replace("_", "-"))
    return modes[0]


def _check_two(arguments: EvalArguments) -> None:
    """Refuses to compare another number of models than two."""
    models = [*[arguments.model] * (arguments.model is not None), *arguments.compare]
    if len(arguments.compare) == len(models) == 2:
        return
    raise ConfigError(
        f"is about {', '.join(map(str, models))}",
        expected="two are compared, as --compare A B",
        action=_MORE if len(models) > 2 else "",
        option="compare",
    )


def _given(arguments: EvalArguments) -> list[str]:
    """Returns the names of the options that were given."""
    return [
        field.name
        for field in dataclasses.fields(arguments)
        if getattr(arguments, field.name) != field.default
    ]


def scored(
    arguments: EvalArguments, argv: Sequence[str]
) -> tuple["OpenedModel", "EvaluationResults", Path]:
    """Scores the model of a command line; returns it, its results and the folder of the files."""
    from gs_densify.report.page import save_run_page
    from gs_densify.runs.evaluate import evaluate_model

    assert arguments.model is not None
    model = _open(arguments.model, arguments)
    results, folder = evaluate_model(model, arguments.out, [PROGRAM, *argv])
    save_run_page(folder)
    return model, results, folder


def _score(arguments: EvalArguments, argv: Sequence[str]) -> None:
    from gs_densify.cli.summary import scores_text
    from gs_densify.results.names import INDEX
    from gs_densify.results.views import load_views
    from gs_densify.runs.evaluate import stored_comparison

    model, results, folder = scored(arguments, argv)
    print(scores_text(results, load_views(folder, results)))
    if model.run is not None:
        print(stored_comparison(model.run, results))
    print(f"page: {folder / INDEX}")
    print(f"files: {folder}")


def _compare(arguments: EvalArguments, argv: Sequence[str]) -> None:
    from gs_densify.cli.summary import comparison_text
    from gs_densify.evaluation.pictures import save_differences
    from gs_densify.results import save_json
    from gs_densify.results.compare import compare
    from gs_densify.results.names import COMPARISON, RENDERS
    from gs_densify.runs.claim import claimed
    from gs_densify.runs.layout import time_stamp

    with claimed(arguments.out, Path("comparisons") / time_stamp()) as claim:
        folder = claim.folder
        first, second = (
            _scored(path, arguments, folder / name, argv)
            for path, name in zip(arguments.compare, ("first", "second"), strict=True)
        )
        comparison = compare(first, second, force=arguments.force)
        save_json(folder / COMPARISON, comparison)
        names = [view.name for view in comparison.views]
        written = save_differences(folder / RENDERS, first.folder, second.folder, names)
        print(comparison_text(comparison))
        print(f"files: {folder} ({written} difference pictures)")


def _scored(path: Path, arguments: EvalArguments, out: Path, argv: Sequence[str]) -> "Scored":
    """Returns the stored scores of a folder, or new ones where it has none or scoring options are
    given.
    """
    from gs_densify.results.scored import is_scored, load_scored
    from gs_densify.runs.evaluate import evaluate_model

    asked = [name for name in _given(arguments) if name in _SCORING]
    if is_scored(path) and not asked:
        return load_scored(path)
    _, folder = evaluate_model(_open(path, arguments), out, [PROGRAM, *argv])
    return load_scored(folder)


def _open(path: Path, arguments: EvalArguments) -> "OpenedModel":
    from gs_densify.evaluation.metrics import check_further
    from gs_densify.runs.open_model import Request, open_model

    options = {
        "data_root": arguments.data_root,
        "downscale": arguments.downscale,
        "data.image_source": arguments.image_source,
        "data.resize_filter": arguments.resize_filter,
        "data.masks": arguments.masks,
        "data.skip_missing": arguments.skip_missing or None,
        "render.rasterizer": arguments.rasterizer,
        "evaluation.lpips": arguments.lpips,
        "evaluation.metrics": arguments.metrics,
        "evaluation.lpips_weights": arguments.lpips_weights,
        "evaluation.pictures": arguments.pictures,
        "device": arguments.device,
    }
    request = Request(
        step=arguments.step,
        scene=arguments.scene,
        protocol=arguments.protocol,
        antialiased=arguments.antialiased,
        near_plane=arguments.near_plane,
        test_every=arguments.test_every,
        test_list=arguments.test_list,
        options={name: value for name, value in options.items() if value is not None},
    )
    model = open_model(path, request)
    check_further(model.config.evaluation.metrics)
    if model.says_nothing_of_antialiasing and not arguments.antialiased:
        print(
            f"{PROGRAM}: {path} does not say whether it was trained antialiased; rendered as not"
            " (--antialiased otherwise)",
            file=sys.stderr,
        )
    return model


def main() -> None:
    """Runs gs-eval."""
    run_command(PROGRAM, command)


if __name__ == "__main__":
    main()
