"""What gs-train reads early and what it reads then agree, however options are spelled."""

from pathlib import Path

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from gs_densify.cli import train as gs_train
from gs_densify.cli.arguments import (
    _read_early,
    parse_resumed,
    parse_train_arguments,
    wants_dry_run,
)
from gs_densify.cli.choices import CHOICES
from gs_densify.config.file import save_config
from gs_densify.config.options import TrainConfig
from gs_densify.errors import ConfigError, GsDensifyError

OPTIONS = (
    ("scene", "garden"),
    ("data-root", "some_folder-x"),
    ("strategy", "default"),
    ("strategy.grow-grad2d", "0.5"),
    ("protocol", "mls-bench"),
    ("preset", "compact"),
    ("downscale", "3"),
    ("max-gaussians", "900"),
    ("budget", "800"),
    ("data.test-every", "4"),
    ("lr.means", "1e-3"),
    ("evaluation.lpips-weights", "a_b-c"),
    ("seed", "7"),
)


@st.composite
def spelled(draw: st.DrawFn, name: str, value: str | None) -> list[str]:
    """One way to write an option: hyphens or underscores, `=` or a blank."""
    parts = [draw(st.sampled_from("-_")) if c == "-" else c for c in name]
    flag = "--" + "".join(parts)
    if value is None:
        return [flag]
    return draw(st.sampled_from([[flag, value], [f"{flag}={value}"]]))


@st.composite
def command_lines(draw: st.DrawFn) -> tuple[list[str], list[str], bool]:
    """Some options as they are documented, the same in other spellings, and --dry-run or not."""
    chosen = draw(st.lists(st.sampled_from(OPTIONS), unique=True, max_size=6))
    names = {name for name, _ in chosen}
    if "strategy.grow-grad2d" in names and "strategy" not in names:
        chosen = [("strategy", "default"), *chosen]
    if {"preset", "protocol"} <= names:
        chosen = [pair for pair in chosen if pair[0] != "preset"]
    if "scene" not in names:
        chosen = [("scene", "tiny"), *chosen]
    dry = draw(st.booleans())
    flags = [*chosen, *([("dry-run", None)] if dry else [])]
    flags = draw(st.permutations(flags))
    plain = [part for name, value in chosen for part in (f"--{name}", value)]
    return plain, [part for pair in flags for part in draw(spelled(*pair))], dry


@given(command_lines())
@settings(max_examples=15)
def test_every_spelling_means_the_same(lines: tuple[list[str], list[str], bool]) -> None:
    plain, spelling, dry = lines
    assert parse_train_arguments(spelling) == parse_train_arguments(plain)
    assert wants_dry_run(spelling) is dry
    assert parse_resumed(spelling) is None


NEAR_MISSES = (
    *("--{}", "---{}", "-{}", "--_{}", "--{}_", "--{}=x", "--no-{}"),
    *("--{}s", "--data.{}", "--train.{}"),
)


@given(
    st.sampled_from([*CHOICES, "dry-run", "dry_run", "DRY-RUN", "dry--run", "dryrun", "dry"]),
    st.sampled_from(NEAR_MISSES),
    st.sampled_from([[], ["mcmc"], ["2"], ["None"], ["--scene"]]),
    st.booleans(),
)
@settings(max_examples=60)
def test_what_is_read_early_is_what_the_whole_parser_reads_or_the_line_is_refused(
    name: str, form: str, value: list[str], is_first: bool
) -> None:
    """`--dry_run` trained for real: one reader knew the spelling, the other did not."""
    flags, scene = [form.format(name), *value], ["--scene", "tiny"]
    argv = [*flags, *scene] if is_first else [*scene, *flags]
    try:
        config = parse_train_arguments(argv)
    except GsDensifyError:
        return
    early = _read_early(argv)
    assert {name: str(getattr(config, name)) for name in early.choices} == early.choices
    plain = parse_train_arguments(["--scene", config.scene, "--strategy", config.strategy])
    changed = {name for name in CHOICES if getattr(config, name) != getattr(plain, name)}
    assert changed <= early.choices.keys()
    # All that it took is the scene and this option, so that it is one of them or --dry-run.
    assert early.dry_run is (len(flags) == 1 and name in ("dry-run", "dry_run"))


@pytest.mark.parametrize("flag", ["--dry-run", "--dry_run"])
@pytest.mark.parametrize("first", [True, False])
def test_a_dry_run_never_trains(
    flag: str, first: bool, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    monkeypatch.setattr("gs_densify.runs.train.train", lambda *_: pytest.fail("it trains"))
    monkeypatch.setattr("gs_densify.runs.forecast.forecast", lambda config: config.scene)
    monkeypatch.setattr("gs_densify.runs.forecast.forecast_text", lambda found: f"on {found}")
    gs_train.command([flag, "--scene", "tiny"] if first else ["--scene", "tiny", flag])
    assert capsys.readouterr().out == "on tiny\n"


@pytest.mark.parametrize(
    "flag", ["--dry--run", "--Dry-run", "--dryrun", "--_dry_run", "--dry-run=yes", "--no-dry-run"]
)
def test_what_is_no_spelling_of_dry_run_is_refused(flag: str) -> None:
    with pytest.raises(ConfigError, match=r"no such option|takes no value"):
        gs_train.command(["--scene", "tiny", flag])


@pytest.mark.parametrize("flag", ["--resume {}", "--resume={}"])
@pytest.mark.parametrize(
    "other", ["--dry_run", "--dry-run", "--init.sh_degree=1", "--strategy mcmc", "--config=x.yml"]
)
def test_beside_resume_no_spelling_of_another_option_goes_unseen(
    flag: str, other: str, tmp_path: Path
) -> None:
    save_config(TrainConfig(scene="tiny", strategy="default"), tmp_path / "config.yml")
    argv = flag.format(tmp_path).split()
    resumed = parse_resumed(argv)
    assert resumed is not None and resumed.out == tmp_path
    for line in ([*argv, *other.split()], [*other.split(), *argv]):
        with pytest.raises(ConfigError, match=f"leave out {other.split()[0]}"):
            parse_resumed(line)


def test_beside_resume_the_place_of_the_scene_can_be_named_anew(tmp_path: Path) -> None:
    save_config(TrainConfig(scene="garden", strategy="default"), tmp_path / "config.yml")
    (tmp_path / "moved").mkdir()
    argv = ["--resume", str(tmp_path)]
    resumed = parse_resumed([*argv, "--data_root=x"])
    assert resumed is not None and resumed.data_root == Path("x").absolute()
    resumed = parse_resumed(["--scene", str(tmp_path / "moved"), *argv])
    assert resumed is not None and resumed.scene == str(tmp_path / "moved")


@pytest.mark.parametrize("flag", ["--config", "--config="])
@pytest.mark.parametrize("key", ["test-every", "test_every"])
def test_a_file_is_read_however_it_is_named(flag: str, key: str, tmp_path: Path) -> None:
    path = tmp_path / "my_own-file.yml"
    path.write_text(yaml.safe_dump({"scene": "tiny", "data": {key: 5}}))
    argv = f"{flag}{path}" if flag.endswith("=") else f"{flag} {path}"
    assert parse_train_arguments(argv.split()).data.test_every == 5
    for own in ("dry_run", "dry-run", "resume", "config", "version", "help-all"):
        path.write_text(yaml.safe_dump({"scene": "tiny", own: True}))
        with pytest.raises(ConfigError, match=f"file.yml: '{own}' is for the command line alone"):
            parse_train_arguments(argv.split())
