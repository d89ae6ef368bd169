"""Gaussians as a PLY file, in the layout of the 3DGS code (Kerbl et al. 2023), which viewers read.

One little-endian float32 vertex a Gaussian, in this order: `x y z nx ny nz f_dc_0..2 f_rest_*
opacity scale_0..2 rot_0..3`. Normals are zero, f_rest is channel-major (all coefficients of red
first), opacity is a logit, scales are logarithms, rot is wxyz. A header comment `SplatRenderMode:
mip` or `default` says whether the model was trained antialiased, `Up: X Y Z` which direction is up,
where that is known, and `Offset: X Y Z` what was taken from all positions, where float32 cannot
hold them.

A value that is not finite is refused on both ways, with the count: dropping it would give another
model than the one that was measured. Only an infinite opacity is read, which other programs write
for the logits of 1 and 0: it becomes a logit so large that float32 shows no difference.
"""

import logging
import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from gs_densify.errors import ResultError
from gs_densify.model.files import ply_table
from gs_densify.model.files.base import ModelFile
from gs_densify.model.files.ply_table import BINARY, PlyHeader
from gs_densify.model.transform import transform_splats
from gs_densify.model.types import Splats
from gs_densify.results import atomic_write
from gs_densify.scene.georeference import offset_of, shifted

_log = logging.getLogger(__name__)

CHUNK = 1 << 16  # Gaussians written at a time
_LARGEST_LOGIT = 20.0
"""Its sigmoid is 1 in float32, and that of its negative far below what is drawn."""

POSITION = ("x", "y", "z")
NORMAL = ("nx", "ny", "nz")
DIFFUSE = ("f_dc_0", "f_dc_1", "f_dc_2")
OPACITY = ("opacity",)
SCALE = ("scale_0", "scale_1", "scale_2")
ROTATION = ("rot_0", "rot_1", "rot_2", "rot_3")
REST_COUNTS = {0: 0, 9: 1, 24: 2, 45: 3}  # number of f_rest properties: SH degree


@dataclass(frozen=True)
class PlySplats:
    """The contents of a PLY file."""

    splats: dict[str, Tensor]
    """float32 `means [N,3], scales [N,3] (log), quats [N,4] (wxyz), opacities [N] (logit),
    sh0 [N,1,3], shN [N,K-1,3]`."""
    sh_degree: int
    antialiased: bool | None
    """None where the file does not say."""
    comments: tuple[str, ...]
    """The header's other comments."""
    offset: np.ndarray | None = None
    """[3] float64, what was taken from the means; None for nothing."""
    up: np.ndarray | None = None
    """[3] float64, the direction that is up; None where the file does not say."""


def save_ply(
    path: str | Path,
    splats: Splats,
    *,
    world_transform: Tensor | np.ndarray | None = None,
    antialiased: bool = False,
    up: np.ndarray | None = None,
    comments: Iterable[str] = (),
) -> None:
    """Writes the Gaussians, atomically.

    Args:
        path: the file; its folder is made.
        splats: the parameters, see `PlySplats.splats`.
        world_transform: [4, 4] similarity applied first, e.g. from the normalised world that the
            model was trained in to COLMAP's.
        antialiased: trained with the Mip-Splatting opacity compensation.
        up: [3], the direction that is up in the frame of `splats`; None where it is not known.
        comments: for the header; white space becomes one blank, other characters than ASCII are
            escaped.

    Raises:
        ResultError: where a value is not finite, or the file cannot be written.
        ConfigError: where `world_transform` is no similarity.
    """
    if world_transform is not None:
        transform = np.asarray(world_transform, dtype=np.float64)
        offset = offset_of(transform)
        if offset is not None:
            text = " ".join(map(repr, offset.tolist()))
            message = (
                "%s: positions are without the offset %s, which float32 does not hold; it is a"
                " comment of the file"
            )
            _log.warning(message, path, text)
            transform, comments = shifted(transform, offset), [*comments, f"Offset: {text}"]
        splats = transform_splats(splats, transform)
        up = None if up is None else transform[:3, :3] @ up
    if up is not None:
        text = " ".join(f"{value:.6g}" for value in up / np.linalg.norm(up))
        comments = [*comments, f"Up: {text}"]
    rest = splats["shN"].shape[1] * 3
    if rest not in REST_COUNTS:
        raise ValueError(f"shN has {rest // 3} coefficients; expected 0, 3, 8 or 15")
    parts = _columns(splats)
    _refuse_non_finite(str(path), _names(rest), parts, "lower the learning rates (--lr.NAME)")
    count = len(parts[0])
    with atomic_write(path) as file:
        file.write(_header(count, rest, antialiased, comments))
        for start in range(0, count, CHUNK):
            rows = torch.cat([part[start : start + CHUNK] for part in parts], dim=1)
            file.write(rows.cpu().numpy().astype("<f4", copy=False).tobytes())


