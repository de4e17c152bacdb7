"""``cellsynth export``: a data set in the formats of other programs."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from cellsynth.cli.console import FrameProgress, Printer, Progress, interruptible, quoted
from cellsynth.cli.flags import (
    DeviceFlag,
    FrameIntervalFlag,
    OverwriteFlag,
    QuietFlag,
    ResumeFlag,
    VoxelSizeFlag,
    WorkersFlag,
    exclude,
    judged,
    parse_voxel_size,
    whole_number,
)
from cellsynth.errors import InputError

if TYPE_CHECKING:
    from cellsynth.cli.models import ExportFlags
    from cellsynth.formats.exporting import ExportSummary

__all__ = ["export"]


def export(
    folder: Annotated[Path, typer.Argument(metavar="SET", help="Masks, with 01_GT/TRA in it.")],
    to: Annotated[str, typer.Option(help="ome-zarr, geff, mesh or tiff-stack.")],
    out: Annotated[
        Path | None, typer.Option(help="Folder to write to.  [default: SET and the format]")
    ] = None,
    mesh_format: Annotated[
        str | None, typer.Option(help="Of meshes: ply, obj or glb.  [default: ply]")
    ] = None,
    surface: Annotated[
        str | None,
        typer.Option(
            help="Of meshes: field, of the preset; mask.  [default: field, where SET has one]"
        ),
    ] = None,
    res: Annotated[
        int | None,
        typer.Option(
            parser=whole_number,
            metavar="N",
            help="Of meshes: points of the field along each side of a cell's space.  "
            "[default: 128]",
        ),
    ] = None,
    preset: Annotated[
        str | None,
        typer.Option(help="Of meshes: name, folder or zip of a preset.  [default: that of SET]"),
    ] = None,
    voxel_size: VoxelSizeFlag = None,
    frame_interval: FrameIntervalFlag = None,
    workers: WorkersFlag = None,
    device: DeviceFlag = "auto",
    resume: ResumeFlag = False,
    overwrite: OverwriteFlag = False,
    quiet: QuietFlag = False,
) -> None:
    """Write a data set as OME-Zarr, lineage graphs (GEFF), meshes or TIFF stacks.

    cellsynth export celegans-384 --to ome-zarr
    """
    from cellsynth.cli.models import ExportFlags

    exclude("--resume", "--overwrite", resume and overwrite)
    of_meshes = {
        "--mesh-format": mesh_format,
        "--surface": surface,
        "--res": res,
        "--preset": preset,
    }
    for flag, value in of_meshes.items():
        if value is not None and to != "mesh":
            raise InputError(f"{flag} is of meshes; give it with --to mesh, not --to {to}")
    flags = judged(
        ExportFlags,
        "export",
        {
            "to": to,
            "mesh_format": mesh_format,
            "surface": surface,
            "res": res,
            "voxel_size": parse_voxel_size(voxel_size),
            "frame_interval": frame_interval,
            "workers": workers,
        },
    )
    out = out or _beside(folder, flags.to)

    from cellsynth.formats.ctc import read_ctc

    printer = Printer(quiet)
    total = sum(sequence.n_frames for sequence in read_ctc(folder, "TRA"))
    again = "the same command with --resume goes on from the last whole sequence, if there is one"
    with Progress(quiet) as progress, interruptible(lambda: again):
        shown = FrameProgress(progress, "exporting", total)
        given: dict[str, Any] = {
            "voxel_size_um": flags.voxel_size,
            "frame_interval_s": flags.frame_interval,
            "resume": resume,
            "overwrite": overwrite,
            "on_event": shown.event,
        }
        summary = (
            _meshes(folder, out, flags, preset, device, given)
            if flags.to == "mesh"
            else _others(folder, out, flags, given)
        )
    printer.last(_told(summary, flags))


def _others(folder: Path, out: Path, flags: ExportFlags, given: dict[str, Any]) -> ExportSummary:
    from cellsynth.formats import exports

    assert flags.to != "mesh"
    return exports.export_dataset(folder, out, flags.to, workers=flags.workers, **given)


def _meshes(
    folder: Path,
    out: Path,
    flags: ExportFlags,
    preset: str | None,
    device: str,
    given: dict[str, Any],
) -> ExportSummary:
    from cellsynth.field.model import pick_device
    from cellsynth.presets.catalogue import find_preset, preset_of
    from cellsynth.rendering import meshes

    bundle = None
    if flags.surface != "mask":
        bundle = find_preset(preset) if preset else preset_of(folder)
    return meshes.export_meshes(
        folder,
        out,
        meshes.MeshOptions(flags.mesh_format or "ply", flags.surface, flags.res),
        bundle=bundle,
        device=pick_device(device),
        workers=flags.workers,
        **given,
    )


def _beside(folder: Path, to: str) -> Path:
    """A folder beside the set, named after it and the format."""
    named = folder if folder.name else folder.resolve()
    return named.with_name(f"{named.name}-{to}")


_NEXT = {
    "ome-zarr": "napari {}/01.ome.zarr",
    "geff": "geff validate {}/01.geff",
    "mesh": "open {}/01 in Blender or MeshLab",
    "tiff-stack": "open {}/masks/01.tif in Fiji",
}


def _told(summary: ExportSummary, flags: ExportFlags) -> str:
    what = f"{summary.sequences} sequence{'s' * (summary.sequences != 1)}, {summary.frames} frames"
    return (
        f"{'wrote' if summary.made else 'nothing to do:'} {what}"
        f" {'to' if summary.made else 'lie in'} {quoted(summary.out)}; "
        f"next: {_NEXT[flags.to].format(quoted(summary.out))}"
    )
