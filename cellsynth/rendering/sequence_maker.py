"""One sequence of a data set: drawn, rendered, written, checked, moved into place."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import torch

from cellsynth.errors import CellsynthError, TopologyError
from cellsynth.field.model import CellModel
from cellsynth.formats.ctc import CTCWriter
from cellsynth.formats.ctc_names import sequence_name
from cellsynth.formats.ctc_validate import validate_ctc
from cellsynth.formats.making import Record
from cellsynth.formats.manifest import PART
from cellsynth.formats.storage import remove, storing
from cellsynth.geometry import euler_to_matrix
from cellsynth.presets.bundle import Bundle
from cellsynth.rendering.options import Event, Format, GenerateOptions
from cellsynth.rendering.sequence import Draw, LabelledSequence, draw_onto

if TYPE_CHECKING:
    from cellsynth.formats.ome_zarr import OmeZarrWriter

__all__ = ["SequenceMaker", "sequence_folder"]

# Frames that wait to be compressed and written, per worker: bounds memory.
WAITING = 3


class SequenceMaker:
    """Makes one sequence after another in this process."""

    def __init__(
        self,
        bundle: Bundle,
        out: Path,
        options: GenerateOptions,
        device: str,
        threads: int,
        notify: Callable[[Event], None],
    ) -> None:
        """Take ``threads`` cores: frames share them, PyTorch's own threads would wait for them."""
        self._threads = threads
        self._model = CellModel.from_bundle(bundle, device)
        self._out = out
        self._options = options
        self._notify = notify

    def __call__(self, index: int) -> Record:
        options = self._options
        _, record = draw_onto(
            options.grid,
            lambda draw: self.place(index, draw),
            self._model,
            seed=options.seed,
            sequence=index,
            strategy=options.strategy,
            rotation=_matrix(options.rotation),
            threads=self._threads,
            on_refused=lambda: self._notify(Event("redrawn", index)),
        )
        return record

    def place(self, index: int, draw: Draw, *, one_body: bool = False) -> Record:
        """Render a cell as the sequence of that number from 0, and move it to its place.

        Raises:
            InputError: The grid is too large for the memory there is.
            TopologyError: Its topology is not the preset's; nothing is left of it.
        """
        options = self._options
        name = sequence_name(index + 1)
        part = self._out / f"{PART}{name}"
        sequence = LabelledSequence(
            self._model,
            draw,
            options.grid,
            options.n_frames,
            dense=options.dense,
            one_body=one_body,
            threads=self._threads,
        )
        try:
            with options.grid.in_memory():
                self._write(part, name, index, sequence)
        except TopologyError:
            remove(part)
            raise
        # What OME-Zarr files must obey is judged as they are written.
        faults = validate_ctc(part) if options.format == "ctc" else []
        if faults:
            raise CellsynthError(f"sequence {name} came out invalid, which is a bug: {faults[0]}")
        folder = sequence_folder(name, options.format)
        with storing(self._out / folder):
            (part / folder).rename(self._out / folder)
        remove(part)
        lineage = sequence.lineage()
        return {
            "status": "complete",
            "refused_draws": draw.attempt,
            "divisions": [
                {"label": mother.label, "frame": mother.end + 1} for mother in lineage.divisions()
            ],
            "rotation": draw.rotation.tolist(),
            "latent": [float(f"{value:.9g}") for value in draw.latent],
        }

    def _write(self, part: Path, name: str, index: int, sequence: LabelledSequence) -> None:
        """Render and write at once: frames are compressed while others are rendered."""
        options = self._options
        room = threading.Semaphore(WAITING)
        writer = self._writer(part, name)

        def write(t: int, labels: Any, offset: Any) -> None:
            try:
                writer.write_frame(t, labels, offset=offset, shape=options.grid.shape)
            finally:
                room.release()

        with writer, ThreadPoolExecutor(self._threads) as pool:
            written: deque[Future[None]] = deque()
            for t, labels, offset in sequence.frames():
                room.acquire()
                while written and written[0].done():
                    written.popleft().result()  # a full disk ends it now
                written.append(pool.submit(write, t, labels, offset))
                self._notify(Event("frame", index))
            lineage = sequence.lineage()
            for future in written:
                future.result()
            writer.finish(lineage)

    def _writer(self, part: Path, name: str) -> CTCWriter | OmeZarrWriter:
        options, scale = self._options, self._model.preset.scale
        voxel_size_um = options.grid.voxel_size_um(scale.half_extent_um)
        interval_s = options.frame_interval_s(scale.n_frames, scale.frame_interval_s)
        if options.format == "ctc":
            return CTCWriter(
                part,
                name,
                n_frames=options.n_frames,
                voxel_size_um=voxel_size_um,
                frame_interval_s=interval_s,
            )
        from cellsynth.formats.ome_zarr import OmeZarrWriter

        return OmeZarrWriter(
            part,
            name,
            shape=(options.n_frames, *options.grid.shape),
            voxel_size_um=voxel_size_um,
            frame_interval_s=interval_s,
        )


def sequence_folder(name: str, layout: Format) -> str:
    """Name of the folder in a generated set that is sequence ``name`` alone."""
    return f"{name}_GT" if layout == "ctc" else f"{name}.ome.zarr"


def _matrix(rotation: Literal["random", "none"] | tuple[float, float, float]) -> Any:
    if isinstance(rotation, str):
        return rotation
    return euler_to_matrix(torch.tensor(rotation, dtype=torch.float64)).numpy()
