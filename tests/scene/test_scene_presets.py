"""Names and paths of scenes."""

import subprocess
import sys
from pathlib import Path

import pytest

from gs_densify.errors import SceneError
from gs_densify.scene.presets import MIPNERF360, PRESETS, SceneSource, resolve_scene


@pytest.fixture(autouse=True)
def no_data_root(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("GS_DATA", raising=False)
    monkeypatch.chdir(tmp_path)


def refusal(scene: str, **options) -> str:
    with pytest.raises(SceneError) as caught:
        resolve_scene(scene, **options)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_presets_are_the_nine_scenes_at_their_published_scales() -> None:
    outdoor, indoor = (
        {n for n, f in MIPNERF360.items() if f == 4},
        {n for n, f in MIPNERF360.items() if f == 2},
    )
    assert outdoor == {"bicycle", "flowers", "garden", "stump", "treehill"}
    assert indoor == {"bonsai", "counter", "kitchen", "room"}
    assert PRESETS["tiny"] == 1 and len(PRESETS) == 10


def test_a_preset_lies_in_the_data_root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "360" / "garden").mkdir(parents=True)
    expected = SceneSource("garden", tmp_path / "360" / "garden", 4, "found")
    assert resolve_scene("garden", data_root=tmp_path / "360") == expected
    monkeypatch.setenv("GS_DATA", str(tmp_path / "360"))
    assert resolve_scene("garden") == expected
    assert resolve_scene("garden", downscale=8).downscale == 8
    assert resolve_scene("garden", downscale=4).image_source == "auto"
    assert str(tmp_path / "else") in refusal("garden", data_root=tmp_path / "else")


def test_a_preset_name_never_means_a_local_folder(tmp_path: Path) -> None:
    (tmp_path / "garden").mkdir()
    message = refusal("garden")
    assert "no data root is set" in message and "GS_DATA" in message
    assert resolve_scene("./garden") == SceneSource("garden", tmp_path / "garden", 1)


@pytest.mark.parametrize(
    "path", ["my/house", "my/house/", "./my/house", "my/house/sparse", "my/house/sparse/", "{}"]
)
def test_every_way_to_write_a_path_gives_the_data_set(tmp_path: Path, path: str) -> None:
    root = tmp_path / "my" / "house"
    (root / "sparse" / "0").mkdir(parents=True)
    assert resolve_scene(path.format(root)) == SceneSource("house", root, 1)


def test_the_current_folder_has_its_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "house").mkdir()
    monkeypatch.chdir(tmp_path / "house")
    assert resolve_scene(".") == SceneSource("house", tmp_path / "house", 1)


def test_other_scenes_of_the_data_root_have_names_too(tmp_path: Path) -> None:
    (tmp_path / "data" / "fountain").mkdir(parents=True)
    source = resolve_scene("fountain", data_root=tmp_path / "data")
    assert source == SceneSource("fountain", tmp_path / "data" / "fountain", 1)


def test_a_link_keeps_its_own_name(tmp_path: Path) -> None:
    (tmp_path / "x123" / "sparse").mkdir(parents=True)
    (tmp_path / "x123" / "images").mkdir()
    (tmp_path / "house").symlink_to(tmp_path / "x123")
    assert resolve_scene("house/sparse").name == "house"


def test_an_unknown_name_lists_the_presets_and_the_places(tmp_path: Path) -> None:
    message = refusal("house", data_root=tmp_path / "data")
    assert "looked for house, " + str(tmp_path / "data" / "house") in message
    for name in PRESETS:
        assert name in message
    assert "empty" in refusal("")


def test_presets_are_read_without_heavy_imports() -> None:
    code = (
        "import sys, gs_densify.scene.presets;"
        "print([m for m in ('numpy','pycolmap','PIL','scipy','torch','tqdm') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_loading_a_scene_does_not_import_torch() -> None:
    modules = "gs_densify.scene.load, gs_densify.scene.formats.tiny.make"
    code = f"import sys, {modules}; print('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"
