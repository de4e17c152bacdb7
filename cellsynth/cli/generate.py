"""``cellsynth generate``: new cells of a preset, as Cell Tracking Challenge set or OME-Zarr."""

from __future__ import annotations

import math
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from cellsynth.cli.console import FrameProgress, Printer, Progress, interruptible, quoted
from cellsynth.cli.ending import report_set_at_the_end
from cellsynth.cli.flags import (
    DeviceFlag,
    NoReportFlag,
    OverwriteFlag,
    QuietFlag,
    ResumeFlag,
    SeedFlag,
    VoxelSizeFlag,
    WorkersFlag,
    exclude,
    grid_of,
    judged,
    parse_numbers,
    parse_voxel_size,
    whole_number,
)
from cellsynth.errors import InputError

if TYPE_CHECKING:
    from cellsynth.cli.models import GenerateFlags
    from cellsynth.presets.bundle import Bundle
    from cellsynth.rendering.dataset import GenerateOptions, Summary

__all__ = ["generate"]

DEFAULT_RES = (128, 128, 128)


def generate(
    preset: Annotated[str, typer.Option(help="Name, folder or zip of a preset.")],
    count: Annotated[
        int, typer.Option(parser=whole_number, metavar="N", help="How many sequences.")
    ] = 1,
    res: Annotated[
        str | None,
        typer.Option(metavar="N", help="Voxels per axis, z,y,x or one for all.  [default: 128]"),
    ] = None,
    voxel_size: VoxelSizeFlag = None,
    frames: Annotated[
        int | None,
        typer.Option(
            parser=whole_number, metavar="N", help="Frames of a sequence.  [default: the preset's]"
        ),
    ] = None,
    rotation: Annotated[
        str, typer.Option(help="random, none, or Euler angles XYZ in degrees: a,b,c.")
    ] = "random",
    strategy: Annotated[
        str | None,
        typer.Option(help="gaussian, neighbourhood, mixture or kernel.  [default: the preset's]"),
    ] = None,
    layout: Annotated[
        str,
        typer.Option(
            "--format", help="ctc, folders of TIFF files; ome-zarr, an OME-Zarr a sequence."
        ),
    ] = "ctc",
    seed: SeedFlag = 0,
    out: Annotated[
        Path | None,
        typer.Option(help="Folder of the data set.  [default: made of preset and size]"),
    ] = None,
    workers: WorkersFlag = None,
    dense: Annotated[
        bool, typer.Option("--dense", help="Ask the field at every voxel; the same, but slow.")
    ] = False,
    device: DeviceFlag = "auto",
    resume: ResumeFlag = False,
    overwrite: OverwriteFlag = False,
    no_report: NoReportFlag = False,
    quiet: QuietFlag = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Say what would be made, and make nothing.")
    ] = False,
) -> None:
    """Generate new cells as a Cell Tracking Challenge data set.

    cellsynth generate --preset celegans --count 33 --res 384
    """
    from cellsynth.cli.models import GenerateFlags
    from cellsynth.presets.catalogue import find_preset

    exclude("--res", "--voxel-size", res is not None and voxel_size is not None)
    exclude("--resume", "--overwrite", resume and overwrite)
    flags = judged(
        GenerateFlags,
        "generate",
        {
            "count": count,
            "res": None if res is None else parse_numbers("--res", res, int, "64,512,512"),
            "voxel_size": parse_voxel_size(voxel_size),
            "frames": frames,
            "rotation": _rotation(rotation),
            "strategy": strategy,
            "format": layout,
            "seed": seed,
            "workers": workers,
        },
    )
    bundle = find_preset(preset)
    out = out or Path(_default_name(bundle.preset.name, flags))

    from cellsynth.field.model import pick_device
    from cellsynth.rendering import dataset

    device = pick_device(device)
    options = dataset.GenerateOptions(
        grid=grid_of(bundle, flags.res or DEFAULT_RES, flags.voxel_size),
        n_frames=flags.frames or bundle.preset.scale.n_frames,
        rotation=_radians(flags.rotation),
        strategy=flags.strategy,
        seed=flags.seed,
        dense=dense,
        format=flags.format,
    )
    printer = Printer(quiet)
    if dry_run:
        _print_plan(printer, bundle, options, flags, out)
        return
    with Progress(quiet) as progress, interruptible(lambda: _whole(out, flags.count)):
        finished = _finished(out, count, resume) * options.n_frames
        total = flags.count * options.n_frames
        shown = FrameProgress(progress, "generating", total, "drawn again", finished=finished)
        summary = dataset.generate(
            bundle,
            out,
            options,
            count=flags.count,
            workers=flags.workers,
            device=device,
            resume=resume,
            overwrite=overwrite,
            on_event=shown.event,
        )
    if not no_report:
        report_set_at_the_end(
            out, made=summary.made, workers=flags.workers, printer=printer, quiet=quiet
        )
    printer.last(_told(summary, options))


