"""From a data set of masks to a preset: read, learn, evaluate, calibrate, write.

Everything on the way lies in a working folder beside the preset (``.NAME.training``): signed
distances, points and the last checkpoint. It stays when the training is interrupted, so that it
can be resumed, and goes when the preset is written.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from cellsynth.errors import InputError, InUseError, StorageError, TopologyError
from cellsynth.evaluation.overlap import Fit, training_dice
from cellsynth.evaluation.preview import preview_png
from cellsynth.field.decoder import Decoder
from cellsynth.field.model import CellModel
from cellsynth.field.threads import cores, one_thread_each
from cellsynth.formats.storage import remove, storing
from cellsynth.geometry import Triple, euler_to_matrix
from cellsynth.presets.bundle import PRESET, Bundle, write_bundle
from cellsynth.presets.card import write_card
from cellsynth.presets.judge import judge
from cellsynth.presets.models import (
    Bound,
    FieldSpec,
    Gaussian,
    Neighbourhood,
    Origin,
    Preset,
    PresetNames,
    Sampling,
    Scale,
    Topology,
    Training,
)
from cellsynth.presets.recipe import Recipe
from cellsynth.presets.versions import versions
from cellsynth.rendering.sequence import check_topology, draw_cell
from cellsynth.rendering.tracking import count_cells
from cellsynth.sampling.calibration import calibrate
from cellsynth.shapes import LeftOut, ShapeStore, build_store, cut_cells, open_masks
from cellsynth.shapes.pose import Orientation
from cellsynth.training.bound import measure_bound
from cellsynth.training.loop import Length, Report, Trainer
from cellsynth.training.points import PointPool, build_pool

__all__ = ["TrainEvent", "TrainOptions", "TrainSummary", "train_preset", "work_folder"]

CHECKPOINT = "checkpoint.safetensors"
PROBE_S = 30.0
PROBES = 6  # frames that the DSC during training is measured on
# Before the slope is measured, frames are rendered with this bound: for the probe, and no more.
PROBE_BOUND = Bound(slopes=(1.5, 2.0, 2.0, 2.0), margin=1.0)

Stage = Literal["read", "distances", "points", "train", "evaluate", "calibrate"]


@dataclass(frozen=True)
class TrainOptions:
    """What to train.

    Attributes:
        name: Name of the preset.
        length: Steps or seconds.
        title, description: For people; made up from the data where absent.
        licence: Of the weights, as an SPDX expression.
        data, data_licence, source, limits: For the card, in words.
        commands: That make the preset again, for the card.
        kind: Which folders of a Cell Tracking Challenge set hold the masks.
        n_frames: Frames of a sequence; 30, or as many as the data have.
        voxel_size_um, frame_interval_s: Instead of what the data say.
        orientation: How cells are aligned before training.
        half_extent_um: Half the side of Ω; from the data by default.
        recipe: Hyperparameters.
        spec: The network.
        seed: Of everything random.
    """

    name: str
    length: Length
    title: str | None = None
    description: str | None = None
    licence: str = "LicenseRef-unstated"
    data: str | None = None
    data_licence: str = "not stated"
    source: str = "not stated"
    limits: str | None = None
    commands: tuple[str, ...] = ()
    kind: Literal["TRA", "SEG", "ST"] | None = None
    n_frames: int | None = None
    voxel_size_um: Triple | None = None
    frame_interval_s: float | None = None
    orientation: Orientation = "sequence"
    half_extent_um: float | None = None
    recipe: Recipe = field(default_factory=Recipe)
    spec: FieldSpec = field(default_factory=FieldSpec)
    seed: int = 0


@dataclass(frozen=True)
class TrainEvent:
    """Progress of one stage: ``done`` of ``total``; in ``train`` also the step and how good."""

    stage: Stage
    done: float
    total: float
    report: Report | None = None
    probe_dsc: float | None = None


@dataclass(frozen=True)
class TrainSummary:
    """The preset, what was left out of the data, and how good the preset is."""

    bundle: Bundle
    left_out: tuple[LeftOut, ...]
    evaluation: dict[str, Any]


def work_folder(out: Path) -> Path:
    """Where the training of the preset at ``out`` keeps its data and checkpoints."""
    return out.parent / f".{out.name}.training"


def train_preset(
    data: Path,
    out: Path,
    options: TrainOptions,
    *,
    device: str = "cpu",
    resume: bool = False,
    overwrite: bool = False,
    keep: bool = False,
    on_event: Callable[[TrainEvent], None] | None = None,
) -> TrainSummary:
    """Learn a preset from masks and write its bundle.

    Args:
        data: Masks: a Cell Tracking Challenge folder, TIFF stacks, Zarr or OME-Zarr.
        out: Folder of the preset.
        options: What to train.
        device: Torch device.
        resume: Continue a training that was interrupted, given the same options.
        overwrite: Replace the preset, and the interrupted training, at ``out``.
        keep: Leave the working folder in place.
        on_event: Told of progress.

    Raises:
        InputError: Masks or options that cannot be used.
        InUseError: ``out`` holds something, or an interrupted training is there.
        StorageError: The disk refused.
    """
    notify = on_event or (lambda _: None)
    _judge_names(options)
    _check_free(out, overwrite=overwrite)
    work = work_folder(out)
    if work.exists() and overwrite:
        remove(work)
    if work.exists() and not resume:
        raise InUseError(f"{work} holds an interrupted training; pass --resume or --overwrite")
    try:
        store, left_out = _prepare(data, work, options, notify)
    except BaseException:
        if not (work / "training.json").exists():
            remove(work)
        raise
    try:
        trainer = _train(store, work, options, device, notify)
    except StorageError:
        # The disk is full: without a checkpoint there is nothing that is worth its space.
        if not (work / CHECKPOINT).is_file():
            remove(work)
        raise
    summary = _finish(store, trainer, out, options, left_out, overwrite, notify)
    if not keep:
        remove(work)
    return summary


def _judge_names(options: TrainOptions) -> None:
    """Refuse a name or licence that the preset would refuse after the training."""
    names = {"name": options.name, "licence": options.licence}
    judge(PresetNames, names, "options", error=InputError)


def _check_free(out: Path, *, overwrite: bool) -> None:
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        ours = (out / PRESET).is_file()
        if not ours:
            raise InUseError(f"{out} is in use and is no preset; give another --out")
        if not overwrite:
            raise InUseError(f"{out} holds a preset already; pass --overwrite or another --out")


def _prepare(
    data: Path, work: Path, options: TrainOptions, notify: Callable[[TrainEvent], None]
) -> tuple[ShapeStore, tuple[LeftOut, ...]]:
    """The training data in ``work``: found there, or made."""
    record = work / "training.json"
    given = {
        "data": str(data.resolve()),
        "kind": options.kind,
        "n_frames": options.n_frames,
        "voxel_size_um": options.voxel_size_um and list(options.voxel_size_um),
        "frame_interval_s": options.frame_interval_s,
        "orientation": options.orientation,
        "half_extent_um": options.half_extent_um,
        "truncation": options.spec.truncation,
    }
    if record.is_file():
        found = json.loads(record.read_text(encoding="utf-8"))
        if found["given"] != given:
            key = next(key for key in given if found["given"].get(key) != given[key])
            raise InputError(
                f"{work}: the interrupted training had {key} {found['given'].get(key)}, now "
                f"{given[key]}; give the same again, or --overwrite"
            )
        left_out = tuple(LeftOut(**entry) for entry in found["left_out"])
        return ShapeStore.open(work / "shapes.zarr"), left_out
    remove(work)
    sources = open_masks(
        data,
        voxel_size_um=options.voxel_size_um,
        frame_interval_s=options.frame_interval_s,
        kind=options.kind,
    )
    cells, skipped = cut_cells(
        sources,
        n_frames=options.n_frames,
        on_progress=lambda done, total: notify(TrainEvent("read", done, total)),
    )
    with storing(work):
        work.mkdir(parents=True)
    store = build_store(
        work / "shapes.zarr",
        cells,
        orientation=options.orientation,
        half_extent_um=options.half_extent_um,
        truncation=options.spec.truncation,
        on_progress=lambda done, total: notify(TrainEvent("distances", done, total)),
    )
    text = json.dumps(
        {"given": given, "left_out": [{"name": x.name, "reason": x.reason} for x in skipped]}
    )
    with storing(record):
        part = record.with_suffix(".part")
        part.write_text(text, encoding="utf-8")
        part.replace(record)
    return store, tuple(skipped)


def _train(
    store: ShapeStore,
    work: Path,
    options: TrainOptions,
    device: str,
    notify: Callable[[TrainEvent], None],
) -> Trainer:
    recipe = options.recipe
    points = work / "points.npy"
    # Points of another recipe or seed are other points.
    drawn = work / "points.json"
    asked = json.dumps(
        [options.seed, recipe.pool_points, recipe.points_near, recipe.near_um], sort_keys=True
    )
    if points.is_file() and drawn.is_file() and drawn.read_text(encoding="utf-8") == asked:
        pool = PointPool(points, recipe, store.n_frames, store.truncation)
    else:
        pool = build_pool(
            points,
            store,
            recipe,
            seed=options.seed,
            on_progress=lambda done, total: notify(TrainEvent("points", done, total)),
        )
        with storing(drawn):
            drawn.write_text(asked, encoding="utf-8")
    trainer = Trainer(
        options.spec,
        recipe,
        pool,
        options.length,
        seed=options.seed,
        data=(work / "training.json").read_text(encoding="utf-8"),
        device=device,
    )
    checkpoint = work / CHECKPOINT
    if checkpoint.is_file():
        trainer.load(checkpoint)
    rng = np.random.default_rng(options.seed)
    where = [
        (int(rng.integers(store.n_sequences)), int(rng.integers(store.n_frames)))
        for _ in range(PROBES)
    ]
    probed = -PROBE_S / 2

    def on_step(report: Report) -> None:
        nonlocal probed
        dsc = None
        if report.seconds - probed > PROBE_S:
            fit = _fit(trainer.averaged().cpu(), trainer, PROBE_BOUND)
            dsc = float(np.nanmean(training_dice(fit, store, where=where)))
            probed = report.seconds
        notify(TrainEvent("train", report.share, 1.0, report, dsc))

    trainer.run(checkpoint, on_step)
    return trainer


def _finish(
    store: ShapeStore,
    trainer: Trainer,
    out: Path,
    options: TrainOptions,
    left_out: tuple[LeftOut, ...],
    overwrite: bool,
    notify: Callable[[TrainEvent], None],
) -> TrainSummary:
    """Evaluate, measure, calibrate and write the bundle."""
    decoder = trainer.averaged().cpu()
    fit = _fit(decoder, trainer, PROBE_BOUND)
    bound = measure_bound(decoder, fit.latents, store.n_frames, seed=options.seed)
    fit = replace(fit, bound=bound)
    dsc = training_dice(
        fit,
        store,
        on_progress=lambda done, total: notify(TrainEvent("evaluate", done, total)),
    )
    preset = _describe(store, trainer, options, bound)
    model = CellModel(preset, decoder, fit.latents, fit.rotations)

    def keeps_topology(latent: NDArray[np.float32]) -> bool:
        try:
            with one_thread_each():
                check_topology(model, latent, threads=cores())
        except TopologyError:
            return False
        return True

    sampling, drawn = calibrate(
        fit.latents,
        keeps_topology,
        seed=options.seed,
        on_progress=lambda done, total: notify(TrainEvent("calibrate", done, total)),
    )
    preset = preset.model_copy(update={"sampling": sampling})
    model = replace(model, preset=preset)
    evaluation = _evaluation(dsc, store, fit, drawn, options)
    try:
        draws = [draw_cell(model, seed=options.seed, sequence=i) for i in range(4)]
        preview: bytes | None = preview_png(model, draws)
    except TopologyError:
        # The preset is written all the same; its evaluation says how often draws fail.
        preview = None
    bundle = write_bundle(
        out,
        preset,
        {f"field.{name}": tensor.numpy() for name, tensor in decoder.state_dict().items()}
        | {
            "latents": fit.latents,
            "rotations": trainer.angles.detach().cpu().numpy().astype(np.float32),
        },
        card=write_card(preset, evaluation),
        evaluation=evaluation,
        preview=preview,
        overwrite=overwrite,
    )
    return TrainSummary(bundle, left_out, evaluation)


def _fit(decoder: Decoder, trainer: Trainer, bound: Bound) -> Fit:
    angles = trainer.angles.detach().cpu().double()
    return Fit(
        decoder,
        trainer.latents.detach().cpu().numpy().astype(np.float32),
        euler_to_matrix(angles).numpy(),
        bound,
    )


def _describe(store: ShapeStore, trainer: Trainer, options: TrainOptions, bound: Bound) -> Preset:
    """The preset's text and numbers, with sampling still to be calibrated."""
    topology = _observed_topology(store)
    what = f"{store.n_sequences} single-cell sequences of {store.n_frames} frames"
    title = options.title or f"Cells like those in {options.name}"
    return Preset(
        format=1,
        name=options.name,
        title=title,
        description=options.description or f"{title}, learned from {what}.",
        licence=options.licence,
        scale=Scale(
            half_extent_um=store.half_extent_um,
            frame_interval_s=store.frame_interval_s,
            n_frames=store.n_frames,
            assumed=store.assumed,
        ),
        field=options.spec,
        bound=bound,
        sampling=Sampling(
            strategy="gaussian", gaussian=Gaussian(sigma=1), neighbourhood=Neighbourhood(sigma=1)
        ),
        topology=topology,
        training=Training(
            recipe=options.recipe,
            seed=options.seed,
            steps=trainer.step,
            seconds=round(trainer.seconds, 1),
            sequences=store.n_sequences,
            frames=store.n_sequences * store.n_frames,
            versions=versions(),
        ),
        origin=Origin(
            data=options.data or f"{what}, cut from segmentation masks.",
            licence=options.data_licence,
            source=options.source,
            limits=options.limits or "Shapes like those it was trained on, and no others.",
            commands=options.commands,
        ),
    )


