"""Who belongs together: families, and their courses, from the cells that were measured."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from cellsynth.evaluation.courses import Courses, lineage_courses
from cellsynth.evaluation.measures import FrameMeasures, Measures
from cellsynth.evaluation.models import DESCRIPTORS
from cellsynth.formats.lineage import Lineage
from cellsynth.shapes.mask_sequence import MaskSequence
from cellsynth.shapes.tracks import label_lineage

__all__ = ["MeasuredSequence", "families_of", "set_courses"]


def families_of(source: MaskSequence) -> dict[int, int]:
    """The founder of each label that the lineage lists: the first of all cells it comes from.

    Raises:
        InputError: A lineage that breaks a rule.
    """
    if source.lineage is None:
        return {}
    source.check_lineage()
    lineage = source.lineage
    return {
        t.label: next(label for label in lineage.line(t.label) if not lineage[label].parent)
        for t in lineage.tracklets
    }


@dataclass(frozen=True)
class MeasuredSequence:
    """A sequence, all of whose frames are measured.

    Attributes:
        source: The masks.
        frames: Measures by frame.
    """

    source: MaskSequence
    frames: Sequence[FrameMeasures]

    def lineage(self) -> Lineage:
        """That of the masks; a label that it does not list is a cell of its own."""
        seen = [(label, t) for t, frame in enumerate(self.frames) for label in frame.cells]
        listed = self.source.lineage or Lineage(())
        unlisted = label_lineage((label, t) for label, t in seen if label not in listed)
        return Lineage((*listed.tracklets, *unlisted.tracklets))

    def families(self) -> dict[int, Lineage]:
        """The part of the lineage that is of each founder, sorted by founder."""
        founders = families_of(self.source)
        members: dict[int, list[int]] = {}
        lineage = self.lineage()
        for tracklet in lineage.tracklets:
            members.setdefault(founders.get(tracklet.label, tracklet.label), []).append(
                tracklet.label
            )
        return {
            founder: Lineage(tuple(lineage[label] for label in labels))
            for founder, labels in sorted(members.items())
        }

    def cell(self, label: int) -> dict[int, Measures]:
        """Measures of one label, by frame."""
        return {t: f.cells[label] for t, f in enumerate(self.frames) if label in f.cells}

    def body(self, founder: int, labels: Iterable[int]) -> dict[int, Measures]:
        """Measures of a family as one body, by frame."""
        found = {}
        for t, frame in enumerate(self.frames):
            alone = [frame.cells[label] for label in labels if label in frame.cells]
            if founder in frame.families:
                found[t] = frame.families[founder]
            elif alone:
                found[t] = alone[0]
        return found

    def values(self, label: int) -> NDArray[np.float64]:
        """Descriptors ``(frames, descriptors)``; NaN where the cell is not there, or may be cut."""
        found = np.full((len(self.frames), len(DESCRIPTORS)), np.nan)
        for t, measures in self.cell(label).items():
            if not measures.at_border:
                found[t] = [getattr(measures, name) for name in DESCRIPTORS]
        return found

    def courses(self, lineage: Lineage) -> NDArray[np.float64]:
        """The courses of a family, ``(courses, frames, descriptors)``; none if nobody saw it."""
        seen = [t.label for t in lineage.tracklets if self.cell(t.label)]
        return lineage_courses({label: self.values(label) for label in seen}, lineage)


def set_courses(sequences: Sequence[MeasuredSequence]) -> Courses:
    """The courses of a whole set, in which a family is what :class:`Courses` calls a sequence.

    Courses of shorter sequences are padded with NaN.
    """
    longest = max(len(sequence.frames) for sequence in sequences)
    parts = []
    for sequence in sequences:
        for lineage in sequence.families().values():
            of_family = sequence.courses(lineage)
            if len(of_family):
                padded = np.full((len(of_family), longest, len(DESCRIPTORS)), np.nan)
                padded[:, : of_family.shape[1]] = of_family
                parts.append(padded)
    return Courses.join(parts, DESCRIPTORS)
