"""What can be asked of a reconstruction, and what its two qualities mean."""

from dataclasses import dataclass
from typing import Literal

Quality = Literal["fast", "high"]
Cameras = Literal["auto", "one", "folder", "photo"]
Matching = Literal["auto", "exhaustive", "sequential", "retrieval"]
Mapper = Literal["incremental", "global"]
CameraModel = Literal[
    "SIMPLE_PINHOLE", "PINHOLE", "SIMPLE_RADIAL", "RADIAL", "OPENCV", "OPENCV_FISHEYE"
]


@dataclass(frozen=True)
class ReconstructOptions:
    """What was asked for."""

    quality: Quality = "fast"
    camera_model: CameraModel = "OPENCV"
    cameras: Cameras = "auto"
    """Which photos share intrinsics: those of one size and camera by EXIF, all, those of a folder,
    or none."""
    matching: Matching = "auto"
    mapper: Mapper = "incremental"
    frames: int = 150
    """Of a video, at most."""


@dataclass(frozen=True)
class Effort:
    """What a quality means for features."""

    image_size: int
    """Features are looked for at this length of the longer side at most."""
    doubled_up_to: int
    """Where the longer side is up to this then, they are looked for at twice that, too."""
    features: int
    """Kept of a photo, at most."""


EFFORTS: dict[Quality, Effort] = {
    "fast": Effort(image_size=1600, doubled_up_to=800, features=4096),
    "high": Effort(image_size=3200, doubled_up_to=3200, features=8192),
}
