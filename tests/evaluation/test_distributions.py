"""Comparisons of sets: equal sets, different ones, and what dependent frames do to a test."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import special, stats

from cellsynth.errors import InputError
from cellsynth.evaluation.courses import DESCRIPTORS, Courses
from cellsynth.evaluation.distributions import compare

FRAMES = 10


def drawn(seed: int, n: int = 33, *, shift: float = 0.0, within: float = 0.3, sisters: int = 1):
    """Sequences with a level of their own, around which the frames lie ``within``."""
    rng = np.random.default_rng(seed)
    level = rng.standard_normal((n, 1, 1, 1)) + shift
    parts = level + within * rng.standard_normal((n, sisters, FRAMES, 3))
    return Courses.join(list(10 + parts))


def slow_statistic(x, y):
    """Distance of the distribution functions, value by value."""
    return max(abs((x <= v).mean() - (y <= v).mean()) for v in np.concatenate([x, y]))


def test_each_definition_takes_its_own_samples():
    a, b = drawn(0, 20, sisters=2), drawn(1, 30, shift=0.5)
    found = compare(a, b, exchanges=19)
    assert tuple(c.descriptor for c in found) == DESCRIPTORS
    for k, c in enumerate(found):
        x, y = a.values[..., k], b.values[..., k]
        assert x.shape == (40, FRAMES)
        pooled = stats.ks_2samp(x.ravel(), y.ravel(), method="asymp")
        assert (c.pooled.statistic, c.pooled.p) == pytest.approx((pooled.statistic, pooled.pvalue))
        assert c.exchanged.statistic == pytest.approx(c.pooled.statistic)
        assert c.pooled.statistic == pytest.approx(slow_statistic(x.ravel(), y.ravel()))
        of_x, of_y = x.reshape(20, 2, FRAMES).mean(axis=1), y
        means = stats.ks_2samp(of_x.mean(axis=1), of_y.mean(axis=1))
        assert (c.per_sequence.statistic, c.per_sequence.p) == pytest.approx(
            (means.statistic, means.pvalue)
        )
        frames = [stats.ks_2samp(of_x[:, t], of_y[:, t]).pvalue for t in range(FRAMES)]
        assert c.worst_frame.p == pytest.approx(min(frames))
        assert c.worst_frame_at == np.argmin(frames)
        assert c.mean == pytest.approx((x.mean(), y.mean()))
        assert c.sd == pytest.approx((x.std(ddof=1), y.std(ddof=1)))


def test_the_published_p_values_are_those_of_pooled_frames():
    """Table 1 of the paper: each is one that so many samples a set can have, to the last digit.

    With n samples a set the statistic is k/n, and MATLAB's p-value follows from it. Other ways of
    counting (one value a sequence or a frame) give one of the seven at most.
    """

    def possible(n):
        half = np.sqrt(n / 2)  # of the effective number of samples, n · n / (n + n)
        return special.kolmogorov((half + 0.12 + 0.11 / half) * np.arange(1, n + 1) / n).round(3)

    one_cell = {0.634, 0.252, 0.387, 0.064, 0.230}  # Platynereis, A549
    divided = {0.077, 0.472}  # C. elegans: two courses a sequence
    assert one_cell <= set(possible(33 * 30))
    assert divided <= set(possible(2 * 33 * 30))
    for n in (30, 33, 60, 66):
        assert len((one_cell | divided) & set(possible(n))) <= 1


def test_a_set_is_like_itself():
    for c in compare(drawn(0), drawn(0), exchanges=99):
        for test in (c.pooled, c.per_sequence, c.exchanged, c.worst_frame):
            assert (test.statistic, test.p) == (0, 1)


def test_sets_apart_are_told_apart_by_every_definition():
    for c in compare(drawn(0), drawn(1, shift=3), exchanges=199):
        for test in (c.pooled, c.per_sequence, c.worst_frame):
            assert test.p < 1e-6
        assert c.exchanged.p == 1 / 200


def test_frames_taken_as_independent_call_equal_sets_different():
    """20 pairs of sets from one source: an honest test at 5 % objects to few, ``pooled`` to most.

    So the docstring says; it is also why ``pooled`` alone cannot be asked of a generator.
    """
    refused = dict.fromkeys(("pooled", "per_sequence", "exchanged"), 0)
    for i in range(20):
        c = compare(drawn(2 * i), drawn(2 * i + 1), exchanges=59)[0]
        for name in refused:
            refused[name] += getattr(c, name).p < 0.05
    assert refused["pooled"] > 10
    assert refused["per_sequence"] <= 4
    assert refused["exchanged"] <= 4


def test_exchanged_sees_what_means_do_not():
    """Equal means, but one set is steady where the other swings from frame to frame."""
    steady, swinging = drawn(0, within=0.1), drawn(1, within=0.1)
    swinging.values[:, ::2] += 3
    swinging.values[:, 1::2] -= 3
    for c in compare(steady, swinging, exchanges=199):
        assert c.per_sequence.p > 0.05
        assert c.exchanged.p == 1 / 200


def test_equal_values_are_ties():
    a = Courses.join([np.full((1, 2, 3), v) for v in (1.0, 1.0, 2.0, 3.0)])
    b = Courses.join([np.full((1, 2, 3), v) for v in (1.0, 2.0, 2.0, 3.0)])
    for c in compare(a, b, exchanges=99):
        assert c.pooled.statistic == c.exchanged.statistic == 0.25
        assert c.exchanged.p > 0.5


def test_the_seed_decides_and_the_order_of_the_sets_hardly():
    a, b = drawn(0), drawn(1, 20, shift=0.4)
    found = compare(a, b, exchanges=199)
    assert found == compare(a, b, exchanges=199)
    for one, other in zip(found, compare(b, a, exchanges=199), strict=True):
        assert one.pooled.p == pytest.approx(other.pooled.p)
        assert one.exchanged.p == pytest.approx(other.exchanged.p, abs=0.15)


def test_frames_that_do_not_correspond_are_not_compared_one_by_one():
    short = drawn(0)
    short = Courses(short.values[:, :4], short.sequences)
    for c in compare(short, drawn(1), exchanges=19):
        assert (c.worst_frame, c.worst_frame_at) == (None, None)
        assert c.samples == (33 * 4, 33 * FRAMES)


def test_what_is_not_there_is_no_sample():
    """A cell without a course at all, and one that ends early, change the counts, not the rest."""
    whole = drawn(2, 20)
    values = whole.values.copy()
    values[3] = np.nan
    values[7, 4:] = np.nan
    values[:, 9] = np.nan
    holed = Courses(values, whole.sequences)
    without = Courses(np.delete(values, 3, axis=0)[:, :9], np.arange(19))
    for a, b in zip(*(compare(s, drawn(3), exchanges=99) for s in (holed, without)), strict=True):
        assert a.samples == b.samples == (19 * 9 - 5, 33 * FRAMES)
        assert a.sequences == b.sequences == (19, 33)
        assert (a.pooled, a.per_sequence, a.exchanged) == (b.pooled, b.per_sequence, b.exchanged)
        assert a.worst_frame is not None
        assert a.worst_frame_at != 9
    same = compare(holed, whole, exchanges=19)[0]
    assert same.worst_frame_at != 9


def test_sets_of_other_descriptors_cannot_be_compared():
    other = Courses(drawn(0).values, drawn(0).sequences, ("a", "b", "c"))
    with pytest.raises(InputError, match=r"'sphericity'\) and of \('a', 'b', 'c'\)"):
        compare(drawn(0), other)
    nothing = Courses(np.full((1, 4, 3), np.nan), np.zeros(1, np.int64))
    with pytest.raises(InputError, match="no surface in the other set"):
        compare(drawn(0), nothing)
