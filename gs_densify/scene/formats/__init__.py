"""The formats in which a scene can lie on disk, one a folder; see `base` for what a format is.

A further format is a file or folder here and a line in the table; a package offers one in the
entry-point group `gs_densify.scene_formats`.
"""

from gs_densify.registry import Entry, Registry

FORMATS: Registry[Entry] = Registry(
    "format of a scene",
    "gs_densify.scene_formats",
    {
        "colmap": Entry(
            "gs_densify.scene.formats.colmap.read:ColmapFormat",
            "COLMAP's sparse/, binary or text, with images/",
        ),
    },
)
