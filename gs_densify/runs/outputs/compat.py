"""The results in the layouts of gsplat and of Inria's code; see `results.compat`."""

from gs_densify.results import PerView, Results
from gs_densify.results.compat import save_compat
from gs_densify.runs import layout
from gs_densify.runs.outputs.base import Output
from gs_densify.scene.export_cameras import inria_cameras


class CompatFiles(Output):
    """Writes the folder `compat` of a run."""

    def scored(self, results: Results, per_view: PerView) -> None:
        """Writes the files of other trainers."""
        cameras = inria_cameras(self.facts.scene)
        save_compat(self.facts.folder / layout.COMPAT, results, per_view, cameras)
