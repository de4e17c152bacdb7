"""``cellsynth texture``: images for a data set of masks."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from cellsynth.cli.console import FrameProgress, Printer, Progress, interruptible, quoted
from cellsynth.cli.ending import report_set_at_the_end
from cellsynth.cli.flags import (
    DeviceFlag,
    NoReportFlag,
    OverwriteFlag,
    PresetOfSetFlag,
    QuietFlag,
    ResumeFlag,
    SeedFlag,
    VoxelSizeFlag,
    WorkersFlag,
    exclude,
    judged,
    parse_voxel_size,
)

if TYPE_CHECKING:
    from cellsynth.texture.dataset import Summary

__all__ = ["texture"]


def texture(
    folder: Annotated[Path, typer.Argument(metavar="SET", help="Masks, with 01_GT/TRA in it.")],
    out: Annotated[
        Path | None,
        typer.Option(help="Folder of the images.  [default: SET-mip, or SET itself for 3d]"),
    ] = None,
    mode: Annotated[
        str | None,
        typer.Option(
            help="mip, a set of maximum projections; 3d, images of SET.  [default: the texture's]"
        ),
    ] = None,
    engine: Annotated[
        str, typer.Option(help="gan, the preset's texture; optics, a simulated microscope.")
    ] = "gan",
    profile: Annotated[
        str | None,
        typer.Option(
            help="Name or TOML file of a microscope, for optics.  [default: the preset's]"
        ),
    ] = None,
    preset: PresetOfSetFlag = None,
    voxel_size: VoxelSizeFlag = None,
    seed: SeedFlag = 0,
    workers: WorkersFlag = None,
    device: DeviceFlag = "auto",
    resume: ResumeFlag = False,
    overwrite: OverwriteFlag = False,
    no_report: NoReportFlag = False,
    quiet: QuietFlag = False,
) -> None:
    """Give a data set of masks images as a microscope would take them.

    cellsynth texture celegans-384
    """
    from cellsynth.cli.models import TextureFlags

    exclude("--resume", "--overwrite", resume and overwrite)
    flags = judged(
        TextureFlags,
        "texture",
        {
            "mode": mode,
            "engine": engine,
            "voxel_size": parse_voxel_size(voxel_size),
            "seed": seed,
            "workers": workers,
        },
    )
    from cellsynth.field.model import pick_device
    from cellsynth.formats.ctc import read_ctc
    from cellsynth.presets.catalogue import find_preset
    from cellsynth.texture import dataset

    total = sum(sequence.n_frames for sequence in read_ctc(folder, "TRA"))
    bundle = find_preset(preset) if preset else dataset.preset_of(folder)
    options = dataset.TextureOptions(
        mode=flags.mode,
        engine=flags.engine,
        profile=profile,
        seed=flags.seed,
        voxel_size_um=flags.voxel_size,
    )
    printer = Printer(quiet)
    again = "the same command with --resume goes on from the last whole sequence, if there is one"
    with Progress(quiet) as progress, interruptible(lambda: again):
        shown = FrameProgress(progress, "texturing", total)
        summary = dataset.texture_dataset(
            folder,
            options,
            bundle=bundle,
            out=out,
            workers=flags.workers,
            device=pick_device(device),
            resume=resume,
            overwrite=overwrite,
            on_event=shown.event,
        )
    if not no_report:
        report_set_at_the_end(
            summary.out, made=summary.made, workers=flags.workers, printer=printer, quiet=quiet
        )
    printer.last(_told(summary))


def _told(summary: Summary) -> str:
    images = (
        f"{summary.sequences} sequence{'s' * (summary.sequences != 1)}, {summary.frames} images"
    )
    return (
        f"{'wrote' if summary.made else 'nothing to do:'} {images}"
        f" {'to' if summary.made else 'lie in'} {quoted(summary.out)}; "
        f"next: cellsynth validate {quoted(summary.out)}"
    )
