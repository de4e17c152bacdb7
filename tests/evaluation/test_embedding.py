"""Codes in few dimensions: closed forms, and what t-SNE must and may not do."""

from __future__ import annotations

import numpy as np
import pytest

from cellsynth.errors import InputError
from cellsynth.evaluation.embedding import (
    components_for,
    nearest_codes,
    perplexity_of,
    principal_components,
    tsne,
)


def test_components_of_points_on_two_axes():
    """Variances 2·4² and 2·1² over n - 1 = 3, along x and z."""
    codes = np.array([[4, 0, 0], [-4, 0, 0], [0, 0, 1], [0, 0, -1]]) + 7.0
    found = principal_components(codes)
    assert found.variances == pytest.approx([32 / 3, 2 / 3, 0])
    assert found.ratios == pytest.approx([16 / 17, 1 / 17, 0])
    np.testing.assert_allclose(np.abs(found.axes[:2]), [[1, 0, 0], [0, 0, 1]], atol=1e-12)
    np.testing.assert_allclose(found.mean, 7)
    scores = found.scores(codes)
    np.testing.assert_allclose(scores @ found.axes + found.mean, codes, atol=1e-12)


def test_a_code_that_was_not_learned_is_placed_too():
    found = principal_components(np.array([[0.0, 0.0], [2.0, 0.0]]))
    assert found.axes.shape == (1, 2)  # two codes lie on one line
    np.testing.assert_allclose(np.abs(found.scores(np.array([[5.0, 9.0]]))), [[4.0]])


@pytest.mark.parametrize("codes", [np.ones((4, 3)), np.ones((1, 3))])
def test_codes_that_do_not_differ_are_refused(codes):
    with pytest.raises(InputError, match=f"^{len(codes)} codes that do not differ"):
        principal_components(codes)


@pytest.mark.parametrize(("share", "expected"), [(0.5, 1), (0.6, 2), (0.75, 2), (0.8, 3), (1.0, 3)])
def test_components_that_hold_a_share(share, expected):
    assert components_for(np.array([0.5, 0.25, 0.25]), share) == expected


def test_all_components_hold_all_whatever_the_rounding():
    ratios = np.full(10, 0.1) * (1 - 1e-16)
    assert components_for(ratios, 1.0) == 10


def test_nearest():
    learned = np.array([[0.0, 0.0], [3.0, 4.0], [3.0, 5.0]])
    nearest, distances = nearest_codes(learned, learned, themselves=True)
    assert nearest.tolist() == [1, 2, 1]
    assert distances.tolist() == [5, 1, 1]
    nearest, distances = nearest_codes(learned[1:] + np.array([0, 0.25]), learned, themselves=False)
    assert nearest.tolist() == [1, 2]
    assert distances.tolist() == [0.25, 0.25]


@pytest.mark.parametrize(("n", "expected"), [(3, 1), (4, 1), (33, 32 / 3), (91, 30), (500, 30)])
def test_perplexity(n, expected):
    assert perplexity_of(n) == pytest.approx(expected)
    assert perplexity_of(n) < n


def test_tsne_keeps_groups_together_and_is_the_same_again():
    rng = np.random.default_rng(3)
    codes = np.concatenate([rng.standard_normal((12, 8)), 20 + rng.standard_normal((12, 8))])
    found = tsne(codes, seed=0)
    within = max(np.ptp(found[:12], axis=0).max(), np.ptp(found[12:], axis=0).max())
    assert np.linalg.norm(found[:12].mean(axis=0) - found[12:].mean(axis=0)) > within
    np.testing.assert_array_equal(tsne(codes, seed=0), found)


def test_tsne_of_three_codes_and_of_too_few():
    codes = np.eye(3)
    found = tsne(codes, seed=2**63 - 1)
    assert found.shape == (3, 2)
    assert np.isfinite(found).all()
    with pytest.raises(InputError, match="t-SNE needs 3 codes or more, got 2"):
        tsne(codes[:2], seed=0)
    assert np.isfinite(tsne(np.array([[0.0], [1.0], [5.0]]), seed=0)).all()  # one component
