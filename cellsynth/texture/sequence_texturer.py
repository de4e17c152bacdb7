"""One sequence of a data set: its images made, written, checked, moved into place."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cellsynth.errors import FormatError, InputError
from cellsynth.formats.ctc import CTCSequence, CTCWriter
from cellsynth.formats.ctc_names import FOLDERS, frame_digits, list_folder
from cellsynth.formats.ctc_validate import validate_ctc
from cellsynth.formats.image_tiff import write_image
from cellsynth.formats.label_tiff import write_labels
from cellsynth.formats.lineage import Lineage
from cellsynth.formats.making import Record
from cellsynth.formats.manifest import PART
from cellsynth.formats.storage import link_or_copy, remove, storing
from cellsynth.formats.tiff_reading import as_uint16, distinct_labels, read_header, read_labels
from cellsynth.texture.engines import Camera, Engine, Movie
from cellsynth.texture.options import TextureEvent
from cellsynth.texture.projection import project_labels

__all__ = ["Job", "SequenceTexturer"]


@dataclass(frozen=True)
class Job:
    """What is made of which masks.

    Attributes:
        sequences: Masks, sequence by sequence, every frame there.
        voxel_sizes_um: Of each sequence, ``(z, y, x)``.
        out: The data set to write; that of the masks where only images are added.
        masks: Whether masks are written too.
        flat: Whether to project.
        seed: Decides everything random.
    """

    sequences: Sequence[CTCSequence]
    voxel_sizes_um: Sequence[tuple[float, float, float]]
    out: Path
    masks: bool
    flat: bool
    seed: int


class SequenceTexturer:
    """Textures one sequence after another in this process."""

    def __init__(self, job: Job, engine: Engine, notify: Callable[[TextureEvent], None]) -> None:
        self._job = job
        self._engine = engine
        self._notify = notify

    def __call__(self, index: int) -> Record:
        """Make sequence ``index`` and return what the manifest says of it.

        Raises:
            FormatError, InputError: Masks that cannot be used, named.
            StorageError: The disk refused.
        """
        job = self._job
        sequence = job.sequences[index]
        name = sequence.name
        part = job.out / f"{PART}{name}"
        lineage = sequence.lineage or Lineage(())
        size = job.voxel_sizes_um[index]
        camera = self._engine.begin(
            Movie(
                voxel_size_um=size[-len(sequence.shape) :],
                lineage=lineage,
                seed=job.seed,
                sequence=int(name),
                flat=job.flat,
            )
        )
        images = FOLDERS["images"].of(part, name)
        with storing(images):
            images.mkdir(parents=True)
        if job.flat:
            self._projected(part, images, index, sequence, camera, (1.0, *size[1:]), lineage)
        else:
            _link_masks(sequence, part, size)
            for t in range(sequence.n_frames):
                image = camera.image(t, sequence.labels(t), None)
                self._write(images, index, sequence, t, image, size)
        self._move(part, sequence)
        return {"status": "complete", "frames": sequence.n_frames}

    def _projected(
        self,
        part: Path,
        images: Path,
        index: int,
        sequence: CTCSequence,
        camera: Camera,
        size: tuple[float, float, float],
        lineage: Lineage,
    ) -> None:
        """Masks and images of a flat set."""
        with CTCWriter(
            part,
            sequence.name,
            n_frames=sequence.n_frames,
            voxel_size_um=size,
            frame_interval_s=sequence.frame_interval_s,
        ) as writer:
            for t in range(sequence.n_frames):
                labels = sequence.labels(t)
                projected = project_labels(labels) if labels.ndim == 3 else labels
                hidden = distinct_labels(labels) - distinct_labels(projected)
                if hidden:
                    raise InputError(
                        f"{sequence.frame_paths[t]}: cell {min(hidden)} lies behind so many others "
                        "that a projection has no room for it; use --mode 3d"
                    )
                writer.write_frame(t, projected[None])
                image = camera.image(t, labels, projected)
                self._write(images, index, sequence, t, image, size)
            writer.finish(lineage)

    def _write(
        self,
        images: Path,
        index: int,
        sequence: CTCSequence,
        t: int,
        image: NDArray[Any],
        size: tuple[float, float, float],
    ) -> None:
        write_image(
            images / FOLDERS["images"].file(t, frame_digits(sequence.n_frames)),
            image,
            voxel_size_um=size,
            frame_interval_s=sequence.frame_interval_s,
        )
        self._notify(TextureEvent("frame", index))

    def _move(self, part: Path, sequence: CTCSequence) -> None:
        """Into place, if it is valid."""
        name, out = sequence.name, self._job.out
        faults = validate_ctc(part)
        if faults:
            raise FormatError(
                f"sequence {name} of {sequence.root} is not valid: {faults[0]}; "
                f"see cellsynth validate {sequence.root}"
            )
        wanted = [f"{name}_GT", name] if self._job.masks else [name]
        for folder in wanted:
            with storing(out / folder):
                (part / folder).rename(out / folder)
        remove(part)


def _link_masks(sequence: CTCSequence, part: Path, size: tuple[float, float, float]) -> None:
    """The masks and all that lies beside them, as hard links; tables get edited and are copied.

    Masks that are not uint16 are written anew.
    """
    for kind in ("TRA", "SEG"):
        source = FOLDERS[kind].of(sequence.root, sequence.name)
        if not source.is_dir():
            continue
        target = FOLDERS[kind].of(part, sequence.name)
        with storing(target):
            target.mkdir(parents=True)
        for path in list_folder(source):
            if path.suffix == ".tif":
                _link_mask(path, target / path.name, sequence, size)
            elif path.name == FOLDERS[kind].table:
                with storing(target / path.name):
                    (target / path.name).write_bytes(path.read_bytes())


def _link_mask(
    path: Path, target: Path, sequence: CTCSequence, size: tuple[float, float, float]
) -> None:
    header = read_header(path)
    if header.dtype == np.uint16:
        link_or_copy(path, target)
        return
    y, x = header.shape[-2:]
    labels = as_uint16(read_labels(path), path).reshape(-1, y, x)
    write_labels(
        target,
        labels,
        shape=(len(labels), y, x),
        voxel_size_um=size,
        frame_interval_s=sequence.frame_interval_s,
    )
