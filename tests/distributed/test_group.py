"""What processes say to each other, where one is alone, and where another has gone."""

import multiprocessing
import os
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
import torch.distributed as dist

from gs_densify.distributed.group import ALONE, Group, joined
from gs_densify.errors import GsDensifyError, LostProcessError
from gs_densify.rendering.sharded.exchange import exchanged
from gs_densify.rendering.stages import Records

CPU = torch.device("cpu")
ROWS = torch.arange(6.0).view(3, 2)
ANSWERS = {
    "total": ((1.5, 2), [1.5, 2]),
    "summed": ((ROWS,), ROWS),
    "maxima": ((ROWS,), ROWS),
    "joined_rows": ((ROWS, [2]), ROWS[:2]),
    "exchanged": ((ROWS, [3], [3]), ROWS),
    "any_of": (([True, False],), [True, False]),
    "have_same": (([3, 4],), True),
    "from_first": ((ROWS,), ROWS),
    "tree_from_first": (({"a": [ROWS]}, CPU), {"a": [ROWS]}),
    "largest": ((3,), 3),
    "tell": (("run",), None),
    "of_first": (("found",), "found"),
    "gathered": ((ROWS, CPU), ROWS),
}


@pytest.mark.parametrize("name", ANSWERS)
def test_a_process_alone_answers_at_once(name: str) -> None:
    arguments, expected = ANSWERS[name]
    found = getattr(ALONE, name)(*arguments)
    if isinstance(expected, torch.Tensor):
        assert torch.equal(found, expected)
    else:
        assert found == expected


def test_a_process_alone_has_sums_at_once() -> None:
    assert all(one is ROWS for one in ALONE.sums([ROWS, ROWS]))


def test_all_questions_are_asked_here() -> None:
    public = {name for name, one in vars(Group).items() if name[0] != "_" and callable(one)}
    assert public - ANSWERS.keys() == {"shares", "part", "told", "in_one_voice", "sums"}


def records() -> Records:
    rows = {"means2d": 2, "conics": 3, "channels": 3}
    fields = {name: torch.rand(2, 4, width).requires_grad_() for name, width in rows.items()}
    plain = torch.rand(2, 4)
    radii = torch.ones(2, 4, 2, dtype=torch.int32)
    return Records(**fields, opacities=plain, depths=plain, radii=radii)


def left_alone(rank: int, folder: Path) -> None:
    """Notes what a process says whose neighbour goes between a render and its backward pass."""
    store = dist.FileStore(str(folder / "store"), 2)
    dist.init_process_group("gloo", store=store, rank=rank, world_size=2)
    (got,) = exchanged(records(), Group(rank, 2), absgrad=False)
    if rank == 1:
        os._exit(0)
    said = []
    for ask in (
        got.means2d.sum().backward,
        lambda: exchanged(records(), Group(0, 2), absgrad=False),
        lambda: list(Group(0, 2).sums([torch.ones(3)])),
    ):
        try:
            ask()
        except LostProcessError as error:
            said.append(str(error))
    (folder / "said").write_text("\n".join(said))
    os._exit(0)


def test_an_exchange_says_that_a_process_has_gone(tmp_path: Path) -> None:
    context = multiprocessing.get_context("fork")
    processes = [context.Process(target=left_alone, args=(rank, tmp_path)) for rank in range(2)]
    for process in processes:
        process.start()
    for process in processes:
        process.join(60)
    said = (tmp_path / "said").read_text().splitlines()
    assert [one.startswith("another process has ended") for one in said] == [True] * 3


def left_group(monkeypatch: pytest.MonkeyPatch, device: str, error: BaseException | None) -> str:
    """What a process of two on GPUs asks of torch when a block in which they are joined ends."""
    asked = []
    world = SimpleNamespace(abort=lambda: asked.append("abort"))
    fake = SimpleNamespace(
        is_available=lambda: True,
        init_process_group=lambda backends, timeout: asked.append(backends),
        destroy_process_group=lambda: asked.append("destroy"),
        get_rank=lambda: 1,
        get_world_size=lambda: 2,
        group=SimpleNamespace(WORLD=world),
    )
    monkeypatch.setattr("gs_densify.distributed.group.dist", fake)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    for name in ("RANK", "MASTER_ADDR", "MASTER_PORT"):
        monkeypatch.setenv(name, "1")
    monkeypatch.setenv("WORLD_SIZE", "2")
    try:
        with joined(device) as group:
            assert group == Group(1, 2)
            if error is not None:
                raise error
    except (GsDensifyError, KeyError, SystemExit) as raised:
        assert raised is error
    return " ".join(asked)


def test_a_process_that_fails_does_not_wait_for_others(monkeypatch: pytest.MonkeyPatch) -> None:
    """NCCL's communicators end in order once all processes end them; the others may wait here."""
    assert left_group(monkeypatch, "auto", None) == "cpu:gloo,cuda:nccl destroy"
    for error in (LostProcessError("gone"), KeyError("fault"), SystemExit(2)):
        assert left_group(monkeypatch, "auto", error) == "cpu:gloo,cuda:nccl abort destroy"
    assert left_group(monkeypatch, "cpu", None) == "gloo destroy"


def joined_again(rank: int, stores: list[int], folder: Path) -> None:
    """Joins another process through one store after another, and fails each time."""
    os.environ |= {"MASTER_ADDR": "localhost", "RANK": str(rank), "WORLD_SIZE": "2"}
    os.environ["TORCHELASTIC_USE_AGENT_STORE"] = "True"
    for port in stores:
        os.environ["MASTER_PORT"] = str(port)
        with pytest.raises(LostProcessError), joined("cpu") as group:
            (count,) = group.total(1)
            raise LostProcessError("gone")
        with (folder / str(rank)).open("a") as file:
            file.write(f"{count:g} ")
    os._exit(0)


def test_a_process_that_failed_can_join_others_again(tmp_path: Path) -> None:
    """That of a notebook lives on."""
    stores = [dist.TCPStore("localhost", 0, is_master=True, wait_for_workers=False) for _ in "ab"]
    ports = [store.port for store in stores]
    context = multiprocessing.get_context("fork")
    processes = [
        context.Process(target=joined_again, args=(rank, ports, tmp_path)) for rank in range(2)
    ]
    for process in processes:
        process.start()
    for process in processes:
        process.join(300)
    assert [(tmp_path / str(rank)).read_text() for rank in range(2)] == ["2 2 ", "2 2 "]
