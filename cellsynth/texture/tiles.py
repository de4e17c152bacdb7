"""A generator applied to frames of any size, in tiles that fit together.

With frozen statistics a pixel depends on conditions within the generator's reach alone. A tile is
computed with that much of the frame around it, and thrown away but for its middle. Tiles begin at
multiples of the generator's step, where its coarse pixels begin in the whole frame too; only the
frame's own borders are reflected.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import torch
from numpy.typing import NDArray

from cellsynth.errors import ShapeError
from cellsynth.texture.networks import Generator

__all__ = ["apply_generator"]

TILE = 768  # pixels; with 16 channels at full resolution a few hundred MB


def apply_generator(
    generator: Generator,
    conditions: NDArray[np.float32],
    noise: NDArray[np.float32] | None = None,
    *,
    tile: int = TILE,
) -> NDArray[np.float32]:
    """The image of one frame, the same as of the whole at once but for rounding.

    Args:
        generator: With frozen normalisation.
        conditions: ``(c, y, x)``.
        noise: ``(y, x)``, for a generator that takes it as its last channel.
        tile: Side of the tiles in pixels, without what is computed around them. Bounds memory.

    Returns:
        ``(y, x)`` float32 in [-1, 1].

    Raises:
        ShapeError: Another number of channels, or noise that does not fit.
    """
    if conditions.ndim != 3 or (noise is not None and noise.shape != conditions.shape[1:]):
        raise ShapeError(
            f"generator: conditions {conditions.shape} and noise "
            f"{None if noise is None else noise.shape} do not fit; expected (c, y, x) and (y, x)"
        )
    step = generator.step
    halo = -(-generator.reach // step) * step
    side = max(step, tile // step * step)
    device = next(generator.parameters()).device
    _, height, width = conditions.shape
    found = np.empty((height, width), np.float32)
    with torch.inference_mode():
        for rows, rows_around in _spans(height, side, halo):
            for columns, columns_around in _spans(width, side, halo):
                seen = conditions[:, rows_around, columns_around]
                if noise is not None:
                    seen = np.concatenate([seen, noise[None, rows_around, columns_around]])
                given = torch.from_numpy(np.ascontiguousarray(seen)).to(device)
                image = generator(given[None])[0, 0].cpu().numpy()
                found[rows, columns] = image[
                    rows.start - rows_around.start : rows.stop - rows_around.start,
                    columns.start - columns_around.start : columns.stop - columns_around.start,
                ]
    return found


def _spans(n: int, side: int, halo: int) -> Iterator[tuple[slice, slice]]:
    """Along one axis: each tile, and the tile with what must be seen around it."""
    if n <= side + halo:
        yield slice(0, n), slice(0, n)
        return
    for begin in range(0, n, side):
        end = min(begin + side, n)
        yield slice(begin, end), slice(max(0, begin - halo), min(n, end + halo))
