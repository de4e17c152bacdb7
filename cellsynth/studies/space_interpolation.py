"""Coarse grids and fine ones: fields learned from distances on several grids, rendered on others.

What is rendered is compared with the masks on the finest grid, to which coarser renderings are
brought by taking the nearest voxel.

Source: Wiesner et al. 2024, section 5.5.
"""

from __future__ import annotations

from functools import partial
from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np
from pydantic import Field

from cellsynth.evaluation.agreement import dice
from cellsynth.evaluation.digits import short
from cellsynth.evaluation.overlap import rebuilt_mask
from cellsynth.field.threads import one_thread_each
from cellsynth.geometry import Grid, as_index, spread_frames
from cellsynth.presets.base import Integers, StrictModel
from cellsynth.presets.recipe import Recipe
from cellsynth.presets.recipes import RECIPES
from cellsynth.studies.fields import Learning, forget, kept_store, learn, open_kept
from cellsynth.studies.phantom_cells import Cells, half_extent_um, phantom_cells
from cellsynth.studies.results import Ordering, Table
from cellsynth.studies.study import Bench, Findings, Found, Stage, Study
from cellsynth.studies.wording import mean_sd, sample_sd

if TYPE_CHECKING:
    from matplotlib.figure import Figure
    from numpy.typing import NDArray

__all__ = ["STUDY", "SpaceSettings"]


class SpaceSettings(StrictModel):
    """What is trained, and on what.

    ``cells.across`` is the finest grid, which everything is compared on.
    """

    cells: Cells
    trained: Integers = Field(description="Voxels across Ω of the grids that are learned from")
    rendered: Integers = Field(description="Voxels across Ω of the grids that are rendered on")
    learning: Learning


def _stages(settings: SpaceSettings) -> tuple[Stage[SpaceSettings], ...]:
    trained = [Stage(f"trained-{n}", partial(_train, across=n)) for n in settings.trained]
    return (Stage("cells", _prepare), *trained)


def _prepare(bench: Bench[SpaceSettings]) -> Found:
    """Cells on every grid that is learned from, and the last frame on the finest."""
    settings = bench.settings
    for name, which in (
        *((f"grid-{n}", settings.cells.model_copy(update={"across": n})) for n in settings.trained),
        ("finest", settings.cells.model_copy(update={"frames": settings.cells.seen[-1:]})),
    ):
        kept_store(
            bench,
            name,
            phantom_cells(which, seed=bench.seed),
            half_extent_um=half_extent_um(which.kind),
            orientation="none",
        )
    return {}


def _train(bench: Bench[SpaceSettings], *, across: int) -> Found:
    settings, finest = bench.settings, open_kept(bench, "finest")
    name = f"training-{across}"
    fit = learn(bench, name, open_kept(bench, f"grid-{across}"), settings.learning)
    found: Found = {str(n): [] for n in settings.rendered}
    total = len(settings.rendered) * finest.n_sequences
    with one_thread_each():
        for done, (n, i) in enumerate(
            ((n, i) for n in settings.rendered for i in range(finest.n_sequences)), 1
        ):
            grid, alignment = finest.grid(i, 0)
            coarse = _covering(grid, n)
            made = rebuilt_mask(fit, i, 1.0, coarse, alignment)
            found[str(n)].append(short(dice(_nearest(made, coarse, grid), finest.mask(i, 0))))
            bench.tell("rendering", done, total, "")
    forget(bench, name)
    return found


def _covering(grid: Grid, across: int) -> Grid:
    """The part of a grid of ``across`` voxels over Ω that covers another grid."""
    spacing = 2 / across
    low = np.array(grid.origin) - np.array(grid.spacing) / 2
    high = low + np.array(grid.spacing) * grid.shape
    # Voxel i of the grid over Ω reaches from -1 + i·spacing to the next.
    first = np.floor((low + 1) / spacing).astype(int)
    last = np.ceil((high + 1) / spacing).astype(int)
    z, y, x = (-1 + (f + 0.5) * spacing for f in first.tolist())
    return Grid(as_index(last - first), (spacing,) * 3, (z, y, x))


def _nearest(mask: NDArray[np.bool_], coarse: Grid, grid: Grid) -> NDArray[np.bool_]:
    """A mask on a coarse grid, on a finer one: every voxel as the nearest of the coarse grid."""
    picks = [
        np.clip(np.rint((o + s * np.arange(n) - co) / cs).astype(int), 0, cn - 1)
        for o, s, n, co, cs, cn in zip(
            grid.origin,
            grid.spacing,
            grid.shape,
            coarse.origin,
            coarse.spacing,
            coarse.shape,
            strict=True,
        )
    ]
    return np.asarray(mask[np.ix_(*picks)])


