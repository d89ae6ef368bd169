"""The file formats of a model, one a file; see `base` for what a format is. Imports no torch.

A further format is a file here and a line in the table; a package offers one in the entry-point
group `gs_densify.formats`.
"""

from gs_densify.registry import Entry, Registry

FORMATS: Registry[Entry] = Registry(
    "format of a model",
    "gs_densify.formats",
    {
        "ply": Entry(
            "gs_densify.model.files.ply:PlyFormat",
            "3DGS's PLY, which every viewer reads, in COLMAP's frame",
        ),
    },
)
