"""``cellsynth presets``: which there are, and what one of them says about itself."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from cellsynth.cli.console import Printer, quoted
from cellsynth.cli.flags import QuietFlag

if TYPE_CHECKING:
    from cellsynth.presets.bundle import Bundle
    from cellsynth.presets.library import Listed

__all__ = ["presets"]

presets = typer.Typer(help="List the presets, or show one of them.", rich_markup_mode=None)


@presets.callback(invoke_without_command=True)
def list_all(context: typer.Context, quiet: QuietFlag = False) -> None:
    """List the presets, or show one of them.

    Found in $CELLSYNTH_PRESETS, your own presets, and those that come with cellsynth.
    """
    if context.invoked_subcommand:
        return
    from cellsynth.presets.library import list_presets, preset_folders

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
    from cellsynth.presets.library import find_preset

    bundle = find_preset(preset)
    printer = Printer(quiet)
    printer.text(bundle.card() or write_card(bundle.preset, bundle.evaluation()))
    printer.line()
    printer.line(f"Lies in {quoted(bundle.folder)}, SHA-256 {bundle.sha256}")
    printer.last(f"next: cellsynth generate --preset {preset}")


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
