"""Judge the measures of a capture: what is wrong, how bad it is, and what to do about it."""

from collections.abc import Iterator, Sequence

from gs_densify.capture.coverage import NO_BASELINE
from gs_densify.capture.report import CaptureReport, Finding, Verdict
from gs_densify.errors import SceneError
from gs_densify.scene.doubt import Doubt

FEW_PHOTOS = 20
LARGE_GAP = 45.0
SHORT_BASELINE = 0.05
"""Of the distance; a forward-facing capture of LLFF has twice that."""
FAR_NEIGHBOUR = 15.0
ONE_HEIGHT = 10.0
LARGE_ERROR = 1.5
"""Reprojection error in pixels; COLMAP's own outlier threshold is 4."""
LARGE_ERROR_RATIO = 3.0
FEW_POINTS = 1000
FEW_POINTS_IN_A_PHOTO = 50
LOW_SHARE_BY_THREE = 0.5


def findings_of(
    report: CaptureReport, refusal: SceneError | None, doubts: Sequence[Doubt] = ()
) -> tuple[Finding, ...]:
    """Returns everything worth saying, the worst first.

    Args:
        report: the measures.
        refusal: why gs-train refuses the capture; None where it does not.
        doubts: what gs-train warns of.
    """
    found = [
        *_refused(report, refusal),
        *(Finding("look", doubt.found, doubt.action, doubt.photos) for doubt in doubts),
        *_registration(report),
        *_exposures(report),
        *_sharpness(report),
        *_coverage(report),
        *_points(report),
        *_worst_photos(report),
        *_training(report),
    ]
    return tuple(sorted(found, key=lambda one: ("stop", "look", "note").index(one.level)))


def verdict_of(findings: Sequence[Finding]) -> Verdict:
    """Returns the worst finding decides."""
    levels = {finding.level for finding in findings}
    if "stop" in levels:
        return "will not train"
    return "worth a look" if "look" in levels else "fine"


def _refused(report: CaptureReport, refusal: SceneError | None) -> Iterator[Finding]:
    if refusal:
        expected = f" ({refusal.expected})" if refusal.expected else ""
        yield Finding("stop", f"gs-train refuses it: {refusal.found}{expected}", refusal.action)
    has_pose = {record.name for record in report.photos if record.has_pose}
    broken = [name for name in report.unreadable if name in has_pose]
    if broken:
        reason = report.unreadable[broken[0]]
        yield Finding(
            "stop",
            f"{count(broken, 'photo')} with a pose cannot be used: {reason}",
            "copy or save the photos again, or remove them from the model",
            tuple(broken),
        )


def _registration(report: CaptureReport) -> Iterator[Finding]:
    if report.without_pose:
        blurred = {outlier.name for outlier in report.blurred}
        also = sum(name in blurred for name in report.without_pose)
        reason = f", {also} of them blurred" if also else ""
        yield Finding(
            "look",
            f"{count(report.without_pose, 'photo')} on disk without a pose{reason}: COLMAP could"
            " not place them",
            "fill in photos between them and their neighbours, or move them out of the folder if"
            " they show something else; training leaves them out",
            report.without_pose,
        )
    with_pose = report.registered or 0
    if 0 < with_pose < FEW_PHOTOS:
        yield Finding(
            "look",
            f"{with_pose} photos have a pose, which is few",
            "expect blur and floaters away from these views; 50 to 300 photos are usual",
        )


def _exposures(report: CaptureReport) -> Iterator[Finding]:
    if report.badly_exposed:
        yield Finding(
            "look",
            f"{count(report.badly_exposed, 'photo')} much brighter or darker than the neighbours",
            "lock exposure and white balance; leave these photos out, or develop them alike",
            tuple(outlier.name for outlier in report.badly_exposed),
        )
    if report.clipped:
        yield Finding(
            "look",
            f"{count(report.clipped, 'photo')} with far more clipped highlights than the"
            " neighbours",
            "leave them out, or develop them darker if there are raw files",
            tuple(outlier.name for outlier in report.clipped),
        )


def _sharpness(report: CaptureReport) -> Iterator[Finding]:
    if report.blurred:
        yield Finding(
            "look",
            f"{count(report.blurred, 'photo')} with far less fine detail than the neighbours",
            "look at them; where they are blurred, take them out and run COLMAP again, or take them"
            " again with a shorter exposure",
            tuple(outlier.name for outlier in report.blurred),
        )
    if report.near_duplicates:
        yield Finding(
            "note",
            f"{count(report.near_duplicates, 'pair')} of photos with the same view: they add"
            " nothing, and a held-out view with a twin to train on scores too well",
            "remove one of each pair",
            tuple(second for _, second in report.near_duplicates),
        )


