"""COLMAP scenes: cameras, points, photos and masks, and the embedded tiny scene."""

# pycolmap exports a zlib of its own. Where it is loaded before the system's libz, the latter calls
# into the former, whose structures are larger, and writing a PNG damages the heap (pycolmap 4.2.1).
import zlib as _zlib  # noqa: F401