def _conclude(bench: Bench[SpaceSettings]) -> Findings:
    settings = bench.settings
    dsc = {
        n: {m: bench.found[f"trained-{n}"][str(m)] for m in settings.rendered}
        for n in settings.trained
    }
    means = {n: {m: float(np.mean(v)) for m, v in of.items()} for n, of in dsc.items()}
    finest = max(settings.rendered)
    best = {n: max(of, key=lambda m: of[m]) for n, of in means.items()}
    top = [means[n][finest] for n in sorted(settings.trained)]
    rises = {
        n: all(a < b for a, b in pairwise(values))
        for n, of in means.items()
        for values in [[of[m] for m in sorted(of)]]
    }
    rows = [(f"trained on {n}³", *(mean_sd(dsc[n][m]) for m in settings.rendered)) for n in dsc]
    told = ", ".join(f"{n}³: {means[n][finest]:.3f}" for n in sorted(settings.trained))
    return Findings(
        text=(
            f"{settings.cells.count} {settings.cells.kind} cells, last frame, compared on the grid "
            f"of {settings.cells.across}³. Rendered on {finest}³ the fields reach, by the grid "
            f"they were trained on, {told}. The paper shows its values in a plot only; its grids "
            "are 192³, 256³ and 384³, with longer trainings for finer grids, ours are all as long."
        ),
        tables=(
            Table(
                title="DSC by the grid rendered on",
                head=("field", *(f"{m}³" for m in settings.rendered)),
                rows=tuple(rows),
            ),
        ),
        orderings=(
            Ordering(
                claim="all fields do best where rendered on the finest grid",
                ours=", ".join(f"trained on {n}³ best at {m}³" for n, m in best.items()),
                holds=all(m == finest for m in best.values()),
            ),
            Ordering(
                claim="finer grids to render on are better throughout",
                ours=", ".join(f"{n}³: {'yes' if ok else 'no'}" for n, ok in rises.items()),
                holds=all(rises.values()),
            ),
            Ordering(
                claim="finer grids to train on are better",
                ours=told,
                holds=all(a < b for a, b in pairwise(top)),
            ),
        ),
        numbers={"dsc": {str(n): {str(m): v for m, v in of.items()} for n, of in means.items()}},
    )


def _draw(bench: Bench[SpaceSettings]) -> Figure:
    from matplotlib.figure import Figure

    settings = bench.settings
    figure = Figure(figsize=(7, 4.5), layout="constrained")
    axes = figure.subplots()
    for n, colour, marker in zip(
        settings.trained, ("#d55e00", "#009e73", "#0072b2"), "vos", strict=False
    ):
        values = [bench.found[f"trained-{n}"][str(m)] for m in settings.rendered]
        axes.errorbar(
            settings.rendered,
            [np.mean(v) for v in values],
            [sample_sd(v) for v in values],
            color=colour,
            marker=marker,
            capsize=2,
            label=f"trained on {n}³",
        )
    axes.set_xlabel("voxels across Ω of the grid rendered on")
    axes.set_ylabel("DSC on the finest grid, last frame")
    axes.legend()
    return figure


STUDY = Study(
    name="space-interpolation",
    title="Spatial interpolation and sampling grid",
    section="5.5, Fig. 10",
    settings={
        # Half the paper's grids; voxels of the coarsest are 0.33 µm, processes 0.5 to 1 µm thick.
        "small": SpaceSettings(
            cells=Cells(kind="a549", count=4, frames=spread_frames(30, 4), across=192),
            trained=(96, 128, 192),
            rendered=(32, 64, 96, 128, 160, 192),
            learning=Learning(
                steps=300,
                recipe=Recipe(pool_points=12288, frames_per_step=32, points_per_frame=128),
            ),
        ),
        "paper": SpaceSettings(
            cells=Cells(kind="a549", count=33, across=384),
            trained=(192, 256, 384),
            rendered=(64, 128, 192, 256, 320, 384),
            learning=Learning(steps=4000 * 7, recipe=RECIPES["paper"]),
        ),
    },
    stages=_stages,
    conclude=_conclude,
    draw=_draw,
)
