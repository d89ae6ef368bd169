"""The report of a capture as text for a terminal."""

import textwrap
from collections.abc import Iterator, Sequence

from gs_densify.capture.coverage import Coverage
from gs_densify.capture.findings import count
from gs_densify.capture.model import ModelCamera
from gs_densify.capture.report import CaptureReport, Finding, Plan, PointStatistics

_WIDTH = 96
_LABEL = 12
_NAMES = 6
_MARKS = {"stop": "STOP", "look": "LOOK", "note": "note"}


def report_text(report: CaptureReport) -> str:
    """Sections of what was measured, then findings with what to do, then the verdict."""
    lines = [f"{report.name}: {report.root}", ""]
    for label, text in _sections(report):
        lines.append(_block(f"{label:{_LABEL}}", text))
    if report.findings:
        lines.append("")
        lines += [_finding(finding) for finding in report.findings]
    return "\n".join([*lines, "", f"verdict: {report.verdict}{_verdict_tail(report)}"])


def _sections(report: CaptureReport) -> Iterator[tuple[str, str]]:
    yield "photos", _photos(report)
    if report.registered is not None:
        yield "poses", _poses(report)
    for camera in report.cameras:
        yield "camera", _camera(camera)
    if report.coverage:
        yield "coverage", _coverage(report.coverage, report.registered or 0)
    if report.points:
        yield "points", _points(report.points)
    if report.sizes:
        yield "sharpness", f"{len(report.blurred)} photos stand out as blurred"
        yield "exposure", _exposure(report)
        if report.coverage:
            yield "duplicates", f"{count(report.near_duplicates, 'pair')} of photos show the same"
    if report.plan:
        yield "training", _training(report.plan)
        yield "memory", _memory(report.plan)


def _photos(report: CaptureReport) -> str:
    number = sum(report.sizes.values())
    if not number and not report.unreadable:
        return f"none in {report.image_dir}/"
    sizes = [size if len(report.sizes) == 1 else f"{n} of {size}" for size, n in _top(report.sizes)]
    text = f"{number} in {report.image_dir}/ ({', '.join(sizes)})"
    return text + (f", {len(report.unreadable)} cannot be used" if report.unreadable else "")


def _top(sizes: dict[str, int]) -> list[tuple[str, int]]:
    """Returns the four most frequent sizes."""
    return list(sizes.items())[:4]


def _poses(report: CaptureReport) -> str:
    without = f"{len(report.without_pose)} photos without a pose"
    missing = f"{len(report.missing)} missing on disk"
    return f"{report.registered} in {report.model_dir}; {without}, {missing}"


def _camera(camera: ModelCamera) -> str:
    width, height = camera.size
    text = f"{camera.model} {width}x{height}, {camera.num_images} photos, focal {camera.focal:.0f}"
    if camera.is_pinhole:
        return f"{text} px: no distortion, nothing to undistort"
    if camera.corner_shift is None:
        return f"{text} px: sees further than any undistorted photo can show"
    return f"{text} px: the lens moves corners by {camera.corner_shift:.0f} px, which is undone"


def _coverage(coverage: Coverage, registered: int) -> str:
    low, high = coverage.elevations
    around = (
        f"all around (largest gap {coverage.gap:.0f} degrees)"
        if coverage.arc > 270
        else f"over an arc of {coverage.arc:.0f} degrees"
    )
    nearest, furthest = coverage.distances
    return (
        f"cameras look {coverage.looking}, {around}, {low:.0f} to {high:.0f} degrees"
        f" {'up' if coverage.looking == 'outwards' else 'above the middle of the scene'};"
        f" neighbours are {coverage.neighbour_angle:.1f} degrees and"
        f" {coverage.baseline:.1%} of the distance apart; distances to the middle from"
        f" {nearest:.2f} to {furthest:.2f} of the typical one; {coverage.see_middle} of"
        f" {registered} cameras have the middle in frame"
    )


def _points(points: PointStatistics) -> str:
    parts = [f"{points.count:,}"]
    if points.mean_error is not None:
        parts.append(
            f"reprojection error {points.mean_error:.2f} px mean, {points.median_error:.2f} median"
        )
    if points.mean_track is None:
        parts.append("no observations kept: track lengths and points of a photo are not known")
    else:
        parts += [
            f"seen by {points.mean_track:.1f} photos on average, {points.seen_by_three:.0%} by"
            " three or more",
            f"{points.median_in_a_photo:,.0f} in a photo (median; fewest"
            f" {points.fewest_in_a_photo:,})",
        ]
    return "; ".join(parts)


def _exposure(report: CaptureReport) -> str:
    values = sorted(r.brightness for r in report.photos if r.brightness is not None)
    shares = sorted(r.clipped for r in report.photos if r.clipped is not None)
    middle, last = len(values) // 2, len(values) - 1
    return (
        f"mean grey {values[middle]:.0f} of 255 (from {values[0]:.0f} to {values[last]:.0f});"
        f" clipped highlights {shares[middle]:.1%} (up to {shares[last]:.1%});"
        f" {len(report.badly_exposed)} photos stand out in brightness,"
        f" {len(report.clipped)} in clipping"
    )


def _training(plan: Plan) -> str:
    rule = f" (every {plan.test_every}th)" if plan.test_every else ""
    return (
        f"{plan.train} photos to train on, {plan.test} held out{rule};"
        f" suggested --downscale {plan.suggested_downscale}"
    )


def _memory(plan: Plan) -> str:
    memory = plan.memory
    photos = "in host memory" if memory.photos_on_host else f"{memory.photos / 1e9:.2f} GB"
    return (
        f"about {memory.total / 1e9:.1f} GB on the GPU at --downscale {plan.downscale}: photos"
        f" {photos}, {memory.gaussians:,} Gaussians {memory.model / 1e9:.2f} GB, rendering"
        f" {memory.working / 1e9:.2f} GB"
    )


def _finding(finding: Finding) -> str:
    names = _names(finding.photos)
    text = finding.text + (f": {names}" if names else "")
    action = f"-> {finding.action}" if finding.action else ""
    return _block(f"{_MARKS[finding.level]:6}", text) + (
        "\n" + _block(" " * 6, action) if action else ""
    )


def _names(names: Sequence[str]) -> str:
    more = len(names) - _NAMES
    return ", ".join(names[:_NAMES]) + (f" and {more} more" if more > 0 else "")


def _verdict_tail(report: CaptureReport) -> str:
    looks = sum(finding.level == "look" for finding in report.findings)
    if report.verdict == "fine":
        return "; gs-train can start"
    if report.verdict == "worth a look":
        return f"; gs-train can start, {looks} finding{'s' * (looks != 1)} may cost quality"
    return "; mend what is marked STOP first"


def _block(label: str, text: str) -> str:
    indent = " " * len(label)
    return textwrap.fill(
        text,
        _WIDTH,
        initial_indent=label,
        subsequent_indent=indent,
        break_long_words=False,
        break_on_hyphens=False,
    )
