"""From pairs of images and masks to a preset with a texture: read, learn, write.

Everything on the way lies in a working folder beside the new preset (``.NAME.texture``): pairs with
their conditions, the last checkpoint, the picture sheet. It stays when the training is interrupted,
so that it can be resumed, and goes when the preset is written.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import torch

from cellsynth.errors import InputError, InUseError, MissingError
from cellsynth.formats.manifest import locked
from cellsynth.formats.storage import REPLACES, remove
from cellsynth.presets.base import Origin
from cellsynth.presets.bundle import Bundle, check_free, write_bundle
from cellsynth.presets.card import write_card
from cellsynth.presets.judge import judge
from cellsynth.presets.models import Preset, PresetNames
from cellsynth.presets.texture import (
    Condition,
    GeneratorSpec,
    Intensities,
    Mode,
    TextureRecipe,
    TextureSpec,
    TextureTraining,
)
from cellsynth.presets.versions import versions
from cellsynth.texture.conditions import MEASURED
from cellsynth.texture.gan_loop import GanReport, GanTrainer, least_side
from cellsynth.texture.intensities import BEND
from cellsynth.texture.losses import Perceptual
from cellsynth.texture.pairs import (
    MANIFEST,
    ConditionSettings,
    Kind,
    PairSource,
    PairStore,
    build_store,
    open_pairs,
)
from cellsynth.texture.sheet import write_sheet
from cellsynth.training.stepping import Length

__all__ = [
    "TextureTrainOptions",
    "TrainTextureEvent",
    "TrainTextureSummary",
    "train_texture",
    "work_folder",
]

CHECKPOINT = "checkpoint.safetensors"
SHEET = "sheet.png"
PAIRS = "pairs"
SHEET_S = 120.0
EXAMPLES = 4  # rows of the picture sheet
# Where nobody says otherwise, in diameters of the median cell.
GRAIN_SIZE, REACH = 0.25, 0.5
GRAIN_OCTAVES = 3


@dataclass(frozen=True)
class TextureTrainOptions:
    """What to train.

    Attributes:
        length: Steps or seconds.
        name: Name of the new preset; by default that of the one it is made from.
        mode: ``mip`` or ``3d``.
        kind: Which folders hold the masks.
        n_frames: Only the first so many frames of each sequence.
        voxel_size_um: Instead of what the files say.
        grain_um, grain_octaves, reach_um: Of the conditions; by default as the simulated microscope
            that made the images, as the texture that is trained on, or from the size of the cells.
        plain: Without the conditions that are measured in the images, brightness and background.
        generator: The network; None is that of the texture that is trained on, or the default.
        recipe: Hyperparameters.
        from_preset: Train the preset's own texture on, instead of a new one.
        perceptual: Weights of a VGG, for the perceptual term.
        bend: Of the intensities, see :class:`~cellsynth.presets.texture.Intensities`.
        licence: Of the weights, as an SPDX expression; by default that of the preset.
        data, data_licence, source, limits: For the card, in words.
        commands: That make the texture again, for the card.
        seed: Of everything random.
    """

    length: Length
    name: str | None = None
    mode: Mode | None = None
    kind: Kind | None = None
    n_frames: int | None = None
    voxel_size_um: tuple[float, float, float] | None = None
    grain_um: float | None = None
    grain_octaves: int | None = None
    reach_um: float | None = None
    plain: bool = False
    generator: GeneratorSpec | None = None
    recipe: TextureRecipe = field(default_factory=TextureRecipe)
    from_preset: bool = False
    perceptual: Path | None = None
    bend: float = BEND
    licence: str | None = None
    data: str | None = None
    data_licence: str = "not stated"
    source: str = "not stated"
    limits: str | None = None
    commands: tuple[str, ...] = ()
    seed: int = 0


@dataclass(frozen=True)
class TrainTextureEvent:
    """Progress of one stage: ``done`` of ``total``; in ``train`` also the step and its losses."""

    stage: Literal["pairs", "train"]
    done: float
    total: float
    report: GanReport | None = None


@dataclass(frozen=True)
class TrainTextureSummary:
    """The preset with its texture; pairs that it was trained on."""

    bundle: Bundle
    pairs: int


def work_folder(out: Path) -> Path:
    """Where the training of the texture of the preset at ``out`` keeps its data and checkpoints."""
    return out.parent / f".{out.name}.texture"


def train_texture(
    data: Path,
    bundle: Bundle,
    out: Path,
    options: TextureTrainOptions,
    *,
    device: str = "cpu",
    resume: bool = False,
    overwrite: bool = False,
    keep: bool = False,
    on_event: Callable[[TrainTextureEvent], None] | None = None,
) -> TrainTextureSummary:
    """Learn a texture from pairs of images and masks, and write the preset with it.

    Args:
        data: Cell Tracking Challenge folder with images and masks.
        bundle: The preset that gets the texture; it stays as it is.
        out: Folder of the new preset.
        options: What to train.
        device: Torch device.
        resume: Continue a training that was interrupted, given the same options. It replaces the
            preset at ``out`` if it was begun to.
        overwrite: Replace the preset, and the interrupted training, at ``out``.
        keep: Leave the working folder, with the picture sheet, in place.
        on_event: Told of progress.

    Raises:
        MissingError: Images without masks, masks without images, no texture to train on.
        FormatError: Images of another size than their masks, no counts of a camera, or damaged.
        InputError: Constant images, or options that cannot be used.
        InUseError: ``out`` holds something, or an interrupted training is there, or one that runs.
        StorageError: The disk refused.
    """
    notify = on_event or (lambda _: None)
    names = {
        "name": options.name or bundle.preset.name,
        "licence": options.licence or bundle.preset.licence,
    }
    judge(PresetNames, names, "options", error=InputError)
    work = work_folder(out)
    replaces = overwrite or (resume and (work / REPLACES).is_file())
    check_free(out, overwrite=replaces)
    if work.exists() and not (resume or overwrite):
        raise InUseError(f"{work} holds an interrupted training; pass --resume or --overwrite")
    before = _texture_to_train_on(bundle, options)
    perceptual = Perceptual(options.perceptual) if options.perceptual else None
    source = open_pairs(
        data,
        mode=options.mode or (before.mode if before else None),
        kind=options.kind,
        n_frames=options.n_frames,
        voxel_size_um=options.voxel_size_um,
    )
    settings, judged_grain = _settings(source, options, before)
    recipe = options.recipe.model_copy(
        update={"judged_grain": options.recipe.judged_grain or judged_grain}
    )
    generator = options.generator or (before.generator if before else GeneratorSpec())
    _check_sides(source, least_side(generator, recipe))
    with locked(work):
        if overwrite:
            for path in work.iterdir():
                remove(path)
        if replaces and out.exists():
            (work / REPLACES).touch()
        begun = (work / PAIRS / MANIFEST).is_file()
        try:
            store = build_store(
                work / PAIRS,
                source,
                settings,
                on_progress=lambda done, total: notify(TrainTextureEvent("pairs", done, total)),
            )
            intensities = store.histogram().intensities(options.bend)
        except BaseException:
            # Without pairs there is nothing to resume.
            if not begun:
                remove(work)
            raise
        spec = _spec(source, settings, options, recipe, intensities, generator, store)
        trainer = GanTrainer(
            spec.generator,
            recipe,
            store,
            intensities,
            options.length,
            inputs=spec.inputs,
            seed=options.seed,
            data=(work / PAIRS / MANIFEST).read_text(encoding="utf-8"),
            device=device,
            start=None
            if before is None
            else {name: torch.from_numpy(t) for name, t in bundle.texture_tensors().items()},
            perceptual=perceptual,
        )
        own = len(spec.conditions) * (spec.slices // 2)
        _train(trainer, work, own, notify)
        training = spec.training.model_copy(
            update={"steps": trainer.step, "seconds": round(trainer.seconds, 1)}
        )
        spec = TextureSpec.model_validate({**dict(spec), "training": training})
        preset = Preset.model_validate({**dict(bundle.preset), **names, "texture": spec})
        state = trainer.averaged().cpu().state_dict()
        evaluation = bundle.evaluation()
        written = write_bundle(
            out,
            preset,
            bundle.tensors(),
            card=write_card(preset, evaluation),
            evaluation=evaluation,
            preview=bundle.preview(),
            texture={name: tensor.numpy() for name, tensor in state.items()},
            overwrite=replaces,
        )
        remove(work / REPLACES if keep else work)
    return TrainTextureSummary(written, len(store.pairs))


def _texture_to_train_on(bundle: Bundle, options: TextureTrainOptions) -> TextureSpec | None:
    """The preset's own texture where it is to be trained on."""
    if not options.from_preset:
        return None
    spec = bundle.preset.texture
    if spec is None:
        raise MissingError(
            f"preset {bundle.preset.name} has no texture to start from; train without --from-preset"
        )
    if options.mode not in {None, spec.mode}:
        raise InputError(
            f"preset {bundle.preset.name} has a texture of mode {spec.mode}, got --mode "
            f"{options.mode}; give the same, or train without --from-preset"
        )
    if options.generator not in {None, spec.generator}:
        raise InputError("--from-preset trains the preset's own generator; give no other")
    if options.plain and _measured(spec):
        raise InputError(
            f"preset {bundle.preset.name} has a texture that sees {' and '.join(_measured(spec))}; "
            "train without --plain, or without --from-preset"
        )
    return spec


