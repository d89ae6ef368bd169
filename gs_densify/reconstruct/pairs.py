"""Which pairs of photos are compared: all, neighbours in time, or those that look alike."""

import itertools
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import numpy as np

from gs_densify.reconstruct.options import Matching
from gs_densify.scene.colmap_library import pycolmap

Pairs = list[tuple[str, str]]

EXHAUSTIVE_UP_TO = 150
"""Photos of which all pairs are compared unasked: 11,175 pairs."""

_OVERLAP = 10
"""Neighbours on each side in a sequence; beyond, those at twice, four times the distance."""
_ALIKE = 40
"""Photos that look alike, for each photo, in a folder of many."""
_LOOPS = 10
"""The same in a sequence, which is to find where the camera comes back."""
_NEIGHBOURS = 5
"""Neighbours by name in a folder of many, which were mostly taken one after the other."""


def matching_for(matching: Matching, count: int, *, is_video: bool) -> Matching:
    """Returns how pairs are chosen, where that is left open."""
    if matching != "auto":
        return matching
    if is_video:
        return "sequential"
    return "exhaustive" if count <= EXHAUSTIVE_UP_TO else "retrieval"


def pairs_for(matching: Matching, names: Sequence[str], database: Path, vocabulary: Path) -> Pairs:
    """Returns pairs of names, each in order, sorted.

    Args:
        matching: how they are chosen; not `auto`.
        names: in the order of time.
        database: has the photos' features.
        vocabulary: where the visual words of `alike` are written to.
    """
    if matching == "exhaustive":
        return list(itertools.combinations(names, 2))
    if matching == "sequential":
        found = {*neighbours(names, _OVERLAP, doubling=True)}
        found.update(alike(names, _LOOPS, database, vocabulary))
    else:
        found = {*neighbours(names, _NEIGHBOURS)}
        found.update(alike(names, _ALIKE, database, vocabulary))
    return sorted(found)


def neighbours(names: Sequence[str], overlap: int, *, doubling: bool = False) -> Pairs:
    """Returns the pairs that are up to `overlap` places apart and, `doubling`, powers of two."""
    apart = set(range(1, overlap + 1))
    if doubling:
        apart.update(2**power for power in range(overlap))
    return [(names[i], names[i + step]) for step in sorted(apart) for i in range(len(names) - step)]


_WORDS_PER_PHOTO, _MOST_WORDS = 16, 8192
_FEATURES = 400
"""Of a photo, the largest ones, from which the words are made and by which it is looked up."""


def alike(names: Sequence[str], count: int, database: Path, vocabulary: Path) -> Pairs:
    """Returns for each photo those that share most visual words with it.

    The words are made of the photos' own features: no vocabulary has to be downloaded.
    """
    with pycolmap.Database.open(database) as opened:
        ids = {image.image_id: image.name for image in opened.read_all_images()}
        features = [opened.read_descriptors(one) for one in ids]
        _write_vocabulary([one for one in features if len(one.data)], vocabulary)
        options = pycolmap.VocabTreePairingOptions(
            vocab_tree_path=vocabulary,
            num_images=min(count + 1, len(ids)),  # each finds itself, too
            max_num_features=_FEATURES,
        )
        found = pycolmap.VocabTreePairGenerator(options, opened).all_pairs()
    wanted = set(names)
    named = {(ids[a], ids[b]) for a, b in found if a != b}
    return [(min(pair), max(pair)) for pair in named if wanted.issuperset(pair)]


def _write_vocabulary(features: Sequence[pycolmap.FeatureDescriptors], path: Path) -> None:
    data = np.concatenate([one.data[:_FEATURES] for one in features]).astype(np.float32)
    words = pycolmap.VisualIndex.create(data.shape[1], min(64, data.shape[1]))
    options = pycolmap.VisualIndex.BuildOptions(
        num_visual_words=min(_MOST_WORDS, _WORDS_PER_PHOTO * len(features)),
        num_iterations=10,
        num_rounds=1,
    )
    with _without_warnings():
        words.build(options, pycolmap.FeatureDescriptorsFloat(features[0].type, data))
    words.write(path)


@contextmanager
def _without_warnings() -> Iterator[None]:
    """Keeps back what a library says on stderr: that few words are made of few features."""
    before = os.dup(2)
    try:
        with open(os.devnull, "wb") as nowhere:
            os.dup2(nowhere.fileno(), 2)
        yield
    finally:
        os.dup2(before, 2)
        os.close(before)
