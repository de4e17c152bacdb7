"""What a report shows: the sequences of a set with masks, images and lineage, ours or anybody's."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from numpy.typing import NDArray

from cellsynth.formats.ctc import CTCSequence, read_ctc
from cellsynth.formats.ctc_names import FOLDERS, sequence_names
from cellsynth.formats.ctc_scan import list_contents
from cellsynth.formats.lineage import Lineage
from cellsynth.formats.manifest import find_manifest
from cellsynth.formats.storage import as_text
from cellsynth.geometry import Index, Triple, as_index
from cellsynth.shapes.mask_sequence import MaskSequence
from cellsynth.shapes.masks import open_masks

__all__ = ["Kind", "SetSource", "ShownSequence", "open_set"]

Kind = Literal["TRA", "SEG", "ST"]


@dataclass(frozen=True)
class ShownSequence:
    """One sequence.

    Attributes:
        name: Its number, or the name of its file.
        n_frames: Number of frames.
        shape: Voxels ``(z, y, x)``; flat ones are one voxel deep.
        voxel_size_um: ``(z, y, x)`` in µm; None where nobody tells.
        frame_interval_s: Seconds between frames; None where nobody tells.
        lineage: Who is whose daughter; None where nobody tells.
        read: The part of a frame with cells, and where it begins, both ``(z, y, x)``.
        images: File of each frame that has an image.
    """

    name: str
    n_frames: int
    shape: Index
    voxel_size_um: Triple | None
    frame_interval_s: float | None
    lineage: Lineage | None
    read: Callable[[int], tuple[NDArray[Any], tuple[int, ...]]] = field(repr=False)
    images: Mapping[int, Path] = field(default_factory=dict)

    @property
    def flat(self) -> bool:
        """Whether its frames have no depth."""
        return self.shape[0] == 1

    def cells(self, t: int) -> tuple[NDArray[Any], Index]:
        """The smallest part of a frame with all its cells, and where it begins; empty if none."""
        labels, start = self.read(t)
        return labels, as_index(start)


@dataclass(frozen=True)
class SetSource:
    """A data set.

    Attributes:
        name: Of its folder or file.
        sequences: Its sequences.
        manifest: What ``dataset.json`` says; empty where there is none of ours.
        masks: What its sequences were opened as; nothing where they are flat.
    """

    name: str
    sequences: tuple[ShownSequence, ...]
    manifest: Mapping[str, Any]
    masks: tuple[MaskSequence, ...] = ()

    @property
    def flat(self) -> bool:
        """Whether none of its sequences has depth."""
        return all(sequence.flat for sequence in self.sequences)

    @property
    def imaged(self) -> bool:
        """Whether it has images."""
        return any(sequence.images for sequence in self.sequences)


def open_set(
    path: Path, *, voxel_size_um: Triple | None = None, kind: Kind | None = None
) -> SetSource:
    """Open a data set; only headers are read now.

    Args:
        path: A Cell Tracking Challenge set, 3D or flat, or masks that
            :func:`~cellsynth.shapes.masks.open_masks` reads.
        voxel_size_um: ``(z, y, x)`` in µm, instead of what the files say.
        kind: Which masks of a Cell Tracking Challenge folder; None takes the first there is.

    Raises:
        MissingError, FormatError, InputError, DependencyError: As ``open_masks``; or a lineage
            that breaks a rule.
    """
    flat = _flat_ctc(path, kind)
    masks: list[MaskSequence] = []
    if flat:
        for listed in flat:
            listed.check_lineage()
        sequences = tuple(_of_flat(sequence, voxel_size_um) for sequence in flat)
    else:
        masks = open_masks(path, voxel_size_um=voxel_size_um, kind=kind)
        for source in masks:
            source.check_lineage()
        sequences = tuple(_of_masks(path, source) for source in masks)
    return SetSource(
        as_text(path.resolve().name), sequences, find_manifest(path) or {}, tuple(masks)
    )


def _flat_ctc(path: Path, kind: Kind | None) -> list[CTCSequence]:
    """The sequences of a Cell Tracking Challenge set, if all of them are flat."""
    if not path.is_dir() or not sequence_names(path):
        return []
    sequences = read_ctc(path, kind)
    return sequences if all(len(sequence.shape) == 2 for sequence in sequences) else []


def _of_flat(sequence: CTCSequence, voxel_size_um: Triple | None) -> ShownSequence:
    y, x = sequence.shape
    return ShownSequence(
        sequence.name,
        sequence.n_frames,
        (1, y, x),
        voxel_size_um or sequence.voxel_size_um,
        sequence.frame_interval_s,
        sequence.lineage,
        sequence.cropped,
        _images(sequence.root, sequence.name),
    )


def _of_masks(path: Path, source: MaskSequence) -> ShownSequence:
    return ShownSequence(
        source.short_name,
        source.n_frames,
        source.shape,
        None if "voxel size" in source.assumed else source.voxel_size_um,
        None if "frame interval" in source.assumed else source.frame_interval_s,
        source.lineage,
        source.cropped,
        _images(path, source.short_name),
    )


def _images(root: Path, name: str) -> dict[int, Path]:
    contents = list_contents(FOLDERS["images"], root, name) if root.is_dir() else None
    return {} if contents is None else contents.frames
