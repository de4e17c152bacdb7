"""Whether two sets of cells are alike in surface, volume and sphericity: Kolmogorov-Smirnov tests.

Four ways to take the samples, all given:

``pooled``
    Every frame of every course is a sample. This is what the paper did: each p-value of its Table 1
    is, to the last digit, one that 33 × 30 samples a set can have (Platynereis, A549), or 66 × 30
    where cells divide (C. elegans). But the frames of a cell resemble each other, and sisters share
    their mother, so there are far fewer independent samples than the test believes: of the 33
    dividing nuclei of the preset ``celegans``, dealt out to two sets at random a hundred times,
    the test calls the halves different 99 times by surface, 99 by volume and 75 by sphericity.
    Independent draws from a perfect generator fail it as often. It can be passed by draws that
    are spread more evenly than at random.
``per_sequence``
    One value a sequence, its mean over frames and courses: independent samples, an honest test,
    blind to what happens within a sequence.
``exchanged``
    The statistic of ``pooled``, and how often it is as large when whole sequences are dealt out
    to the two sets at random: an honest test that looks at every frame. The one to trust. (Those
    halves differ by it 6, 5 and 5 times in a hundred.)
``worst_frame``
    At each frame one value a sequence; the frame that differs most. The smallest of as many
    p-values as there are frames: below 0.05 somewhere is no surprise.

Any of them is the same for sphericity and for its cube root, since ranks do not change.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from cellsynth.errors import InputError
from cellsynth.evaluation.courses import DESCRIPTORS, Courses

__all__ = ["Comparison", "KSTest", "compare"]

EXCHANGES = 999


@dataclass(frozen=True)
class KSTest:
    """A two-sample Kolmogorov-Smirnov test.

    Attributes:
        statistic: Largest distance between the two distribution functions, 0 … 1.
        p: How likely that distance, or a larger one, is where nothing differs.
    """

    statistic: float
    p: float


@dataclass(frozen=True)
class Comparison:
    """One descriptor of two sets; the tests are explained above.

    Attributes:
        descriptor: ``surface``, ``volume`` or ``sphericity``.
        mean: Over all frames of all courses, of either set.
        sd: Standard deviation of the same.
        pooled: Every frame of every course.
        per_sequence: One mean a sequence.
        exchanged: Every frame, sequences dealt out anew.
        worst_frame: The frame with the smallest p.
        worst_frame_at: Which frame that is.
    """

    descriptor: str
    mean: tuple[float, float]
    sd: tuple[float, float]
    pooled: KSTest
    per_sequence: KSTest
    exchanged: KSTest
    worst_frame: KSTest
    worst_frame_at: int


def compare(
    a: Courses, b: Courses, *, exchanges: int = EXCHANGES, seed: int = 0
) -> tuple[Comparison, ...]:
    """Compare two sets of cells, descriptor by descriptor.

    Args:
        a: One set, of any number of sequences.
        b: The other.
        exchanges: Times that sequences are dealt out anew; the smallest p is 1 over one more.
        seed: Of that.

    Raises:
        InputError: Numbers of frames differ.
    """
    if a.n_frames != b.n_frames:
        raise InputError(
            f"courses of {a.n_frames} and of {b.n_frames} frames cannot be compared; "
            "expected one number of frames"
        )
    found = []
    means_a, means_b = a.per_sequence(), b.per_sequence()
    for k, name in enumerate(DESCRIPTORS):
        x, y = a.values[..., k], b.values[..., k]
        frames = [_test(p, q) for p, q in zip(means_a[..., k].T, means_b[..., k].T, strict=True)]
        worst = int(np.argmin([test.p for test in frames]))
        found.append(
            Comparison(
                descriptor=name,
                mean=(float(x.mean()), float(y.mean())),
                sd=(float(x.std(ddof=1)), float(y.std(ddof=1))),
                pooled=_test(x.ravel(), y.ravel()),
                per_sequence=_test(means_a[..., k].mean(axis=1), means_b[..., k].mean(axis=1)),
                exchanged=_exchange(x, a.sequences, y, b.sequences, exchanges, seed),
                worst_frame=frames[worst],
                worst_frame_at=worst,
            )
        )
    return tuple(found)


def _test(x: NDArray[np.float64], y: NDArray[np.float64]) -> KSTest:
    from scipy import stats

    found = stats.ks_2samp(x, y, method="exact" if max(len(x), len(y)) <= 500 else "asymp")
    return KSTest(float(found.statistic), float(found.pvalue))


def _exchange(
    x: NDArray[np.float64],
    x_sequences: NDArray[np.int64],
    y: NDArray[np.float64],
    y_sequences: NDArray[np.int64],
    exchanges: int,
    seed: int,
) -> KSTest:
    """The test of all frames, ``(courses, frames)`` each, that deals out whole sequences."""
    n_x = int(x_sequences.max()) + 1
    n = n_x + int(y_sequences.max()) + 1
    values = np.concatenate([x.ravel(), y.ravel()])
    owners = np.concatenate([x_sequences, n_x + y_sequences]).repeat(x.shape[1])
    order = np.argsort(values)
    owners = owners[order]
    # Distribution functions are compared after the last of equal values.
    ends = np.append(np.flatnonzero(np.diff(values[order])), len(values) - 1)

    def distance(in_x: NDArray[np.bool_]) -> float:
        mine = in_x[owners]
        below = np.cumsum(mine)[ends]
        of_x = below / np.count_nonzero(mine)
        of_y = (ends + 1 - below) / np.count_nonzero(~mine)
        return float(np.abs(of_x - of_y).max())

    rng = np.random.default_rng(seed)
    mine = np.arange(n) < n_x
    observed = distance(mine)
    # The slack makes ties of what differs only by rounding.
    as_large = sum(distance(rng.permutation(mine)) >= observed - 1e-12 for _ in range(exchanges))
    return KSTest(observed, (1 + as_large) / (1 + exchanges))
