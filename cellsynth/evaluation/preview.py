"""A picture of what a preset makes: drawn cells over time, as thickness seen along z."""

from __future__ import annotations

import io
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from cellsynth.field.model import CellModel
from cellsynth.geometry import Grid, frame_times
from cellsynth.rendering.sequence import Draw, render_frame

__all__ = ["preview_png", "thickness"]

FRAMES = 8


def thickness(model: CellModel, draw: Draw, time: float, size: int) -> NDArray[np.int64]:
    """Voxels of a cell along z at one time, ``(y, x)``, on a grid of ``size`` over Ω."""
    grid = Grid.over_omega((size, size, size))
    return np.asarray(render_frame(model, draw, time, grid).to_dense().sum(axis=0))


def preview_png(model: CellModel, draws: Sequence[Draw], *, size: int = 96) -> bytes:
    """A PNG with one drawn cell a row and eight frames from first to last.

    Args:
        model: The preset.
        draws: Cells to show.
        size: Pixels, and voxels, along each side of Ω.
    """
    from matplotlib.figure import Figure

    times = frame_times(model.preset.scale.n_frames)
    shown = np.unique(np.linspace(0, len(times) - 1, FRAMES).round().astype(int))
    rows = [
        np.concatenate(
            [thickness(model, draw, float(times[t]), size) for t in shown],
            axis=1,
        )
        for draw in draws
    ]
    picture = np.concatenate(rows, axis=0)
    height, width = picture.shape
    figure = Figure(figsize=(width / 100, height / 100), dpi=100)
    axes = figure.add_axes((0, 0, 1, 1))
    axes.set_axis_off()
    axes.imshow(picture, cmap="magma", interpolation="nearest")
    buffer = io.BytesIO()
    # Without the metadata the bytes depend on the picture alone.
    figure.savefig(buffer, format="png", metadata={"Software": None})
    return buffer.getvalue()
