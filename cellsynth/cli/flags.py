"""Flags that several verbs share: how they look, and how their texts become values.

What the parser lets through is judged by typed models, so that a fault reads the same whatever
the flag, and an impossible value is told before anything heavy is loaded.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TypeVar

import typer

from cellsynth.errors import InputError

if TYPE_CHECKING:
    from cellsynth.cli.models import EvaluateFlags
    from cellsynth.geometry import Grid, Index, Triple
    from cellsynth.presets.bundle import Bundle

__all__ = [
    "AgainstFlag",
    "AgainstKindFlag",
    "AgainstVoxelSizeFlag",
    "DeviceFlag",
    "FrameIntervalFlag",
    "KindFlag",
    "NoReportFlag",
    "OverwriteFlag",
    "PresetOfSetFlag",
    "QuietFlag",
    "ResumeFlag",
    "SeedFlag",
    "VoxelSizeFlag",
    "WorkersFlag",
    "exclude",
    "grid_of",
    "judged",
    "judged_comparison",
    "number",
    "parse_duration_s",
    "parse_numbers",
    "parse_voxel_size",
    "slug",
    "whole_number",
]


def whole_number(text: str | int) -> int:
    """A flag's parser: a whole number, of any sign."""
    try:
        return int(text)
    except ValueError:
        raise typer.BadParameter(f"must be a whole number, got {text!r}") from None


def number(text: str | float) -> float:
    """A flag's parser: a number, of any sign."""
    try:
        return float(text)
    except ValueError:
        raise typer.BadParameter(f"must be a number, got {text!r}") from None


AgainstFlag = Annotated[
    Path | None,
    typer.Option(
        "--against", metavar="REAL", help="Masks to compare with; any that train-preset takes."
    ),
]
AgainstKindFlag = Annotated[str | None, typer.Option("--against-kind", help="The same, of REAL.")]
AgainstVoxelSizeFlag = Annotated[
    str | None, typer.Option("--against-voxel-size", metavar="UM", help="That of REAL.")
]
DeviceFlag = Annotated[
    str, typer.Option("--device", help="auto, cpu or cuda; auto is a GPU where there is one.")
]
FrameIntervalFlag = Annotated[
    float | None,
    typer.Option("--frame-interval", parser=number, metavar="S", help="Seconds between frames."),
]
KindFlag = Annotated[
    str | None,
    typer.Option(
        "--kind", help="Masks of a CTC folder: TRA, SEG or ST.  [default: the first there is]"
    ),
]
NoReportFlag = Annotated[
    bool, typer.Option("--no-report", help="Leave out the report, an HTML page, at the end.")
]
OverwriteFlag = Annotated[
    bool, typer.Option("--overwrite", help="Replace what an earlier run wrote there.")
]
PresetOfSetFlag = Annotated[
    str | None,
    typer.Option("--preset", help="Name, folder or zip of a preset.  [default: that of SET]"),
]
QuietFlag = Annotated[bool, typer.Option("--quiet", help="Print only the last line.")]
ResumeFlag = Annotated[bool, typer.Option("--resume", help="Go on with an interrupted run.")]
SeedFlag = Annotated[
    int,
    typer.Option("--seed", parser=whole_number, metavar="N", help="Decides everything random."),
]
VoxelSizeFlag = Annotated[
    str | None,
    typer.Option("--voxel-size", metavar="UM", help="Voxel size in µm, z,y,x or one for all."),
]
WorkersFlag = Annotated[
    int | None,
    typer.Option(
        "--workers",
        parser=whole_number,
        metavar="N",
        help="Processes; never changes the result.  [default: one per core]",
    ),
]

M = TypeVar("M")
_DURATION = re.compile(r"([0-9]+(?:\.[0-9]+)?)(s|m|h)")
_SECONDS = {"s": 1, "m": 60, "h": 3600}
_MASK_ENDINGS = {".tif", ".tiff", ".ome", ".zarr"}


def judged(model: type[M], verb: str, values: Mapping[str, Any]) -> M:
    """``values`` of the flags of ``verb`` as a ``model``, whose fields are named as the flags.

    Raises:
        InputError: One line with every fault, ``generate: --count must be at least 1, got 0``.
    """
    from cellsynth.presets.judge import judge

    flags = {f"--{name.replace('_', '-')}": value for name, value in values.items()}
    found: M = judge(model, flags, verb, InputError)  # type: ignore[type-var]
    return found


def judged_comparison(
    verb: str,
    against: Path | None,
    *,
    voxel_size: str | None,
    against_voxel_size: str | None,
    kind: str | None,
    against_kind: str | None,
    workers: int | None,
) -> EvaluateFlags:
    """What ``verb`` measures, and what it compares that with.

    Raises:
        InputError: As :func:`judged`; or flags of ``--against`` without that.
    """
    from cellsynth.cli.models import EvaluateFlags

    flags = judged(
        EvaluateFlags,
        verb,
        {
            "voxel_size": parse_voxel_size(voxel_size),
            "against_voxel_size": parse_voxel_size(against_voxel_size, flag="--against-voxel-size"),
            "kind": kind,
            "against_kind": against_kind,
            "workers": workers,
        },
    )
    if against is None and (flags.against_voxel_size or flags.against_kind):
        raise InputError("--against-voxel-size and --against-kind are of --against; give that too")
    return flags


def exclude(first: str, second: str, both: bool) -> None:
    """Raise InputError where ``both`` of two flags are given."""
    if both:
        raise InputError(f"{first} and {second} exclude each other; give one of them")


def grid_of(bundle: Bundle, res: Index, voxel_size_um: Triple | None) -> Grid:
    """Voxels over a preset's Ω: ``res`` along each side, or of the size given, ``(z, y, x)``."""
    from cellsynth.geometry import Grid

    if voxel_size_um is not None:
        return Grid.from_voxel_size(voxel_size_um, bundle.preset.scale.half_extent_um)
    return Grid.over_omega(res)


def parse_numbers(flag: str, text: str, kind: type[int] | type[float], example: str) -> Any:
    """Three numbers of ``kind`` from ``a,b,c``, or three times the same from ``a``.

    Raises:
        InputError: ``text`` is neither.
    """
    try:
        numbers = [kind(part) for part in text.split(",")]
    except ValueError:
        numbers = []
    if len(numbers) not in {1, 3}:
        raise InputError(f"{flag} must be one number or three such as {example}, got {text!r}")
    return tuple(numbers * (3 // len(numbers)))


def parse_voxel_size(
    text: str | None, example: str = "1.0,0.09,0.09", flag: str = "--voxel-size"
) -> Any:
    """Three sizes from the text of ``flag``; None where it was not given."""
    return None if text is None else parse_numbers(flag, text, float, example)


def parse_duration_s(flag: str, text: str) -> float:
    """Seconds from ``90s``, ``20m`` or ``1.5h``.

    Raises:
        InputError: ``text`` is no such duration, or is zero.
    """
    match = _DURATION.fullmatch(text.strip())
    seconds = float(match[1]) * _SECONDS[match[2]] if match else 0.0
    if not seconds:
        raise InputError(f"{flag} must be a time such as 90s, 20m or 1.5h, got {text!r}")
    return seconds


def slug(path: Path) -> str:
    """A preset's name made of a file's or folder's: small letters, digits, ``-`` and ``_``."""
    name = path.resolve()
    while name.suffix.lower() in _MASK_ENDINGS:
        name = name.with_suffix("")
    return re.sub(r"[^a-z0-9_]+", "-", name.name.lower()).strip("-_")[:64]
