"""Descriptors of single cells over time.

A *course* is one cell through all frames. A sequence in which a cell divides gives one course for
each cell at the end, and the mother's frames are in each of them, as in the paper: "splitting each
respective voxel volume sequence into two sequences in order to evaluate the shape of each daughter
cell separately. Each evaluated sequence of voxel volumes thus represents a single time-evolving
cell shape" (Wiesner et al. 2024, section 5).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from cellsynth.errors import InputError
from cellsynth.evaluation.descriptors import Descriptors
from cellsynth.formats.lineage import Lineage

__all__ = ["DESCRIPTORS", "Courses", "cell_courses", "lineage_courses"]

DESCRIPTORS = ("surface", "volume", "sphericity")


@dataclass(frozen=True)
class Courses:
    """Descriptors of single cells over time.

    Attributes:
        values: ``(courses, frames, descriptors)``; NaN where a cell is not there.
        sequences: ``(courses,)``, the number from 0 of the sequence that each course is of. The
            courses of one sequence share their mother; different sequences are independent.
        names: What is described; surface in µm², volume in µm³, sphericity unless told otherwise.
    """

    values: NDArray[np.float64]
    sequences: NDArray[np.int64]
    names: tuple[str, ...] = DESCRIPTORS

    @classmethod
    def join(
        cls, parts: Sequence[NDArray[np.float64]], names: tuple[str, ...] = DESCRIPTORS
    ) -> Courses:
        """The courses of several sequences, ``(courses, frames, descriptors)`` each.

        Raises:
            InputError: None, or numbers of frames that differ.
        """
        lengths = {part.shape[1] for part in parts}
        if len(lengths) != 1:
            raise InputError(
                f"courses of {sorted(lengths)} frames; expected sequences of one number of frames"
            )
        numbers = np.repeat(np.arange(len(parts)), [len(part) for part in parts])
        return cls(np.concatenate(parts), numbers, names)

    @property
    def n_sequences(self) -> int:
        """Number of sequences."""
        return int(self.sequences.max()) + 1

    @property
    def n_frames(self) -> int:
        """Frames of each course."""
        return int(self.values.shape[1])

    def per_sequence(self) -> NDArray[np.float64]:
        """Mean over the courses of each sequence, ``(sequences, frames, descriptors)``.

        NaN in frames in which none of them is there.
        """
        there = ~np.isnan(self.values)
        return np.stack(
            [
                _mean(self.values[mine], there[mine])
                for mine in (self.sequences == i for i in range(self.n_sequences))
            ]
        )

    def sequence_means(self) -> NDArray[np.float64]:
        """Mean over frames of :meth:`per_sequence`, ``(sequences, descriptors)``."""
        means = np.moveaxis(self.per_sequence(), 1, 0)
        return _mean(means, ~np.isnan(means))


def _mean(values: NDArray[np.float64], there: NDArray[np.bool_]) -> NDArray[np.float64]:
    """Mean over the first axis of what is there; NaN where nothing is."""
    counts = np.where(there.any(axis=0), there.sum(axis=0), np.nan)
    return np.asarray(np.where(there, values, 0.0).sum(axis=0) / counts)


def cell_courses(
    frames: Sequence[Mapping[int, Descriptors]], lineage: Lineage | None
) -> NDArray[np.float64]:
    """The courses of one sequence, ``(courses, frames, 3)``, sorted by the label they end with.

    Args:
        frames: Per frame the descriptors of each label, see
            :func:`~cellsynth.evaluation.descriptors.frame_descriptors`.
        lineage: Whose daughter each label is. ``None``: each label is one cell throughout.

    Raises:
        InputError: No cell at the end, or one that is not there in every frame.
    """
    if not frames or not frames[-1]:
        raise InputError(f"no cell in the last of {len(frames)} frames; expected at least one")
    courses = []
    for last in sorted(frames[-1]):
        line = {last} if lineage is None else lineage.line(last)
        course = []
        for t, frame in enumerate(frames):
            at = [frame[label] for label in frame if label in line]
            if len(at) != 1:
                raise InputError(
                    f"cell {last}: {len(at)} labels in frame {t} of {len(frames)}, expected 1; "
                    "a course needs its cell in every frame"
                )
            course.append((at[0].surface_um2, at[0].volume_um3, at[0].sphericity))
        courses.append(course)
    return np.array(courses)


def lineage_courses(
    values: Mapping[int, NDArray[np.float64]], lineage: Lineage
) -> NDArray[np.float64]:
    """The courses of cells that need not be there all the time.

    Args:
        values: Of each label ``(frames, descriptors)``, NaN where it is not.
        lineage: Whose daughter each label is.

    Returns:
        ``(courses, frames, descriptors)``: each cell that has no daughters, and its mothers
        before it, sorted by label.
    """
    courses = []
    for tracklet in lineage.tracklets:
        if lineage.children(tracklet.label):
            continue
        parts = [values[label] for label in lineage.line(tracklet.label) if label in values]
        if parts:
            stacked = np.stack(parts)
            courses.append(_mean(stacked, ~np.isnan(stacked)))
    return np.array(courses)