class PlyFormat:
    """PLY as a format of a model."""

    suffix = ".ply"
    says_up = True

    def detects(self, path: Path) -> bool:
        """Returns whether a file begins as a PLY does, or ends in .ply."""
        with path.open("rb") as file:
            return file.read(3) == b"ply" or path.suffix.lower() == self.suffix

    def save(
        self,
        path: Path,
        splats: Splats,
        *,
        world_transform: np.ndarray,
        antialiased: bool,
        up: np.ndarray | None = None,
    ) -> None:
        """Writes a model; see `save_ply`."""
        save_ply(path, splats, world_transform=world_transform, antialiased=antialiased, up=up)

    def load(self, path: Path) -> ModelFile:
        """Reads a model; see `load_ply`."""
        contents = load_ply(path)
        return ModelFile(contents.splats, contents.antialiased, contents.offset, contents.up)


def _columns(splats: Splats) -> list[Tensor]:
    """Returns the parameters in the order of the file, each [N, properties] in float32."""
    values = {name: value.detach().float() for name, value in splats.items()}
    count = len(values["means"])
    return [
        values["means"],
        torch.zeros_like(values["means"]),
        values["sh0"].reshape(count, 3),
        values["shN"].transpose(1, 2).reshape(count, 3 * values["shN"].shape[1]),
        values["opacities"].reshape(count, 1),
        values["scales"],
        values["quats"],
    ]


def _refuse_non_finite(
    where: str, names: tuple[str, ...], parts: Iterable[Tensor], action: str
) -> None:
    """Refuses values [N, properties] in `parts` that are not finite; with `names`."""
    finite = torch.cat([part.isfinite() for part in parts], dim=1)
    bad = int((~finite.all(dim=1)).sum())
    if bad:
        first = int((~finite.all(dim=1)).nonzero()[0])
        which = [name for name, ok in zip(names, finite.all(dim=0).tolist(), strict=True) if not ok]
        raise ResultError(
            f"{where}: {bad} of {len(finite)} Gaussians are not finite in {', '.join(which)} (the"
            f" first is number {first}); they were not dropped",
            action=action,
        )


def _header(count: int, rest: int, antialiased: bool, comments: Iterable[str]) -> bytes:
    lines = ["ply", "format binary_little_endian 1.0"]
    lines += [f"comment {' '.join(comment.split())}" for comment in comments]
    # Last, since readers take the last comment that they understand.
    lines += [f"comment SplatRenderMode: {'mip' if antialiased else 'default'}"]
    lines += [f"element vertex {count}"]
    lines += [f"property float {name}" for name in _names(rest)]
    return "\n".join([*lines, "end_header", ""]).encode("ascii", "backslashreplace")


def _names(rest: int) -> tuple[str, ...]:
    """Returns the properties in the order of the file."""
    return (*POSITION, *NORMAL, *DIFFUSE, *_rest_names(rest), *OPACITY, *SCALE, *ROTATION)


def _rest_names(count: int) -> tuple[str, ...]:
    return tuple(f"f_rest_{i}" for i in range(count))


def load_ply(path: str | Path) -> PlySplats:
    """Reads the Gaussians of a binary little-endian PLY file.

    Properties are found by name, in any order and of any numeric type; others (normals, colours)
    are ignored, and so are elements after the vertices. The SH degree is 0 to 3.

    Raises:
        ResultError: for a file that is missing, damaged, cut off, ASCII, big-endian, not made of
            Gaussians, or holds values that are not finite.
    """
    try:
        with Path(path).open("rb") as file:
            header = ply_table.read_header(str(path), file)
            _check_format(str(path), header)
            rest = _count_rest(str(path), header.dtype.names or ())
            rows = ply_table.read_rows(str(path), file, header)
    except OSError as error:
        raise ResultError(
            f"{path}: cannot be read ({error.strerror})",
            action="name a PLY file of Gaussians",
        ) from error
    antialiased, others = _read_comments(header.comments)
    splats = _to_splats(str(path), rows, rest)
    offset = _read_offset(str(path), others)
    return PlySplats(splats, REST_COUNTS[rest], antialiased, others, offset, _read_up(others))


def _read_up(comments: tuple[str, ...]) -> np.ndarray | None:
    """Returns what the comment `Up: X Y Z` says; None without one, or where it is another
    program's.
    """
    for comment in reversed(comments):
        words = comment.removeprefix("Up:").split() if comment.startswith("Up:") else []
        try:
            up = np.array([float(word) for word in words])
        except ValueError:
            continue
        if up.shape == (3,) and np.isfinite(up).all() and up.any():
            return up / np.linalg.norm(up)
    return None


