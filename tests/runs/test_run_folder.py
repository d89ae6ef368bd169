"""The folder of a run: its own, never written over."""

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from gs_densify.errors import ConfigError
from gs_densify.runs.claim import claimed
from gs_densify.runs.layout import check_free, create_folder


def test_commands_that_begin_at_the_same_time_have_a_folder_each(tmp_path: Path) -> None:
    default = tmp_path / "runs" / "tiny" / "2026-01-01_120000"
    with ThreadPoolExecutor(8) as pool:
        folders = list(pool.map(lambda _: create_folder(None, default), range(32)))
    assert len(set(folders)) == 32
    assert default in folders
    assert all(folder.is_dir() for folder in folders)


def test_a_folder_by_name_is_made_or_taken_empty(tmp_path: Path) -> None:
    out = tmp_path / "a" / "b"
    for _ in range(2):
        assert create_folder(out, tmp_path / "unused") == out
    assert not (tmp_path / "unused").exists()


@pytest.mark.parametrize(
    ("content", "what"),
    [("config.yml", "another run"), ("notes.txt", "other files"), (None, "a file")],
)
def test_what_is_there_stays_as_it_is(content: str | None, what: str, tmp_path: Path) -> None:
    out = tmp_path / "out"
    if content is None:
        out.write_text("mine")
    else:
        out.mkdir()
        (out / content).write_text("mine")
    for refused in (lambda: check_free(out), lambda: create_folder(out, tmp_path / "unused")):
        with pytest.raises(ConfigError, match=f"holds {what} already; nothing was changed"):
            refused()
    assert (out / content if content else out).read_text() == "mine"


def test_a_folder_that_cannot_be_made_is_refused_in_words(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    for out in (tmp_path / "file" / "run", None):
        with pytest.raises(ConfigError, match="cannot be made"):
            create_folder(out, tmp_path / "file" / "run")


def _refuse_in(out: Path | None, default: Path, *, keep: bool = False) -> None:
    with pytest.raises(ConfigError, match="refused"), claimed(out, default) as claim:
        (claim.folder / "renders").mkdir()
        (claim.folder / "renders/a.png").write_text("")
        (claim.folder / "config.yml").write_text("")
        claim.is_worth_keeping = lambda: keep
        raise ConfigError("refused")


def test_a_refused_command_leaves_what_was_there(tmp_path: Path) -> None:
    _refuse_in(tmp_path / "a/b/out", tmp_path / "unused")
    _refuse_in(None, tmp_path / "runs/tiny/TIME")
    assert list(tmp_path.iterdir()) == []
    (tmp_path / "empty").mkdir()
    (tmp_path / "runs").mkdir()
    _refuse_in(tmp_path / "empty", tmp_path / "unused")
    _refuse_in(None, tmp_path / "runs/tiny/TIME")
    assert {path.name for path in tmp_path.rglob("*")} == {"empty", "runs"}
    _refuse_in(tmp_path / "empty", tmp_path / "unused", keep=True)
    assert (tmp_path / "empty/config.yml").exists()


def test_a_folder_that_another_process_uses_is_left_alone(tmp_path: Path) -> None:
    with claimed(tmp_path / "out", tmp_path) as first:
        with pytest.raises(ConfigError, match="another process"), claimed(first.folder, tmp_path):
            raise AssertionError("two have it")
        (first.folder / "mine").write_text("")
        with pytest.raises(ConfigError, match="holds other files"), claimed(first.folder, tmp_path):
            raise AssertionError("two have it")
    assert (tmp_path / "out/mine").exists()
