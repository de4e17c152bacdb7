"""Who is whose daughter: tracklets, the lineage they form, and the rules it obeys.

A *tracklet* is one cell from the frame it appears in to the last frame before it divides or
leaves; a *lineage* is all tracklets of a sequence. Two or more children are a division, a single
child is a gap or a relabelling (Cell Tracking Challenge, "Naming and file content conventions").

The rules stand here once. The writer refuses what breaks them, the validator reports it.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from cellsynth.errors import InputError

__all__ = [
    "Lineage",
    "LineageFault",
    "Tracklet",
    "lineage_faults",
    "presence_faults",
    "raise_first",
]

MAX_LABEL = 65535  # labels are stored as uint16, 0 is background


@dataclass(frozen=True, order=True)
class Tracklet:
    """One cell from frame ``begin`` to frame ``end``, both inclusive; ``parent`` 0 is none."""

    label: int
    begin: int
    end: int
    parent: int = 0


@dataclass(frozen=True)
class Lineage:
    """All tracklets of one sequence, sorted by label.

    Any tracklets are accepted, so that a broken file can be looked at; :meth:`check` judges.
    """

    tracklets: tuple[Tracklet, ...]

    def __post_init__(self) -> None:
        object.__setattr__(self, "tracklets", tuple(sorted(self.tracklets)))

    @cached_property
    def _by_label(self) -> dict[int, Tracklet]:
        return {t.label: t for t in self.tracklets}

    @cached_property
    def _children(self) -> dict[int, tuple[Tracklet, ...]]:
        found: dict[int, list[Tracklet]] = {}
        for tracklet in self.tracklets:
            if tracklet.parent:
                found.setdefault(tracklet.parent, []).append(tracklet)
        return {parent: tuple(children) for parent, children in found.items()}

    @property
    def n_frames(self) -> int:
        """Number of frames up to the last one that a tracklet reaches."""
        return max((t.end + 1 for t in self.tracklets), default=0)

    def __getitem__(self, label: int) -> Tracklet:
        """The tracklet of that label; ``KeyError`` where there is none."""
        return self._by_label[label]

    def __contains__(self, label: object) -> bool:
        return label in self._by_label

    def __len__(self) -> int:
        return len(self.tracklets)

    def children(self, label: int) -> tuple[Tracklet, ...]:
        """Tracklets whose parent is ``label``, sorted by label; empty where there are none."""
        return self._children.get(label, ())

    def line(self, label: int) -> frozenset[int]:
        """A label and all those that it comes from; listed in a circle, each of them once."""
        found = {label}
        while label in self and self[label].parent not in (found | {0}):
            label = self[label].parent
            found.add(label)
        return frozenset(found)

    def divisions(self) -> tuple[Tracklet, ...]:
        """The mothers: tracklets with two or more children, sorted by label."""
        return tuple(t for t in self.tracklets if len(self.children(t.label)) >= 2)

    def at(self, frame: int) -> tuple[int, ...]:
        """Labels alive in ``frame``, sorted."""
        return tuple(t.label for t in self.tracklets if t.begin <= frame <= t.end)

    def check(self, n_frames: int | None = None) -> None:
        """Refuse a lineage that breaks a rule.

        Args:
            n_frames: Number of frames of the sequence; None skips the rule that needs it.

        Raises:
            InputError: The first rule broken, and how many more there are.
        """
        raise_first("lineage", lineage_faults(self.tracklets, n_frames))


@dataclass(frozen=True)
class LineageFault:
    """One broken rule.

    Attributes:
        row: Index into the tracklets that were judged; -1 where no tracklet is to blame.
        frame: Frame it concerns, or None.
        label: Label it concerns.
        rule: Short name of the rule.
        message: One clause, with what was found and what was expected.
    """

    row: int
    frame: int | None
    label: int
    rule: str
    message: str


def lineage_faults(
    tracklets: Sequence[Tracklet], n_frames: int | None = None
) -> Iterator[LineageFault]:
    """What is wrong with these tracklets by themselves, in their own order.

    Args:
        tracklets: In any order; labels need not be contiguous.
        n_frames: Number of frames of the sequence, or None where it is not known.
    """
    rows: dict[int, int] = {}
    for row, t in enumerate(tracklets):
        rows.setdefault(t.label, row)
    for row, t in enumerate(tracklets):
        if rows[t.label] != row:
            message = f"track {t.label} is listed twice; a label is used once"
            yield LineageFault(row, None, t.label, "label-twice", message)
        parent = tracklets[rows[t.parent]] if t.parent in rows else None
        for rule, frame, message in _tracklet_faults(t, n_frames, parent):
            yield LineageFault(row, frame, t.label, rule, message)


def _tracklet_faults(
    t: Tracklet, n_frames: int | None, parent: Tracklet | None
) -> Iterator[tuple[str, int | None, str]]:
    """Rule, frame and message of what is wrong with one tracklet."""
    name = f"track {t.label}"
    if not 1 <= t.label <= MAX_LABEL:
        yield "label-range", None, f"label {t.label} is outside 1 … {MAX_LABEL}"
    if t.begin > t.end:
        message = f"{name} begins in frame {t.begin} and ends in frame {t.end}"
        yield "begin-after-end", t.begin, f"{message}; a track ends in or after its first frame"
    for frame in sorted({t.begin, t.end}):
        if frame < 0 or (n_frames is not None and frame >= n_frames):
            last = "" if n_frames is None else f" {n_frames - 1}"
            message = f"{name} names frame {frame}; the sequence has frames 0 …{last}"
            yield "frame-range", frame, message
    if not t.parent:
        return
    if t.parent == t.label:
        yield "parent-self", t.begin, f"{name} begins in frame {t.begin} as its own parent"
    elif parent is None:
        message = f"{name} begins in frame {t.begin} from parent {t.parent}, which is not listed"
        yield "parent-unlisted", t.begin, f"{message}; use 0 for no parent"
    elif parent.end >= t.begin:
        message = f"{name} begins in frame {t.begin} but its parent {t.parent} ends in frame"
        message += f" {parent.end}; a parent ends before its daughters begin"
        yield "parent-late", t.begin, message


def presence_faults(
    tracklets: Sequence[Tracklet], labels: Mapping[int, Collection[int]]
) -> Iterator[LineageFault]:
    """Where tracklets and masks disagree, by frame and label.

    Args:
        tracklets: The lineage, in any order.
        labels: Per frame the labels found in its mask. Frames that are not given, because they
            are missing or unreadable, are not judged.
    """
    rows: dict[int, int] = {}
    for row, t in enumerate(tracklets):
        if 1 <= t.label <= MAX_LABEL:  # others are a fault by themselves
            rows.setdefault(t.label, row)
    known = [tracklets[row] for row in rows.values()]
    names = np.array([t.label for t in known], np.int64)
    begins = np.array([t.begin for t in known], np.int64)
    ends = np.array([t.end for t in known], np.int64)
    for frame in sorted(labels):
        alive = set(names[(begins <= frame) & (frame <= ends)].tolist())
        for label in sorted(alive ^ set(labels[frame])):
            row = rows.get(label, -1)
            rule, message = "label-unlisted", f"label {label} is not listed as a track"
            if row >= 0:
                t = tracklets[row]
                rule = "label-absent" if label in alive else "label-outside-track"
                message = (
                    f"label {label} is {'absent' if label in alive else 'present'}, but its track "
                    f"lasts from frame {t.begin} to {t.end}"
                )
            yield LineageFault(row, frame, label, rule, message)


def raise_first(where: str, faults: Iterable[LineageFault]) -> None:
    """Raise the first of these faults, if any, as an :class:`InputError` that counts the rest."""
    found = list(faults)
    if not found:
        return
    first = found[0]
    frame = "" if first.frame is None else f" frame {first.frame}"
    more = f" (the first of {len(found)} faults)" if len(found) > 1 else ""
    raise InputError(f"{where}{frame}: {first.message}{more}")