def _coverage(report: CaptureReport) -> Iterator[Finding]:
    coverage = report.coverage
    if coverage is None:
        return
    if coverage.extent < NO_BASELINE:
        yield Finding(
            "look",
            "all photos were taken from one spot, from which no depth follows",
            "move the camera sideways between photos instead of turning it",
        )
        return
    if coverage.extent < SHORT_BASELINE:
        yield Finding(
            "look",
            f"all photos were taken within {coverage.extent:.0%} of the distance to what they show,"
            " from which depth follows only roughly",
            "move the camera further sideways between photos",
        )
    is_around = coverage.looking != "in many directions" and coverage.arc > 180
    if is_around and coverage.gap > LARGE_GAP:
        yield Finding(
            "look",
            f"no photo over {coverage.gap:.0f} degrees between {coverage.gap_between[0]} and"
            f" {coverage.gap_between[1]}",
            "fill in photos there, every 5 to 10 degrees, or keep viewers away from that side",
            coverage.gap_between,
        )
    if coverage.neighbour_angle > FAR_NEIGHBOUR:
        yield Finding(
            "look",
            f"neighbouring photos are {coverage.neighbour_angle:.0f} degrees apart (median)",
            "fill in photos between them: 5 to 10 degrees from one to the next",
        )
    low, high = coverage.elevations
    if coverage.looking == "inwards" and coverage.arc > 180 and high - low < ONE_HEIGHT:
        yield Finding(
            "note",
            f"all photos are from one height ({high - low:.0f} degrees from low to high)",
            "a second round, higher or lower, helps views from there",
        )


def _points(report: CaptureReport) -> Iterator[Finding]:
    points = report.points
    if points is None:
        return
    if 0 < points.count < FEW_POINTS:
        yield Finding(
            "look",
            f"{points.count:,} points, which is few to start from",
            "a scene of plain walls gives few; else check that COLMAP matched the photos",
        )
    if points.mean_error is not None and points.mean_error > LARGE_ERROR:
        yield Finding(
            "look",
            f"the mean reprojection error is {points.mean_error:.2f} pixels: the poses are rough",
            "use a camera model with distortion in COLMAP, and refine with its bundle adjuster",
        )
    if points.seen_by_three is not None and points.seen_by_three < LOW_SHARE_BY_THREE:
        yield Finding(
            "look",
            f"{points.seen_by_three:.0%} of the points are seen by three photos or more",
            "take photos with more overlap: every point in three photos at least",
        )
    if points.mean_track is None and points.count:
        yield Finding(
            "note",
            "the model keeps no observations, so the photos' own points and errors are not known",
            "check COLMAP's own output to see them; training does not need them",
        )


def _worst_photos(report: CaptureReport) -> Iterator[Finding]:
    few = [
        record.name
        for record in report.photos
        if record.num_points is not None
        and record.has_pose
        and record.num_points < FEW_POINTS_IN_A_PHOTO
    ]
    if few:
        yield Finding(
            "look",
            f"{count(few, 'photo')} with fewer than {FEW_POINTS_IN_A_PHOTO} points: the pose is"
            " weakly held",
            "compare its render with the photo after training, and remove it if they disagree",
            tuple(few),
        )
    errors = {r.name: r.reprojection_error for r in report.photos if r.reprojection_error}
    typical = sorted(errors.values())[len(errors) // 2] if errors else 0.0
    limit = max(LARGE_ERROR, LARGE_ERROR_RATIO * typical)
    rough = sorted((n for n, e in errors.items() if e > limit), key=lambda n: -errors[n])
    if rough:
        yield Finding(
            "look",
            f"{count(rough, 'photo')} with a reprojection error of more than {limit:.1f} pixels",
            "look for motion, rolling shutter or a wrong match; remove them and run COLMAP again",
            tuple(rough),
        )


def _training(report: CaptureReport) -> Iterator[Finding]:
    plan = report.plan
    if plan and plan.suggested_downscale > plan.downscale:
        factor = plan.suggested_downscale
        yield Finding(
            "note",
            "the longer side is above 1600 pixels, more than published figures use",
            f"train with --downscale {factor}, which makes smaller photos where images_{factor}/ is"
            " missing",
        )


def count(items: Sequence[object], noun: str) -> str:
    """Returns `1 photo`, `2 photos`."""
    return f"{len(items)} {noun}{'s' * (len(items) != 1)}"