def _read_offset(where: str, comments: tuple[str, ...]) -> np.ndarray | None:
    """Returns what the comment `Offset: X Y Z` says; None without one."""
    said = [comment.removeprefix("Offset:") for comment in comments if comment[:7] == "Offset:"]
    if not said:
        return None
    try:
        offset = np.array([float(word) for word in said[-1].split()])
    except ValueError:
        offset = np.array([])
    if offset.shape != (3,) or not np.isfinite(offset).all():
        raise ResultError(
            f"{where}: its comment is 'Offset:{said[-1]}'",
            expected="expected three numbers",
            action="mend the comment, or take it out where positions are complete",
        )
    return offset


def _check_format(where: str, header: PlyHeader) -> None:
    if header.format != BINARY:
        raise ResultError(
            f"{where}: the format is {header.format!r}",
            expected=f"only {BINARY!r} is read",
            action="convert the file",
        )


def _count_rest(where: str, names: tuple[str, ...]) -> int:
    """Returns the number of f_rest properties, once all that a Gaussian needs are known to be
    there.
    """
    rest = sum(name.startswith("f_rest_") for name in names)
    wanted = (*POSITION, *DIFFUSE, *OPACITY, *SCALE, *ROTATION, *_rest_names(rest))
    missing = [name for name in wanted if name not in names]
    if missing or rest not in REST_COUNTS:
        lack = f"the properties {', '.join(missing)} are missing" if missing else f"{rest} f_rest_*"
        raise ResultError(
            f"{where}: {lack}{_what_it_is(names, missing, rest)}",
            expected="expected Gaussians with x, f_dc_*, opacity, scale_*, rot_* and 0, 9, 24 or"
            " 45 f_rest_*: a compressed PLY or a point cloud is not read",
        )
    return rest


def _what_it_is(names: tuple[str, ...], missing: list[str], rest: int) -> str:
    """Returns what other things have these properties, as the rest of a sentence."""
    if missing == ["scale_2"]:
        return ": these are the flat Gaussians of 2DGS, which have two scales"
    if not missing and rest == 72:
        return ": these are Gaussians of SH degree 4, and the highest is 3 here"
    if not {*DIFFUSE, *OPACITY} & {*names} and {*POSITION} <= {*names}:
        return ": these are points (gs-train --init FILE starts from them)"
    return ""


def _to_splats(where: str, rows: np.ndarray, rest: int) -> dict[str, Tensor]:
    count = len(rows)
    columns = {
        "means": _take(rows, POSITION),
        "scales": _take(rows, SCALE),
        "quats": _take(rows, ROTATION),
        "opacities": _finite_logits(_take(rows, OPACITY)),
        "sh0": _take(rows, DIFFUSE),
        "shN": _take(rows, _rest_names(rest)),
    }
    names = (*POSITION, *SCALE, *ROTATION, *OPACITY, *DIFFUSE, *_rest_names(rest))
    advice = "leave those Gaussians out of the file, in the program that wrote it"
    _refuse_non_finite(where, names, columns.values(), advice)
    channel_major = columns["shN"].reshape(count, 3, rest // 3)
    return columns | {
        "opacities": columns["opacities"].reshape(count),
        "sh0": columns["sh0"].reshape(count, 1, 3),
        "shN": channel_major.transpose(1, 2).contiguous(),
    }


def _finite_logits(logits: Tensor) -> Tensor:
    """Returns logits with those of 1 and 0, which are infinite, as large ones."""
    return torch.where(logits.isinf(), logits.sign() * _LARGEST_LOGIT, logits)


def _take(rows: np.ndarray, names: tuple[str, ...]) -> Tensor:
    """Properties as float32 [N, len(names)]."""
    table = np.empty((len(rows), len(names)), dtype=np.float32)
    for i, name in enumerate(names):
        with np.errstate(over="ignore"):  # a double beyond float32: refused as not finite
            table[:, i] = rows[name]
    return torch.from_numpy(table)


def _read_comments(comments: tuple[str, ...]) -> tuple[bool | None, tuple[str, ...]]:
    """Returns whether the file says that it is antialiased (the last word counts), and the rest."""
    antialiased: bool | None = None
    others = []
    for comment in comments:
        match = re.fullmatch(r"SplatRenderMode:\s*(mip|default)|antialiased\s+([01])", comment)
        if match is None:
            others.append(comment)
        else:
            antialiased = match[1] == "mip" if match[1] else match[2] == "1"
    return antialiased, tuple(others)
