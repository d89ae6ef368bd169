"""gs-view: look at a trained model in a web browser."""

import dataclasses
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Literal

import tyro

from gs_densify.cli.app import run_command
from gs_densify.flags.parse import one_line, parse

PROGRAM = "gs-view"


@dataclasses.dataclass(frozen=True, kw_only=True)
class ViewArguments:
    """Look at a trained model in a web browser."""

    model: Annotated[Path, tyro.conf.Positional]
    """Folder that gs-train wrote, or a PLY file of Gaussians."""
    step: int | None = None
    """Show the checkpoint after this step (default: the latest)."""
    scene: str | None = None
    """Scene of the model, for its cameras and photos (default: the run's; of a PLY the cameras.json
    beside it, where there is one)."""
    data_root: Path | None = None
    """Folder that holds the preset scenes (default: the run's, or GS_DATA)."""
    host: str = "localhost"
    """Address to listen on; 0.0.0.0 lets every machine that reaches this one look and steer."""
    port: int = 8080
    """Port to listen on; 0: any that is free."""
    device: Literal["auto", "cuda", "cpu"] = "auto"
    """Where to render."""
    rasterizer: str = "auto"
    """What renders: own, gsplat or reference (docs/rasterizers.md); auto: the first that runs on
    the device."""


def command(argv: Sequence[str]) -> None:
    """Parses, loads, serves until interrupted."""
    arguments: ViewArguments = parse(ViewArguments, argv, program=PROGRAM)
    from gs_densify.model.init import to_parameters
    from gs_densify.rendering.device import pick_device
    from gs_densify.rendering.rasterizers import rasterizer_for
    from gs_densify.rendering.renderer import Renderer
    from gs_densify.viewer.address import free_address
    from gs_densify.viewer.model import open_model
    from gs_densify.viewer.paint import Painter
    from gs_densify.viewer.serve import serve

    address = free_address(arguments.host, arguments.port)
    device = pick_device(arguments.device)
    rasterizer = rasterizer_for(device, arguments.rasterizer)
    model = open_model(
        arguments.model,
        step=arguments.step,
        scene=arguments.scene,
        data_root=arguments.data_root,
    )
    for remark in model.remarks:
        print(f"{PROGRAM}: {one_line(remark)}", file=sys.stderr)
    splats = to_parameters(model.splats, device)
    serve(model, Painter(Renderer(rasterizer, model.settings), splats), address)


def main() -> None:
    """Runs gs-view."""
    run_command(PROGRAM, command)


if __name__ == "__main__":
    main()
