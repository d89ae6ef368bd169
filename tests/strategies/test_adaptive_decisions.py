"""Our method against its description: the score, the candidates, new Gaussians and their number."""

import math
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from splats_example import trained

from gs_densify.strategies.methods.adaptive import AdaptiveStrategy

COUNT, WIDTH, HEIGHT, SCENE = 60, 90, 70, 5.0


def short(**options: Any) -> AdaptiveStrategy:
    schedule = {"refine_start_iter": 10, "refine_stop_iter": 110, "refine_every": 10}
    return AdaptiveStrategy(**{**schedule, "max_gaussians": 300, "soft_reset": False, **options})


def observed(count: int, step: int) -> dict[str, Any]:
    """Absolute gradients, errors and weights of one view in which a third is not drawn."""
    random = torch.Generator().manual_seed(step)
    drawn = torch.rand(count, generator=random) > 0.3
    gradient = 1e-4 * torch.rand(1, count, 2, generator=random) * drawn[:, None]
    weight = 0.8 * torch.rand(count, generator=random) * drawn
    error = weight * (0.2 + 1.6 * torch.rand(count, generator=random))
    return {
        "means2d": SimpleNamespace(grad=gradient, absgrad=gradient, retain_grad=lambda: None),
        "radii": drawn[None, :, None].expand(1, count, 2).int(),
        "attributed": torch.stack([error, weight], dim=1),
        **{"width": WIDTH, "height": HEIGHT, "n_cameras": 1},
    }


def run(
    strategy: AdaptiveStrategy, params: Any, optimizers: Any, first: int, last: int
) -> tuple[dict[str, Any], list[int]]:
    """The state after step `last`, and the number of Gaussians after each step."""
    state, counts = strategy.initialize_state(scene_scale=SCENE), []
    for step in range(first, last + 1):
        info = observed(len(params["means"]), step)
        strategy.step_pre_backward(params, optimizers, state, step, info)
        strategy.step_post_backward(params, optimizers, state, step, info)
        counts.append(len(params["means"]))
    return state, counts


def blend(values: list[float], most: float = 0.3) -> float:
    return (1 - most) * sum(values) / max(1, len(values)) + most * max(values, default=0.0)


def gradients_and_errors(steps: range) -> tuple[list[float], list[float], list[float], list[int]]:
    """G, E and c of the description, and the number of views, one Gaussian after another."""
    infos, rows = [observed(COUNT, step) for step in steps], []
    for k in range(COUNT):
        seen = [info for info in infos if info["radii"][0, k, 0] > 0]
        norms = [
            math.hypot(x * WIDTH / 2, y * HEIGHT / 2)
            for x, y in (info["means2d"].grad[0, k].tolist() for info in seen)
        ]
        pairs = [info["attributed"][k].tolist() for info in seen]
        agreed = sum(error > weight for error, weight in pairs) / max(1, len(pairs))
        rows.append((blend(norms), blend([error for error, _ in pairs]), agreed, len(seen)))
    return tuple(map(list, zip(*rows, strict=True)))


def rank(values: list[float]) -> list[float]:
    """Share of smaller values; equal ones, itself among them, count half."""
    return [sum((v < u) + 0.5 * (v == u) for v in values) / len(values) for u in values]


def test_the_score_is_that_of_the_description() -> None:
    params, optimizers, _ = trained(COUNT)
    params["opacities"].data.clamp_(min=-4)  # none is pruned
    opacities = params["opacities"].detach().sigmoid().tolist()
    state, counts = run(short(growth_limit=0.0), params, optimizers, 11, 20)
    assert counts == [COUNT] * 10
    gradient, error, agreed, _ = gradients_and_errors(range(11, 21))
    parts = zip(rank(gradient), rank(error), agreed, opacities, strict=True)
    expected = [g**0.5 * e * (1 - 0.75 + 0.75 * c) * o**0.5 for g, e, c, o in parts]
    torch.testing.assert_close(state["quality"], torch.tensor(expected), rtol=1e-4, atol=1e-6)