def _rotation(text: str) -> Any:
    if text in {"random", "none"}:
        return text
    try:
        a, b, c = (float(part) for part in text.split(","))
    except ValueError:
        raise InputError(
            f"--rotation must be random, none or three angles in degrees such as 0,90,45, "
            f"got {text!r}"
        ) from None
    return (a, b, c)


def _radians(rotation: Any) -> Any:
    return rotation if isinstance(rotation, str) else tuple(map(math.radians, rotation))


def _default_name(preset: str, flags: GenerateFlags) -> str:
    sides, unit = (flags.voxel_size, "um") if flags.voxel_size else (flags.res or DEFAULT_RES, "")
    one = len(set(sides)) == 1
    return f"{preset}-{'x'.join(map(str, sides[:1] if one else sides))}{unit}"


def _finished(out: Path, count: int, resume: bool) -> int:
    """Sequences of the first ``count`` that lie in ``out`` already."""
    from cellsynth.formats.manifest import find_manifest

    found = find_manifest(out) if resume else None
    return sum(int(name) <= count for name in found["sequences"]) if found else 0


def _whole(out: Path, count: int) -> str:
    finished = _finished(out, count, resume=True)
    if not finished:
        return "no sequence was whole yet, nothing is left behind; run it again"
    return (
        f"{finished} of {count} sequences are whole in {quoted(out)}; "
        "the same command with --resume goes on"
    )


def _told(summary: Summary, options: GenerateOptions) -> str:
    sequences = f"{summary.sequences} sequence{'s' * (summary.sequences != 1)}"
    sequences += f" of {options.n_frames} frames"
    draws = summary.sequences + summary.refused
    refused = ""
    if summary.refused:
        share = summary.refused / draws
        refused = f" ({summary.refused} of {draws} draws refused for their topology, {share:.0%})"
    then = f"cellsynth validate {quoted(summary.out)}"
    if options.format == "ome-zarr":
        then = f"napari {quoted(summary.out / '01.ome.zarr')}"
    return (
        f"{'wrote' if summary.made else 'nothing to do:'} {sequences}"
        f" {'to' if summary.made else 'lie in'} {quoted(summary.out)}{refused}; next: {then}"
    )


def _print_plan(
    printer: Printer, bundle: Bundle, options: GenerateOptions, flags: GenerateFlags, out: Path
) -> None:
    scale = bundle.preset.scale
    voxel = options.grid.voxel_size_um(scale.half_extent_um)
    interval = options.frame_interval_s(scale.n_frames, scale.frame_interval_s)
    free = not out.exists() or (out.is_dir() and not any(out.iterdir()))
    rotation = flags.rotation
    printer.table(
        [
            ("preset", f"{bundle.preset.name} ({bundle.folder})"),
            ("sequences", f"{flags.count}"),
            ("grid", f"{' × '.join(map(str, options.grid.shape))} voxels (z, y, x)"),
            ("voxel size", f"{' × '.join(f'{size:.4g}' for size in voxel)} µm (z, y, x)"),
            ("frames", f"{options.n_frames}"),
            ("frame interval", "unknown" if interval is None else f"{interval:.4g} s"),
            (
                "rotation",
                rotation
                if isinstance(rotation, str)
                else f"{', '.join(f'{a:g}' for a in rotation)} degrees, Euler XYZ",
            ),
            ("strategy", options.strategy or bundle.preset.sampling.strategy),
            ("format", options.format),
            ("folder", f"{out} ({'free' if free else 'holds something already'})"),
        ]
    )
    printer.last("nothing was written; leave out --dry-run to generate")
