"""The model in the formats that --export names, in COLMAP's frame."""

import numpy as np

from gs_densify.model.files import FORMATS
from gs_densify.model.files.base import ModelFormat
from gs_densify.model.types import Splats
from gs_densify.runs.outputs.base import Output
from gs_densify.scene.upright import up_of_photos

STEM = "point_cloud"


class ModelFiles(Output):
    """Saves the model once it is trained."""

    def trained(self, splats: Splats) -> None:
        """Writes point_cloud.SUFFIX for each format."""
        scene = self.facts.scene
        up = up_of_photos(np.stack([view.cam_from_world for view in scene.views]))
        for name in self.facts.config.export:
            model_format: ModelFormat = FORMATS.load(name)()
            model_format.save(
                self.facts.folder / f"{STEM}{model_format.suffix}",
                splats,
                world_transform=np.linalg.inv(scene.normalized_from_colmap),
                antialiased=self.facts.config.render.antialiased,
                **({"up": up} if getattr(model_format, "says_up", False) else {}),
            )