def _measured(spec: TextureSpec) -> tuple[Condition, ...]:
    """Those of a texture's conditions that are measured in the images."""
    return tuple(name for name in MEASURED if name in spec.conditions)


def _settings(
    source: PairSource,
    options: TextureTrainOptions,
    before: TextureSpec | None,
) -> tuple[ConditionSettings, bool]:
    """How conditions are made, and whether the images were made with the very same grain.

    Flat masks do not tell how a cell turns, so that their grain is another one than the images'.
    """
    fluorophore = source.simulated.get("profile", {}).get("fluorophore", {})
    grain_um = options.grain_um or fluorophore.get("grain_um") or (before and before.grain_um)
    octaves = options.grain_octaves or fluorophore.get("grain_octaves")
    octaves = octaves or (before.grain_octaves if before else GRAIN_OCTAVES)
    same = {"grain_um": grain_um, "grain_octaves": octaves}.items() <= fluorophore.items()
    taught = same and source.depth_um is not None
    reach_um = options.reach_um or (before and before.reach_um)
    if grain_um is None or reach_um is None:
        size = source.cell_size_um()
        grain_um, reach_um = grain_um or GRAIN_SIZE * size, reach_um or REACH * size
    found = ConditionSettings(
        reach_um=float(f"{reach_um:.4g}"),
        grain_um=float(f"{grain_um:.4g}"),
        grain_octaves=octaves,
        seed=int(source.simulated.get("seed", options.seed)) if taught else options.seed,
        measured=_measured(before) if before else () if options.plain else MEASURED,
        required=before is not None,
    )
    return found, taught


