"""The names of the files and folders of a run, an evaluation and a comparison."""

import hashlib
import re

CONFIG = "config.yml"
RESULTS = "results.json"
PER_VIEW = "per_view.json"
EVALUATION = "evaluation.json"
INDEX = "index.html"
METRICS = "metrics.jsonl"
COMPARISON = "comparison.json"
POINT_CLOUD = "point_cloud.ply"
RENDERS = "renders"
PROFILE = "profile"
TENSORBOARD = "tensorboard"
WANDB = "wandb"
COMPAT = "compat"


def picture_name(view_name: str) -> str:
    """Returns a file name for a view: one component, and another one for every other view.

    A name of plain characters keeps them: `DSC01.JPG` gives `DSC01.JPG.png`. Anything else, such as
    a sub-folder, becomes `_` and a short hash of the whole name tells such names apart.
    """
    plain = re.sub(r"[^A-Za-z0-9._-]", "_", view_name).lstrip(".")
    if plain == view_name and 0 < len(plain) <= 200:
        return f"{plain}.png"
    digest = hashlib.sha256(view_name.encode(errors="surrogateescape")).hexdigest()[:8]
    return f"{plain[-100:]}-{digest}.png"
