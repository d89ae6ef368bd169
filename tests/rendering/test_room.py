"""How much room a view's lists get, from what it and others needed before; counts are made up."""

from gs_densify.rendering.own.room import Room

SIZE = (64, 48)


def visit(room: Room, view: int, pairs: int | None, gaussians: int = 1000, size=SIZE) -> int | None:
    """Renders a view of `pairs`, which the GPU has not written yet where it is None."""
    given, count = room.of(view, size, gaussians)
    assert int(count) == -1
    if pairs is not None:
        count.fill_(pairs)
    return given


def test_a_view_is_waited_for_until_its_number_is_known():
    room = Room()
    assert visit(room, 3, 100_000) is None
    assert visit(room, 4, None) is None
    assert visit(room, 3, 100_000, size=(32, 24)) is None
    assert 150_000 <= visit(room, 3, 100_000) <= 155_000
    assert visit(room, 4, 1) is None


def test_more_gaussians_and_views_that_grew_have_more_room():
    room = Room()
    for view in range(40):
        assert visit(room, view, 100_000) is None
    assert 165_000 <= visit(room, 0, 110_000, gaussians=1100) <= 171_000
    for view in range(1, 30):
        assert visit(room, view, 200_000) is not None
    assert 230_000 <= visit(room, 39, 200_000) <= 310_000


def test_room_that_was_too_small_is_said_and_waited_for(capsys):
    room = Room()
    visit(room, 0, 10_000)
    given = visit(room, 0, 50_000)
    assert given is not None and given < 50_000
    assert visit(room, 0, 50_000) is None
    assert f"50,000 pairs of a tile and a Gaussian where there was room for {given:,}" in (
        capsys.readouterr().err
    )
    assert visit(room, 0, 50_000) >= 50_000
    assert capsys.readouterr().err == ""


def test_a_number_that_the_gpu_has_yet_to_write_is_not_taken_for_a_later_one():
    room = Room()
    _, first = room.of(0, SIZE, 1000)
    _, second = room.of(0, SIZE, 1000)
    first.fill_(10_000)
    assert int(second) == -1
