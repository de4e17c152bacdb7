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
    p-values as there are frames: below 0.05 somewhere is no surprise. Only where both sets have
    the same number of frames.

Any of them is the same for sphericity and for its cube root, since ranks do not change.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from cellsynth.errors import InputError
from cellsynth.evaluation.courses import Courses

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
        descriptor: One of the sets' names, such as ``surface``.
        samples: Values in either set: every frame of every course.
        sequences: Independent samples in either set: sequences that have any value.
        mean: Over all frames of all courses, of either set.
        sd: Standard deviation of the same.
        pooled: Every frame of every course.
        per_sequence: One mean a sequence.
        exchanged: Every frame, sequences dealt out anew.
        worst_frame: The frame with the smallest p; None where the frames do not correspond.
        worst_frame_at: Which frame that is.
    """

    descriptor: str
    samples: tuple[int, int]
    sequences: tuple[int, int]
    mean: tuple[float, float]
    sd: tuple[float, float]
    pooled: KSTest
    per_sequence: KSTest
    exchanged: KSTest
    worst_frame: KSTest | None
    worst_frame_at: int | None


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
        InputError: They are not described by the same descriptors, or a set has no value of one.
    """
    if a.names != b.names:
        raise InputError(f"courses of {a.names} and of {b.names} cannot be compared")
    found = []
    frames_a, frames_b = a.per_sequence(), b.per_sequence()
    means_a, means_b = a.sequence_means(), b.sequence_means()
    for k, name in enumerate(a.names):
        x, x_owners = _pooled(a, k)
        y, y_owners = _pooled(b, k)
        if not len(x) or not len(y):
            raise InputError(f"no {name} in {'the other' if len(x) else 'one'} set to compare")
        worst, worst_at = _worst_frame(frames_a[..., k], frames_b[..., k])
        found.append(
            Comparison(
                descriptor=name,
                samples=(len(x), len(y)),
                sequences=(len(np.unique(x_owners)), len(np.unique(y_owners))),
                mean=(float(x.mean()), float(y.mean())),
                sd=(_sd(x), _sd(y)),
                pooled=_test(x, y),
                per_sequence=_test(_known(means_a[:, k]), _known(means_b[:, k])),
                exchanged=_exchange(x, x_owners, y, y_owners, exchanges, seed),
                worst_frame=worst,
                worst_frame_at=worst_at,
            )
        )
    return tuple(found)


def _pooled(courses: Courses, k: int) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """Every value of descriptor ``k``, and the sequence that each is of."""
    values = courses.values[..., k]
    owners = np.broadcast_to(courses.sequences[:, None], values.shape)
    there = ~np.isnan(values)
    return values[there], owners[there]


def _known(values: NDArray[np.float64]) -> NDArray[np.float64]:
    return values[~np.isnan(values)]


def _sd(values: NDArray[np.float64]) -> float:
    return float(values.std(ddof=1)) if len(values) > 1 else 0.0


def _worst_frame(
    a: NDArray[np.float64], b: NDArray[np.float64]
) -> tuple[KSTest | None, int | None]:
    """The frame of ``(sequences, frames)`` each that differs most."""
    if a.shape[1] != b.shape[1]:
        return None, None
    pairs = [(_known(x), _known(y)) for x, y in zip(a.T, b.T, strict=True)]
    tests = {t: _test(x, y) for t, (x, y) in enumerate(pairs) if len(x) and len(y)}
    if not tests:
        return None, None
    worst = min(tests, key=lambda t: tests[t].p)
    return tests[worst], worst


def _test(x: NDArray[np.float64], y: NDArray[np.float64]) -> KSTest:
    from scipy import stats

    found = stats.ks_2samp(x, y, method="exact" if max(len(x), len(y)) <= 500 else "asymp")
    return KSTest(float(found.statistic), float(found.pvalue))


def _exchange(
    x: NDArray[np.float64],
    x_owners: NDArray[np.int64],
    y: NDArray[np.float64],
    y_owners: NDArray[np.int64],
    exchanges: int,
    seed: int,
) -> KSTest:
    """The test of all values that deals out whole sequences, the ``owners`` of the values."""
    found_x, numbers_x = np.unique(x_owners, return_inverse=True)
    found_y, numbers_y = np.unique(y_owners, return_inverse=True)
    n_x, n = len(found_x), len(found_x) + len(found_y)
    values = np.concatenate([x, y])
    owners = np.concatenate([numbers_x, n_x + numbers_y])
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
