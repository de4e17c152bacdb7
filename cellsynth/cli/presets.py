"""``cellsynth presets``: which there are, what one of them says, and those of other software."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from cellsynth.cli.console import Printer, Progress, interruptible, quoted
from cellsynth.cli.flags import (
    OverwriteFlag,
    QuietFlag,
    SeedFlag,
    judged,
    number,
    slug,
    whole_number,
)
from cellsynth.errors import InputError

if TYPE_CHECKING:
    from cellsynth.presets.bundle import Bundle
    from cellsynth.presets.catalogue import Listed

__all__ = ["presets"]

presets = typer.Typer(
    help="List the presets, show, import or calibrate one.", rich_markup_mode=None
)
PASSING = ("--overwrite", "--quiet")
MEASURED = {"slopes": "measuring slopes", "cells": "counting cells"}


@presets.callback(invoke_without_command=True)
def list_all(context: typer.Context, quiet: QuietFlag = False) -> None:
    """List the presets, show, import or calibrate one.

    Found in $CELLSYNTH_PRESETS, your own presets, and those that come with cellsynth.
    """
    if context.invoked_subcommand:
        return
    from cellsynth.presets.catalogue import list_presets, preset_folders

    printer = Printer(quiet)
    found = list_presets()
    if not found:
        places = ", ".join(quoted(folder) for folder in preset_folders())
        printer.last(f"no presets in {places}; make one: cellsynth train-preset DATA")
        return
    rows, faults = [], []
    for listed in found:
        row, fault = _row(listed)
        rows.append(row)
        faults += [fault] if fault else []
    printer.table(rows, head=("NAME", "TITLE", "FRAMES", "Ω", "DSC", "PATH"))
    for fault in faults:
        printer.line(fault, "red")
    printer.last("next: cellsynth presets show NAME, or cellsynth generate --preset NAME")


@presets.command()
def show(
    preset: Annotated[str, typer.Argument(help="Name, folder or zip of a preset.")],
    quiet: QuietFlag = False,
) -> None:
    """Show the card of a preset: trained on what, how good, limits, licence.

    cellsynth presets show celegans
    """
    from cellsynth.presets.card import write_card
    from cellsynth.presets.catalogue import find_preset

    bundle = find_preset(preset)
    printer = Printer(quiet)
    printer.text(bundle.card() or write_card(bundle.preset, bundle.evaluation()))
    printer.line()
    printer.line(f"Lies in {quoted(bundle.folder)}, SHA-256 {bundle.sha256}")
    printer.last(f"next: cellsynth generate --preset {preset}")


@presets.command("import")
def import_preset(
    context: typer.Context,
    folder: Annotated[
        Path, typer.Argument(help="An experiment folder of the paper's authors' code.")
    ],
    name: Annotated[
        str | None, typer.Option(help="Name of the preset.  [default: made of FOLDER's]")
    ] = None,
    half_extent: Annotated[
        float | None,
        typer.Option(
            "--half-extent-um",
            "--half-extent",
            parser=number,
            metavar="UM",
            help="Half the side of Ω in µm: (n-1)/2 voxels of a training grid of n.",
        ),
    ] = None,
    frame_interval: Annotated[
        float | None,
        typer.Option(parser=number, metavar="S", help="Seconds between frames.  [default: none]"),
    ] = None,
    frames: Annotated[
        int | None,
        typer.Option(
            parser=whole_number,
            metavar="N",
            help="Frames of a training sequence.  [default: as many as specs.json reconstructs]",
        ),
    ] = None,
    epoch: Annotated[
        int | None,
        typer.Option(parser=whole_number, metavar="N", help="Which epoch.  [default: the last]"),
    ] = None,
    divisions: Annotated[
        int | None,
        typer.Option(
            parser=whole_number, metavar="N", help="Divisions in a sequence.  [default: as seen]"
        ),
    ] = None,
    end_cells: Annotated[
        int | None,
        typer.Option(
            parser=whole_number, metavar="N", help="Cells in the last frame.  [default: as seen]"
        ),
    ] = None,
    title: Annotated[str | None, typer.Option(help="Title, for people.")] = None,
    description: Annotated[str | None, typer.Option(help="What the cells are.")] = None,
    licence: Annotated[
        str, typer.Option(help="Licence of the weights, as an SPDX expression.")
    ] = "LicenseRef-unstated",
    data_licence: Annotated[str, typer.Option(help="Licence of the data.")] = "not stated",
    source: Annotated[str, typer.Option(help="Where the data are published.")] = "not stated",
    out: Annotated[
        Path | None,
        typer.Option(help="Folder of the preset.  [default: among your own presets]"),
    ] = None,
    overwrite: OverwriteFlag = False,
    quiet: QuietFlag = False,
) -> None:
    """Make a preset of a model that the paper's authors' code has trained.

    cellsynth presets import EXPERIMENT --name theirs --half-extent-um 16 --frame-interval 60
    """
    from cellsynth.cli.models import ImportFlags

    if half_extent is None:
        raise InputError(
            "presets import: the files do not say how large Ω is; give --half-extent-um, half its "
            "side in µm: for training grids of n voxels a side, (n-1)/2 times the voxel size"
        )
    flags = judged(
        ImportFlags,
        "presets import",
        {
            "half_extent_um": half_extent,
            "frame_interval": frame_interval,
            "frames": frames,
            "epoch": epoch,
            "divisions": divisions,
            "end_cells": end_cells,
        },
    )
    name = name if name is not None else slug(folder)
    if not name:
        raise InputError(f"presets import: no name can be made of {folder}; give --name")

    from cellsynth.presets.catalogue import user_folder
    from cellsynth.training.imported import ImportOptions, import_experiment

    options = ImportOptions(
        name=name,
        half_extent_um=flags.half_extent_um,
        frame_interval_s=flags.frame_interval,
        epoch=flags.epoch,
        n_frames=flags.frames,
        divisions=flags.divisions,
        end_cells=flags.end_cells,
        title=title,
        description=description,
        licence=licence,
        data_licence=data_licence,
        source=source,
        commands=(shlex.join(["cellsynth", *(w for w in context.obj if w not in PASSING)]),),
    )
    with Progress(quiet) as progress, interruptible(lambda: "nothing is left behind; run it again"):
        bundle = import_experiment(
            folder,
            out or user_folder() / name,
            options,
            overwrite=overwrite,
            on_progress=lambda what, done, total: progress.update(MEASURED[what], done, total),
        )
    _print_imported(Printer(quiet), bundle, quoted(bundle.folder) if out else name)


def _print_imported(printer: Printer, bundle: Bundle, shown: str) -> None:
    preset = bundle.preset
    topology = preset.topology
    if preset.scale.frame_interval_s is None:
        printer.note("the frame interval is unknown; --frame-interval tells")
    cells = f"{topology.begin_cells} in the first frame, {topology.end_cells} in the last"
    printer.table(
        [
            ("sequences", f"{preset.training.sequences} of {preset.scale.n_frames} frames"),
            ("epoch", f"{preset.training.steps}"),
            ("cells", f"{cells}, {topology.divisions} divisions"),
            ("width of new codes", f"{preset.sampling.gaussian.sigma:g}"),
        ]
    )
    printer.last(
        f"wrote preset {preset.name} to {quoted(bundle.folder)}; "
        f"next: cellsynth generate --preset {shown}"
    )


@presets.command()
def calibrate(
    preset: Annotated[str, typer.Argument(help="Name, folder or zip of a preset.")],
    out: Annotated[Path, typer.Option(help="Folder of the calibrated preset.")],
    seed: SeedFlag = 0,
    overwrite: OverwriteFlag = False,
    quiet: QuietFlag = False,
) -> None:
    """Find anew how widely codes of a preset may be drawn, by drawing and judging cells.

    train-preset does so by itself; this is for presets that were imported.

    cellsynth presets calibrate theirs --out theirs-calibrated
    """
    from cellsynth.presets.bundle import check_free
    from cellsynth.presets.catalogue import find_preset
    from cellsynth.training.calibrating import recalibrate

    check_free(out, overwrite=overwrite)
    bundle = find_preset(preset)
    with Progress(quiet) as progress, interruptible(lambda: "nothing is left behind"):
        found = recalibrate(
            bundle,
            out,
            seed=seed,
            overwrite=overwrite,
            on_progress=lambda done, total: progress.update("drawing and judging", done, total),
        )
    shown = quoted(found.folder)
    Printer(quiet).last(
        f"wrote preset {found.preset.name} to {shown}, strategy {found.preset.sampling.strategy}; "
        f"next: cellsynth generate --preset {shown}"
    )


def _row(listed: Listed) -> tuple[tuple[str, ...], str]:
    """A preset's row, and its fault if it has one."""
    from cellsynth.errors import CellsynthError
    from cellsynth.presets.bundle import read_bundle

    try:
        bundle = read_bundle(listed.path)
        dsc = _dsc(bundle)
    except CellsynthError as error:
        title = listed.preset.title if listed.preset else ""
        return (listed.name, title, "", "", "broken", str(listed.path)), str(error)
    scale = bundle.preset.scale
    side = f"{2 * scale.half_extent_um:g} µm"
    title = bundle.preset.title
    return (listed.name, title, f"{scale.n_frames}", side, dsc, str(listed.path)), ""


def _dsc(bundle: Bundle) -> str:
    measured = bundle.evaluation().get("dsc")
    mean = measured.get("mean") if isinstance(measured, dict) else None
    return f"{mean:.3f}" if isinstance(mean, float) else ""