def above(values: list[float], members: list[int], share: float) -> set[int]:
    """Members above the share's lower quantile of theirs."""
    ordered = sorted(values[k] for k in members)
    limit = ordered[math.floor(share * (len(ordered) - 1))]
    return {k for k in members if values[k] > limit}


@pytest.mark.parametrize(("step", "factor"), [(20, 0.6), (50, 0.6), (60, 0.5 / math.sqrt(0.75))])
def test_candidates_are_cloned_or_split_as_described(step: int, factor: float) -> None:
    """Large ones into separate children early in the growth, later into ones that keep moments."""
    strategy = short(
        **{"growth_limit": 1.0, "max_gaussians": 10**6, "separate": 0.5, "min_views": 7},
        **{"large_scale3d": 0.02, "clone_percentile": 0.4, "split_percentile": 0.6},
    )
    params, optimizers, _ = trained(COUNT)
    params["opacities"].data.clamp_(-4, 3)
    means, opacities = (params[name].detach().clone() for name in ("means", "opacities"))
    size = params["scales"].detach().exp().amax(dim=1)
    gradient, _, _, views = gradients_and_errors(range(step - 9, step + 1))
    seen = [k for k in range(COUNT) if views[k] >= 7]
    large = {k for k in range(COUNT) if size[k] > 0.02 * SCENE}
    cloned = above(gradient, [k for k in seen if k not in large], 0.4)
    split = above(gradient, [k for k in seen if k in large], 0.6)
    assert len(cloned) > 2 and len(split) > 2 and len(seen) < COUNT
    run(strategy, params, optimizers, step - 9, step)
    found = params["means"].detach()
    copies = [int((found == mean).all(dim=1).sum()) for mean in means]
    assert copies == [2 if k in cloned else 0 if k in split else 1 for k in range(COUNT)]
    assert len(found) == COUNT + len(cloned) + len(split)
    children = params["opacities"].detach().sigmoid()[-2 * len(split) :]
    parents = opacities.sigmoid()[sorted(split)]
    torch.testing.assert_close(children, factor * parents.repeat(2))


def test_the_number_follows_the_root_curve_at_every_refinement() -> None:
    everyone = {"split_percentile": 0.0, "min_views": 0, "prune_opa": 0.0, "growth_limit": 1.0}
    everyone |= {"max_gaussians": 200}
    params, optimizers, _ = trained(COUNT)
    _, counts = run(short(**everyone), params, optimizers, 0, 100)
    expected = [
        round(COUNT + (200 - COUNT) * math.sqrt((t - 10) / 100)) for t in range(20, 101, 10)
    ]
    assert counts[20::10] == expected
    assert all(counts[t] == counts[t - 1] for t in range(1, 101) if t % 10 or t == 10)
    params, optimizers, _ = trained(COUNT)
    _, limited = run(short(**{**everyone, "growth_limit": 0.1}), params, optimizers, 0, 40)
    assert limited[20::10] == [COUNT + 6, COUNT + 12, COUNT + 19]  # 10 % of 60, 66 and 72


@pytest.mark.parametrize(("limit", "pruned"), [(0.5, (3, 7)), (0.0, (7,))])
def test_what_is_hardly_opaque_is_pruned_and_what_is_wide_where_that_is_asked_for(
    limit: float, pruned: tuple[int, ...]
) -> None:
    params, optimizers, _ = trained(COUNT)
    with torch.no_grad():
        params["opacities"].clamp_(min=-4)
        params["scales"][[3, 4], [0, 2]] = torch.tensor([0.51, 0.49]).mul(SCENE).log()
        params["opacities"][[7, 8]] = torch.logit(torch.tensor([0.0049, 0.0051]))
    expected = params["means"].detach()[[k for k in range(COUNT) if k not in pruned]].clone()
    run(short(growth_limit=0.0, prune_scale3d=limit), params, optimizers, 11, 20)
    assert torch.equal(params["means"].detach(), expected)
