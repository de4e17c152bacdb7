"""The straight way between two learned codes, rendered as a data set, a sequence a step.

A step whose cell breaks the preset's topology is not refused: that is what one walks for. Its
pieces, whatever they do, bear one label, and ``dataset.json`` says so and why. A step with no cell
in any frame cannot be a sequence; it is left out and named.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from cellsynth.errors import InputError, TopologyError
from cellsynth.field.model import CellModel
from cellsynth.formats.making import Record
from cellsynth.formats.manifest import write_manifest
from cellsynth.formats.storage import remove
from cellsynth.geometry import Grid, rotations_between
from cellsynth.presets.bundle import Bundle
from cellsynth.rendering.dataset import fill_dataset
from cellsynth.rendering.manifest import describe
from cellsynth.rendering.options import Event, GenerateOptions
from cellsynth.rendering.sequence import Draw
from cellsynth.rendering.sequence_maker import SequenceMaker

__all__ = ["WalkOptions", "render_walk", "walk_draws", "walk_shares"]

LEFT_OUT = "left out"


@dataclass(frozen=True)
class WalkOptions:
    """Which way to go, and how its cells are rendered.

    Attributes:
        codes: Numbers, from 1, of the learned codes that it begins and ends with.
        grid: Voxels of every frame.
        n_frames: Frames of a sequence.
        steps: Sequences, those of the two codes too.
        rotation: ``none`` leaves each cell as the field has it, so that its code alone is seen;
            ``learned`` turns it, along the shortest way, from the learned rotation of the first
            code to that of the last.
    """

    codes: tuple[int, int]
    grid: Grid
    n_frames: int
    steps: int = 9
    rotation: Literal["none", "learned"] = "none"


def walk_shares(steps: int) -> NDArray[np.float64]:
    """How much of the way is gone at each step, 0 … 1.

    Raises:
        InputError: Fewer than two steps.
    """
    if steps < 2:
        raise InputError(f"steps must be at least 2, the two codes, got {steps}")
    return np.linspace(0.0, 1.0, steps)


def walk_draws(model: CellModel, options: WalkOptions) -> list[Draw]:
    """The cells along the way, first to last.

    Raises:
        InputError: A code that was not learned, twice the same one, or too few steps.
    """
    shares = walk_shares(options.steps)
    n = len(model.latents)
    for code in options.codes:
        if not 1 <= code <= n:
            raise InputError(f"preset {model.preset.name} has codes 1 to {n}, got {code}")
    first, last = (code - 1 for code in options.codes)
    if first == last:
        raise InputError(f"a walk leads from one code to another, got {first + 1} twice")
    a, b = model.latents[[first, last]].astype(np.float64)
    latents = (1 - shares)[:, None] * a + shares[:, None] * b
    rotations = np.tile(np.eye(3), (len(shares), 1, 1))
    if options.rotation == "learned":
        rotations = rotations_between(model.rotations[first], model.rotations[last], shares)
    return [
        Draw(latent, rotation, 0)
        for latent, rotation in zip(latents.astype(np.float32), rotations, strict=True)
    ]


def render_walk(
    bundle: Bundle,
    out: Path,
    options: WalkOptions,
    *,
    workers: int | None = 1,
    device: str = "cpu",
    resume: bool = False,
    overwrite: bool = False,
    on_event: Callable[[Event], None] | None = None,
) -> dict[str, Any]:
    """Render a walk as a Cell Tracking Challenge set; arguments and errors as of
    :func:`cellsynth.rendering.dataset.generate`.

    Returns:
        The manifest, ``dataset.json``. Each sequence has in ``step`` its number from 1, the share
        of the way, ``fault``, null or what breaks the topology, and ``labels``: ``cells``, or
        ``one body``. ``left_out`` lists the steps without a sequence.

    Raises:
        TopologyError: No step has a cell.
    """
    # What cannot be walked is told before anything is written.
    walk_draws(CellModel.from_bundle(bundle), options)
    there = out.exists()
    rendered = GenerateOptions(options.grid, options.n_frames, rotation="none")
    fresh = describe(bundle, rendered)
    del fresh["options"]["seed"]
    fresh["options"] |= {"rotation": options.rotation, "strategy": "walk"}
    fresh["walk"] = {"codes": list(options.codes), "steps": options.steps}
    manifest, _ = fill_dataset(
        bundle,
        out,
        rendered,
        fresh,
        partial(_StepMaker, options),
        count=options.steps,
        workers=workers,
        device=device,
        resume=resume,
        overwrite=overwrite,
        on_event=on_event,
    )
    records: dict[str, Record] = manifest["sequences"]
    empty = [name for name, record in records.items() if record["status"] == LEFT_OUT]
    manifest["left_out"] = [records.pop(name)["step"] for name in empty]
    if not records:
        remove(out)
        if there:
            out.mkdir()
        raise TopologyError(
            f"preset {bundle.preset.name}: no cell in any frame between codes "
            f"{options.codes[0]} and {options.codes[1]}"
        )
    write_manifest(out, manifest)
    return manifest


class _StepMaker:
    """Makes one step after another in this process."""

    def __init__(
        self,
        walk: WalkOptions,
        bundle: Bundle,
        out: Path,
        options: GenerateOptions,
        device: str,
        threads: int,
        notify: Callable[[Event], None],
    ) -> None:
        self._draws = walk_draws(CellModel.from_bundle(bundle), walk)
        self._shares = walk_shares(walk.steps).tolist()
        self._place = SequenceMaker(bundle, out, options, device, threads, notify).place
        self._notify = notify

    def __call__(self, index: int) -> Record:
        draw = self._draws[index]
        step = {"number": index + 1, "share": self._shares[index], "fault": None}
        try:
            return self._place(index, draw) | {"step": step | {"labels": "cells"}}
        except TopologyError as error:
            step["fault"] = str(error)
            self._notify(Event("redrawn", index))
        try:
            return self._place(index, draw, one_body=True) | {"step": step | {"labels": "one body"}}
        except TopologyError:
            return {"status": LEFT_OUT, "step": step}
