"""From a data set of masks to a preset: read, learn, evaluate, calibrate, write.

Everything on the way lies in a working folder beside the preset (``.NAME.training``): signed
distances, points and the last checkpoint. It stays when the training is interrupted, so that it
can be resumed, and goes when the preset is written.

On several processes the first prepares the data, all of them train, and the first goes on alone.
"""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from cellsynth.errors import InputError, InUseError, StorageError
from cellsynth.evaluation.overlap import Fit, training_dice
from cellsynth.field.model import CellModel
from cellsynth.formats.storage import REPLACES, remove, storing, whole_file
from cellsynth.presets.bundle import Bundle, check_free, write_bundle
from cellsynth.presets.card import write_card
from cellsynth.presets.judge import judge
from cellsynth.presets.models import PresetNames
from cellsynth.shapes import LeftOut, ShapeStore, build_store, cut_cells, open_masks
from cellsynth.shapes.cells import CellSequence
from cellsynth.shapes.mask_sequence import MaskSequence
from cellsynth.shapes.masks import ASSUMED_FRAME_INTERVAL_S, ASSUMED_VOXEL_SIZE_UM
from cellsynth.shapes.one_size import bring_to_one_size
from cellsynth.training.bound import measure_bound
from cellsynth.training.calibrating import calibrate_model, draw_preview
from cellsynth.training.description import describe, observed_topology, summarise
from cellsynth.training.loop import Report, Trainer, check_start
from cellsynth.training.options import TrainOptions
from cellsynth.training.points import PointPool, build_pool
from cellsynth.training.team import Team, joined
from cellsynth.training.trained import PROBE_BOUND, trained_fit

__all__ = ["TrainEvent", "TrainOptions", "TrainSummary", "train_preset", "work_folder"]

RECORD = "training.json"
CHECKPOINT = "checkpoint.safetensors"
POINTS = "points.npy"
PROBE_S = 30.0
PROBE_SHARE = 0.05  # of the training's time, where a probe is slow
PROBES = 6  # frames that the DSC during training is measured on

Stage = Literal["read", "distances", "points", "train", "evaluate", "judge", "calibrate"]


@dataclass(frozen=True)
class TrainEvent:
    """Progress of one stage: ``done`` of ``total``; in ``train`` also the step and how good.

    As soon as data are opened, ``assumed`` says what they do not say, and what is taken instead.
    """

    stage: Stage
    done: float
    total: float
    report: Report | None = None
    probe_dsc: float | None = None
    assumed: tuple[str, ...] = ()


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
    data: Path | Sequence[Path],
    out: Path,
    options: TrainOptions,
    *,
    device: str = "cpu",
    resume: bool = False,
    overwrite: bool = False,
    keep: bool = False,
    on_event: Callable[[TrainEvent], None] | None = None,
) -> TrainSummary | None:
    """Learn a preset from masks and write its bundle.

    Under torchrun every process calls this, with the same arguments and storage.

    Args:
        data: Masks: a Cell Tracking Challenge folder, TIFF stacks, Zarr, OME-Zarr, or the
            authors' HDF5 files; or several of these.
        out: Folder of the preset.
        options: What to train.
        device: Torch device; with torchrun ``cuda`` is one GPU for each process.
        resume: Continue a training that was interrupted, given the same options. It replaces the
            preset at ``out`` if it was begun to.
        overwrite: Replace the preset, and the interrupted training, at ``out``.
        keep: Leave the working folder in place.
        on_event: Told of progress, in the first process.

    Returns:
        What was made; None in torchrun's other processes.

    Raises:
        InputError: Masks or options that cannot be used.
        InUseError: ``out`` holds something, or an interrupted training is there.
        StorageError: The disk refused.
        TeamError: Another of torchrun's processes is gone.
    """
    notify = on_event or (lambda _: None)
    work = work_folder(out)
    folders = [data] if isinstance(data, Path) else list(data)
    replaces = overwrite or (resume and (work / REPLACES).is_file())

    def prepare() -> None:
        _judge_names(options)
        check_start(options.spec, options.recipe)
        check_free(out, overwrite=replaces)
        if work.exists() and overwrite:
            remove(work)
        if work.exists() and not resume:
            raise InUseError(f"{work} holds an interrupted training; pass --resume or --overwrite")
        try:
            _prepare(folders, work, options, replaces and out.exists(), notify)
        except BaseException:
            if not (work / RECORD).exists():
                remove(work)
            raise
        _draw_points(work, options, notify)

    team = Team()
    try:
        with joined(device) as team:
            if not team.first_does(prepare):
                return None
            if not (work / RECORD).is_file():
                raise InputError(
                    f"{work}: process {team.rank} does not see what the first prepared; "
                    "all processes need the same storage"
                )
            store, left_out = _opened(work)
            trainer = _train(store, work, options, team, notify)
    except StorageError:
        # The disk is full: without a checkpoint there is nothing that is worth its space.
        if team.leads and not (work / CHECKPOINT).is_file():
            remove(work)
        raise
    if not team.leads:
        return None
    summary = _finish(store, trainer, work, out, options, left_out, replaces, notify)
    remove(work / REPLACES if keep else work)
    return summary


