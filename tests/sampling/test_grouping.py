"""Groups of codes: found where there are some, one where there are none."""

from __future__ import annotations

import numpy as np
import pytest

from cellsynth.sampling.grouping import group_codes

RNG = np.random.default_rng(5)


def test_codes_of_three_cell_types_fall_into_three_groups():
    kind = RNG.integers(3, size=60)
    centres = RNG.standard_normal((3, 64)) * 2
    codes = (centres[kind] + 0.5 * RNG.standard_normal((60, 64))).astype(np.float32)
    members = np.array(group_codes(codes))
    assert len(set(zip(members.tolist(), kind.tolist(), strict=True))) == 3
    # Numbered in the order in which they occur.
    _, first = np.unique(members, return_index=True)
    assert (np.diff(first) > 0).all()
    assert members[0] == 0


@pytest.mark.parametrize("n", [1, 2, 7, 33, 99])
def test_codes_of_one_kind_are_one_group(n):
    codes = RNG.standard_normal((n, 64)).astype(np.float32)
    assert group_codes(codes) == (0,) * n


def test_equal_codes_are_one_group():
    assert group_codes(np.ones((12, 8), np.float32)) == (0,) * 12


def test_no_group_is_too_small_for_a_covariance():
    codes = RNG.standard_normal((33, 16)).astype(np.float32)
    codes[:2] += 50  # two strangers
    assert np.bincount(group_codes(codes)).min() >= 4
