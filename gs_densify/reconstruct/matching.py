"""The stage that finds what pairs of photos have in common."""

from collections.abc import Sequence
from pathlib import Path

from gs_densify.reconstruct.pairs import Pairs
from gs_densify.reconstruct.wait import in_parts
from gs_densify.scene.colmap_library import pycolmap

_AT_ONCE = 100
"""Pairs in one call of pycolmap; an interruption loses this many at most."""


def match_pairs(database: Path, pairs: Pairs, listed: Path) -> None:
    """Matches the features of pairs, which are written to `listed` for pycolmap, and verifies them;
    pairs that the database has are kept.
    """
    options = pycolmap.ImportedPairingOptions(match_list_path=listed)

    def match(part: Sequence[tuple[str, str]], token: pycolmap.CancellationToken) -> None:
        listed.write_text("".join(f"{first} {second}\n" for first, second in part))
        pycolmap.match_image_pairs(database, pairing_options=options, cancellation_token=token)

    in_parts("matches", pairs, _AT_ONCE, match, unit="pair")


def forget_matches(database: Path) -> None:
    """Removes the matches of other pairs or of other options."""
    with pycolmap.Database.open(database) as opened:
        opened.clear_matches()
        opened.clear_two_view_geometries()
