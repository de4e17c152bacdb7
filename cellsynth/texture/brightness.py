"""How bright cells are: measured in training images, described by few numbers, drawn anew.

The logarithm of a cell's mean counts above the background is taken for a sum of

- a level, with a slope on the logarithm of the cell's size and one on the frame (bleaching);
- around a division a course: of mothers' last frames and daughters' first;
- a normal deviation of the sequence, and one of the cell that its daughters inherit;
- what changes from frame to frame: a normal process whose correlation falls by the same factor
  with every frame. A daughter goes on where her mother ended.

Where many cells were seen, the sum of the deviations is then given the distribution that theirs
has: often most cells are about as bright, and a few are far darker.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.signal import lfilter
from scipy.special import ndtr

from cellsynth.errors import InputError
from cellsynth.formats.lineage import Lineage, Tracklet
from cellsynth.presets.texture import BrightnessSpec
from cellsynth.shapes.cell_mask import label_boxes
from cellsynth.texture.draws import even_normal

__all__ = [
    "BrightnessDraw",
    "CellLight",
    "cell_lights",
    "cell_sizes",
    "fit_brightness",
    "standard_brightness",
]

COURSE = 6  # frames before and after a division in which a course is told
DIVISIONS = 3  # that a course is measured on, at least
ENOUGH = 10  # cells and frames for each slope, at least
SURE = 3.0  # standard errors that a slope must exceed
STEEPEST = 10.0  # that a preset can hold
LAGS = 15  # frames over which change is compared, at most
FAINT = 0.01  # of the median cell: what is no brighter has no logarithm worth the name
MEASURED = 0.9  # share of cells that must be brighter than that
QUANTILES = 25  # of what deviates
TAIL = 3.0  # the last ones, in deviations
MANY = 30  # cells, each with its descendants, of which quantiles are told
VARIES = 0.01  # deviation below which brightness tells nothing
FAR = 4.0  # deviations at which a condition is cut
# Keeps this stream apart from others that a seed and a sequence's number begin.
_STREAM = 8


@dataclass(frozen=True)
class CellLight:
    """One cell in one frame.

    Attributes:
        sequence: Name of its sequence.
        frame: Number of the frame.
        label: Its label.
        size: In µm² or µm³.
        counts: Mean counts above the frame's background.
    """

    sequence: str
    frame: int
    label: int
    size: float
    counts: float


def cell_sizes(labels: NDArray[Any], voxel_size_um: Sequence[float]) -> dict[int, float]:
    """Area in µm², or volume in µm³, of each cell."""
    one = float(np.prod(voxel_size_um))
    return {
        label: one * int(np.count_nonzero(labels[box] == label))
        for label, box in label_boxes(labels)
    }


def cell_lights(
    sequence: str,
    frame: int,
    labels: NDArray[Any],
    image: NDArray[Any],
    voxel_size_um: Sequence[float],
) -> list[CellLight]:
    """Every cell of a frame; none where the frame has no background to compare with.

    The background is the median of all that lies outside cells.
    """
    outside = labels == 0
    if not outside.any():
        return []
    background = float(np.median(image[outside]))
    sizes = cell_sizes(labels, voxel_size_um)
    found = []
    for label, box in label_boxes(labels):
        mean = float(image[box][labels[box] == label].mean(dtype=np.float64))
        found.append(CellLight(sequence, frame, label, sizes[label], mean - background))
    return found


def standard_brightness(counts: float, spec: BrightnessSpec) -> float:
    """The condition of a cell with so many counts above the background."""
    if counts <= 0:
        return spec.lowest
    value = (np.log(counts) - spec.mean) / spec.deviation
    return float(np.clip(value, spec.lowest, spec.highest))


def fit_brightness(
    cells: Iterable[CellLight], lineages: Mapping[str, Lineage | None]
) -> BrightnessSpec:
    """Describe the brightness of measured cells.

    Slopes and course are fitted by least squares, with as many of them as the data bear. Of what
    is left, squared differences over time give what changes, products of cells of one sequence
    what a sequence has in common; a set whose sequences have one ancestor each cannot tell cells
    from sequences, and all goes to the sequences. A single sequence has no deviation of sequences.

    Args:
        cells: Of all sequences and frames.
        lineages: By name of sequence; None where there is no table, and labels stand alone.

    Raises:
        InputError: Brightness cannot be measured: no cells beside a background, cells as dark as
            the background, or all equally bright.
    """
    every = list(cells)
    if not every:
        raise InputError("brightness: no frame shows cells and background")
    counts = np.array([cell.counts for cell in every])
    seen = counts > max(FAINT * float(np.median(counts)), 0)
    if seen.mean() < MEASURED:
        raise InputError(
            f"brightness: {np.count_nonzero(~seen)} of {len(every)} cells are not brighter than "
            "the background; expected bright cells on a dark background"
        )
    lights = [cell for cell, is_seen in zip(every, seen, strict=True) if is_seen]
    logs = np.log(counts[seen])
    mean, deviation = float(logs.mean()), float(logs.std())
    if deviation < VARIES:
        raise InputError(f"brightness: all {len(lights)} cells have the same")
    z = (logs - mean) / deviation
    times = [_Times(lineages.get(name) or Lineage(())) for name in (x.sequence for x in lights)]
    sizes = np.log([x.size for x in lights])
    frames = np.array([x.frame for x in lights], float)
    ends = [time.ends(x.label, x.frame) for time, x in zip(times, lights, strict=True)]
    course = _course_columns(lights, ends, logs)
    columns = np.column_stack([sizes, frames, course])
    centred = columns - columns.mean(axis=0)
    used = np.ptp(columns, axis=0) > 0
    used[:2] &= len(logs) >= ENOUGH * (2 + course.shape[1])
    slopes = _slopes(centred, logs - mean, used, lights)
    left = logs - mean - centred @ slopes
    course_means = columns[:, 2:].mean(axis=0)
    varied = _variances(lights, times, left)
    return BrightnessSpec(
        mean=mean,
        deviation=deviation,
        lowest=float(max(z.min(), -FAR)),
        highest=float(min(z.max(), FAR)),
        level=float(mean - course_means @ slopes[2:]),
        size=float(sizes.mean()),
        size_slope=float(slopes[0]),
        middle=float(frames.mean()),
        trend=float(slopes[1]),
        before=tuple(slopes[2:][: course.shape[1] // 2].tolist()),
        after=tuple(slopes[2:][course.shape[1] // 2 :].tolist()),
        **varied,
        quantiles=_quantiles(lights, times, left),
    )


class BrightnessDraw:
    """The brightness of the cells of one sequence, drawn anew.

    A cell's depends on seed, number of the sequence, its label, its ancestors, the frame and its
    size, and on nothing else.
    """

    def __init__(self, spec: BrightnessSpec, lineage: Lineage, *, seed: int, sequence: int) -> None:
        self._spec = spec
        self._times = _Times(lineage)
        self._key = (seed, sequence)
        self._of_sequence = even_normal(seed, sequence, 0)
        self._paths: dict[int, NDArray[np.float64]] = {}

    def at(self, frame: int, sizes: Mapping[int, float]) -> dict[int, float]:
        """The condition of each cell in a frame.

        Args:
            frame: Its number.
            sizes: Of the cells in it, in µm² or µm³ as they were measured in training.
        """
        return {label: self._condition(label, frame, size) for label, size in sizes.items()}

    def _condition(self, label: int, frame: int, size: float) -> float:
        s = self._spec
        founder = self._times.ancestry(label)[0].label
        value = s.level + s.size_slope * (np.log(size) - s.size) + s.trend * (frame - s.middle)
        deviates = s.between_sequences * self._of_sequence
        deviates += s.between_cells * float(self._rng(founder).standard_normal())
        deviates += s.changing * self._change(label, frame)
        value += self._distributed(deviates)
        left, since = self._times.ends(label, frame)
        if left is not None and left <= len(s.before):
            value += s.before[-left]
        if since is not None and since < len(s.after):
            value += s.after[since]
        return float(np.clip((value - s.mean) / s.deviation, s.lowest, s.highest))

    def _distributed(self, deviates: float) -> float:
        """What a normal deviation is in the distribution of the training cells."""
        s = self._spec
        total = float(np.hypot(np.hypot(s.between_sequences, s.between_cells), s.changing))
        if not s.quantiles or not total:
            return deviates
        steps = np.linspace(-TAIL, TAIL, len(s.quantiles))
        return float(np.interp(deviates / total, steps, s.quantiles))

    def _change(self, label: int, frame: int) -> float:
        """What changes, of unit variance."""
        begin, value = 0, 0.0
        for tracklet in self._times.ancestry(label):
            last = frame if tracklet.label == label else tracklet.end
            path = self._path(tracklet, begin, value, last)
            begin, value = last, float(path[max(last - begin, 0)])
        return value

    def _path(self, tracklet: Tracklet, begin: int, value: float, last: int) -> NDArray[np.float64]:
        """The process of a tracklet from frame ``begin`` on, at least to frame ``last``.

        A founder's begins where she does; another's with ``value``, in her mother's last frame.
        """
        steps = max(last - begin, 0)
        found = self._paths.get(tracklet.label)
        if found is None or len(found) <= steps:
            memory = self._spec.memory
            # The first number is the cell's own deviation. More steps have the same beginning.
            draws = self._rng(tracklet.label).standard_normal(2 + max(steps, tracklet.end - begin))
            founder = self._times.ancestry(tracklet.label)[0] is tracklet
            start = draws[1] if founder else value
            steps_of = np.sqrt(1 - memory**2) * draws[2:]
            path, _ = lfilter([1.0], [1.0, -memory], steps_of, zi=[memory * start])
            found = self._paths[tracklet.label] = np.concatenate([[start], path])
        return found

    def _rng(self, label: int) -> np.random.Generator:
        return np.random.default_rng([*self._key, label, _STREAM])


class _Times:
    """When cells divide and whose daughters they are."""

    def __init__(self, lineage: Lineage) -> None:
        self._lineage = lineage
        self._mothers = {mother.label for mother in lineage.divisions()}
        self._ancestries: dict[int, tuple[Tracklet, ...]] = {}

    def ends(self, label: int, frame: int) -> tuple[int | None, int | None]:
        """Frames to the division, 1 in the last, and frames since birth; None where none is."""
        if label not in self._lineage:
            return None, None
        own = self._lineage[label]
        left = own.end + 1 - frame if label in self._mothers and frame <= own.end else None
        since = frame - own.begin if own.parent in self._mothers and frame >= own.begin else None
        return left, since

    def ancestry(self, label: int) -> tuple[Tracklet, ...]:
        """From the founder to the label itself; a label without a line in the table stands alone.

        A table that runs in a circle has no founder, and the label stands alone too.
        """
        found = self._ancestries.get(label)
        if found is None:
            line = [self._lineage[label] if label in self._lineage else Tracklet(label, 0, 0)]
            while line[0].parent in self._lineage and len(line) <= len(self._lineage):
                line.insert(0, self._lineage[line[0].parent])
            if len(line) > len(self._lineage) > 0:
                line = line[-1:]
            found = self._ancestries[label] = tuple(line)
        return found


def _course_columns(
    lights: Sequence[CellLight],
    ends: Sequence[tuple[int | None, int | None]],
    logs: NDArray[np.float64],
) -> NDArray[np.float64]:
    """A column for each frame before a division, then for each after; none for want of divisions.

    Frames that no cell was seen in leave a column of zeros.
    """
    divided = {(x.sequence, x.label) for x, (left, _) in zip(lights, ends, strict=True) if left}
    if len(divided) < DIVISIONS:
        return np.zeros((len(logs), 0))
    columns = np.zeros((len(logs), 2 * COURSE))
    for row, (left, since) in enumerate(ends):
        if left is not None and left <= COURSE:
            columns[row, COURSE - left] = 1
        if since is not None and since < COURSE:
            columns[row, COURSE + since] = 1
    return columns


def _slopes(
    centred: NDArray[np.float64],
    logs: NDArray[np.float64],
    used: NDArray[np.bool_],
    lights: Sequence[CellLight],
) -> NDArray[np.float64]:
    """Least squares on the columns that are used; 0 on the others.

    Of the first two, size and frame, one that the data do not bear is left out, and the others are
    fitted anew: what is drawn goes beyond the sizes and frames that were seen. One is borne where
    it exceeds its standard error thrice, be it that of independent values or that of independent
    sequences (of a single sequence: cells), whichever is larger (White 1980, Liang and Zeger 1986).
    """
    used = used.copy()
    owners = [x.sequence for x in lights]
    if len(set(owners)) == 1:
        owners = [str(x.label) for x in lights]
    groups = np.unique(owners, return_inverse=True)[1]
    while True:
        slopes = np.zeros(len(used))
        if not used.any():
            return slopes
        x = centred[:, used]
        inverse = np.linalg.pinv(x.T @ x, rcond=1e-12, hermitian=True)
        slopes[used] = np.linalg.lstsq(x, logs, rcond=1e-8)[0]
        left = logs - centred @ slopes
        variance = np.diag(inverse) * (left**2).mean()
        n = groups.max() + 1
        if n > 1:
            # (n, columns): what each group pulls.
            pulls = np.stack([np.bincount(groups, c * left, n) for c in x.T], axis=1) @ inverse
            variance = np.maximum(variance, (pulls**2).sum(axis=0) * n / (n - 1))
        sure = np.zeros(len(used))
        sure[used] = np.abs(slopes[used]) / np.maximum(np.sqrt(variance), 1e-300)
        sure[np.abs(slopes) > STEEPEST] = 0
        weakest = min((i for i in (0, 1) if used[i]), key=lambda i: float(sure[i]), default=None)
        if weakest is None or sure[weakest] > SURE:
            return slopes
        used[weakest] = False


def _variances(
    lights: Sequence[CellLight], times: Sequence[_Times], left: NDArray[np.float64]
) -> dict[str, float]:
    """Deviations of sequences, cells and change, and its memory, of what slopes leave."""
    total = float(np.mean(left**2))
    tracks: dict[tuple[str, int], list[tuple[int, float]]] = defaultdict(list)
    founders: dict[str, dict[int, list[float]]] = defaultdict(lambda: defaultdict(list))
    for light, time, value in zip(lights, times, left.tolist(), strict=True):
        tracks[light.sequence, light.label].append((light.frame, value))
        founders[light.sequence][time.ancestry(light.label)[0].label].append(value)
    changing, memory = _change_and_memory(list(tracks.values()), total)
    constant = max(total - changing, 0.0)
    together = 0.0
    if len(founders) > 1:
        shared, pairs = 0.0, 0
        for of_sequence in founders.values():
            means = np.array([np.mean(values) for values in of_sequence.values()])
            shared += float(means.sum() ** 2 - (means**2).sum())
            pairs += len(means) * (len(means) - 1)
        together = constant if pairs == 0 else float(np.clip(shared / pairs, 0, constant))
    return {
        "between_sequences": float(np.sqrt(together)),
        "between_cells": float(np.sqrt(constant - together)),
        "changing": float(np.sqrt(changing)),
        "memory": memory,
    }


def _quantiles(
    lights: Sequence[CellLight], times: Sequence[_Times], left: NDArray[np.float64]
) -> tuple[float, ...]:
    """What slopes leave, at the shares of normal deviates; none of few cells."""
    founders = {
        (x.sequence, time.ancestry(x.label)[0].label) for x, time in zip(lights, times, strict=True)
    }
    if len(founders) < MANY:
        return ()
    shares = ndtr(np.linspace(-TAIL, TAIL, QUANTILES))
    return tuple(np.quantile(left, shares).tolist())


def _change_and_memory(
    tracks: Sequence[Sequence[tuple[int, float]]], most: float
) -> tuple[float, float]:
    """Variance of what changes, at most ``most``, and its correlation from frame to frame.

    Half the mean squared difference of a cell to itself k frames later is v · (1 - memoryᵏ). What
    takes longer than the largest k to fall to 1/e cannot be told from what stays.
    """
    sums, pairs = np.zeros(LAGS), np.zeros(LAGS)
    for track in tracks:
        by_frame = dict(track)
        for frame, value in track:
            for k in range(1, LAGS + 1):
                if frame + k in by_frame:
                    sums[k - 1] += 0.5 * (by_frame[frame + k] - value) ** 2
                    pairs[k - 1] += 1
    known = pairs > 0
    if not known.any():
        return 0.0, 0.0
    seen, weights = sums[known] / pairs[known], pairs[known]
    lags = np.arange(1, LAGS + 1)[known]
    if len(lags) == 1:
        return min(float(seen[0]), most), 0.0
    best, variance, memory = np.inf, 0.0, 0.0
    for tried in np.linspace(0, np.exp(-1 / lags.max()), 100):
        shape = 1 - tried**lags
        fitted = float((weights * seen * shape).sum() / (weights * shape**2).sum())
        fitted = min(fitted, most)
        misfit = float((weights * (seen - fitted * shape) ** 2).sum())
        if misfit < best:
            best, variance, memory = misfit, fitted, float(tried)
    return variance, memory
