"""The figure of a walk: its way among the learned codes, its cells, what changes along it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from cellsynth.evaluation.embedding import principal_components
from cellsynth.evaluation.latent_models import Walk, WalkStep
from cellsynth.evaluation.preview import thickness
from cellsynth.field.model import CellModel
from cellsynth.geometry import frame_times
from cellsynth.rendering.sequence import Draw

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = ["draw_walk"]

SIZE = 64  # voxels across Ω of the cells shown
SHOWN_STEPS = 9
SHOWN_FRAMES = 3
GREY = "#999999"
CURVES = {
    "volume_um3": "volume of a cell, µm³",
    "surface_um2": "surface of a cell, µm²",
    "sphericity_paper": "sphericity, 36πV²/S³",
    "growth": "growth, last frame / first",
}


def draw_walk(model: CellModel, walk: Walk, draws: Sequence[Draw]) -> Figure:
    """Above, the walk among the learned codes and descriptors along it; below, its cells.

    Cells are seen along z, thick is bright, at the first, a middle and the last frame. Steps that
    break the topology are marked.
    """
    from matplotlib.figure import Figure

    figure = Figure(figsize=(15, 7.5), layout="constrained")
    above, below = np.asarray(figure.subfigures(2, 1, height_ratios=(1, 1.1)))
    axes = above.subplots(1, 1 + len(CURVES))
    _draw_way(axes[0], model, walk, draws)
    for at, (name, title) in zip(axes[1:], CURVES.items(), strict=True):
        _draw_curve(at, walk.steps, name)
        at.set_title(title, fontsize=9)
        at.set_xlabel("step")
    shown = np.unique(np.linspace(0, len(draws) - 1, SHOWN_STEPS).round().astype(int))
    times = frame_times(walk.frames)
    frames = np.unique(np.linspace(0, len(times) - 1, SHOWN_FRAMES).round().astype(int))
    grid = below.subplots(len(frames), len(shown), squeeze=False)
    for row, t in enumerate(frames):
        for column, i in enumerate(shown):
            at, step = grid[row, column], walk.steps[i]
            at.imshow(thickness(model, draws[i], float(times[t]), SIZE), cmap="magma")
            at.set_xticks([])
            at.set_yticks([])
            if row == 0:
                title = f"step {step.number}" + (", broken" if step.fault else "")
                at.set_title(title, fontsize=8, color="#d55e00" if step.fault else "black")
            if column == 0:
                at.set_ylabel(f"frame {t}", fontsize=8)
    figure.suptitle(f"{walk.preset.name}: from code {walk.codes[0]} to code {walk.codes[1]}")
    return figure


def _draw_way(axes: Axes, model: CellModel, walk: Walk, draws: Sequence[Draw]) -> None:
    components = principal_components(model.latents)
    codes, way = (
        np.pad(scores[:, :2], ((0, 0), (0, max(0, 2 - scores.shape[1]))))
        for scores in (
            components.scores(of)
            for of in (model.latents, np.array([draw.latent for draw in draws]))
        )
    )
    axes.scatter(codes[:, 0], codes[:, 1], c=GREY, s=16)
    axes.plot(way[:, 0], way[:, 1], marker=".", color="black")
    for code, place in zip(walk.codes, (way[0], way[-1]), strict=True):
        axes.annotate(str(code), place, (4, 4), textcoords="offset points", fontsize=9)
    axes.set_title("learned codes and the walk", fontsize=9)
    axes.set_xlabel("component 1")
    axes.set_ylabel("component 2")


def _draw_curve(axes: Axes, steps: Sequence[WalkStep], name: str) -> None:
    of = [(step, step if name == "growth" else step.cells) for step in steps]
    known = [(step.number, getattr(has, name), step.fault) for step, has in of if has is not None]
    known = [entry for entry in known if entry[1] is not None]
    axes.plot([n for n, _, _ in known], [v for _, v, _ in known], marker="o", color="black")
    for step in steps:
        if step.fault:
            axes.axvspan(step.number - 0.5, step.number + 0.5, color="#d55e00", alpha=0.2, lw=0)
    axes.set_xlim(0.5, len(steps) + 0.5)