def _judge_names(options: TrainOptions) -> None:
    """Refuse a name or licence that the preset would refuse after the training."""
    names = {"name": options.name, "licence": options.licence}
    judge(PresetNames, names, "options", error=InputError)


def _prepare(
    folders: Sequence[Path],
    work: Path,
    options: TrainOptions,
    replaces: bool,
    notify: Callable[[TrainEvent], None],
) -> None:
    """Make the training data in ``work``, unless they are there."""
    record = work / RECORD
    given = {
        "data": [str(folder.resolve()) for folder in folders],
        "kind": options.kind,
        "n_frames": options.n_frames,
        "voxel_size_um": options.voxel_size_um and list(options.voxel_size_um),
        "frame_interval_s": options.frame_interval_s,
        "orientation": options.orientation,
        "one_size": options.one_size,
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
        return
    remove(work)
    cells, skipped = _read_cells(folders, options, notify)
    with storing(work):
        work.mkdir(parents=True)
        if replaces:
            (work / REPLACES).touch()
    store = build_store(
        work / "shapes.zarr",
        cells,
        orientation=options.orientation,
        half_extent_um=options.half_extent_um,
        truncation=options.spec.truncation,
        on_progress=lambda done, total: notify(TrainEvent("distances", done, total)),
    )
    observed_topology(store)  # cells that nothing could be drawn like are refused now, not later
    text = json.dumps(
        {"given": given, "left_out": [{"name": x.name, "reason": x.reason} for x in skipped]}
    )
    with whole_file(record) as part:
        part.write_text(text, encoding="utf-8")


def _opened(work: Path) -> tuple[ShapeStore, tuple[LeftOut, ...]]:
    """The training data in ``work``, and what was left out of them."""
    found = json.loads((work / RECORD).read_text(encoding="utf-8"))
    left_out = tuple(LeftOut(**entry) for entry in found["left_out"])
    return ShapeStore.open(work / "shapes.zarr"), left_out


def _read_cells(
    folders: Sequence[Path], options: TrainOptions, notify: Callable[[TrainEvent], None]
) -> tuple[list[CellSequence], list[LeftOut]]:
    kinds, left_out = [], []
    for i, folder in enumerate(folders):

        def told(done: int, total: int, before: int = i) -> None:
            notify(TrainEvent("read", before * total + done, len(folders) * total))

        sources = open_masks(
            folder,
            voxel_size_um=options.voxel_size_um,
            frame_interval_s=options.frame_interval_s,
            kind=options.kind,
        )
        notify(TrainEvent("read", i, len(folders), assumed=_assumed(sources)))
        cells, skipped = cut_cells(sources, n_frames=options.n_frames, on_progress=told)
        kinds.append(cells)
        left_out += skipped
    if options.one_size:
        return bring_to_one_size(kinds), left_out
    return [cell for cells in kinds for cell in cells], left_out


def _assumed(sources: Sequence[MaskSequence]) -> tuple[str, ...]:
    taken = {
        "voxel size": f"{' × '.join(f'{side:g}' for side in ASSUMED_VOXEL_SIZE_UM)} µm",
        "frame interval": f"{ASSUMED_FRAME_INTERVAL_S:g} s",
    }
    every = {what for source in sources for what in source.assumed}
    return tuple(f"{what} {value}" for what, value in taken.items() if what in every)


def _draw_points(work: Path, options: TrainOptions, notify: Callable[[TrainEvent], None]) -> None:
    """Draw the training points in ``work``, unless they are there."""
    recipe = options.recipe
    points = work / POINTS
    # Points of another recipe or seed are other points.
    drawn = work / "points.json"
    kind = (recipe.pool_points, recipe.points_near, recipe.near_um, recipe.focus)
    asked = json.dumps([options.seed, *kind])
    if points.is_file() and drawn.is_file() and drawn.read_text(encoding="utf-8") == asked:
        return
    build_pool(
        points,
        ShapeStore.open(work / "shapes.zarr"),
        recipe,
        seed=options.seed,
        on_progress=lambda done, total: notify(TrainEvent("points", done, total)),
    )
    with whole_file(drawn) as part:
        part.write_text(asked, encoding="utf-8")


def _train(
    store: ShapeStore,
    work: Path,
    options: TrainOptions,
    team: Team,
    notify: Callable[[TrainEvent], None],
) -> Trainer:
    trainer = Trainer(
        options.spec,
        options.recipe,
        PointPool(work / POINTS, options.recipe, store.n_frames, store.truncation),
        options.length,
        seed=options.seed,
        data=(work / RECORD).read_text(encoding="utf-8"),
        start=options.start.tensors() if options.start else None,
        team=team,
    )
    checkpoint = work / CHECKPOINT
    if team.agree(checkpoint.is_file()):
        trainer.load(checkpoint)
    # From here on the first may replace it.
    team.wait()
    rng = np.random.default_rng(options.seed)
    where = [
        (int(rng.integers(store.n_sequences)), int(rng.integers(store.n_frames)))
        for _ in range(PROBES)
    ]
    next_probe = PROBE_S / 2

    def on_step(report: Report) -> None:
        nonlocal next_probe
        dsc = None
        if report.seconds > next_probe:
            began = time.perf_counter()
            fit = trained_fit(trainer.averaged().cpu(), trainer, PROBE_BOUND)
            dsc = float(np.nanmean(training_dice(fit, store, where=where)))
            cost = time.perf_counter() - began
            next_probe = report.seconds + max(PROBE_S, cost / PROBE_SHARE)
        notify(TrainEvent("train", report.share, 1.0, report, dsc))

    trainer.run(checkpoint, on_step if team.leads else None)
    return trainer


def _finish(
    store: ShapeStore,
    trainer: Trainer,
    work: Path,
    out: Path,
    options: TrainOptions,
    left_out: tuple[LeftOut, ...],
    overwrite: bool,
    notify: Callable[[TrainEvent], None],
) -> TrainSummary:
    """Evaluate, measure, calibrate and write the bundle."""
    decoder = trainer.averaged().cpu()
    fit = trained_fit(decoder, trainer, PROBE_BOUND)
    bound = measure_bound(decoder, fit.latents, store.n_frames, seed=options.seed)
    fit = replace(fit, bound=bound)
    dsc = _evaluate(fit, store, work / f"dsc-{_digest(fit)}.npy", options, notify)
    preset = describe(store, trainer, options, bound)
    model = CellModel(preset, decoder, fit.latents, fit.rotations)

    model, drawn = calibrate_model(
        model,
        seed=options.seed,
        on_progress=lambda done, total: notify(TrainEvent("calibrate", done, total)),
        on_judged=lambda done, total: notify(TrainEvent("judge", done, total)),
    )
    preset = model.preset
    evaluation = summarise(dsc, store, fit, drawn, options)
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
        preview=draw_preview(model, seed=options.seed),
        overwrite=overwrite,
    )
    return TrainSummary(bundle, left_out, evaluation)


def _evaluate(
    fit: Fit,
    store: ShapeStore,
    path: Path,
    options: TrainOptions,
    notify: Callable[[TrainEvent], None],
) -> NDArray[np.float64]:
    """DSC ``(sequences, frames)``, kept at ``path`` for a calibration that is interrupted."""
    frames = range(store.n_frames - 1, -1, -options.evaluate_every)
    where = [(i, t) for i in range(store.n_sequences) for t in sorted(frames)]
    if path.is_file():
        known: NDArray[np.float64] = np.load(path)
        if sorted(zip(*np.nonzero(np.isfinite(known)), strict=True)) == where:
            return known
    dsc = training_dice(
        fit,
        store,
        where=where,
        on_progress=lambda done, total: notify(TrainEvent("evaluate", done, total)),
    )
    with whole_file(path) as part, part.open("wb") as file:
        np.save(file, dsc)
    return dsc


def _digest(fit: Fit) -> str:
    """Names a trained field by its numbers."""
    arrays = [*(p.detach().numpy() for p in fit.decoder.parameters()), fit.latents, fit.rotations]
    return hashlib.sha256(b"".join(array.tobytes() for array in arrays)).hexdigest()[:16]
