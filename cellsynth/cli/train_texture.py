"""``cellsynth train-texture``: from images and their masks to a preset with a texture."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from cellsynth.cli.console import Printer, Progress, interruptible, quoted
from cellsynth.cli.flags import (
    DeviceFlag,
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
    whole_number,
)

if TYPE_CHECKING:
    from cellsynth.texture.train import TrainTextureEvent, TrainTextureSummary

__all__ = ["train_texture"]

DEFAULT_BUDGET = "30m"
PASSING = ("--resume", "--overwrite", "--keep", "--quiet")
STAGES = {"pairs": "reading pairs", "train": "training"}


def train_texture(
    context: typer.Context,
    data: Annotated[Path, typer.Argument(help="CTC folder with images and masks.")],
    preset: Annotated[
        str, typer.Option("--preset", help="Preset that gets the texture: name, folder or zip.")
    ],
    name: Annotated[
        str | None, typer.Option(help="Name of the new preset.  [default: as --preset's]")
    ] = None,
    out: Annotated[
        Path | None, typer.Option(help="Folder of the new preset.  [default: NAME-texture, here]")
    ] = None,
    mode: Annotated[
        str | None,
        typer.Option(help="mip: maximum projections; 3d: slices.  [default: mip]"),
    ] = None,
    budget: Annotated[
        str | None,
        typer.Option(metavar="TIME", help="Time to train, as 90s, 20m or 1.5h.  [default: 30m]"),
    ] = None,
    steps: Annotated[
        int | None,
        typer.Option(parser=whole_number, metavar="N", help="Steps to train, instead of a time."),
    ] = None,
    crop: Annotated[
        int | None,
        typer.Option(parser=whole_number, metavar="N", help="Side of a crop in pixels."),
    ] = None,
    batch: Annotated[
        int | None, typer.Option(parser=whole_number, metavar="N", help="Crops in a step.")
    ] = None,
    frames: Annotated[
        int | None,
        typer.Option(
            parser=whole_number, metavar="N", help="Use the first N frames.  [default: all]"
        ),
    ] = None,
    kind: Annotated[
        str | None, typer.Option(help="Masks: TRA, SEG or ST.  [default: the first there is]")
    ] = None,
    voxel_size: VoxelSizeFlag = None,
    grain: Annotated[
        float | None,
        typer.Option(parser=number, metavar="UM", help="Size of the coarsest grain of a cell."),
    ] = None,
    reach: Annotated[
        float | None,
        typer.Option(parser=number, metavar="UM", help="How far from a boundary it is felt."),
    ] = None,
    plain: Annotated[
        bool,
        typer.Option(
            "--plain", help="Do not tell the network how bright cells and background are."
        ),
    ] = False,
    from_preset: Annotated[
        bool, typer.Option("--from-preset", help="Train the preset's own texture on.")
    ] = False,
    generator: Annotated[
        str | None,
        typer.Option(help="default, published, or a TOML file.  [default: default]"),
    ] = None,
    recipe: Annotated[
        str, typer.Option(help="default, or a TOML file with losses, rates and shares.")
    ] = "default",
    perceptual: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Weights of a VGG (safetensors), for one more loss."),
    ] = None,
    licence: Annotated[
        str | None,
        typer.Option(help="Licence of the weights, SPDX.  [default: that of the preset]"),
    ] = None,
    about_data: Annotated[str | None, typer.Option(help="What the data are, in words.")] = None,
    data_licence: Annotated[str, typer.Option(help="Licence of the data.")] = "not stated",
    source: Annotated[str, typer.Option(help="Where the data are published.")] = "not stated",
    limits: Annotated[str | None, typer.Option(help="What the texture cannot claim.")] = None,
    prepared_with: Annotated[
        list[str] | None,
        typer.Option(metavar="COMMAND", help="A command that made DATA, for the card. Repeatable."),
    ] = None,
    seed: SeedFlag = 0,
    device: DeviceFlag = "auto",
    resume: ResumeFlag = False,
    overwrite: OverwriteFlag = False,
    keep: Annotated[
        bool, typer.Option("--keep", help="Leave the working folder with the picture sheet.")
    ] = False,
    quiet: QuietFlag = False,
) -> None:
    """Learn from images and masks how a microscope sees the cells of a preset.

    cellsynth train-texture DATA --preset celegans
    """
    from cellsynth.cli.models import TrainTextureFlags
    from cellsynth.presets.catalogue import find_preset
    from cellsynth.presets.named import find_named
    from cellsynth.presets.texture import GENERATORS, GeneratorSpec, TextureRecipe

    exclude("--budget", "--steps", budget is not None and steps is not None)
    exclude("--resume", "--overwrite", resume and overwrite)
    flags = judged(
        TrainTextureFlags,
        "train-texture",
        {
            "mode": mode,
            "steps": steps,
            "crop": crop,
            "batch": batch,
            "frames": frames,
            "kind": kind,
            "voxel_size": parse_voxel_size(voxel_size),
            "grain": grain,
            "reach": reach,
            "seed": seed,
        },
    )
    budget_s = None if steps else parse_duration_s("--budget", budget or DEFAULT_BUDGET)
    learned_by = find_named("recipe", recipe, {"default": TextureRecipe()}, TextureRecipe)
    sizes = {"crop": flags.crop, "batch": flags.batch}
    learned_by = learned_by.model_copy(
        update={key: value for key, value in sizes.items() if value is not None}
    )
    network = find_named("generator", generator, GENERATORS, GeneratorSpec) if generator else None
    bundle = find_preset(preset)
    out = out or Path(f"{name or bundle.preset.name}-texture")

    from cellsynth.field.model import pick_device
    from cellsynth.texture import train
    from cellsynth.training.stepping import Length

    options = train.TextureTrainOptions(
        length=Length(steps=flags.steps, budget_s=budget_s),
        name=name,
        mode=flags.mode,
        kind=flags.kind,
        n_frames=flags.frames,
        voxel_size_um=flags.voxel_size,
        grain_um=flags.grain,
        reach_um=flags.reach,
        plain=plain,
        generator=network,
        recipe=learned_by,
        from_preset=from_preset,
        perceptual=perceptual,
        licence=licence,
        data=about_data,
        data_licence=data_licence,
        source=source,
        limits=limits,
        commands=(*(prepared_with or ()), _typed(context.obj)),
        seed=flags.seed,
    )
    device = pick_device(device)
    work = train.work_folder(out)
    with Progress(quiet) as progress, interruptible(lambda: _whole(work)):
        summary = train.train_texture(
            data,
            bundle,
            out,
            options,
            device=device,
            resume=resume,
            overwrite=overwrite,
            keep=keep,
            on_event=lambda event: _show(progress, event),
        )
    _print_summary(Printer(quiet), summary)


def _show(progress: Progress, event: TrainTextureEvent) -> None:
    note = ""
    if event.report is not None:
        losses = ", ".join(f"{name} {loss:.3f}" for name, loss in event.report.losses.items())
        note = f"step {event.report.step}, {losses}"
    progress.update(STAGES[event.stage], event.done, event.total, note)


def _whole(work: Path) -> str:
    if not work.exists():
        return "nothing is left behind; run it again"
    return f"the training so far is kept in {quoted(work)}; the same command with --resume goes on"


def _print_summary(printer: Printer, summary: TrainTextureSummary) -> None:
    preset, folder = summary.bundle.preset, summary.bundle.folder
    texture = preset.texture
    assert texture is not None  # it was just trained
    counts = texture.intensities
    printer.table(
        [
            ("mode", texture.mode),
            ("pairs", f"{summary.pairs}"),
            ("pixel", f"{texture.pixel_size_um:g} µm"),
            ("conditions", ", ".join(texture.conditions)),
            ("counts", f"{counts.dtype}, {counts.low:g} to {counts.high:g}"),
            ("steps", f"{texture.training.steps} in {texture.training.seconds:.0f} s"),
        ]
    )
    printer.last(
        f"wrote preset {preset.name} with its texture to {quoted(folder)}; next: "
        f"cellsynth texture SET --preset {quoted(folder)}"
    )


def _typed(words: Sequence[str]) -> str:
    """The command as typed, without what changes how it runs and not what it makes."""
    return shlex.join(["cellsynth", *(word for word in words if word not in PASSING)])
