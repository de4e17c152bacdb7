"""``cellsynth evaluate``: how large, round and whole the cells of a data set are."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from cellsynth.cli.console import Printer, Progress, interruptible, quoted
from cellsynth.cli.flags import (
    AgainstFlag,
    AgainstKindFlag,
    AgainstVoxelSizeFlag,
    KindFlag,
    OverwriteFlag,
    QuietFlag,
    VoxelSizeFlag,
    WorkersFlag,
    judged_comparison,
)

if TYPE_CHECKING:
    from cellsynth.evaluation.models import Descriptor, Evaluation, Overall, SetMeasures

__all__ = ["evaluate"]

STDOUT = "-"
DESCRIPTIONS: dict[Descriptor, str] = {
    "volume_um3": "volume, µm³",
    "surface_um2": "surface, µm²",
    "sphericity_wadell": "sphericity, π^⅓(6V)^⅔/S",
    "sphericity_paper": "sphericity, 36πV²/S³",
}
TOPOLOGY = {
    "bodies": "cells, every frame",
    "in_pieces": "  in several pieces",
    "with_handles": "  with a handle",
    "with_voids": "  with a void",
    "at_border": "  cut by the border",
}


def evaluate(
    folder: Annotated[Path, typer.Argument(metavar="SET", help="Masks, with 01_GT in it.")],
    against: AgainstFlag = None,
    json: Annotated[
        str | None,
        typer.Option(metavar="FILE", help="Write every figure there as JSON; - is stdout."),
    ] = None,
    overlap: Annotated[
        bool,
        typer.Option(
            "--overlap/--no-overlap",
            help="Compare cells of the same sequence, frame and label, if SET and REAL lie on one "
            "grid.",
        ),
    ] = True,
    voxel_size: VoxelSizeFlag = None,
    against_voxel_size: AgainstVoxelSizeFlag = None,
    kind: KindFlag = None,
    against_kind: AgainstKindFlag = None,
    workers: WorkersFlag = None,
    overwrite: OverwriteFlag = False,
    quiet: QuietFlag = False,
) -> None:
    """Measure every cell of a data set: volume, surface, sphericity, pieces and holes.

    cellsynth evaluate celegans-384 --against my-masks --json celegans-384.json
    """
    flags = judged_comparison(
        "evaluate",
        against,
        voxel_size=voxel_size,
        against_voxel_size=against_voxel_size,
        kind=kind,
        against_kind=against_kind,
        workers=workers,
    )
    out = None if json in {None, STDOUT} else Path(str(json))

    from cellsynth.evaluation.dataset import EvaluateOptions, evaluate_dataset
    from cellsynth.evaluation.files import check_target, write_evaluation

    if out is not None:
        check_target(out, overwrite=overwrite)
    options = EvaluateOptions(
        voxel_size_um=flags.voxel_size,
        against_voxel_size_um=flags.against_voxel_size,
        kind=flags.kind,
        against_kind=flags.against_kind,
        overlap=overlap,
    )
    with Progress(quiet) as progress, interruptible(lambda: "the data set was only read"):
        found = evaluate_dataset(
            folder,
            options,
            against=against,
            workers=flags.workers,
            on_progress=lambda done, total: progress.update("measuring", done, total),
        )
    if json == STDOUT:
        typer.echo(found.model_dump_json())
        return
    printer = Printer(quiet)
    _print(printer, found)
    what = f"{_counted(found.of)} of {quoted(folder)}"
    if out is None:
        printer.last(
            f"measured {what}; next: cellsynth evaluate {quoted(folder)} --json FILE keeps "
            "every figure"
        )
    else:
        write_evaluation(out, found)
        printer.last(f"measured {what}, every figure is in {quoted(out)}")


def _print(printer: Printer, found: Evaluation) -> None:
    sets = [found.of] if found.against is None else [found.of, found.against]
    tests = {}
    head = ["", *(one.name for one in sets)]
    if found.samples is not None:
        tests = {d.descriptor: d.tests for d in found.samples.distributions}
        head += ["p exchanged", "p per family", "p worst frame", "p pooled"]
    rows = []
    for key, name in DESCRIPTIONS.items():
        row = [name, *(_mean_sd(one.overall[key]) for one in sets)]
        if key in tests:
            four = tests[key]
            shown = (four.exchanged, four.per_family, four.worst_frame, four.pooled)
            row += ["" if test is None else _p(test.p) for test in shown]
        rows.append(row)
    rows.append(["independent samples", *(_families(one) for one in sets)])
    for count, name in TOPOLOGY.items():
        rows.append([name, *(str(getattr(one.topology, count)) for one in sets)])
    printer.table([row + [""] * (len(head) - len(row)) for row in rows], head)
    if found.samples is not None:
        printer.line("Trust p exchanged; frames of one cell are no independent samples.")
    sizes = [_sizes(one) for one in sets]
    if len(set(sizes)) > 1:
        printer.note(
            f"Voxels of {sizes[0]} and {sizes[1]} µm: surfaces of small cells differ by that alone."
        )
    if found.overlap is not None and found.overlap.pairs:
        o = found.overlap
        printer.line(
            f"{o.pairs} cells of the same sequence, frame and label: DSC {o.dsc_mean:.4f} "
            f"(worst {o.dsc_min:.4f}), surfaces {o.distance_mean_um:.4g} µm apart "
            f"(95 % within {o.distance_p95_um:.4g} µm)"
        )
        printer.line("--no-overlap leaves this out where they are not meant to be the same cells.")


def _mean_sd(overall: Overall) -> str:
    if overall.mean is None:
        return "no whole cell"
    return f"{overall.mean:.4g} ± {overall.sd:.3g}"


def _sizes(one: SetMeasures) -> str:
    sizes = sorted({sequence.voxel_size_um for sequence in one.sequences})
    return " or ".join(" × ".join(f"{side:.3g}" for side in size) for size in sizes)


def _p(p: float) -> str:
    return f"{p:.3f}" if p >= 0.001 else "<0.001"


def _families(one: SetMeasures) -> str:
    n = max(overall.families for overall in one.overall.values())
    return f"{n} {'families' if n != 1 else 'family'}"


def _counted(one: SetMeasures) -> str:
    n, frames = len(one.sequences), sum(sequence.frames for sequence in one.sequences)
    return f"{n} sequence{'s' * (n != 1)}, {frames} frame{'s' * (frames != 1)}"
