"""``cellsynth report``: one page that shows a data set and what is known of it."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from cellsynth.cli.console import Printer, Progress, interruptible, quoted
from cellsynth.cli.flags import (
    AgainstFlag,
    AgainstKindFlag,
    AgainstVoxelSizeFlag,
    KindFlag,
    OverwriteFlag,
    PresetOfSetFlag,
    QuietFlag,
    VoxelSizeFlag,
    WorkersFlag,
    exclude,
    judged_comparison,
)
from cellsynth.errors import InputError

__all__ = ["report"]


def report(
    folder: Annotated[
        Path, typer.Argument(metavar="SET", help="A data set, ours or anybody's; or a preset.")
    ],
    against: AgainstFlag = None,
    out: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="File to write.  [default: SET/report.html, or NAME-report.html here; "
            "of a preset, beside it]",
        ),
    ] = None,
    evaluation: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE", help="What evaluate --json wrote, so that nothing is measured twice."
        ),
    ] = None,
    voxel_size: VoxelSizeFlag = None,
    against_voxel_size: AgainstVoxelSizeFlag = None,
    kind: KindFlag = None,
    against_kind: AgainstKindFlag = None,
    preset: PresetOfSetFlag = None,
    workers: WorkersFlag = None,
    overwrite: OverwriteFlag = False,
    quiet: QuietFlag = False,
) -> None:
    """Show a data set in a browser: cells in 3D, projections, measures, lineage, origin.

    cellsynth report celegans-384 --against my-masks
    """
    exclude("--against", "--evaluation", against is not None and evaluation is not None)
    flags = judged_comparison(
        "report",
        against,
        voxel_size=voxel_size,
        against_voxel_size=against_voxel_size,
        kind=kind,
        against_kind=against_kind,
        workers=workers,
    )

    from cellsynth.evaluation.files import read_evaluation
    from cellsynth.presets.bundle import PRESET
    from cellsynth.presets.catalogue import find_preset
    from cellsynth.report import dataset
    from cellsynth.report.options import ReportOptions
    from cellsynth.report.preset import report_preset

    of_preset = (folder / PRESET).is_file() or folder.suffix == ".zip"
    of_sets = {
        "--against": against,
        "--evaluation": evaluation,
        "--voxel-size": voxel_size,
        "--kind": kind,
        "--preset": preset,
        "--workers": workers,
    }
    for flag, value in of_sets.items():
        if value is not None and of_preset:
            raise InputError(f"{flag} is of data sets, and {folder} is a preset; leave it out")

    with Progress(quiet) as progress, interruptible(lambda: "what it is of was only read"):

        def show(stage: str, done: int, total: int) -> None:
            progress.update(stage, done, total)

        if of_preset:
            summary = report_preset(
                find_preset(folder), out=out, overwrite=overwrite, on_progress=show
            )
        else:
            summary = dataset.report_dataset(
                folder,
                ReportOptions(
                    voxel_size_um=flags.voxel_size,
                    against_voxel_size_um=flags.against_voxel_size,
                    kind=flags.kind,
                    against_kind=flags.against_kind,
                ),
                out=out,
                against=against,
                evaluation=None if evaluation is None else read_evaluation(evaluation),
                bundle=None if preset is None else find_preset(preset),
                workers=flags.workers,
                overwrite=overwrite,
                on_progress=show,
            )
    n = summary.sequences
    Printer(quiet).last(
        f"wrote the report of {n} sequence{'s' * (n != 1)} to {quoted(summary.out)}, "
        f"{summary.n_bytes / 1e6:.1f} MB; next: open it in a browser"
    )
