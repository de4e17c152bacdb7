"""Tracks become single-cell sequences of N frames.

A frame of a track is *clean* if the cell is there and does not touch the border of the image. A
division whose mother is clean before it, and both daughters after it, gives one sequence: the
mother, then both daughters. What is left of the tracks gives sequences of one cell.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import count

from cellsynth.errors import InputError
from cellsynth.shapes.cell_mask import CellMask
from cellsynth.shapes.mask_sequence import MaskSequence
from cellsynth.shapes.tracks import Survey, Track, survey_masks

__all__ = ["DEFAULT_N_FRAMES", "CellSequence", "LeftOut", "cut_cells"]

DEFAULT_N_FRAMES = 30  # as in the paper
# Reasons listed where nothing at all can be used.
_SHOWN = 3


@dataclass(frozen=True)
class CellSequence:
    """One cell, or a mother and then both her daughters, over consecutive frames.

    Attributes:
        name: Source, track and frames, for messages and records.
        source: The masks it was cut from.
        frames: Frame numbers in the source.
        labels: Per frame, the labels in the source that make up the cell.
        masks: Per frame, the voxels of the cell, with bounding box, centroid and volume.
    """

    name: str
    source: MaskSequence
    frames: tuple[int, ...]
    labels: tuple[frozenset[int], ...]
    masks: tuple[CellMask, ...] = field(repr=False)

    @property
    def n_frames(self) -> int:
        """Number of frames."""
        return len(self.frames)

    @property
    def divides(self) -> bool:
        """Whether the cell becomes two labels within the sequence."""
        return any(len(labels) > 1 for labels in self.labels)


@dataclass(frozen=True)
class LeftOut:
    """A track, division or label that gave no sequence, or less than it could have, and why."""

    name: str
    reason: str

    def __str__(self) -> str:
        return f"{self.name}: {self.reason}"


def cut_cells(
    sources: Sequence[MaskSequence],
    *,
    n_frames: int | None = None,
    on_progress: Callable[[int, int], None] | None = None,
) -> tuple[list[CellSequence], list[LeftOut]]:
    """Cut single-cell sequences of equal length out of mask sequences.

    Every frame is read once, and one at a time; what stays in memory is 1 to 20 kB for each
    cell and frame. Consecutive sequences of one track do not overlap. A division is as near to
    the middle of its sequence as the tracks allow. A single child continues its parent's track.

    Args:
        sources: Masks; cells of all of them come back in one list.
        n_frames: Frames per sequence. ``None``: 30 where a track or division is clean for 30
            frames, else as many as the longest.
        on_progress: Called with (frames read, frames in all) after each frame.

    Returns:
        The sequences, and what was left out: tracks that are too short, leave the field (touch
        the border of the image) or lose frames, divisions into more than two, labels without a
        track.

    Raises:
        InputError: No usable track at all, with the reasons; a source without any label or with
            a broken lineage.
        FormatError: A frame that cannot be read.
    """
    if n_frames is not None and n_frames < 1:
        raise InputError(f"number of frames must be at least 1, got {n_frames}")
    if not sources:
        raise InputError("no mask sequences given; at least one is needed")
    total = sum(source.n_frames for source in sources)
    steps = count(1)

    def on_frame() -> None:
        if on_progress is not None:
            on_progress(next(steps), total)

    surveys = [survey_masks(source, on_frame) for source in sources]
    if n_frames is None:
        longest = max(length for survey in surveys for length in _usable_lengths(survey))
        n_frames = max(1, min(longest, DEFAULT_N_FRAMES))
    found = [entry for survey in surveys for entry in _cut(survey, n_frames)]
    cells = [entry for entry in found if isinstance(entry, CellSequence)]
    left_out = [entry for entry in found if isinstance(entry, LeftOut)]
    if not cells:
        reasons = "; ".join(str(entry) for entry in left_out[:_SHOWN])
        more = f"; and {len(left_out) - _SHOWN} more" if len(left_out) > _SHOWN else ""
        raise InputError(f"no usable track of {n_frames} frames: {reasons}{more}")
    return cells, left_out


def _usable_lengths(survey: Survey) -> Iterator[int]:
    """Frames that each track and each division can give."""
    for track in survey.tracks.values():
        runs, _ = survey.clean_runs(track, track.begin, track.end)
        yield max((len(run) for run in runs), default=0)
        before, after, _ = _clean_around(survey, track)
        yield before + after if before and after else 0


def _cut(survey: Survey, n_frames: int) -> Iterator[CellSequence | LeftOut]:
    name = survey.source.name
    # The part of each track that no division's sequence shows: from here, and up to there.
    first = {track.label: track.begin for track in survey.tracks.values()}
    last = {track.label: track.end for track in survey.tracks.values()}
    divisions: dict[int, CellSequence | LeftOut] = {}
    # In order of time: a mother has given frames to the division that she comes from.
    for track in sorted(survey.tracks.values(), key=lambda track: track.end):
        if not track.daughters:
            continue
        before, after, fault = _clean_around(survey, track)
        before = min(before, track.end + 1 - first[track.label])
        n_before = _frames_before(n_frames, before, after)
        if n_before is None:
            needed = f"{before} frames before and {after} after it, {n_frames} are needed in all"
            divisions[track.label] = LeftOut(
                f"{name} division of track {track.label}", fault or needed
            )
            continue
        begin = track.end + 1 - n_before
        window = range(begin, begin + n_frames)
        daughters = [survey.tracks[label] for label in track.daughters]
        divisions[track.label] = _sequence(survey, [track, *daughters], window)
        last[track.label] = window[0] - 1
        first |= {daughter.label: window[-1] + 1 for daughter in daughters}
    yield from (divisions[label] for label in survey.tracks if label in divisions)
    for track in survey.tracks.values():
        yield from _cut_track(survey, track, first[track.label], last[track.label], n_frames)
    for label in survey.unlisted:
        yield LeftOut(f"{name} label {label}", "not listed as a track")


def _cut_track(
    survey: Survey, track: Track, first: int, last: int, n_frames: int
) -> Iterator[CellSequence | LeftOut]:
    """Consecutive sequences of one cell, from the first frame on."""
    runs, fault = survey.clean_runs(track, first, last)
    windows = [
        run[i : i + n_frames] for run in runs for i in range(0, len(run) - n_frames + 1, n_frames)
    ]
    for window in windows:
        yield _sequence(survey, [track], window)
    name = f"{survey.source.name} track {track.label}"
    in_division = first > track.begin or last < track.end
    if fault and windows:
        yield LeftOut(name, f"{fault}; {len(windows)} × {n_frames} other frames of it are used")
    elif fault:
        yield LeftOut(name, fault)
    elif not windows and not in_division:
        yield LeftOut(name, f"too short: {len(track.labels)} frames, {n_frames} are needed")


def _clean_around(survey: Survey, mother: Track) -> tuple[int, int, str]:
    """Usable frames before and after a division, and what limits them if not the tracks."""
    daughters = [survey.tracks[label] for label in mother.daughters]
    if len(daughters) != 2:
        return 0, 0, f"into {len(daughters)}, expected 2 daughters" if daughters else ""
    for daughter in daughters:
        if daughter.begin != mother.end + 1:
            lost = f"track {daughter.label} begins in frame {daughter.begin}"
            return 0, 0, f"loses frames: it ends in frame {mother.end}, but {lost}"
    before, fault = survey.clean_from(mother, range(mother.end, mother.begin - 1, -1))
    after = []
    for daughter in daughters:
        clean, found = survey.clean_from(daughter, range(daughter.begin, daughter.end + 1))
        after.append(clean)
        fault = fault or found
    return before, min(after), fault


def _frames_before(n_frames: int, before: int, after: int) -> int | None:
    """How many of ``n_frames`` to take before a division, the middle if possible."""
    fewest, most = max(1, n_frames - after), min(before, n_frames - 1)
    return min(max(n_frames // 2, fewest), most) if fewest <= most else None


def _sequence(survey: Survey, tracks: Sequence[Track], window: range) -> CellSequence:
    labels = [frozenset(track.at(frame) for track in tracks) - {0} for frame in window]
    masks = [
        CellMask.union([survey.masks[label, frame] for label in sorted(at)])
        for at, frame in zip(labels, window, strict=True)
    ]
    source = survey.source
    return CellSequence(
        name=f"{source.name} track {tracks[0].label} frames {window[0]}-{window[-1]}",
        source=source,
        frames=tuple(window),
        labels=tuple(labels),
        masks=tuple(masks),
    )
