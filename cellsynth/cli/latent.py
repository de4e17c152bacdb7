"""``cellsynth latent``: the codes that a preset has learned, and walks between them."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from cellsynth.cli.console import FrameProgress, Printer, Progress, interruptible, quoted
from cellsynth.cli.flags import (
    DeviceFlag,
    OverwriteFlag,
    QuietFlag,
    ResumeFlag,
    SeedFlag,
    VoxelSizeFlag,
    exclude,
    grid_of,
    judged,
    parse_numbers,
    parse_voxel_size,
    whole_number,
)
from cellsynth.errors import InputError

if TYPE_CHECKING:
    from cellsynth.cli.models import LatentFlags
    from cellsynth.evaluation.latent_models import LatentMap, Trend, Walk, WalkStep
    from cellsynth.presets.bundle import Bundle

__all__ = ["latent"]

STEPS = 9
VARIABLES = {
    "volume_um3": "volume of a cell, µm³",
    "surface_um2": "surface of a cell, µm²",
    "sphericity_wadell": "sphericity, π^⅓(6V)^⅔/S",
    "sphericity_paper": "sphericity, 36πV²/S³",
    "total_um3": "volume of all pieces, µm³",
    "growth": "growth, last frame / first",
}


def latent(
    preset: Annotated[str, typer.Argument(help="Name, folder or zip of a preset.")],
    out: Annotated[
        Path | None, typer.Option(help="Folder to write to.  [default: made of the preset's name]")
    ] = None,
    draws: Annotated[
        int | None,
        typer.Option(
            parser=whole_number,
            metavar="N",
            help="Codes drawn with each strategy.  [default: as many as were learned]",
        ),
    ] = None,
    frames: Annotated[
        int | None,
        typer.Option(
            parser=whole_number,
            metavar="N",
            help="Frames that cells are measured in; of a walk, frames of a sequence.  "
            "[default: 10; of a walk, the preset's]",
        ),
    ] = None,
    walk: Annotated[
        tuple[str, str] | None,
        typer.Option(metavar="A B", help="Render the straight way between two learned codes."),
    ] = None,
    steps: Annotated[
        int | None,
        typer.Option(
            parser=whole_number,
            metavar="N",
            help=f"Of a walk: sequences, those of the two codes too.  [default: {STEPS}]",
        ),
    ] = None,
    res: Annotated[
        str | None,
        typer.Option(
            metavar="N",
            help="Of a walk: voxels per axis, z,y,x or one for all.  "
            "[default: those that the preset's cells are judged on]",
        ),
    ] = None,
    voxel_size: VoxelSizeFlag = None,
    rotation: Annotated[
        str | None,
        typer.Option(
            help="Of a walk: none; learned, from the one code's to the other's.  [default: none]"
        ),
    ] = None,
    workers: Annotated[
        int | None,
        typer.Option(
            parser=whole_number,
            metavar="N",
            help="Of a walk: processes; never changes the result.  [default: one per core]",
        ),
    ] = None,
    seed: SeedFlag = 0,
    device: DeviceFlag = "auto",
    resume: ResumeFlag = False,
    overwrite: OverwriteFlag = False,
    quiet: QuietFlag = False,
) -> None:
    """Map the codes that a preset has learned, or walk from one to another.

    cellsynth latent celegans
    cellsynth latent celegans --walk 3 17
    """
    from cellsynth.cli.models import LatentFlags
    from cellsynth.presets.catalogue import find_preset

    of_walks = {
        "--steps": steps,
        "--res": res,
        "--voxel-size": voxel_size,
        "--rotation": rotation,
        "--workers": workers,
        "--resume": resume or None,
    }
    for flag, value in of_walks.items():
        if value is not None and walk is None:
            raise InputError(f"{flag} is of walks; give it with --walk A B")
    if draws is not None and walk is not None:
        raise InputError("--draws is of the map; leave out --walk, or --draws")
    exclude("--res", "--voxel-size", res is not None and voxel_size is not None)
    exclude("--resume", "--overwrite", resume and overwrite)
    flags = judged(
        LatentFlags,
        "latent",
        {
            "draws": draws,
            "frames": frames,
            "walk": None if walk is None else _codes(walk),
            "steps": STEPS if steps is None else steps,
            "res": None if res is None else parse_numbers("--res", res, int, "64,512,512"),
            "voxel_size": parse_voxel_size(voxel_size),
            "rotation": rotation or "none",
            "workers": workers,
            "seed": seed,
        },
    )
    bundle = find_preset(preset)
    printer = Printer(quiet)
    if flags.walk is None:
        where = out or Path(f"{bundle.preset.name}-latent")
        _map(bundle, preset, where, flags, printer, device, overwrite=overwrite, quiet=quiet)
        return
    first, last = flags.walk
    where = out or Path(f"{bundle.preset.name}-walk-{first}-{last}")
    _walk(
        bundle,
        where,
        flags,
        (first, last),
        printer,
        device,
        resume=resume,
        overwrite=overwrite,
        quiet=quiet,
    )


def _codes(words: tuple[str, str]) -> tuple[int, int]:
    try:
        first, last = map(int, words)
    except ValueError:
        got = " ".join(words)
        raise InputError(f"--walk must be two whole numbers such as 3 17, got {got!r}") from None
    return first, last


def _map(
    bundle: Bundle,
    preset: str,
    out: Path,
    flags: LatentFlags,
    printer: Printer,
    device: str,
    *,
    overwrite: bool,
    quiet: bool,
) -> None:
    from cellsynth.evaluation.latent import LatentOptions, map_latents
    from cellsynth.field.model import pick_device

    options = LatentOptions(draws=flags.draws, seed=flags.seed)
    if flags.frames is not None:
        options = LatentOptions(draws=flags.draws, frames=flags.frames, seed=flags.seed)
    with Progress(quiet) as progress, interruptible(lambda: "nothing was written"):
        found = map_latents(
            bundle,
            out,
            options,
            device=pick_device(device),
            overwrite=overwrite,
            on_progress=lambda done, total: progress.update("measuring", done, total),
        )
    _print_map(printer, found)
    a, b = _ends(found)
    printer.last(
        f"wrote the map of {len(found.learned)} codes to {quoted(out)}; next: look at "
        f"{quoted(out / 'latent.png')}, or cellsynth latent {shlex.quote(preset)} --walk {a} {b}"
    )


def _ends(found: LatentMap) -> tuple[int, int]:
    """Codes of the smallest and of the largest cell, or any two."""
    known = [(c.described.volume_um3, c.number) for c in found.learned if c.described is not None]
    if len(known) < 2:
        return 1, 2
    return min(known)[1], max(known)[1]


def _print_map(printer: Printer, found: LatentMap) -> None:
    held = (f"{100 * h.share:g} % in {h.components}" for h in found.held)
    printer.line(
        f"variance of {len(found.learned)} codes of {found.latent_dim} numbers: "
        f"{', '.join(held)} of {len(found.components)} principal components"
    )
    n = len(found.learned[0].pca)
    rows = []
    for entry in found.correlations:
        values = [
            getattr(code.described, entry.descriptor)
            for code in found.learned
            if code.described is not None
        ]
        row = [f"{min(values):.4g} … {max(values):.4g}" if values else "no whole cell"]
        row += ["" if rho is None else f"{rho:+.2f}" for rho in (*entry.spearman, entry.neighbours)]
        rows.append([VARIABLES[entry.descriptor], *row])
    head = ["rank correlation", "range", *(f"component {i + 1}" for i in range(n))]
    printer.table(rows, [*head, "nearest code"])
    printer.table(
        [
            [of.of, f"{of.codes}", f"{of.median:.3g}", f"{of.least:.3g} … {of.most:.3g}"]
            for of in found.spacing
        ],
        ["distance to the nearest learned code", "codes", "median", "range"],
    )
    for code in found.learned:
        if code.fault is not None:
            printer.note(f"code {code.number} breaks the topology: {code.fault}")


def _walk(
    bundle: Bundle,
    out: Path,
    flags: LatentFlags,
    codes: tuple[int, int],
    printer: Printer,
    device: str,
    *,
    resume: bool,
    overwrite: bool,
    quiet: bool,
) -> None:
    from cellsynth.evaluation.walks import walk_latents
    from cellsynth.field.model import pick_device
    from cellsynth.rendering.walk import WalkOptions

    options = WalkOptions(
        codes,
        grid_of(bundle, flags.res or (bundle.preset.topology.judged_at,) * 3, flags.voxel_size),
        flags.frames or bundle.preset.scale.n_frames,
        steps=flags.steps,
        rotation=flags.rotation,
    )
    again = "the same command with --resume goes on from the last whole step, if there is one"
    with Progress(quiet) as progress, interruptible(lambda: again):
        shown = FrameProgress(progress, "rendering", options.steps * options.n_frames, "broken")
        found = walk_latents(
            bundle,
            out,
            options,
            workers=flags.workers,
            device=pick_device(device),
            resume=resume,
            overwrite=overwrite,
            on_event=shown.event,
            on_measured=lambda done, total: progress.update("measuring", done, total),
        )
    _print_walk(printer, found)
    broken = [step.number for step in found.steps if step.fault]
    many = f" ({len(broken)} of them break the topology)" if broken else ""
    printer.last(
        f"wrote {len(found.steps)} steps from code {codes[0]} to code {codes[1]}{many} to "
        f"{quoted(out)}; next: look at {quoted(out / 'walk.png')}, or cellsynth validate "
        f"{quoted(out)}"
    )


def _print_walk(printer: Printer, found: Walk) -> None:
    rows = [
        [
            f"{step.number}",
            f"{step.share:.3f}",
            *(
                "" if step.cells is None else _number(getattr(step.cells, name))
                for name in ("volume_um3", "surface_um2", "sphericity_paper")
            ),
            _number(step.total_um3),
            _number(step.growth),
        ]
        for step in found.steps
    ]
    head = ["step", "share", "volume, µm³", "surface, µm²", "36πV²/S³", "total, µm³", "growth"]
    printer.table(rows, head)
    for entry in found.trends:
        printer.line(_told(entry))
    for step in found.steps:
        if step.fault is not None:
            printer.note(_broken(step))


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:.4g}"


def _told(entry: Trend) -> str:
    what = f"{VARIABLES[entry.variable]}: {entry.first:.4g} to {entry.last:.4g}"
    if entry.monotone:
        return f"{what}, monotone over {entry.steps} steps"
    return f"{what}, turns back by {entry.setback:.1%} of its range, at step {entry.setback_step}"


def _broken(step: WalkStep) -> str:
    fate = "all pieces bear one label" if step.labels else "left out, there is nothing to label"
    return f"step {step.number} breaks the topology: {step.fault}; {fate}"