def _observed_topology(store: ShapeStore) -> Topology:
    """What most of the training sequences do from the first frame to the last."""
    share = Topology.model_fields["smallest_share"].default
    seen = Counter(
        tuple(count_cells(store.mask(i, t), share) for t in (0, store.n_frames - 1))
        for i in range(store.n_sequences)
    )
    begin, end = seen.most_common(1)[0][0]
    return Topology(
        begin_cells=begin, divisions=max(0, end - begin), end_cells=end, smallest_share=share
    )


def _evaluation(
    dsc: NDArray[np.float64],
    store: ShapeStore,
    fit: Fit,
    drawn: dict[str, Any],
    options: TrainOptions,
) -> dict[str, Any]:
    worst = np.unravel_index(int(dsc.argmin()), dsc.shape)
    voxels = [round(2 * store.half_extent_um / size) for size in store.voxel_size_um(int(worst[0]))]
    return {
        "dsc": {
            "mean": round(float(dsc.mean()), 5),
            "worst": round(float(dsc.min()), 5),
            "worst_where": f"{store.name(int(worst[0]))}, frame {int(worst[1])} of the sequence",
            "per_sequence": [round(float(value), 5) for value in dsc.mean(axis=1)],
            "per_frame": [round(float(value), 5) for value in dsc.mean(axis=0)],
        },
        "grid": voxels,
        "latents": {"std": float(f"{np.sqrt(np.mean(fit.latents**2)):.4g}")},
        "sampling": drawn,
        "seed": options.seed,
        "versions": versions(),
    }
