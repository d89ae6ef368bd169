"""At which size photos are searched for features, and how many at once."""

from gs_densify.reconstruct.features import is_doubled, threads_for
from gs_densify.reconstruct.options import EFFORTS
from gs_densify.reconstruct.photos import Placed


def test_small_photos_and_high_quality_are_looked_at_at_twice_the_size() -> None:
    small, large = Placed("s", 600, 800, ""), Placed("l", 4000, 3000, "")
    assert is_doubled(small, EFFORTS["fast"]) and not is_doubled(large, EFFORTS["fast"])
    assert is_doubled(small, EFFORTS["high"]) and is_doubled(large, EFFORTS["high"])


def test_large_photos_take_fewer_threads_where_memory_is_short() -> None:
    assert threads_for(2e6, 16 * 2**30, cores=16) == 16
    assert threads_for(31e6, 16 * 2**30, cores=16) == 4, "2.5 GB each, of 10"
    assert threads_for(31e6, 2**30, cores=16) == 1
    assert threads_for(31e6, None, cores=16) == 16
