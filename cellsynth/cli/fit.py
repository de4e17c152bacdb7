"""``cellsynth fit``: which code and rotation of a preset describe new cells."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from cellsynth.cli.console import Printer, Progress, interruptible, quoted
from cellsynth.cli.flags import (
    DeviceFlag,
    FrameIntervalFlag,
    KindFlag,
    OverwriteFlag,
    QuietFlag,
    SeedFlag,
    VoxelSizeFlag,
    judged,
    parse_voxel_size,
    slug,
    whole_number,
)

if TYPE_CHECKING:
    from cellsynth.training.fitting import FitSummary

__all__ = ["fit"]

# Cells and left-out tracks that are named one by one.
NAMED = 20
STAGES = {
    "read": "reading masks",
    "distances": "measuring distances",
    "points": "drawing points",
    "fit": "fitting",
    "evaluate": "evaluating",
}


def fit(
    data: Annotated[
        Path, typer.Argument(help="Masks: a CTC folder, TIFF stacks, Zarr or OME-Zarr.")
    ],
    preset: Annotated[str, typer.Option(help="Name, folder or zip of a preset.")],
    out: Annotated[
        Path | None, typer.Option(help="JSON file of the result.  [default: made of DATA's name]")
    ] = None,
    starts: Annotated[
        int,
        typer.Option(
            parser=whole_number, metavar="N", help="Rotations to try, with each learned code."
        ),
    ] = 24,
    steps: Annotated[
        int,
        typer.Option(
            parser=whole_number, metavar="N", help="Steps of the last refinement, at most."
        ),
    ] = 20,
    rotate: Annotated[
        bool, typer.Option("--rotate/--as-it-lies", help="Whether to look for the rotation.")
    ] = True,
    voxel_size: VoxelSizeFlag = None,
    frame_interval: FrameIntervalFlag = None,
    kind: KindFlag = None,
    seed: SeedFlag = 0,
    device: DeviceFlag = "auto",
    overwrite: OverwriteFlag = False,
    quiet: QuietFlag = False,
) -> None:
    """Find code and rotation of new cells, with the preset's weights fixed.

    cellsynth fit DATA --preset celegans
    """
    from cellsynth.cli.models import FitFlags
    from cellsynth.presets.catalogue import find_preset

    flags = judged(
        FitFlags,
        "fit",
        {
            "starts": starts,
            "steps": steps,
            "voxel_size": parse_voxel_size(voxel_size),
            "frame_interval": frame_interval,
            "kind": kind,
            "seed": seed,
        },
    )
    bundle = find_preset(preset)
    out = out or Path(f"{slug(data) or 'cells'}-fit.json")

    from cellsynth.field.model import CellModel, pick_device
    from cellsynth.training import fitting

    fitting.check_fits_free(out, overwrite=overwrite)
    options = fitting.FitOptions(
        starts=flags.starts, steps=flags.steps, rotate=rotate, seed=flags.seed
    )
    model = CellModel.from_bundle(bundle, pick_device(device))
    stopped = "nothing is left behind; run it again"
    with Progress(quiet) as progress, interruptible(lambda: stopped):
        summary = fitting.fit_masks(
            model,
            data,
            options,
            voxel_size_um=flags.voxel_size,
            frame_interval_s=flags.frame_interval,
            kind=flags.kind,
            on_event=lambda event: progress.update(STAGES[event.stage], event.done, event.total),
        )
        fitting.write_fits(out, summary, bundle, options, overwrite=overwrite)
    printer = Printer(quiet)
    _print_summary(printer, summary)
    count = len(summary.cells)
    printer.last(
        f"wrote code and rotation of {count} cell{'s' * (count != 1)} to {quoted(out)}; "
        f"next: cellsynth generate --preset {preset}"
    )


def _print_summary(printer: Printer, summary: FitSummary) -> None:
    for entry in summary.left_out[:NAMED]:
        printer.note(f"left out: {entry}")
    if len(summary.left_out) > NAMED:
        printer.note(f"left out: {len(summary.left_out) - NAMED} more")
    if summary.assumed:
        printer.note(
            f"assumed, since the data do not say: {', '.join(summary.assumed)}; "
            "--voxel-size and --frame-interval tell"
        )
    rows = [
        (cell.name, f"{cell.dsc.mean():.4f}", f"{cell.dsc.min():.4f}")
        for cell in summary.cells[:NAMED]
    ]
    printer.table(rows, head=("CELL", "DSC", "WORST FRAME"))
    if len(summary.cells) > NAMED:
        printer.line(f"{len(summary.cells) - NAMED} more in the file")
