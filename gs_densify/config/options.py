"""The one configuration object of a run: typed, validated, saved with the run. Imports no torch.

Precedence: defaults, then the strategy's recipe, then the scene's settings, then `--preset`, then
`--protocol`, then a `--config` file, then flags; a file that takes back what a `--preset` or
`--protocol` flag sets is refused. The resolved configuration reproduces the run; what is left open
in it (None, auto) the run finds by its scene and its steps, and its results say what that was.
"""

import heapq
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, Literal, get_args

import tyro

from gs_densify.config.loss_terms import LossOptions
from gs_densify.config.modules import MODULES
from gs_densify.config.outputs import OUTPUTS
from gs_densify.errors import ConfigError
from gs_densify.evaluation.metrics import LPIPS
from gs_densify.memory.sizes import bytes_of
from gs_densify.model.files import FORMATS
from gs_densify.near_names import known_or_meant
from gs_densify.rendering.rasterizers import AUTO, RASTERIZERS
from gs_densify.results.protocol import Quantisation, SsimBorders

PresetName = Literal["quality", "balanced", "fast", "compact"]
ProtocolName = Literal["default", "inria", "gsplat", "nerfbaselines", "mls-bench"]
Parallel = Literal["views", "gaussians"]
RATES = ("means", "scales", "quats", "opacities", "sh0", "shN")
"""The learning rates among `LearningRates`, one for each parameter of a Gaussian."""


SFM, RANDOM = "sfm", "random"
"""The starts that are no files."""


@dataclass(frozen=True, kw_only=True)
class InitOptions:
    """What a run starts from, and how points become Gaussians."""

    source: Annotated[str, tyro.conf.arg(aliases=["--init"])] = SFM
    """Start from sfm, random, or a file. sfm: the model's points; random: points about the cameras;
    a PLY of points in COLMAP's frame (LiDAR, dense clouds); or Gaussians to go on from: a PLY, a
    run, a checkpoint."""
    num_points: int | None = None
    """Number of random points (default: 100,000)."""
    opacity: float = 0.1
    """Initial opacity, in (0, 1)."""
    scale: float = 1.0
    """Initial scale, in distances to the 3 nearest neighbours."""
    sh_degree: int = 3
    """Highest degree of SH, 0 to 3."""


@dataclass(frozen=True, kw_only=True)
class LearningRates:
    """Adam's learning rates (those of 3DGS)."""

    means: float = 1.6e-4
    """Means, in scene radii a step."""
    means_final: float = 0.01
    """Share of the means' rate that is left at the last step (exponential decay)."""
    scales: float = 5e-3
    """Log-scales."""
    quats: float = 1e-3
    """Quaternions."""
    opacities: float = 5e-2
    """Opacity logits."""
    sh0: float = 2.5e-3
    """SH coefficients of degree 0."""
    shN: float = 2.5e-3 / 20
    """SH coefficients of higher degrees."""
    others_final: float | Literal["auto"] = 1.0
    """Share of all other rates that is left at the last step (exponential decay over the second
    half of training); 1: they stay; auto: 1 up to 100 passes over the photos, 0.1 from 300 on."""
    weight_decay: float = 0.0
    """Decoupled weight decay; above 0 the optimisers are AdamW."""
    visible_only: bool = False
    """Update only Gaussians that the step's views drew (not with --render.packed)."""


_RASTERIZER_HELP = f"Rasteriser; {AUTO}: the first of these that runs on the device. " + "; ".join(
    f"{name}: {entry.summary}" for name, entry in RASTERIZERS.builtin.items()
)


