"""What the trainer asks of a densification strategy: gsplat 1.5.3's hooks and a few options.

A strategy is a dataclass whose fields are its options. Any class with these hooks works; deriving
from `Strategy` only saves writing the ones that a method does not need. Of a class that does not
derive from it, the trainer takes the missing members from here.

Hooks are given a model in three parts, which `model.gaussians.Gaussians` puts together, and an
`info`, whose entries `StepInfo` lists. Test views are out of reach.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Protocol, TypedDict

from torch import Tensor

from gs_densify.errors import StrategyError
from gs_densify.strategies.ops import Optimizers, Params, State

REQUIRED = ("means", "scales", "quats", "opacities")


class Means2d(Protocol):
    """Projected means [C,N,2] in pixels, a tensor; packed they are [nnz,2], as its gradients."""

    grad: Tensor
    """The image loss's gradient, where `step_pre_backward` called `retain_grad`."""
    absgrad: Tensor
    """The sum over pixels of its absolute terms, at steps for which `needs_absgrad` holds."""

    retains_grad: bool
    """Whether `retain_grad` was called."""

    def retain_grad(self) -> None:
        """Keeps `grad`, which backward would drop."""


class StepInfo(TypedDict, total=False):
    """What a step tells its strategy, of C views and N Gaussians: a plain dictionary.

    Shapes are those of unpacked rendering; with `packed`, [C,N,...] is [nnz,...], a row for each
    pair of a view and a Gaussian that it draws. Another trainer than this package's may give the
    rasteriser's entries alone.
    """

    means2d: Means2d
    """Projected means, with their gradients."""
    radii: Tensor
    """[C,N,2] int, half the width and height in pixels that a Gaussian covers; 0 where culled."""
    depths: Tensor
    """[C,N], in the camera's frame."""
    conics: Tensor
    """[C,N,3], the upper triangle of the inverse of the projected covariance."""
    opacities: Tensor
    """[C,N], as they were rendered."""
    camera_ids: Tensor
    """[nnz], the view of each row; to be read when packed only."""
    gaussian_ids: Tensor
    """[nnz], the Gaussian of each row; to be read when packed only."""
    width: int
    """Of the images, in pixels."""
    height: int
    """Of the images, in pixels."""
    n_cameras: int
    """The number C of views."""
    tile_size: int
    """Side of a rasteriser's tile, in pixels. It and what follows up to `isect_offsets` is read by
    `rendering.attribution`."""
    tile_width: int
    """Tiles beside one another."""
    tile_height: int
    """Tiles above one another."""
    tiles_per_gauss: Tensor
    """[C,N] int, the tiles that a Gaussian touches."""
    isect_ids: Tensor
    """[M] int64, view, tile and depth of each pair of a Gaussian and a tile, in order. Rasteriser
    `own` has none."""
    flatten_ids: Tensor
    """[M] int32, the row of the Gaussian of each such pair."""
    num_pairs: Tensor
    """[1] int64, how many entries of `flatten_ids` count: all where it is missing."""
    isect_offsets: Tensor
    """[C,tile_height,tile_width] int32, where each tile's pairs begin."""

    means_lr: float
    """The means' present learning rate."""
    image: Tensor
    """The photos [C,H,W,3], in [0,1]."""
    render: Tensor
    """What was rendered, [C,H,W,3]; where a pixel does not count, the photo."""
    reduction: int
    """By how much the photos are reduced in this step (coarse to fine); 1: full size."""
    views: Sequence[int]
    """Indices of the training views of this step."""
    num_train_views: int
    """How many there are."""
    probe: "Probe"
    """Renders any of them again."""
    attributed: Tensor
    """[N,M], after backward, at steps for which `num_attributed_maps` is M > 0."""


@dataclass(frozen=True)
class ProbedView:
    """One training view: photo and render [1,H,W,3], alpha [1,H,W,1], and the rasteriser's `info`.

    Where a pixel does not count, the render is the photo.

    Its camera is `viewmat` [4,4], world to camera, and `K` [3,3] in pixels.
    `channels` [1,H,W,M] are the extra channels composited, `attributed` [N,M] the sums over pixels
    of map times blending weight; each is None where it was not asked for.
    """

    image: Tensor
    render: Tensor
    alpha: Tensor
    info: StepInfo
    channels: Tensor | None
    attributed: Tensor | None
    viewmat: Tensor
    K: Tensor


class Probe(Protocol):
    """Renders training views for a strategy that scores Gaussians; `len` is their number."""

    def __len__(self) -> int: ...

    def __call__(
        self,
        index: int,
        *,
        maps: Callable[[Tensor, Tensor], Tensor] | None = None,
        channels: Tensor | None = None,
    ) -> ProbedView:
        """Renders training view `index` on black; gradients of the model are not touched.

        `maps(image, render)`, both [1,H,W,3], gives per-pixel maps [1,H,W,M]; `channels` [N,M] are
        composited like colours. One of the two at most.
        """
        ...


