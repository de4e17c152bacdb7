"""Every cell of a mask sequence in every frame, and the tracks the cells form."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

from cellsynth.errors import InputError
from cellsynth.formats.lineage import Lineage, Tracklet, lineage_faults, raise_first
from cellsynth.geometry import as_index
from cellsynth.shapes.cell_mask import CellMask, labelled_masks
from cellsynth.shapes.mask_sequence import MaskSequence

__all__ = ["Survey", "Track", "label_lineage", "survey_masks"]


@dataclass(frozen=True)
class Track:
    """A cell from its first frame to its last: a tracklet, and its child where that is the only one
    (in Cell Tracking Challenge tables a gap or a change of label).

    Attributes:
        label: Label in the first frame.
        begin: First frame.
        labels: Label in each frame from ``begin``; 0 in a gap.
        daughters: Labels of the tracks it divides into, none or at least two.
    """

    label: int
    begin: int
    labels: tuple[int, ...]
    daughters: tuple[int, ...] = ()

    @property
    def end(self) -> int:
        """Last frame."""
        return self.begin + len(self.labels) - 1

    def at(self, frame: int) -> int:
        """Its label in a frame; 0 where it has none."""
        return self.labels[frame - self.begin] if self.begin <= frame <= self.end else 0


@dataclass(frozen=True)
class Survey:
    """What one pass over a mask sequence found.

    Attributes:
        source: The masks.
        masks: Every cell, by label and frame.
        tracks: Every track, by label.
        unlisted: Labels that the lineage does not list.
    """

    source: MaskSequence
    masks: dict[tuple[int, int], CellMask]
    tracks: dict[int, Track]
    unlisted: tuple[int, ...]

    def fault(self, track: Track, frame: int) -> str:
        """Why the cell cannot be used in that frame; empty where it can."""
        mask = self.masks.get((track.at(frame), frame))
        if mask is None:
            return f"loses frame {frame}"
        if mask.touches(self.source.shape):
            return f"leaves the field: touches the border of the image in frame {frame}"
        return ""

    def clean_runs(self, track: Track, first: int, last: int) -> tuple[list[range], str]:
        """Runs of usable frames within ``first`` … ``last``, and the first fault in between."""
        runs = []
        first_fault = ""
        begin = first
        for frame in range(first, last + 1):
            fault = self.fault(track, frame)
            if fault:
                runs.append(range(begin, frame))
                begin = frame + 1
                first_fault = first_fault or fault
        runs.append(range(begin, last + 1))
        return [run for run in runs if run], first_fault

    def clean_from(self, track: Track, frames: Iterable[int]) -> tuple[int, str]:
        """How many of these frames are usable from the first on, and the fault that ends them."""
        clean = 0
        for frame in frames:
            fault = self.fault(track, frame)
            if fault:
                return clean, f"track {track.label} {fault}"
            clean += 1
        return clean, ""


def survey_masks(source: MaskSequence, on_frame: Callable[[], None] | None = None) -> Survey:
    """Read every frame once and keep each cell's voxels, packed.

    Raises:
        InputError: No label in any frame, or a lineage that breaks a rule.
        FormatError: A frame that cannot be read.
    """
    if source.lineage is not None:
        faults = lineage_faults(source.lineage.tracklets, source.n_frames)
        raise_first(f"{source.name}: lineage", faults)
    masks: dict[tuple[int, int], CellMask] = {}
    for t in range(source.n_frames):
        for label, mask, box in labelled_masks(source.frame(t)):
            masks[label, t] = CellMask.of(mask, as_index(s.start for s in box))
        if on_frame is not None:
            on_frame()
    if not masks:
        raise InputError(
            f"{source.name}: all {source.n_frames} frames are background (0), expected labelled "
            "cells"
        )
    lineage = source.lineage or label_lineage(masks)
    tracks = {track.label: track for track in _tracks_of(lineage)}
    unlisted = {label for label, _ in masks if label not in lineage}
    return Survey(source, masks, tracks, tuple(sorted(unlisted)))


def label_lineage(seen: Iterable[tuple[int, int]]) -> Lineage:
    """One tracklet per label, from the first frame that has it to the last.

    Args:
        seen: Labels and the frames that have them.
    """
    frames: dict[int, list[int]] = {}
    for label, frame in seen:
        frames.setdefault(label, []).append(frame)
    return Lineage(tuple(Tracklet(label, min(at), max(at)) for label, at in frames.items()))


def _tracks_of(lineage: Lineage) -> list[Track]:
    tracks = []
    for head in lineage.tracklets:
        if head.parent and len(lineage.children(head.parent)) == 1:
            continue  # continues its parent
        labels: list[int] = []
        tracklet = head
        while True:
            labels += [0] * (tracklet.begin - head.begin - len(labels))  # a gap
            labels += [tracklet.label] * (tracklet.end - tracklet.begin + 1)
            children = lineage.children(tracklet.label)
            if len(children) != 1:
                break
            tracklet = children[0]
        daughters = tuple(child.label for child in children)
        tracks.append(Track(head.label, head.begin, tuple(labels), daughters))
    return tracks
