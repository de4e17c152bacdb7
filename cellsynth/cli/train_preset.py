"""``cellsynth train-preset``: from masks of living cells to a preset."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from cellsynth.cli.console import Printer, Progress, interruptible, quoted, resuming
from cellsynth.cli.ending import report_preset_at_the_end
from cellsynth.cli.flags import (
    DeviceFlag,
    FrameIntervalFlag,
    KindFlag,
    NoReportFlag,
    OverwriteFlag,
    QuietFlag,
    ResumeFlag,
    SeedFlag,
    VoxelSizeFlag,
    exclude,
    judged,
    number,
    parse_duration_s,
    parse_voxel_size,
    slug,
    whole_number,
)
from cellsynth.errors import InputError

if TYPE_CHECKING:
    from cellsynth.training.preset import TrainEvent, TrainSummary

__all__ = ["train_preset"]

DEFAULT_BUDGET = "20m"
# Left-out tracks that are named one by one.
NAMED = 20
PASSING = ("--resume", "--overwrite", "--keep", "--no-report", "--quiet")
# Before the training: there is little to lose yet.
PREPARING = ("read", "distances", "points")
STAGES = {
    "read": "reading masks",
    "distances": "measuring distances",
    "points": "drawing points",
    "train": "training",
    "evaluate": "evaluating",
    "judge": "looking at learned cells",
    "calibrate": "calibrating",
}


def train_preset(
    context: typer.Context,
    data: Annotated[
        list[Path],
        typer.Argument(help="Masks: CTC folders, TIFF stacks, (OME-)Zarr or HDF5."),
    ],
    name: Annotated[
        str | None, typer.Option(help="Name of the preset.  [default: made of DATA's]")
    ] = None,
    out: Annotated[
        Path | None, typer.Option(help="Folder of the preset.  [default: its name, here]")
    ] = None,
    budget: Annotated[
        str | None,
        typer.Option(
            metavar="TIME",
            help="Time to train, as 90s, 20m or 1.5h; preparing, measuring and calibrating come on "
            "top.  [default: 20m]",
        ),
    ] = None,
    steps: Annotated[
        int | None,
        typer.Option(parser=whole_number, metavar="N", help="Steps to train, instead of a time."),
    ] = None,
    frames: Annotated[
        int | None,
        typer.Option(
            parser=whole_number, metavar="N", help="Frames of a sequence.  [default: up to 30]"
        ),
    ] = None,
    voxel_size: VoxelSizeFlag = None,
    frame_interval: FrameIntervalFlag = None,
    kind: KindFlag = None,
    orientation: Annotated[
        str, typer.Option(help="Align cells per sequence, per frame, or none.")
    ] = "sequence",
    half_extent: Annotated[
        float | None,
        typer.Option(
            parser=number, metavar="UM", help="Half the side of Ω in µm.  [default: from the data]"
        ),
    ] = None,
    one_size: Annotated[
        bool,
        typer.Option("--one-size", help="Bring the cells of each DATA to the size of the first's."),
    ] = False,
    recipe: Annotated[
        str, typer.Option(help="default, paper, that of a preset, or a TOML file.")
    ] = "default",
    field: Annotated[
        str | None,
        typer.Option(
            help="siren, non-equivariant, deepsdf, that of a preset, or a TOML file.  "
            "[default: siren]"
        ),
    ] = None,
    start: Annotated[
        str | None,
        typer.Option(
            metavar="PRESET", help="Train the field of a preset on, instead of a new one."
        ),
    ] = None,
    title: Annotated[str | None, typer.Option(help="Title, for people.")] = None,
    description: Annotated[str | None, typer.Option(help="What the cells are.")] = None,
    licence: Annotated[
        str, typer.Option(help="Licence of the weights, as an SPDX expression.")
    ] = "LicenseRef-unstated",
    about_data: Annotated[str | None, typer.Option(help="What the data are, in words.")] = None,
    data_licence: Annotated[str, typer.Option(help="Licence of the data.")] = "not stated",
    source: Annotated[str, typer.Option(help="Where the data are published.")] = "not stated",
    limits: Annotated[str | None, typer.Option(help="What the preset cannot claim.")] = None,
    prepared_with: Annotated[
        list[str] | None,
        typer.Option(metavar="COMMAND", help="A command that made DATA, for the card. Repeatable."),
    ] = None,
    evaluate_every: Annotated[
        int,
        typer.Option(
            parser=whole_number,
            metavar="N",
            help="Measure how good every N-th frame is; the last always.",
        ),
    ] = 1,
    seed: SeedFlag = 0,
    device: DeviceFlag = "auto",
    resume: ResumeFlag = False,
    overwrite: OverwriteFlag = False,
    keep: Annotated[
        bool, typer.Option("--keep", help="Leave the working folder in place.")
    ] = False,
    no_report: NoReportFlag = False,
    quiet: QuietFlag = False,
) -> None:
    """Learn a preset from segmentation masks of living cells.

    cellsynth train-preset DATA --name mycells
    """
    from cellsynth.cli.models import TrainFlags
    from cellsynth.presets.catalogue import find_preset
    from cellsynth.presets.fields import find_field
    from cellsynth.presets.recipes import find_recipe

    exclude("--budget", "--steps", budget is not None and steps is not None)
    exclude("--resume", "--overwrite", resume and overwrite)
    exclude("--start", "--field", start is not None and field is not None)
    exclude("--start", "--half-extent", start is not None and half_extent is not None)
    flags = judged(
        TrainFlags,
        "train-preset",
        {
            "steps": steps,
            "frames": frames,
            "voxel_size": parse_voxel_size(voxel_size),
            "frame_interval": frame_interval,
            "half_extent": half_extent,
            "orientation": orientation,
            "kind": kind,
            "seed": seed,
            "evaluate_every": evaluate_every,
        },
    )
    budget_s = None if steps else parse_duration_s("--budget", budget or DEFAULT_BUDGET)
    if name is None and len(data) > 1:
        raise InputError(f"train-preset: {len(data)} data sets have no one name; give --name")
    name = name if name is not None else slug(data[0])
    if not name:
        raise InputError(f"train-preset: no name can be made of {data[0]}; give --name")
    # DATA often lies here under the very name that the preset takes from it.
    own = any(Path(name).resolve() == folder.resolve() for folder in data)
    out = out or Path(f"{name}-preset" if own else name)
    learned_by = find_recipe(recipe)
    begun = find_preset(start) if start else None
    spec = begun.preset.field if begun else find_field(field or "siren")
    extent_um = begun.preset.scale.half_extent_um if begun else flags.half_extent
    before = begun.preset.origin.commands if begun else ()

    from cellsynth.field.model import pick_device
    from cellsynth.training import preset
    from cellsynth.training.stepping import Length

    options = preset.TrainOptions(
        name=name,
        length=Length(steps=flags.steps, budget_s=budget_s),
        title=title,
        description=description,
        licence=licence,
        data=about_data,
        data_licence=data_licence,
        source=source,
        limits=limits,
        commands=(*before, *(prepared_with or ()), _typed(context.obj)),
        kind=flags.kind,
        n_frames=flags.frames,
        voxel_size_um=flags.voxel_size,
        frame_interval_s=flags.frame_interval,
        orientation=flags.orientation,
        one_size=one_size,
        half_extent_um=extent_um,
        recipe=learned_by,
        spec=spec,
        start=begun,
        seed=flags.seed,
        evaluate_every=flags.evaluate_every,
    )
    device = pick_device(device)
    work = preset.work_folder(out)
    with Progress(quiet) as progress, interruptible(lambda: _whole(work, overwrite)):
        summary = preset.train_preset(
            data,
            out,
            options,
            device=device,
            resume=resume,
            overwrite=overwrite,
            keep=keep,
            on_event=_Shown(progress).event,
        )
    # Of torchrun's processes the first tells.
    if summary is not None:
        printer = Printer(quiet)
        if not no_report:
            report_preset_at_the_end(
                summary.bundle.folder, device=device, printer=printer, quiet=quiet
            )
        _print_summary(printer, summary)


class _Shown:
    """Events of a training as progress."""

    def __init__(self, progress: Progress) -> None:
        self._progress = progress
        self._dsc = ""
        self._assumed = ""

    def event(self, event: TrainEvent) -> None:
        if event.assumed:
            # While there is little to lose: every size would be wrong.
            self._assumed = f"assumed: {', '.join(event.assumed)}"
        note = self._assumed if event.stage in PREPARING else ""
        if event.report is not None:
            if event.probe_dsc is not None:
                self._dsc = f", DSC {event.probe_dsc:.3f}"
            note = f"step {event.report.step}, loss {event.report.loss:.4f}{self._dsc}"
        self._progress.update(STAGES[event.stage], event.done, event.total, note)


def _whole(work: Path, overwrite: bool) -> str:
    if not work.exists():
        return "nothing is left behind; run it again"
    return f"the training so far is kept in {quoted(work)}; {resuming(overwrite)}"


def _print_summary(printer: Printer, summary: TrainSummary) -> None:
    preset, folder = summary.bundle.preset, summary.bundle.folder
    for entry in summary.left_out[:NAMED]:
        printer.note(f"left out: {entry}")
    if len(summary.left_out) > NAMED:
        printer.note(f"left out: {len(summary.left_out) - NAMED} more")
    if preset.scale.assumed:
        printer.note(
            f"assumed, since the data do not say: {', '.join(preset.scale.assumed)}; "
            "--voxel-size and --frame-interval tell"
        )
    dsc = summary.evaluation["dsc"]
    printer.table(
        [
            ("sequences", f"{preset.training.sequences} of {preset.scale.n_frames} frames"),
            ("steps", f"{preset.training.steps} in {preset.training.seconds:.0f} s"),
            ("DSC, mean of all frames", f"{dsc['mean']:.4f}"),
            ("DSC, worst frame", f"{dsc['worst']:.4f} ({dsc['worst_where']})"),
            ("DSC, worst sequence", f"{min(dsc['per_sequence']):.4f}"),
        ]
    )
    shown = quoted(folder)
    # A bare name would be looked for among the presets' names first, were it no folder.
    printer.last(
        f"wrote preset {preset.name} to {shown}; next: cellsynth generate --preset {shown}"
    )


def _typed(words: Sequence[str]) -> str:
    """The command as typed, without what changes how it runs and not what it makes."""
    return shlex.join(["cellsynth", *(word for word in words if word not in PASSING)])
