"""Images of drawn cells: a generator's against the microscope's, by what textures can be told by.

New cells are drawn and imaged by the simulated microscope of their type, which stands for the real
one. One half of the images is what is compared with; of the cells of the other half there are the
microscope's images, those of the generator, and those of the simplest thing that works, a blurred
mask with noise, fitted to images of other cells. How far the microscope's two halves are apart says
how alike can be.

Source: Wiesner et al. 2024, section 5.9, which shows images and gives no numbers.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import numpy as np
from pydantic import Field, Strict

from cellsynth.errors import InputError
from cellsynth.evaluation.coherence import mask_agreement
from cellsynth.evaluation.digits import short
from cellsynth.evaluation.mask_baseline import fit_mask_baseline
from cellsynth.evaluation.textures import MEASURES, Textured, distances, sample_textures
from cellsynth.formats.ctc import CTCSequence, read_ctc
from cellsynth.formats.ctc_names import FOLDERS, frame_digits
from cellsynth.formats.tiff_reading import read_labels
from cellsynth.geometry import Grid
from cellsynth.presets.base import StrictModel
from cellsynth.presets.bundle import Bundle, read_bundle
from cellsynth.presets.catalogue import find_preset
from cellsynth.presets.recipes import RECIPES
from cellsynth.rendering.dataset import generate
from cellsynth.rendering.options import Event, GenerateOptions
from cellsynth.studies.fields import Learning
from cellsynth.studies.phantom_cells import Cells, KindName
from cellsynth.studies.results import Ordering, Table
from cellsynth.studies.study import Bench, Findings, Found, Stage, Study
from cellsynth.studies.trained_presets import trained_preset
from cellsynth.texture.dataset import texture_dataset
from cellsynth.texture.options import Mode, TextureEvent, TextureOptions
from cellsynth.texture.profiles import profile_for
from cellsynth.texture.train import (
    TextureTrainOptions,
    TrainTextureEvent,
    train_texture,
)
from cellsynth.texture.train import work_folder as texture_work_folder
from cellsynth.training.stepping import Length

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["STUDY", "TextureSettings", "TexturedKind"]

SETS = ("microscope", "generator", "blurred mask")
# Seeds of cells that a texture is trained on, of those it is compared on, and of those that the
# blurred mask is fitted to.
TRAINED, COMPARED, FITTED = 101, 202, 303
Size = Annotated[tuple[float, float, float], Strict(False)]


class TexturedKind(StrictModel):
    """One type of cells, and where its shapes and its texture come from."""

    kind: KindName
    preset: str | None = Field(description="A shipped preset; absent: trained on phantoms")
    learning: Learning | None = Field(None, description="How, where it is trained")
    cells: int = Field(33, ge=2, description="Phantoms that it is trained on")
    texture_steps: int | None = Field(
        None, ge=1, description="Steps of a texture; absent: that of the preset"
    )
    voxel_size_um: Size = Field(description="Voxels (z, y, x) of the microscope's stacks, µm")


class TextureSettings(StrictModel):
    """What is imaged, and how much of it."""

    kinds: Annotated[tuple[TexturedKind, ...], Strict(False)]
    sequences: int = Field(ge=1, description="Sequences in either half")
    frames: int = Field(ge=1, description="Frames of each")
    patch: int = Field(64, ge=32, description="Pixels of a patch around a cell")


def _stages(settings: TextureSettings) -> tuple[Stage[TextureSettings], ...]:
    stages: list[Stage[TextureSettings]] = []
    for kind in settings.kinds:
        if kind.preset is None or kind.texture_steps is not None:
            stages.append(Stage(f"{kind.kind}-preset", partial(_prepare, kind=kind)))
        stages.append(Stage(f"{kind.kind}-images", partial(_compare, kind=kind)))
    return tuple(stages)


def _prepare(bench: Bench[TextureSettings], *, kind: TexturedKind) -> Found:
    return {"sha256": _bundle(bench, kind).sha256}


def _bundle(bench: Bench[TextureSettings], kind: TexturedKind) -> Bundle:
    """The preset of a type with its texture."""
    if kind.preset is not None:
        bundle = find_preset(kind.preset)
    else:
        assert kind.learning is not None
        bundle = trained_preset(bench, Cells(kind=kind.kind, count=kind.cells), kind.learning)
    if kind.texture_steps is None:
        if bundle.preset.texture is None:
            raise InputError(f"preset {bundle.preset.name} has no texture; set texture_steps")
        return bundle
    out = bench.folder / "textured" / kind.kind
    if out.is_dir():
        return read_bundle(out)
    # Of flat masks nobody knows the grain; projected are stacks whose planes are the microscope's.
    z, y, x = kind.voxel_size_um
    z = max(z, profile_for(bundle.preset.name).optics.z_step_um)
    stacks = kind.model_copy(update={"voxel_size_um": (z, y, x)})
    n, seed = bench.settings.sequences, bench.seed + TRAINED
    pairs = _imaged(bench, bundle, stacks, "pairs", seed, n, mode="3d")
    options = TextureTrainOptions(
        length=Length(steps=kind.texture_steps), mode="mip", seed=bench.seed
    )

    def told(event: TrainTextureEvent) -> None:
        bench.tell(f"texture: {event.stage}", event.done, event.total, "")

    resume = texture_work_folder(out).exists()
    return train_texture(
        pairs, bundle, out, options, device=bench.device, resume=resume, on_event=told
    ).bundle


def _imaged(
    bench: Bench[TextureSettings],
    bundle: Bundle,
    kind: TexturedKind,
    name: str,
    seed: int,
    count: int,
    mode: Mode = "mip",
) -> Path:
    """Drawn cells as the microscope sees them; made once and kept."""
    masks, out = (bench.folder / f"{kind.kind}-{name}{end}" for end in ("-masks", ""))
    frames = bench.settings.frames
    grid = Grid.from_voxel_size(kind.voxel_size_um, bundle.preset.scale.half_extent_um)
    options = GenerateOptions(grid, n_frames=frames, seed=seed)
    generate(
        bundle,
        masks,
        options,
        count=count,
        resume=masks.exists(),
        on_event=_counted(bench, "rendering", count * frames),
    )
    _texture(bench, bundle, masks, out, TextureOptions(mode=mode, engine="optics", seed=seed))
    return out


def _texture(
    bench: Bench[TextureSettings], bundle: Bundle, masks: Path, out: Path, options: TextureOptions
) -> None:
    total = len(read_ctc(masks)) * bench.settings.frames
    texture_dataset(
        masks,
        options,
        bundle=bundle,
        out=out,
        resume=out.exists(),
        on_event=_counted(bench, f"imaging by {options.engine}", total),
    )


def _counted(bench: Bench[TextureSettings], what: str, total: int) -> Any:
    """Frames that are told of, as progress."""
    done = 0

    def told(event: Event | TextureEvent) -> None:
        nonlocal done
        if event.kind == "frame":
            done = min(done + 1, total)
            bench.tell(what, done, total, "")

    return told


def _compare(bench: Bench[TextureSettings], *, kind: TexturedKind) -> Found:
    settings, bundle = bench.settings, _bundle(bench, kind)
    n, seed = settings.sequences, bench.seed + COMPARED
    real = _imaged(bench, bundle, kind, "microscope", seed, 2 * n)
    made = bench.folder / f"{kind.kind}-generator"
    masks = bench.folder / f"{kind.kind}-microscope-masks"
    _texture(bench, bundle, masks, made, TextureOptions(mode="mip", engine="gan", seed=seed))
    first, second = _frames(real, slice(0, n)), _frames(real, slice(n, None))
    drawn = _frames(made, slice(n, None))
    fitted = _imaged(bench, bundle, kind, "fitted", bench.seed + FITTED, n)
    baseline = fit_mask_baseline(_frames(fitted, slice(None)))
    rng = np.random.default_rng(bench.seed)
    blurred = [Textured(baseline.image(one.labels, rng), one.labels) for one in second]
    reference = sample_textures(first, patch=settings.patch)
    found: Found = {"distances": {}, "threshold": {}, "patches": len(reference.patches)}
    for name, images in zip(SETS, (second, drawn, blurred), strict=True):
        sample = sample_textures(images, patch=settings.patch)
        found["distances"][name] = {k: short(v) for k, v in distances(reference, sample).items()}
        found["threshold"][name] = short(
            float(np.mean([mask_agreement(one.image, one.labels) for one in images]))
        )
    shown = np.linspace(0, settings.frames - 1, min(4, settings.frames)).round().astype(int)
    found["shown"] = {
        name: [images[t].image.astype(int).tolist() for t in shown]
        for name, images in zip(SETS, (second, drawn, blurred), strict=True)
    }
    return found


def _frames(root: Path, which: slice) -> list[Textured]:
    """Images and labels of some sequences of a flat set, one after another."""
    return [
        Textured(read_labels(_image_path(sequence, t)), sequence.labels(t))
        for sequence in read_ctc(root)[which]
        for t in range(sequence.n_frames)
    ]


def _image_path(sequence: CTCSequence, t: int) -> Path:
    folder = FOLDERS["images"].of(sequence.root, sequence.name)
    return folder / FOLDERS["images"].file(t, frame_digits(sequence.n_frames))


def _conclude(bench: Bench[TextureSettings]) -> Findings:
    settings = bench.settings
    kinds = [kind.kind for kind in settings.kinds]
    found = {kind: bench.found[f"{kind}-images"] for kind in kinds}
    beats = {kind: _nearer(each["distances"], MEASURES) for kind, each in found.items()}
    close = {
        kind: sum(
            each["distances"]["generator"][m] <= 2 * each["distances"]["microscope"][m]
            for m in MEASURES
        )
        for kind, each in found.items()
    }
    threshold = {kind: each["threshold"] for kind, each in found.items()}
    true = {kind: abs(t["generator"] - t["microscope"]) for kind, t in threshold.items()}
    missing = [k for k in ("platynereis", "celegans", "a549") if k not in kinds]
    left = f" {' and '.join(missing)} are not in this scale." if missing else ""
    return Findings(
        text=(
            f"{settings.sequences} sequences of {settings.frames} projections in either half, by "
            f"the simulated microscope of {', '.join(kinds)}. "
            + "; ".join(
                f"{kind}: the generator is nearer to the microscope than the blurred mask in "
                f"{beats[kind]} of {len(MEASURES)} measures, and within twice the distance of the "
                f"microscope's own halves in {close[kind]}"
                for kind in kinds
            )
            + f".{left} The paper shows images side by side, without a number."
        ),
        tables=tuple(
            Table(
                title=f"Distance to the microscope's images, {kind}",
                head=("measure", "its other half", "generator", "blurred mask"),
                rows=_rows(found[kind]),
            )
            for kind in kinds
        ),
        orderings=(
            Ordering(
                claim="generated images look like the microscope's: nearer than a blurred mask in "
                "every measure",
                ours="; ".join(f"{k}: {v} of {len(MEASURES)}" for k, v in beats.items()),
                holds=all(v == len(MEASURES) for v in beats.values()),
            ),
            Ordering(
                claim="cells lie in them where the mask says (a threshold overlaps it as well as "
                "in the microscope's, within 0.02)",
                ours="; ".join(f"{k}: {v:.3f} apart" for k, v in true.items()),
                holds=all(v <= 0.02 for v in true.values()),
            ),
        ),
        numbers={
            kind: {"distances": each["distances"], "threshold": each["threshold"]}
            for kind, each in found.items()
        },
    )


def _rows(found: Found) -> tuple[tuple[str, ...], ...]:
    rows = [(m, *(f"{found['distances'][name][m]:.3g}" for name in SETS)) for m in MEASURES]
    overlap = (f"{found['threshold'][name]:.3f}" for name in SETS)
    return (*rows, ("DSC of a threshold with the mask", *overlap))


def _nearer(of: Found, measures: Sequence[str]) -> int:
    """In how many measures the generator is nearer than the blurred mask."""
    return sum(of["generator"][m] < of["blurred mask"][m] for m in measures)


def _draw(bench: Bench[TextureSettings]) -> Figure:
    from matplotlib.figure import Figure

    kinds = [kind.kind for kind in bench.settings.kinds]
    columns = len(bench.found[f"{kinds[0]}-images"]["shown"][SETS[0]])
    figure = Figure(figsize=(2.6 * columns, 2.6 * len(SETS) * len(kinds)), layout="constrained")
    axes = figure.subplots(len(SETS) * len(kinds), columns, squeeze=False)
    for k, kind in enumerate(kinds):
        shown = bench.found[f"{kind}-images"]["shown"]
        low = min(np.min(image) for image in shown[SETS[0]])
        high = max(np.max(image) for image in shown[SETS[0]])
        for row, name in enumerate(SETS):
            for at, image in zip(axes[k * len(SETS) + row], shown[name], strict=True):
                at.imshow(image, cmap="gray", vmin=low, vmax=high)
                at.set_xticks([])
                at.set_yticks([])
            axes[k * len(SETS) + row, 0].set_ylabel(f"{kind}: {name}", fontsize=8)
    return figure


_LONG = Learning(steps=2000 * 7, recipe=RECIPES["paper"])
_SIZES = {
    "platynereis": (2.031, 0.406, 0.406),
    "celegans": (0.25, 0.09, 0.09),
    "a549": (0.125, 0.125, 0.125),
}

STUDY = Study(
    name="texture",
    title="Conditional synthesis of textured cell images",
    section="5.9, Fig. 14",
    settings={
        "small": TextureSettings(
            kinds=(
                TexturedKind(kind="celegans", preset="celegans", voxel_size_um=_SIZES["celegans"]),
            ),
            sequences=24,
            frames=30,
        ),
        "paper": TextureSettings(
            kinds=(
                TexturedKind(
                    kind="platynereis",
                    preset="platynereis",
                    texture_steps=6000,
                    voxel_size_um=_SIZES["platynereis"],
                ),
                TexturedKind(
                    kind="celegans",
                    preset="celegans",
                    texture_steps=6000,
                    voxel_size_um=_SIZES["celegans"],
                ),
                TexturedKind(
                    kind="a549",
                    preset=None,
                    learning=_LONG,
                    texture_steps=6000,
                    voxel_size_um=_SIZES["a549"],
                ),
            ),
            sequences=33,
            frames=30,
        ),
    },
    stages=_stages,
    conclude=_conclude,
    draw=_draw,
)