@dataclass(frozen=True, kw_only=True)
class RenderOptions:
    """How views are rendered."""

    rasterizer: Annotated[str, tyro.conf.arg(help=_RASTERIZER_HELP)] = "auto"
    antialiased: bool = False
    """Antialiasing of Mip-Splatting (2D filter). It scales opacity by the footprint that the 0.3 px
    dilation adds."""
    background: Literal["black", "random"] = "black"
    """Colour behind the Gaussians while training; held-out views are always scored on black."""
    packed: bool = False
    """gsplat's packed mode: less memory, about 10 % slower (CUDA only)."""
    deterministic: bool = False
    """Gradients of rasteriser own are the same twice, bit for bit; it costs time and memory."""
    offload: bool = False
    """Keep SH coefficients above degree 0, with their moments, in host memory. It takes two fifths
    of the GPU memory, and steps are slower (docs/performance.md); a step updates those of the
    Gaussians alone that its views draw."""
    absgrad: bool = False
    """Give a strategy absolute image-plane gradients even where it does not ask for them."""
    near_plane: float | None = None
    """Depth in world units below which no Gaussian is drawn. By default it follows from the scene:
    half the depth of the nearest SfM points, kept between 0.01 and 0.05 times the cameras' mean
    distance to their centre. gsplat uses 0.01."""
    coarse_until: float = 0.0
    """Share of the steps by which photos reach their full size; before, they are reduced by 4, 3
    and 2, each for as long as its share of their spectrum (DashGaussian, arXiv 2503.18402)."""
    sh_degree_every: int = 1000
    """Steps after which the used SH degree rises by one."""
    dropout: float | Literal["auto"] = 0.0
    """Share of the Gaussians that the first step leaves out, drawn anew at each; it falls linearly
    to none at the last one (after DropGaussian, arXiv 2504.00773); auto: 0.1 up to 100 passes over
    the photos, 0.2 from 300 on."""


@dataclass(frozen=True, kw_only=True)
class ReadingOptions:
    """Which photos and pixels of a scene count, and which are held out."""

    test_every: int = 8
    """Every k-th photo is held out. It is so by sorted name; 0: none is, all are trained on, and
    there are no scores."""
    test_list: Path | None = None
    """Hold out the photos whose names are in this file, one a line, in place of every k-th."""
    image_source: Literal["auto", "found", "resized"] = "auto"
    """found: photos as they are in images_N; resized: made from images/; auto: found, but made
    where images_N is missing and --downscale was given."""
    resize_filter: Literal["area", "bicubic", "lanczos"] | None = None
    """Filter where photos are made smaller (default: bicubic)."""
    masks: Literal["auto", "none", "invert"] = "auto"
    """Use masks: auto, invert or none. auto: of masks/ or alpha channels where they are there;
    invert: black and transparent pixels count; none: all do, transparent ones with the colours
    stored there."""
    skip_missing: bool = False
    """Do without photos that are missing on disk. At least half must be there."""


@dataclass(frozen=True, kw_only=True)
class DataOptions(ReadingOptions):
    """How the scene is read."""

    normalize: Literal["cameras", "focus", "none"] = "cameras"
    """World to train in. cameras: about the cameras' centre, their mean distance to it being 1;
    focus: that of gsplat's trainers, where their median distance to what they look at is 1; none:
    COLMAP's. Rates and thresholds scale with it (docs/data.md)."""
    image_budget: float = 16.0
    """GiB of GPU memory that photos may take; above it they stay in host memory."""
    host_budget: float | None = None
    """GiB of host memory that photos may take; above it they are read from the disk, a few steps
    ahead of their use. (default: four fifths of what is free)"""
    disk_budget: float = 200.0
    """GiB that photos made for reading may take in the cache. Those of scenes that were used least
    recently make room."""
    workers: int | None = None
    """Threads that decode photos (default: one a core)."""


@dataclass(frozen=True, kw_only=True)
class EvaluationOptions:
    """How held-out views are scored."""

    steps: tuple[int, ...] = ()
    """Steps after which to score and save. The last step always is such a one."""
    lpips: tuple[str, ...] = ("lpips_alex", "lpips_vgg")
    """Variants of LPIPS. There are lpips_alex, lpips_vgg, lpips_vgg_01; without a name: none."""
    metrics: tuple[str, ...] = ()
    """Further metrics, by the names under which installed packages offer them."""
    quantisation: Quantisation = "uint8-round"
    """What a render is rounded to before it is scored; psnr_float sees it as it is."""
    ssim_borders: SsimBorders = "reflect"
    """Where SSIM's window leaves the picture: mirror it, leave those pixels out, or see black."""
    lpips_weights: Annotated[Path | None, tyro.conf.arg(aliases=["--lpips-weights"])] = None
    """Folder with the networks of LPIPS. (default: GS_LPIPS_WEIGHTS, torch's cache, download)"""
    pictures: int = 4
    """Test views, the worst, of which a picture 'photo, render, error' is written; -1: all."""


