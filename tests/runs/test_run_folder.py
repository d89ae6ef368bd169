"""The folder of a run: its own, never written over."""

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from gs_densify.errors import ConfigError
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
