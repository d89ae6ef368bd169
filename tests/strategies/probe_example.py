"""A strategy's surroundings without a training run: steps of random gradients, and real probes."""

from pathlib import Path
from types import SimpleNamespace

import numpy as np
import torch

from gs_densify.rendering.rasterizers import make_rasterizer
from gs_densify.rendering.renderer import Renderer
from gs_densify.scene.scene import View
from gs_densify.training.batches import ViewStore
from gs_densify.training.probe import Probe

WIDTH, HEIGHT = 36, 24


def random_info(count: int, step: int, *, scale: float = 2e-5) -> dict:
    """What a rasteriser leaves after backward: 30 % culled, gradients below and above 3e-4."""
    generator = torch.Generator().manual_seed(step)
    gradient = scale * torch.randn(1, count, 2, generator=generator)
    radii = torch.randint(1, 40, (1, count, 2), generator=generator, dtype=torch.int32)
    radii[torch.rand(1, count, generator=generator) < 0.3] = 0
    gradient *= (radii > 0).all(-1, keepdim=True)
    means2d = SimpleNamespace(grad=gradient, absgrad=gradient.abs() * 1.5, retain_grad=lambda: None)
    sizes = {"width": 96, "height": 64, "n_cameras": 1}
    return {"means2d": means2d, "radii": radii, "gaussian_ids": None, **sizes}


class RecordingProbe:
    """A probe that remembers which views were asked for."""

    def __init__(self, probe: Probe) -> None:
        self.probe = probe
        self.views: list[int] = []

    def __len__(self) -> int:
        return len(self.probe)

    def __call__(self, index: int, **options):
        self.views.append(index)
        return self.probe(index, **options)


def look_from(camera: np.ndarray) -> np.ndarray:
    """World to camera, for a camera that looks at the origin."""
    forward = -camera / np.linalg.norm(camera)
    right = np.cross(np.array([0.0, 1.0, 0.0]), forward)
    right /= np.linalg.norm(right)
    pose = np.eye(4)
    pose[:3, :3] = np.stack([right, np.cross(forward, right), forward])
    pose[:3, 3] = -pose[:3, :3] @ camera
    return pose


def make_probe(params: torch.nn.ParameterDict, num_views: int = 4) -> RecordingProbe:
    """Views on a circle of radius 5 about the origin, with photos of noise."""
    generator = np.random.default_rng(5)
    K = np.array([[30.0, 0, WIDTH / 2], [0, 30.0, HEIGHT / 2], [0, 0, 1]])
    views, photos = [], []
    for i, angle in enumerate(np.linspace(0, 2 * np.pi, num_views, endpoint=False)):
        pose = look_from(5 * np.array([np.sin(angle), 0.2, np.cos(angle)]))
        views.append(View(f"{i}.png", Path(f"{i}.png"), 1, pose, K, WIDTH, HEIGHT))
        photos.append(generator.integers(0, 256, (HEIGHT, WIDTH, 3), dtype=np.uint8))
    store = ViewStore(views, photos, torch.device("cpu"), budget=1e9)
    renderer = Renderer(make_rasterizer("reference"))
    return RecordingProbe(Probe(store, params, renderer, sh_degree=lambda: 0))
