"""What is kept of an earlier call, and what is not."""

import json
from pathlib import Path

import pytest

from gs_densify.errors import ConfigError, SceneError
from gs_densify.reconstruct.stages import Stages


def carry_out(stages: Stages, keys: str) -> str:
    """Carry out stages a, b and c with a key each, and return what was done."""
    done = []
    for name, key in zip("abc", keys, strict=True):
        made = stages.scene / name

        def work(is_begun: bool, name: str = name, made: Path = made) -> dict[str, str]:
            made.touch()
            done.append(name.upper() if is_begun else name)
            return {"name": name}

        assert stages.stage(name, key, made, work) == {"name": name}
    return "".join(done)


@pytest.fixture
def scene(tmp_path: Path) -> Path:
    return tmp_path / "scene"


@pytest.fixture
def source(tmp_path: Path) -> Path:
    return tmp_path / "photos"


def test_complete_stages_are_kept_and_changed_ones_void_those_after(
    scene: Path, source: Path
) -> None:
    assert carry_out(Stages.open(scene, source), "111") == "abc"
    assert carry_out(Stages.open(scene, source), "111") == ""
    assert carry_out(Stages.open(scene, source), "112") == "c"
    assert carry_out(Stages.open(scene, source), "122") == "bc", "c has worked on another b"
    (scene / "b").unlink()
    assert carry_out(Stages.open(scene, source), "122") == "Bc", "what it made is gone"


def test_a_stage_that_was_interrupted_knows_what_it_has_begun(scene: Path, source: Path) -> None:
    def interrupted(_: bool) -> None:
        raise KeyboardInterrupt

    carry_out(Stages.open(scene, source), "111")
    with pytest.raises(KeyboardInterrupt):
        Stages.open(scene, source).stage("b", "2", scene / "b", interrupted)
    assert carry_out(Stages.open(scene, source), "121") == "Bc"


def test_a_model_is_withdrawn_before_anything_else_changes(
    scene: Path, source: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    carry_out(Stages.open(scene, source), "111")
    (scene / "sparse").mkdir()
    carry_out(Stages.open(scene, source), "111")
    assert (scene / "sparse").is_dir()
    carry_out(Stages.open(scene, source), "112")
    assert not (scene / "sparse").exists() and (scene / ".reconstruct/sparse_before").is_dir()
    assert "the model that was in" in capsys.readouterr().err


def test_a_folder_with_something_else_is_refused(scene: Path, source: Path, tmp_path: Path) -> None:
    scene.mkdir()
    (scene / "mine.txt").touch()
    with pytest.raises(SceneError, match="there already; nothing was changed; give --out the na"):
        Stages.open(scene, source)
    (scene / "mine.txt").unlink()
    carry_out(Stages.open(scene, source), "111")
    with pytest.raises(SceneError, match=f"a reconstruction of {source}, not of"):
        Stages.open(scene, tmp_path / "others")
    stages = scene / ".reconstruct/stages.json"
    stages.write_text(json.dumps([1]))
    with pytest.raises(SceneError, match="is damaged; give --out the name of a new folder"):
        Stages.open(scene, source)


def test_nothing_is_left_where_the_first_stage_fails(scene: Path, source: Path) -> None:
    with pytest.raises(ZeroDivisionError), Stages.held(scene, source) as stages:
        stages.stage("a", "1", scene / "a", lambda _: None)
        raise ZeroDivisionError
    assert (scene / ".reconstruct").is_dir(), "worth keeping"
    fresh = scene.with_name("new") / "folders" / "scene"
    with pytest.raises(ZeroDivisionError), Stages.held(fresh, source) as stages:
        stages.stage("a", "1", fresh / "a", lambda _: 1 / 0)  # type: ignore[arg-type, return-value]
    assert not scene.with_name("new").exists()


def test_two_do_not_work_in_one_folder(scene: Path, source: Path) -> None:
    message = "scene: another process reconstructs in this folder; let it finish"
    with Stages.held(scene, source) as stages:
        with pytest.raises(ConfigError, match=message), Stages.held(scene, source):
            pass
        assert scene.is_dir(), "the first has not begun, and is left alone"
        (stages.folder / "frames").mkdir(parents=True)
        stages.stage("a", "1", scene / "a", lambda _: None)
        with pytest.raises(ConfigError, match=message), Stages.held(scene, source):
            pass
        assert (stages.folder / "frames").is_dir()
    with Stages.held(scene, source):
        pass
