"""The results of a run in the layouts of gsplat and of Inria's code, for scripts that read those.

The layout is theirs; the numbers are this run's, under the protocol in `protocol.json` beside them.
LPIPS is the variant that each of them computes by default, and null where the run has not computed
it. Other null scores are null there, too.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from gs_densify.results.files import atomic_write, save_json, to_json
from gs_densify.results.schema import EvaluationRecord, PerView, Results, Scores

_INRIA = {"SSIM": "ssim", "PSNR": "psnr", "LPIPS": "lpips_vgg_01"}


def save_compat(
    folder: Path, results: Results, per_view: PerView, cameras: Sequence[dict[str, Any]]
) -> None:
    """Writes the files of other trainers into `folder`.

    Args:
        folder: gets `gsplat/stats/val_step{N-1}.json` for each evaluation, `inria/results.json`,
            `inria/per_view.json`, `inria/cameras.json` and `protocol.json`.
        results: of the run.
        per_view: of its last evaluation.
        cameras: as `scene.export_cameras.inria_cameras` gives them.
    """
    save_json(folder / "protocol.json", results.protocol)
    for record in results.evaluations:
        # gsplat counts steps from 0, and writes no indentation.
        name = f"val_step{record.step - 1:04d}.json"
        _save(folder / "gsplat" / "stats" / name, gsplat_stats(record), indent=None)
    inria = folder / "inria"
    _save(inria / "results.json", inria_results(results.evaluations), indent=1)
    _save(inria / "per_view.json", inria_per_view(per_view), indent=1)
    _save(inria / "cameras.json", list(cameras), indent=None)


def gsplat_stats(record: EvaluationRecord) -> dict[str, float | None]:
    """Returns what gsplat's examples/simple_trainer.py writes after an evaluation, with its
    keys.
    """
    scores = record.scores
    return {
        "psnr": scores["psnr"],
        "ssim": scores["ssim"],
        "lpips": scores["lpips_alex"],
        "ellipse_time": record.render_seconds,  # sic: elapsed seconds an image
        "num_GS": record.num_gaussians,
    }


def inria_results(records: Sequence[EvaluationRecord]) -> dict[str, dict[str, float | None]]:
    """Returns what Inria's metrics.py writes as results.json."""
    return {f"ours_{record.step}": _inria_scores(record.scores) for record in records}


def inria_per_view(per_view: PerView) -> dict[str, dict[str, dict[str, float | None]]]:
    """Returns what Inria's metrics.py writes as per_view.json, with COLMAP's names of the views."""
    rows = {view.name: _inria_scores(view.scores) for view in per_view.views}
    columns = {key: {name: row[key] for name, row in rows.items()} for key in _INRIA}
    return {f"ours_{per_view.step}": columns}


def _inria_scores(scores: Scores) -> dict[str, float | None]:
    return {key: scores[name] for key, name in _INRIA.items()}


def _save(path: Path, value: Any, *, indent: int | None) -> None:
    text = to_json(value, where=str(path), indent=indent)
    with atomic_write(path) as file:
        file.write(text.encode())
