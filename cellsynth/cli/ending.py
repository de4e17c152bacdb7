"""The report that longer commands write once all else is done."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

from cellsynth.cli.console import Printer, Progress, interruptible, quoted
from cellsynth.errors import CellsynthError

__all__ = ["report_preset_at_the_end", "report_set_at_the_end"]


def report_set_at_the_end(
    out: Path, *, made: int, workers: int | None, printer: Printer, quiet: bool
) -> None:
    """Write the brief report of a set into it; a fault is told, and the set stays as it is.

    Args:
        out: The set.
        made: Sequences made now; where it is 0, a report that is up to date stays.
        workers: Processes that measure.
        printer: Tells where it is.
        quiet: Show no progress.
    """
    from cellsynth.report.dataset import default_report, report_dataset, set_digest
    from cellsynth.report.files import report_is_of
    from cellsynth.report.options import ReportOptions

    target = default_report(out)
    if not made and report_is_of(target, set_digest(out)):
        return
    write = partial(report_dataset, out, ReportOptions(brief=True), out=target, workers=workers)
    _report(out, target, write, printer, quiet)


def report_preset_at_the_end(folder: Path, *, device: str, printer: Printer, quiet: bool) -> None:
    """Write the report of a preset beside it; a fault is told, and the preset stays as it is."""
    from cellsynth.presets.bundle import read_bundle
    from cellsynth.report.preset import preset_report_path, report_preset

    target = preset_report_path(folder)

    def write(**told: Any) -> None:
        report_preset(read_bundle(folder), out=target, device=device, **told)

    _report(folder, target, write, printer, quiet)


def _report(
    folder: Path, target: Path, write: Callable[..., object], printer: Printer, quiet: bool
) -> None:
    later = f"{quoted(folder)} is whole; next: cellsynth report {quoted(folder)}"
    try:
        with Progress(quiet) as progress, interruptible(lambda: later):
            write(
                on_progress=lambda stage, done, total: progress.update(
                    f"report: {stage}", done, total
                )
            )
    except CellsynthError as error:
        printer.note(f"no report: {error}")
    else:
        printer.line(f"report: {quoted(target)}, for a browser")
