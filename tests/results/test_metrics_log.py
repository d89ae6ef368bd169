import json
import math
from pathlib import Path

import pytest

from gs_densify.errors import ResultError
from gs_densify.results import MetricsLog, MetricsRow, read_metrics


def row(step: int, loss: float | None = 0.1) -> MetricsRow:
    return MetricsRow(step=step, loss=loss, num_gaussians=step, train_seconds=step / 3)


def write(path: Path, steps: list[int]) -> None:
    with MetricsLog(path) as log:
        for step in steps:
            log.append(row(step))


def test_rows_read_back_equal_over_two_openings(tmp_path: Path) -> None:
    path = tmp_path / "new" / "metrics.jsonl"
    write(path, [1, 2])
    write(path, [3])
    assert read_metrics(path) == [row(1), row(2), row(3)]


def test_a_line_is_readable_by_others_before_the_log_is_closed(tmp_path: Path) -> None:
    log = MetricsLog(tmp_path / "m.jsonl")
    log.append(row(1))
    assert read_metrics(log.path) == [row(1)]
    log.close()


@pytest.mark.parametrize("loss", [math.nan, math.inf])
def test_a_loss_that_is_not_finite_is_refused_and_leaves_no_half_line(
    loss: float, tmp_path: Path
) -> None:
    with MetricsLog(tmp_path / "m.jsonl") as log:
        log.append(row(1))
        with pytest.raises(ResultError, match="loss"):
            log.append(row(2, loss))
        log.append(row(3, None))
    assert read_metrics(log.path) == [row(1), row(3, None)]


@pytest.mark.parametrize(
    "line", [b"{", b"", b"[1]", b"\xff", b'{"step": 1}', b'{"step": NaN}', b"null"]
)
def test_the_damaged_line_is_named(line: bytes, tmp_path: Path) -> None:
    path = tmp_path / "m.jsonl"
    write(path, [1, 2, 3])
    lines = path.read_bytes().splitlines()
    lines[1] = line
    path.write_bytes(b"\n".join(lines) + b"\n")
    with pytest.raises(ResultError, match="line 2") as caught:
        read_metrics(path)
    assert "\n" not in str(caught.value)


def test_a_last_line_cut_off_is_named_and_not_written_to(tmp_path: Path) -> None:
    path = tmp_path / "m.jsonl"
    write(path, [1, 2])
    path.write_bytes(path.read_bytes()[:-5])
    with pytest.raises(ResultError, match="line 2 was cut off"):
        read_metrics(path)
    with pytest.raises(ResultError, match="cut off"):
        MetricsLog(path)


def test_resuming_drops_later_rows_and_a_line_cut_off(tmp_path: Path) -> None:
    path = tmp_path / "m.jsonl"
    write(path, [100, 200, 300])
    kept = path.read_bytes().splitlines(keepends=True)[:2]
    path.write_bytes(path.read_bytes() + b'{"step": 40')
    with MetricsLog(path, resume_step=200) as log:
        assert path.read_bytes() == b"".join(kept)
        log.append(row(250))
    assert [item.step for item in read_metrics(path)] == [100, 200, 250]


def test_resuming_without_a_file_starts_one(tmp_path: Path) -> None:
    with MetricsLog(tmp_path / "m.jsonl", resume_step=5) as log:
        log.append(row(6))
    assert json.loads((tmp_path / "m.jsonl").read_text())["step"] == 6


def test_a_missing_file_and_a_folder_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ResultError, match="no such file"):
        read_metrics(tmp_path / "none")
    with pytest.raises(ResultError, match="cannot be read"):
        read_metrics(tmp_path)
    with pytest.raises(ResultError, match="cannot be written"):
        MetricsLog(tmp_path)


def test_terms_of_the_loss_are_figures_of_the_line(tmp_path: Path) -> None:
    terms = {"opacity_reg": 0.125, "l1": 0.5}
    written = MetricsRow(step=1, loss=0.1, num_gaussians=2, train_seconds=3.0, terms=terms)
    with MetricsLog(tmp_path / "m.jsonl") as log:
        log.append(written)
    line = json.loads((tmp_path / "m.jsonl").read_text())
    assert list(line) == [
        *("step", "loss", "num_gaussians", "train_seconds", "l1", "ssim_loss", "opacity_reg"),
        *("means_lr", "step_milliseconds", "device_bytes", "psnr"),
    ]
    assert (line["l1"], line["ssim_loss"], line["opacity_reg"]) == (0.5, None, 0.125)
    assert read_metrics(tmp_path / "m.jsonl") == [written]


def test_a_term_has_no_name_of_another_figure_and_is_a_number(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="cannot be named 'psnr'"):
        MetricsRow(step=1, loss=0.1, num_gaussians=2, train_seconds=3.0, terms={"psnr": 1.0})
    path = tmp_path / "m.jsonl"
    path.write_text('{"step": 1, "loss": 1, "num_gaussians": 2, "train_seconds": 3, "x": "much"}\n')
    with pytest.raises(ResultError, match="line 1: x: 'much' is not a number"):
        read_metrics(path)


def test_a_time_line_of_the_first_release_is_read_and_written_to_the_same_bytes(
    tmp_path: Path,
) -> None:
    source = Path(__file__).with_name("version_1") / "metrics.jsonl"
    with MetricsLog(tmp_path / "m.jsonl") as log:
        for each in read_metrics(source):
            log.append(each)
    assert log.path.read_bytes() == source.read_bytes()
