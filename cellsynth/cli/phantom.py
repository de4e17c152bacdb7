"""``cellsynth phantom``: procedural, labelled cells in motion to try things with."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from cellsynth.cli.console import Printer, Progress, interruptible, quoted
from cellsynth.cli.flags import (
    OverwriteFlag,
    QuietFlag,
    SeedFlag,
    VoxelSizeFlag,
    judged,
    parse_voxel_size,
    whole_number,
)

__all__ = ["phantom"]


def phantom(
    kind: Annotated[str, typer.Argument(help="What to make: celegans, platynereis or a549.")],
    out: Annotated[Path, typer.Option(help="Folder of the masks.")],
    count: Annotated[
        int, typer.Option(parser=whole_number, metavar="N", help="How many sequences.")
    ] = 33,
    frames: Annotated[
        int, typer.Option(parser=whole_number, metavar="N", help="Frames of a sequence.")
    ] = 30,
    voxel_size: VoxelSizeFlag = None,
    seed: SeedFlag = 0,
    lineage: Annotated[
        Path | None,
        typer.Option(help="StarryNite or AceTree table (CSV) whose real divisions are modelled."),
    ] = None,
    overwrite: OverwriteFlag = False,
    quiet: QuietFlag = False,
) -> None:
    """Make labelled phantoms as a Cell Tracking Challenge mask set.

    celegans: dividing nuclei. platynereis: growing cells that deform fast. a549: a blebbing body
    with growing, branching filopodia.

    cellsynth phantom celegans --out phantoms
    """
    from cellsynth.cli.models import PhantomFlags

    flags = judged(
        PhantomFlags,
        "phantom",
        {
            "count": count,
            "frames": frames,
            "voxel_size": parse_voxel_size(voxel_size, "0.2,0.1,0.1"),
            "seed": seed,
        },
    )
    from cellsynth.shapes.phantoms import write_phantom

    stopped = "nothing is left behind; run it again"
    with Progress(quiet) as progress, interruptible(lambda: stopped):
        folder = write_phantom(
            kind,
            out,
            count=flags.count,
            frames=flags.frames,
            voxel_size_um=flags.voxel_size,
            seed=flags.seed,
            lineage=lineage,
            overwrite=overwrite,
            on_progress=lambda done, total: progress.update("making phantoms", done, total),
        )
    Printer(quiet).last(
        f"wrote {flags.count} sequence{'s' * (flags.count != 1)} of {flags.frames} frames to "
        f"{quoted(folder)}; next: cellsynth train-preset {quoted(folder)}"
    )
