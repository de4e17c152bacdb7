"""A picture of how far a texture has come: condition, real and generated side by side."""

from __future__ import annotations

import io
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cellsynth.formats.storage import whole_file

__all__ = ["sheet_png", "write_sheet"]

GAP = 4  # white pixels between pictures
OUTER = (0.5, 99.8)  # percentiles of the real image that are shown black and white

Row = tuple[NDArray[Any], NDArray[Any], NDArray[Any]]


def sheet_png(rows: Sequence[Row]) -> bytes:
    """A PNG with a row for each example: condition, real, generated.

    Args:
        rows: Conditions ``(c, y, x)`` of the slice itself first, of which mask and grain are shown;
            the real image and the generated one ``(y, x)``, in the same units, shown on one scale.
    """
    from matplotlib.image import imsave

    lines = []
    for conditions, real, made in rows:
        grain = 0.5 + 0.15 * conditions[3] if len(conditions) > 3 else 0.5
        condition = np.clip(np.where(conditions[0] > 0, grain, 0), 0, 1)
        low, high = np.percentile(real, OUTER)
        shown = [condition]
        shown += [np.clip((x - low) / max(high - low, 1e-6), 0, 1) for x in (real, made)]
        gap = np.ones((real.shape[0], GAP))
        line = np.concatenate([shown[0], gap, shown[1], gap, shown[2]], axis=1)
        lines += [line, np.ones((GAP, line.shape[1]))]
    picture = np.concatenate(lines[:-1], axis=0)
    buffer = io.BytesIO()
    imsave(buffer, picture, cmap="gray", vmin=0, vmax=1, format="png")
    return buffer.getvalue()


def write_sheet(path: Path, rows: Sequence[Row]) -> None:
    """Write :func:`sheet_png` to ``path``, whole; an older one is replaced.

    Raises:
        StorageError: The disk refused.
    """
    with whole_file(path) as part:
        part.write_bytes(sheet_png(rows))