class Strategy:
    """The hooks, each doing nothing, and the optional members with their defaults."""

    absgrad: bool = False
    """Whether the rasteriser must provide `means2d.absgrad` (see `needs_absgrad`)."""

    per_gaussian: ClassVar[tuple[str, ...] | None] = None
    """Names of the statistics in `state` that have a row for each Gaussian, which operations move.
    None: those that `statistics.zeros_like_rows` makes, and tensors that have N rows when they are
    first seen."""

    recipe: ClassVar[Mapping[str, Any]] = {}
    """The method's own trainer settings, by dotted option name: they replace the defaults."""

    may_exceed_budget: ClassVar[bool] = False
    """Whether the method holds more Gaussians than its `budget` until it comes down to it; else the
    trainer caps it there."""

    shardable: ClassVar[bool] = False
    """Whether the method is the same where several processes hold a share of the Gaussians each, as
    dealt at random. Then each calls the hooks on its share, `info` is about that in the views of
    all, but photos and renders in it are those of its own views, and it has no `probe`; limits and
    budget are shares of those that were asked for."""

    totals: ClassVar[tuple[str, ...]] = ()
    """Names of the numbers in `state` that count Gaussians: those of all shares are their sums."""

    # A method may have a field `budget: int = 0`, the number of Gaussians to end with, which
    # `--budget` sets; without it `max_gaussians` or gsplat's `cap_max` is that number.

    # A method may also have `scaled(factor)`, which gives the same method on a schedule that is
    # `factor` times as long; without it gsplat's step options are scaled (see `schedule`).

    def needs_absgrad(self, step: int) -> bool:
        """Returns whether this step needs absolute gradients: while refining.

        They cost a tenth of a step.
        """
        return self.absgrad and step < getattr(self, "refine_stop_iter", step + 1)

    def num_attributed_maps(self, step: int) -> int:
        """Returns how many maps of pixels to attribute to Gaussians at this step (see below)."""
        return 0

    def attributed_maps(self, step: int, info: StepInfo) -> Tensor:
        """Returns maps m [C,H,W,M], of which `info["attributed"]` [N,M] becomes sum_p m(p) w_k(p).

        w_k(p) is the weight (opacity times transmittance) with which Gaussian k enters pixel p
        (Rota Bulo et al., arXiv 2404.06109, Eq. 7). The image loss is not touched.
        """
        raise StrategyError("is missing, though num_attributed_maps asks for maps")

    def regularization(self, params: Params, step: int) -> Tensor | None:
        """Returns the method's own term of the loss, or None."""
        return None

    def update_every(self, step: int) -> int:
        """Returns the number of steps whose gradients are summed before the optimisers step.

        The last group of a run has what is left. Operations of `ops` move summed gradients with the
        rows.
        """
        return 1

    def steps_together(self, step: int) -> int:
        """Returns how many of the steps from this one on may be rendered in one call.

        That is faster, and the sum of their gradients is the same. Only steps between two updates
        of the optimisers join, of one SH degree and one size of photo, and none to which maps are
        attributed. The hooks are called once for them, with the first step and all of their views;
        image-plane gradients in `info` are those that each view would have in a step of its own.
        """
        return 1

    def lr_step(self, step: int) -> int:
        """Returns the step at which the means' learning-rate schedule is read."""
        return step

    def sh_degree(self, step: int, scheduled: int) -> int:
        """Returns the SH degree to train with, where the trainer's schedule says `scheduled`."""
        return scheduled

    def initialize_state(self, scene_scale: float = 1.0) -> dict[str, Any]:
        """Returns the running statistics.

        `scene_scale` is what sizes are measured by, in world units: 1.1 times the cameras' radius,
        or half the depth of what they see where that is more than their radius.
        """
        return {"scene_scale": scene_scale}

    def check_sanity(self, params: Params, optimizers: Optimizers) -> None:
        """Refuses parameters and optimisers that do not fit together."""
        trainable = {name for name, value in params.items() if value.requires_grad}
        if trainable != set(optimizers):
            raise StrategyError(
                f"trainable parameters are {sorted(trainable)} but optimisers are"
                f" {sorted(optimizers)}",
                expected="one optimiser a parameter is needed",
            )
        for name, optimizer in optimizers.items():
            if len(optimizer.param_groups) != 1:
                raise StrategyError(
                    f"the optimiser of {name} has {len(optimizer.param_groups)} groups",
                    expected="one is needed",
                )
        missing = [name for name in REQUIRED if name not in params]
        if missing:
            raise StrategyError(
                f"parameters {missing} are missing", expected=f"{list(REQUIRED)} are needed"
            )

    def step_pre_backward(
        self, params: Params, optimizers: Optimizers, state: State, step: int, info: StepInfo
    ) -> None:
        """Is called after rendering, before `loss.backward()`."""

    def step_post_backward(
        self,
        params: Params,
        optimizers: Optimizers,
        state: State,
        step: int,
        info: StepInfo,
        packed: bool = False,
    ) -> None:
        """Is called after the optimisers' step."""