@dataclass(frozen=True, kw_only=True)
class TrainConfig:
    """Train 3D Gaussian Splatting on a COLMAP scene under a densification strategy."""

    scene: str
    """Preset, or folder of a COLMAP data set. Presets are bicycle, bonsai, counter, flowers,
    garden, kitchen, room, stump, treehill, and tiny, which needs no download. The folder may be
    that of one model, too (FOLDER/sparse/1)."""
    strategy: str = "adaptive"
    """Densification strategy. It is a name, or a file with a class; with --help, its options are
    shown."""
    data_root: Path | None = None
    """Folder of the preset scenes (default: GS_DATA)."""
    downscale: int | None = None
    """Use images_N (default: the preset's factor, or 1). 1 is images; others are made from it where
    they are missing."""
    out: Path | None = None
    """Run's folder (default: runs/SCENE/STRATEGY/TIME)."""
    label: str | None = None
    """Name of the method in gs-report's tables. (default: the strategy and what sets it apart)"""
    protocol: ProtocolName = "default"
    """Whose way of scoring. See docs/evaluation.md. mls-bench is the whole setting of
    that benchmark's cv-3dgs-densification task (factor 8, AdamW, no recipes), with its lines on
    stdout. Single options can still be changed."""
    preset: PresetName | None = None
    """Length and limit: quality, balanced, fast, compact. Whatever the strategy: quality (its own),
    balanced (0.6 of the steps, at most 1 M Gaussians), fast (0.3, at most 1 M), compact (at most
    0.47 M). The two shorter ones set loss.ssim 0.3 and render.coarse-until 0.25."""
    device: Literal["auto", "cuda", "cpu"] = "auto"
    """Where to train. auto takes a GPU when there is one."""
    gpus: int = 1
    """GPUs that train together; with --device cpu, processes. N of them render N views a step in
    1/N of the steps, where --batch-size and --steps do not say otherwise (docs/several_gpus.md)."""
    parallel: Parallel = "views"
    """What several GPUs share out: views or gaussians. views: each holds all Gaussians, and renders
    its part of a step's views; gaussians: each holds a share of them, for models that do not fit on
    one (not under every strategy)."""
    steps: int | Literal["auto"] = 30_000
    """Training steps. auto: at most 500 passes over the photos, which is fewer where there are less
    than 60 of them, but 7,000 at least."""
    schedule_factor: float | None = None
    """Stretch the strategy's steps and the SH schedule (default: to fit --steps, by their ratio to
    the 30,000 for which schedules are made; 1: as they are, cut off by --steps)."""
    seed: int = 42
    """Seed of every random draw."""
    batch_size: int = 1
    """Views a step; learning rates grow with its square root."""
    max_gaussians: int | None = None
    """Most Gaussians (default: the strategy's own limit). There are never more, whatever the
    strategy."""
    memory_limit: str | None = None
    """GPU memory that may be taken, such as 8GB or 7.5GiB. Where the expected Gaussians do not fit,
    --render.offload is set, and beyond that fewer Gaussians are allowed; which it is, is said. The
    run has no more: torch's allocator is limited to it (CUDA itself takes some 0.5 GB beside)."""
    budget: int | None = None
    """Gaussians to end with (default: the strategy's). So it is whatever the strategy, in place of
    the preset's limit."""
    log_every: int = 100
    """Steps between lines of metrics.jsonl."""
    checkpoint_minutes: float = 5.0
    """Minutes between checkpoints. 0: none by time. --resume can go on from them; the newest is
    kept, beside those of --evaluation.steps and the last."""
    checkpoint_every: int | None = None
    """Steps between further checkpoints, which are kept likewise (default: none by steps)."""
    profile: tuple[int, int] | None = None
    """Trace the steps from the first number up to the second, for example 3000 3020, into
    profile/: a trace for Perfetto or chrome://tracing, and a table of the longest operations."""
    modules: tuple[str, ...] = ()
    """What is trained beside Gaussians: exposure. It is an affine change of colours for each
    training view; installed packages may offer more."""
    export: tuple[str, ...] = ("ply",)
    """Formats of the model that is saved. It is point_cloud.SUFFIX, at the end: ply, or what
    installed packages offer."""
    log_to: tuple[str, ...] = ()
    """Send figures to tensorboard or wandb, too. Installed packages may offer more; the run's own
    files have them anyway."""
    init: InitOptions = field(default_factory=InitOptions)
    lr: LearningRates = field(default_factory=LearningRates)
    loss: LossOptions = field(default_factory=LossOptions)
    render: RenderOptions = field(default_factory=RenderOptions)
    data: DataOptions = field(default_factory=DataOptions)
    evaluation: EvaluationOptions = field(default_factory=EvaluationOptions)
    # The chosen strategy's own options, which the command line takes as --strategy.OPTION.
    strategy_options: Annotated[dict[str, Any], tyro.conf.Suppress] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self._check_ranges()
        if self.data.test_list is not None and not self.data.test_every:
            raise ConfigError(
                "does not go with --data.test-every 0, which holds no photo out",
                action="leave one of them out",
                option="data.test-list",
            )
        unknown = sorted(set(self.evaluation.lpips) - set(LPIPS))
        if unknown:
            raise ConfigError(
                f"has '{unknown[0]}'",
                expected=known_or_meant(unknown[0], LPIPS),
                option="evaluation.lpips",
            )
        if self.render.rasterizer not in (AUTO, *RASTERIZERS.names()):
            raise ConfigError(
                f"is '{self.render.rasterizer}'",
                expected=known_or_meant(self.render.rasterizer, [AUTO, *RASTERIZERS.names()]),
                option="render.rasterizer",
            )
        for registry, option, names in (
            (MODULES, "modules", self.modules),
            (FORMATS, "export", self.export),
            (OUTPUTS, "log-to", self.log_to),
        ):
            registry.require(names, option)
        if self.lr.visible_only and self.render.packed:
            raise ConfigError(
                "does not go with --render.packed, which does not say for every Gaussian whether it"
                " was drawn",
                action="leave one of them out",
                option="lr.visible-only",
            )
        if self.render.offload:
            self._check_offload()
        self._check_memory_limit()
        late = [step for step in self.evaluation.steps if not 0 < step <= self._most_steps]
        if late:
            raise ConfigError(
                f"has {late[0]}",
                expected="it must be at least 1"
                if self.steps == "auto"
                else f"a run of {self.steps} steps can be evaluated after steps 1 to {self.steps}",
                action="give --evaluation.steps anew, also where a protocol or a script set it",
                option="evaluation.steps",
            )
        self._check_gpus()
        if self.profile is not None:
            self._check_profile(*self.profile)

    def _check_gpus(self) -> None:
        if self.parallel not in get_args(Parallel):
            raise ConfigError(
                f"is '{self.parallel}'",
                expected=known_or_meant(self.parallel, get_args(Parallel)),
                option="parallel",
            )
        if self.parallel != "views" and self.gpus == 1:
            raise ConfigError(
                f"{self.parallel} has no effect on one GPU",
                action="leave it out, or give --gpus",
                option="parallel",
            )
        if self.batch_size < self.gpus:
            raise ConfigError(
                f"is {self.batch_size}, and {self.gpus} GPUs render a view each",
                expected="it must be at least their number",
                action=f"give --batch-size {self.gpus}",
                option="batch-size",
            )
        given = {
            "render.packed": self.render.packed,
            "render.offload": self.render.offload,
            "memory-limit": self.memory_limit is not None,
        }
        for name in [name for name, is_given in given.items() if is_given and self.gpus > 1]:
            raise ConfigError("does not go with several GPUs", action="leave it out", option=name)

    def _check_ranges(self) -> None:
        for name, value, least, most in self._ranges():
            is_finite = value < _ANY or name in _MAY_BE_INFINITE
            if least <= value <= most and is_finite:
                continue
            limit = f"at least {least}" if most == _ANY else f"between {least} and {most}"
            raise ConfigError(
                f"is {value}",
                expected=f"it must be {limit}" if is_finite else "it must be finite",
                option=name.replace("_", "-"),
            )

    @property
    def memory_bytes(self) -> int | None:
        """Returns `memory_limit` as a number; None where there is none."""
        return None if self.memory_limit is None else bytes_of(self.memory_limit)

    def _check_memory_limit(self) -> None:
        try:
            limit = self.memory_bytes
        except ValueError:
            limit = 0
        if limit is not None and limit < 1:
            raise ConfigError(
                f"is '{self.memory_limit}'",
                expected="expected bytes with a unit, such as 8GB or 7.5GiB",
                option="memory-limit",
            )

    def _check_offload(self) -> None:
        if self.render.packed:
            raise ConfigError(
                "does not go with --render.packed: gsplat's packed mode has no stages",
                action="leave one of them out",
                option="render.offload",
            )
        if self.init.sh_degree == 0:
            raise ConfigError(
                "has no effect with --init.sh-degree 0: there is nothing to keep in host memory",
                action="leave one of them out",
                option="render.offload",
            )

    def _check_profile(self, first: int, last: int) -> None:
        if not 0 <= first < last <= self._most_steps:
            limit = "on" if self.steps == "auto" else f"to {self.steps}"
            raise ConfigError(
                f"is {first} {last}",
                expected=f"it must be two rising steps from 0 {limit}",
                option="profile",
            )
        if self.steps == "auto":  # the rest is checked when they are known
            return
        stop = next(self.stops_from(first + 1))
        if stop < last:  # there would be two traces, and one place for them
            raise ConfigError(
                f"{first} {last} has an evaluation or a checkpoint after step {stop} inside",
                action="trace steps before or after it",
                option="profile",
            )

    @property
    def length(self) -> int:
        """Returns the training steps, in a configuration that does not leave them open.

        Raises:
            ConfigError: they are `auto`; `config.length.with_length` finds them.
        """
        if self.steps == "auto":
            raise ConfigError("is auto", expected="a number is needed here", option="steps")
        return self.steps

    @property
    def _most_steps(self) -> float:
        return _ANY if self.steps == "auto" else self.steps

    @property
    def scored_steps(self) -> tuple[int, ...]:
        """Returns steps after which held-out views are scored, rising; the last step is one."""
        return tuple(sorted({*self.evaluation.steps, self.length}))

    def stops_from(self, start: int) -> Iterator[int]:
        """Yields steps, `start` or later, after which a checkpoint is saved, rising; all that are
        scored are among them. There may be too many for a list.
        """
        every = self.checkpoint_every or self.length
        saved = range(max(1, -(-start // every)) * every, self.length, every)
        scored = (step for step in self.scored_steps if step >= start)
        before = None
        for step in heapq.merge(saved, scored):
            if step != before:
                yield step
            before = step

    def _ranges(self) -> list[tuple[str, float, float, float]]:
        tiny = 1e-12
        rates = [
            (f"lr.{name}", getattr(self.lr, name), 0.0, _ANY) for name in (*RATES, "weight_decay")
        ]
        return [
            *rates,
            ("lr.means-final", self.lr.means_final, tiny, _ANY),
            ("lr.others-final", _or_one(self.lr.others_final), tiny, 1.0),
            ("steps", _or_one(self.steps), 1, _ANY),
            ("schedule-factor", _or_one(self.schedule_factor), tiny, _ANY),
            ("seed", self.seed, 0, 2**32 - 1),
            ("max-gaussians", _or_one(self.max_gaussians), 1, _ANY),
            ("budget", _or_one(self.budget), 1, _ANY),
            ("gpus", self.gpus, 1, MOST_VIEWS),
            ("batch-size", self.batch_size, 1, MOST_VIEWS),
            ("log-every", self.log_every, 1, _ANY),
            ("checkpoint-minutes", self.checkpoint_minutes, 0.0, _ANY),
            ("checkpoint-every", _or_one(self.checkpoint_every), 1, self._most_steps),
            ("downscale", _or_one(self.downscale), 1, _ANY),
            ("init.num-points", _or_one(self.init.num_points), 1, _ANY),
            ("init.opacity", self.init.opacity, 1e-4, 1 - 1e-4),
            ("init.scale", self.init.scale, 1e-6, _ANY),
            ("init.sh-degree", self.init.sh_degree, 0, 3),
            ("loss.ssim", self.loss.ssim, 0.0, 1.0),
            *((f"loss.{name}", weight, 0.0, _ANY) for name, weight in self.loss.weights().items()),
            ("render.coarse-until", self.render.coarse_until, 0.0, 1.0),
            ("render.near-plane", _or_one(self.render.near_plane), tiny, 1e9),
            ("render.sh-degree-every", self.render.sh_degree_every, 1, _ANY),
            ("render.dropout", _or(0.0, self.render.dropout), 0.0, 0.9),
            ("data.test-every", self.data.test_every, 0, _ANY),
            ("data.image-budget", self.data.image_budget, 0.0, _ANY),
            ("data.host-budget", _or(0.0, self.data.host_budget), 0.0, _ANY),
            ("data.disk-budget", self.data.disk_budget, 0.0, _ANY),
            ("data.workers", _or_one(self.data.workers), 1, 1024),
            ("evaluation.pictures", self.evaluation.pictures, -1, _ANY),
        ]


def _or_one(value: float | Literal["auto"] | None) -> float:
    return _or(1, value)


def _or(default: float, value: float | Literal["auto"] | None) -> float:
    """Returns the value, or the default where it is left open."""
    return default if value is None or value == "auto" else value


_ANY = float("inf")
_MAY_BE_INFINITE = ("data.image-budget", "data.host-budget", "data.disk-budget")
MOST_VIEWS = 9
"""A step: beyond, Adam's first moment would have no memory (see `create_optimizers`)."""
