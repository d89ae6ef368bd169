"""Scores as text."""

from collections.abc import Sequence

from gs_densify.results import METRICS, Scores, WallTime
from gs_densify.results.aggregate import Aggregate, Group, Spread
from gs_densify.results.compare import Comparison

_SHOWN = {
    "psnr": ("PSNR", "{:.2f} dB"),
    "ssim": ("SSIM", "{:.4f}"),
    "lpips_alex": ("LPIPS (alex)", "{:.4f}"),
    "lpips_vgg": ("LPIPS (vgg)", "{:.4f}"),
    "lpips_vgg_01": ("LPIPS (vgg, inputs in [0,1])", "{:.4f}"),
}
_COLUMNS = {
    "psnr": ("PSNR", "{:.3f}"),
    "ssim": ("SSIM", "{:.4f}"),
    "lpips_alex": ("LPIPS alex", "{:.4f}"),
    "lpips_vgg": ("LPIPS vgg", "{:.4f}"),
    "lpips_vgg_01": ("LPIPS vgg 01", "{:.4f}"),
    "num_gaussians": ("Gaussians", "{:,.0f}"),
}


def scores_text(scores: Scores, unavailable: dict[str, str], protocol: str) -> str:
    """One line of scores, and one for each score that was asked for and cannot be had."""
    known = [
        f"{label} {form.format(getattr(scores, name))}"
        for name, (label, form) in _SHOWN.items()
        if getattr(scores, name) is not None
    ]
    labels: dict[str, list[str]] = {}
    for name, reason in unavailable.items():
        if reason != "not asked for" and name in _SHOWN:
            labels.setdefault(reason, []).append(_SHOWN[name][0])
    missing = [f"not computed: {', '.join(names)}: {why}" for why, names in labels.items()]
    title = "held-out views" if protocol == "default" else f"held-out views, protocol {protocol}"
    return "\n".join([f"{title}: {', '.join(known) or 'no scores'}", *missing])


def wall_time_text(wall_time: WallTime) -> str:
    """One line of where the time went, in the order in which things are done."""
    parts = (f"{name.replace('_', ' ')} {each:.1f}" for name, each in wall_time.parts.items())
    return f"{wall_time.total:.1f} s in all: {', '.join(parts)}"


def comparison_text(comparison: Comparison) -> str:
    """A table of the views, and the means; each difference is second minus first."""
    shown = [name for name in _COLUMNS if name in METRICS and _has(comparison.difference, name)]
    header = ["view"]
    for name in shown:
        header += [_COLUMNS[name][0], "second", "diff"]
    triples = [(view.name, view.first, view.second, view.difference) for view in comparison.views]
    triples.append(
        ("mean", comparison.first.scores, comparison.second.scores, comparison.difference)
    )
    rows = [[label, *_difference_cells(shown, *scores)] for label, *scores in triples]
    sides = [
        f"{label}: {side.folder} ({side.num_gaussians:,} Gaussians, protocol {side.protocol.name})"
        for label, side in (("first", comparison.first), ("second", comparison.second))
    ]
    forced = [f"NOT SCORED ALIKE: {one}" for one in comparison.protocol_differences]
    return "\n".join([*sides, *forced, *_table(header, rows)])


def _difference_cells(
    shown: Sequence[str], first: Scores, second: Scores, difference: Scores
) -> list[str]:
    cells = []
    for name in shown:
        form = _COLUMNS[name][1]
        cells += [_cell(form, getattr(one, name)) for one in (first, second)]
        cells.append(_cell(form.replace("{:", "{:+"), getattr(difference, name)))
    return cells


def aggregate_text(result: Aggregate) -> str:
    """A table for each strategy: its scenes, then their means."""
    return "\n\n".join(
        [f"protocol {result.protocol}", *(_group_text(group) for group in result.groups)]
    )


def _group_text(group: Group) -> str:
    lines = [(row.scene, row.quantities) for row in group.scenes]
    lines += [(row.name, row.quantities) for row in group.means]
    shown = [name for name in _COLUMNS if any(q[name].mean is not None for _, q in lines)]
    rows = [
        [label, *(_spread_cell(_COLUMNS[name][1], quantities[name]) for name in shown)]
        for label, quantities in lines
    ]
    others = [f"mean: of {', '.join(row.scenes)}" for row in group.means if row.name == "mean"]
    count = len(group.seeds)
    title = f"{group.strategy or 'models'}, {count} seed{'s' if count > 1 else ''}"
    title += "" if group.steps is None else f", {group.steps:,} steps"
    return "\n".join([title, *_table(["scene", *(_COLUMNS[n][0] for n in shown)], rows), *others])


def _has(scores: Scores, name: str) -> bool:
    return getattr(scores, name) is not None


def _cell(form: str, value: float | None) -> str:
    return "-" if value is None else form.format(value)


def _spread_cell(form: str, spread: Spread) -> str:
    if spread.std is None:
        return _cell(form, spread.mean)
    return f"{_cell(form, spread.mean)} ± {form.format(spread.std)}"


def _table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    """Left-aligned names, right-aligned numbers."""
    widths = [max(map(len, column)) for column in zip(header, *rows, strict=True)]
    return [
        "  ".join(
            cell.ljust(width) if i == 0 else cell.rjust(width)
            for i, (cell, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in (header, *rows)
    ]