def _check_sides(source: PairSource, least: int) -> None:
    for masks, images in zip(source.masks, source.images, strict=True):
        if min(masks.shape[-2:]) < least:
            raise InputError(
                f"{next(iter(images.values()))} has shape {masks.shape}; this network and recipe "
                f"need {least} pixels on a side, give one of fewer scales, or larger images"
            )


def _spec(
    source: PairSource,
    settings: ConditionSettings,
    options: TextureTrainOptions,
    recipe: TextureRecipe,
    intensities: Intensities,
    generator: GeneratorSpec,
    store: PairStore,
) -> TextureSpec:
    """What the preset will say of its texture, but for the steps taken."""
    pairs = len(store.pairs)
    what = f"{pairs} {'slices' if source.mode == '3d' else 'images'} with their masks"
    return TextureSpec(
        mode=source.mode,
        pixel_size_um=float(f"{source.pixel_size_um:.6g}"),
        depth_um=source.depth_um,
        conditions=store.conditions,
        reach_um=settings.reach_um,
        grain_um=settings.grain_um,
        grain_octaves=settings.grain_octaves,
        generator=generator,
        intensities=intensities,
        brightness=store.described.brightness,
        background=store.described.background,
        training=TextureTraining(
            seed=options.seed,
            steps=0,
            seconds=0.0,
            pairs=pairs,
            versions=versions(),
            recipe=recipe,
        ),
        origin=Origin(
            data=options.data or f"{what}.",
            licence=options.data_licence,
            source=options.source,
            limits=options.limits or "Images like those it was trained on, and no others.",
            commands=options.commands,
        ),
    )


def _train(
    trainer: GanTrainer, work: Path, own: int, notify: Callable[[TrainTextureEvent], None]
) -> None:
    """Train to the end; ``own`` is the channel where the conditions of the slice itself begin."""
    checkpoint = work / CHECKPOINT
    if checkpoint.is_file():
        trainer.load(checkpoint)
    next_sheet = trainer.seconds + SHEET_S / 4

    def on_step(report: GanReport) -> None:
        nonlocal next_sheet
        if report.seconds > next_sheet or report.share >= 1:
            next_sheet = report.seconds + SHEET_S
            _draw_sheet(trainer, work / SHEET, own)
        notify(TrainTextureEvent("train", report.share, 1.0, report))

    trainer.run(checkpoint, on_step)


@torch.no_grad()
def _draw_sheet(trainer: GanTrainer, path: Path, own: int) -> None:
    generator = trainer.averaged()
    rows = []
    for i in range(EXAMPLES):
        conditions, real = trainer.example(i)
        made = generator(conditions)
        rows.append(tuple(x[0].cpu().numpy() for x in (conditions[:, own:], real[0], made[0])))
    write_sheet(path, [(seen, real, made) for seen, real, made in rows])
