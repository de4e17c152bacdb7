"""Where a fit begins: learned codes, and rotations that cover SO(3).

Which way a learned code's cell lies in the field is measured from the field itself: the principal
axes of its volume. A start turns those onto the principal axes of the new cell. That leaves four
choices of sign, and they come first; then the other ways to lay one set of axes on another (the
rotations of the cube), for cells whose axes are nearly alike; then rotations spread evenly over
SO(3). All of them turn with the cell, so a cell and its rotated copy start alike.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import permutations, product

import numpy as np
import torch
from numpy.typing import NDArray

from cellsynth.field.decoder import Decoder
from cellsynth.field.folded import FoldedDecoder
from cellsynth.field.threads import one_thread_each
from cellsynth.geometry import frame_times

__all__ = ["Starts", "cover_rotations", "field_axes"]

CODES = 64  # learned codes that are tried at most
LATTICE = 16  # points along an axis, for principal axes
FRAMES = 6

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Starts:
    """Codes to begin from, and which way their cells lie in the field.

    Attributes:
        latents: ``(n, latent_dim)``.
        axes: Principal axes as columns, longest first, proper rotations ``(n, 3, 3)``.
    """

    latents: NDArray[np.float32]
    axes: Array

    @classmethod
    def of(cls, decoder: Decoder, latents: NDArray[np.float32]) -> Starts:
        """Starts from learned codes, evenly chosen where there are many."""
        chosen = np.unique(np.linspace(0, len(latents) - 1, CODES).round().astype(int))
        codes = latents[chosen]
        with one_thread_each():
            return cls(codes, np.stack([field_axes(decoder, code) for code in codes]))

    def rotations(self, axes: Array, count: int) -> Array:
        """Rotations ``(count, n, 3, 3)`` that lay each code's cell on one of these axes.

        Args:
            axes: Principal axes ``(3, 3)`` of the cell to be fitted, as columns.
            count: How many of :func:`cover_rotations`.
        """
        return np.asarray(axes @ cover_rotations(count)[:, None] @ self.axes.transpose(0, 2, 1))


def field_axes(decoder: Decoder, latent: NDArray[np.float32]) -> Array:
    """Principal axes ``(3, 3)`` of a code's cell in the field, over time, longest first.

    Volume is counted on a coarse lattice, and softly, so that it does not jump with its points.
    """
    line = (2 * np.arange(LATTICE) + 1) / LATTICE - 1
    lattice = np.stack(np.meshgrid(line, line, line, indexing="ij"), axis=-1).reshape(-1, 3)
    lattice = lattice[np.linalg.norm(lattice, axis=1) < 1]
    spacing = 2 / LATTICE
    code = torch.from_numpy(latent)
    moments = np.zeros((3, 3))
    for time in frame_times(FRAMES):
        sdf = FoldedDecoder(decoder, code, float(time), np.eye(3)).sdf(lattice)
        share = np.clip(0.5 - sdf.astype(np.float64) / spacing, 0, 1)
        total = share.sum()
        if total == 0:
            continue
        offset = lattice - share @ lattice / total
        moments += (offset * share[:, None]).T @ offset
    vectors = np.linalg.eigh(moments)[1][:, ::-1].copy()
    vectors[:, 2] = np.cross(vectors[:, 0], vectors[:, 1])
    return vectors


def cover_rotations(count: int) -> Array:
    """``count`` rotations ``(count, 3, 3)`` that cover SO(3): 4 signs, the cube's 24, a spiral.

    Source: Alexa 2022, "Super-Fibonacci spirals: fast, low-discrepancy sampling of SO(3)".
    """
    cube = [
        np.eye(3)[list(order)] * np.array(signs)[:, None]
        for order in permutations(range(3))
        for signs in product((1.0, -1.0), repeat=3)
    ]
    # The identity's order of axes comes first among permutations: its four signs lead.
    proper = [matrix for matrix in cube if np.linalg.det(matrix) > 0]
    spiral = _spiral(max(0, count - len(proper)))
    return np.concatenate([np.stack(proper), spiral])[:count]


def _spiral(count: int) -> Array:
    """Super-Fibonacci spiral: ``count`` rotations ``(count, 3, 3)`` spread evenly."""
    # ψ is the real root of ψ⁴ = ψ + 4 (ibid., section 4).
    psi = 1.533751168755204288118041
    i = np.arange(count) + 0.5
    share = i / max(1, count)
    inner, outer = np.sqrt(share), np.sqrt(1 - share)
    alpha, beta = 2 * np.pi * i / np.sqrt(2), 2 * np.pi * i / psi
    x, y = inner * np.sin(alpha), inner * np.cos(alpha)
    z, w = outer * np.sin(beta), outer * np.cos(beta)
    rows = [
        [1 - 2 * (y * y + z * z), 2 * (x * y - z * w), 2 * (x * z + y * w)],
        [2 * (x * y + z * w), 1 - 2 * (x * x + z * z), 2 * (y * z - x * w)],
        [2 * (x * z - y * w), 2 * (y * z + x * w), 1 - 2 * (x * x + y * y)],
    ]
    return np.array(rows).transpose(2, 0, 1)
