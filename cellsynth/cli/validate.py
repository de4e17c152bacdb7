"""``cellsynth validate``: every fault of a Cell Tracking Challenge data set."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from cellsynth.cli.console import Printer, Progress, interruptible, print_error, quoted
from cellsynth.cli.flags import QuietFlag

__all__ = ["validate"]


def validate(
    folder: Annotated[Path, typer.Argument(help="A data set, with 01_GT and so on in it.")],
    quiet: QuietFlag = False,
) -> None:
    """Check a data set against every rule of the Cell Tracking Challenge format.

    cellsynth validate celegans-384
    """
    from cellsynth.formats.ctc_validate import count_frames, validate_ctc

    printer = Printer(quiet)
    with Progress(quiet) as progress, interruptible(lambda: "the data set was only read"):
        faults = validate_ctc(
            folder, on_progress=lambda done, total: progress.update("checking", done, total)
        )
    for fault in faults:
        printer.line(str(fault), "red")
    if faults:
        n = sum(fault.count for fault in faults)
        print_error(f"{quoted(folder)}: {n} fault{'s' * (n != 1)}")
        raise typer.Exit(1)
    frames = count_frames(folder)
    printer.last(
        f"valid: {len(frames)} sequence{'s' * (len(frames) != 1)}, {sum(frames.values())} frames",
        "green",
    )
