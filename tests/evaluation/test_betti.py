"""Components, handles and voids of bodies that have them, and against a slow count."""

from __future__ import annotations

from itertools import product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cellsynth.errors import ShapeError
from cellsynth.evaluation.betti import Betti, betti_numbers


def ring(n: int = 7) -> np.ndarray:
    mask = np.ones((1, n, n), bool)
    mask[:, 2:-2, 2:-2] = False
    return mask


def hollow(n: int = 5) -> np.ndarray:
    mask = np.ones((n, n, n), bool)
    mask[2, 2, 2] = False
    return mask


def pretzel() -> np.ndarray:
    mask = np.ones((2, 5, 9), bool)
    mask[:, 2, 2] = mask[:, 2, 6] = False
    return mask


def shell_of_a_torus() -> np.ndarray:
    """A torus that is hollow all the way round: its hollow is one void, with b1 = 2 in all."""
    z, y, x = np.indices((13, 31, 31)) - np.array([6, 15, 15])[:, None, None, None]
    tube = np.hypot(z, np.hypot(y, x) - 10)
    return (tube < 5) & (tube > 2.5)


BODIES = {
    "nothing": (np.zeros((3, 4, 5)), (0, 0, 0)),
    "one voxel": (np.ones((1, 1, 1)), (1, 0, 0)),
    "block": (np.ones((3, 4, 5)), (1, 0, 0)),
    "two": (np.array([[[1, 0, 1]]]), (2, 0, 0)),
    "corner to corner": (np.eye(2)[None], (1, 0, 0)),
    "ring": (ring(), (1, 1, 0)),
    "ring of corners": (np.array([[[0, 1, 0], [1, 0, 1], [0, 1, 0]]]), (1, 1, 0)),
    "hollow": (hollow(), (1, 0, 1)),
    "pretzel": (pretzel(), (1, 2, 0)),
    "hollow torus": (shell_of_a_torus(), (1, 2, 1)),
    "voxel within a hollow": (np.pad(np.pad(np.ones((1, 1, 1)), 1), 1, constant_values=1), None),
}


@pytest.mark.parametrize("name", BODIES)
def test_bodies(name):
    mask, expected = BODIES[name]
    assert betti_numbers(mask) == Betti(*(expected or (2, 0, 1)))


def test_euler_characteristic():
    assert [Betti(*b).euler for b in ((1, 0, 0), (2, 0, 0), (1, 1, 0), (1, 0, 1))] == [1, 2, 0, 2]


def slow(mask: np.ndarray) -> tuple[int, int]:
    """Pieces of voxels that share a corner, by flooding; Euler characteristic, by a set of cells.

    Each voxel has 27 cells, at twice its position and one step around it: itself, faces, edges,
    corners. An odd coordinate lies between voxels.
    """
    inside = set(map(tuple, np.argwhere(mask)))
    steps = list(product((-1, 0, 1), repeat=3))
    cells = {
        tuple(2 * n + d for n, d in zip(v, step, strict=True)) for v in inside for step in steps
    }
    euler = sum((-1) ** (3 - sum(n % 2 for n in cell)) for cell in cells)
    pieces = 0
    while inside:
        pieces += 1
        todo = [inside.pop()]
        while todo:
            at = todo.pop()
            near = {tuple(np.add(at, step)) for step in steps} & inside
            inside -= near
            todo += near
    return pieces, euler


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 2**32 - 1), st.tuples(*[st.integers(1, 5)] * 3), st.floats(0.2, 0.8))
def test_equals_a_slow_count(seed, shape, share):
    mask = np.random.default_rng(seed).random(shape) < share
    found = betti_numbers(mask)
    assert (found.components, found.euler) == slow(mask)
    assert min(found.components, found.handles, found.voids) >= 0


@given(st.tuples(*[st.integers(0, 3)] * 3), st.tuples(*[st.integers(0, 3)] * 3))
@settings(max_examples=20, deadline=None)
def test_room_around_a_mask_changes_nothing(before, after):
    moved = np.pad(hollow(), list(zip(before, after, strict=True)))
    assert betti_numbers(moved) == Betti(1, 0, 1)


def test_a_slice_is_no_body():
    with pytest.raises(ShapeError, match=r"mask has shape \(4, 5\)"):
        betti_numbers(np.ones((4, 5)))
