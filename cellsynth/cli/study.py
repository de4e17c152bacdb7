"""``cellsynth study``: the paper's experiments, one a name."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from cellsynth.cli.console import Printer, Progress, interruptible, quoted, resuming
from cellsynth.cli.flags import (
    DeviceFlag,
    OverwriteFlag,
    QuietFlag,
    ResumeFlag,
    SeedFlag,
    exclude,
    judged,
    whole_number,
)
from cellsynth.errors import InputError

if TYPE_CHECKING:
    from cellsynth.studies.results import StudyResult
    from cellsynth.studies.study import StudyEvent

__all__ = ["study"]


def study(
    name: Annotated[
        str | None, typer.Argument(help="Name of the study; --list tells which there are.")
    ] = None,
    scale: Annotated[
        str, typer.Option(help="small, which takes minutes, or paper, which takes days.")
    ] = "small",
    out: Annotated[
        Path | None, typer.Option(help="Folder of the result.  [default: study-NAME]")
    ] = None,
    show_list: Annotated[bool, typer.Option("--list", help="List the studies instead.")] = False,
    threads: Annotated[
        int | None,
        typer.Option(
            parser=whole_number, metavar="N", help="Cores to use at most.  [default: all]"
        ),
    ] = None,
    seed: SeedFlag = 0,
    device: DeviceFlag = "auto",
    resume: ResumeFlag = False,
    overwrite: OverwriteFlag = False,
    keep: Annotated[
        bool, typer.Option("--keep", help="Leave the working folder in place.")
    ] = False,
    quiet: QuietFlag = False,
) -> None:
    """Repeat an experiment of the paper, and set its numbers beside ours.

    cellsynth study compactness
    cellsynth study --list
    """
    from cellsynth.cli.models import StudyFlags
    from cellsynth.studies.catalogue import STUDIES, find_study

    printer = Printer(quiet)
    if show_list:
        if name is not None:
            raise InputError("study: NAME and --list exclude each other; give one of them")
        printer.table(list(STUDIES.items()), ("NAME", "STUDY"))
        printer.last("next: cellsynth study NAME")
        return
    if name is None:
        raise InputError("study: no NAME given; cellsynth study --list tells which there are")
    exclude("--resume", "--overwrite", resume and overwrite)
    flags = judged(StudyFlags, "study", {"scale": scale, "seed": seed, "threads": threads})
    found = find_study(name)

    from cellsynth.field.model import pick_device
    from cellsynth.studies.runner import FIGURE, run_study, study_folder, work_folder

    out = out or study_folder(name)
    device = pick_device(device)
    work = work_folder(out)
    with Progress(quiet) as progress, interruptible(lambda: _whole(work, overwrite)):
        result = run_study(
            found,
            out,
            scale=flags.scale,
            seed=flags.seed,
            threads=flags.threads,
            device=device,
            resume=resume,
            overwrite=overwrite,
            keep=keep,
            on_event=_Shown(progress).event,
        )
    _print(printer, result)
    verdict = "the paper's ordering holds" if result.holds else "the paper's ordering does not hold"
    printer.last(
        f"wrote study {name} to {quoted(out)} ({verdict}); next: look at {quoted(out / FIGURE)}"
    )


class _Shown:
    """Events of a study as progress."""

    def __init__(self, progress: Progress) -> None:
        self._progress = progress

    def event(self, event: StudyEvent) -> None:
        what = f"{event.number}/{event.stages} {event.stage}: {event.what}"
        self._progress.update(what, event.done, event.total, event.note)


def _whole(work: Path, overwrite: bool) -> str:
    if not work.exists():
        return "nothing is left behind; run it again"
    return f"whole stages are kept in {quoted(work)}; {resuming(overwrite)}"


def _print(printer: Printer, result: StudyResult) -> None:
    for table in result.tables:
        printer.line(table.title)
        printer.table(table.rows, table.head)
        printer.line()
    for ordering in result.orderings:
        told = f"{'holds' if ordering.holds else 'does not hold'}: {ordering.claim}"
        (printer.line if ordering.holds else printer.note)(f"{told}; here: {ordering.ours}")
