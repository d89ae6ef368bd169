"""Which views are held out: those of a list, or all of them."""

from pathlib import Path

import pytest
from commands import SMOKE

from gs_densify.cli.eval import command as evaluate
from gs_densify.cli.train import command as train
from gs_densify.errors import GsDensifyError
from gs_densify.results import load_evaluation, load_per_view, load_results


@pytest.fixture(autouse=True)
def own_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def trained(scene: Path, *options: object) -> None:
    train(["--scene", str(scene), "--out", "out", *SMOKE, "--steps", "2", *map(str, options)])


def test_a_run_holds_out_a_list_and_keeps_it(
    tiny: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    Path("test.txt").write_text("# mine\n007.png\n\n020.JPG\nimages/003.png\n")
    trained(tiny, "--data.test-list", "test.txt", "--evaluation.steps", "1")
    protocol = load_results(Path("out/results.json")).protocol
    assert protocol.test_images == ["003.png", "007.png", "020.png"]
    assert (protocol.n_train, protocol.n_test, protocol.test_every) == (29, 3, 0)
    assert protocol.split_rule == "the 3 names of a list are test views"
    assert protocol.name == "default (changed: data.test_list)"
    names = [view.name for view in load_per_view(Path("out/per_view.json")).views]
    assert names == protocol.test_images
    Path("test.txt").unlink()  # the run has its names
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    evaluate(["../out", "--device", "cpu", "--out", "scores"])
    assert "equal to the stored scores" in capsys.readouterr().out
    (tmp_path / "out/results.json").unlink()
    (tmp_path / "out/checkpoints/step_000002.pt").unlink()
    train(["--resume", "../out"])
    assert load_results(tmp_path / "out/results.json").protocol == protocol


def test_a_ply_is_scored_on_a_list_or_on_all_photos(tiny: Path, finished_run: Path) -> None:
    ply = [str(finished_run / "point_cloud.ply"), "--scene", str(tiny), "--device", "cpu"]
    options = [*ply, "--lpips", "--pictures", "0", "--out"]
    evaluate([*options, "all", "--test-every", "1"])
    every = load_evaluation(Path("all/evaluation.json")).protocol
    assert (every.n_train, every.n_test) == (0, 32)
    assert every.split_rule == "all views are test views"
    Path("test.txt").write_text("005.png\n")
    evaluate([*options, "one", "--test-list", "test.txt"])
    protocol = load_evaluation(Path("one/evaluation.json")).protocol
    assert protocol.test_images == ["005.png"]
    scores = {view.name: view.scores for view in load_per_view(Path("all/per_view.json")).views}
    (only,) = load_per_view(Path("one/per_view.json")).views
    assert only.scores == scores["005.png"]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("007.png\nnone.png", "lists 'none.png', which is no photo of the model (the first is"),
        ("# nothing\n", "holds no name"),
        ("".join(f"{i:03d}.png\n" for i in range(32)), "lists all 32 photos"),
        (b"\xff\xfe", "cannot be read"),
        (None, "cannot be read"),
    ],
)
def test_a_list_that_fits_no_scene_is_refused(
    text: str | bytes | None, message: str, tiny: Path
) -> None:
    if text is not None:
        Path("test.txt").write_bytes(text.encode() if isinstance(text, str) else text)
    with pytest.raises(GsDensifyError) as caught:
        trained(tiny, "--data.test-list", "test.txt")
    assert message in str(caught.value) and "--data.test-list" in str(caught.value)
    assert not Path("out").exists()


def test_nothing_to_train_on_is_refused(tiny: Path) -> None:
    with pytest.raises(GsDensifyError, match=r"test-every is 1, which leaves no photo to"):
        trained(tiny, "--data.test-every", 1)
