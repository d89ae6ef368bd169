"""From photos or a video to a COLMAP data set: cameras, poses and points, through pycolmap.

Stages follow each other, each with its own file: photos (or frames of a video), features, matches,
mapping. What a stage has made is kept in the hidden folder of the scene with a digest of all that
it depends on, so that the same command goes on where it was interrupted.
"""

import PIL.Image  # noqa: F401  # before pycolmap, with whose zlib Pillow would crash on PNGs
