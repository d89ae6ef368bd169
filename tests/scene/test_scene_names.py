"""A scene that is not where it was looked for, and what may have been meant."""

from pathlib import Path

import pytest

from gs_densify.errors import SceneError
from gs_densify.scene.presets import resolve_scene


@pytest.fixture(autouse=True)
def own_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("GS_DATA", raising=False)


def refusal(scene: str, **options: Path) -> str:
    with pytest.raises(SceneError) as caught:
        resolve_scene(scene, **options)
    return str(caught.value)


@pytest.mark.parametrize(
    ("typed", "meant"), [("gardn", "garden"), ("Kitchen", "kitchen"), ("my/hose/", "my/house")]
)
def test_a_near_name_is_named(typed: str, meant: str) -> None:
    Path("my/house").mkdir(parents=True)
    message = refusal(typed)
    assert f"no preset or folder '{typed}'" in message and f"did you mean {meant}?" in message


def test_a_preset_that_is_not_here_can_be_fetched(tmp_path: Path) -> None:
    assert "gs-scene download garden --data-root FOLDER fetches it" in refusal("garden")
    message = refusal("garden", data_root=tmp_path)
    assert f"gs-scene download garden --data-root {tmp_path} fetches it" in message
    assert f"looked for {tmp_path / 'garden'}" in message


@pytest.mark.parametrize("part", ["images", "images_2", "images/", "input"])
def test_the_photos_of_a_scene_are_told_from_it(part: str) -> None:
    (Path("s") / part).mkdir(parents=True)
    Path("s/sparse/0").mkdir(parents=True)
    assert refusal(f"s/{part}").endswith("; give s")
    assert "did you mean" not in refusal(f"s/{part.strip('/')}x"), "which would be refused, too"
    Path("s", part, "sparse").mkdir()
    assert resolve_scene(f"s/{part}").root == Path("s", part).absolute()
