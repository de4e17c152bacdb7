"""Frames never seen: a field learned from every fourth frame is asked for those between.

The frames that are seen are the first, the fifth and so on to the last, so that times run from -1
to 1 for the training as for the whole course.

Source: Wiesner et al. 2024, section 5.4.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from pydantic import Field

from cellsynth.errors import InputError
from cellsynth.geometry import frame_times
from cellsynth.presets.base import StrictModel
from cellsynth.presets.recipe import Recipe
from cellsynth.presets.recipes import RECIPES
from cellsynth.studies.fields import Learning, forget, kept_store, learn, measured, open_kept
from cellsynth.studies.phantom_cells import Cells, half_extent_um, phantom_cells
from cellsynth.studies.results import Ordering, Table
from cellsynth.studies.study import Bench, Findings, Found, Stage, Study
from cellsynth.studies.wording import mean_sd, sample_sd

if TYPE_CHECKING:
    from matplotlib.figure import Figure
    from numpy.typing import NDArray

__all__ = ["STUDY", "TimeSettings"]

# Section 5.4 of the paper: the worst time point, counted from 1.
PAPER_WORST = "0.858 ± 0.012 at 27"


class TimeSettings(StrictModel):
    """What is trained, and on what."""

    cells: Cells
    every: int = Field(4, ge=2, description="The field sees every so many frames")
    measured_every: int = Field(1, ge=1, description="Frames between two that are compared")
    learning: Learning


def _stages(settings: TimeSettings) -> tuple[Stage[TimeSettings], ...]:
    return (Stage("cells", _prepare), Stage("learned", _train))


def _prepare(bench: Bench[TimeSettings]) -> Found:
    settings = bench.settings
    cells = settings.cells
    if (cells.course - 1) % settings.every:
        raise InputError(
            f"every {settings.every}: the last of {cells.course} frames would not be seen"
        )
    extent = half_extent_um(cells.kind)
    seen = cells.model_copy(update={"frames": tuple(range(0, cells.course, settings.every))})
    for name, which in (("whole", cells), ("seen", seen)):
        kept_store(
            bench,
            name,
            phantom_cells(which, seed=bench.seed),
            half_extent_um=extent,
            orientation="none",
        )
    return {"seen": list(seen.seen)}


def _train(bench: Bench[TimeSettings]) -> Found:
    settings = bench.settings
    fit = learn(bench, "training", open_kept(bench, "seen"), settings.learning)
    whole = open_kept(bench, "whole")
    asked = range(0, whole.n_frames, settings.measured_every)
    where = [(i, t) for i in range(whole.n_sequences) for t in asked]
    found = measured(bench, fit, whole, where, times=frame_times(whole.n_frames))
    forget(bench, "training")
    return found


def _by_frame(found: Found) -> dict[int, list[float]]:
    """DSC of all sequences by frame from 0."""
    frames: dict[int, list[float]] = {}
    for (_, t), dsc in zip(found["where"], found["dsc"], strict=True):
        frames.setdefault(t, []).append(dsc)
    return dict(sorted(frames.items()))


def _conclude(bench: Bench[TimeSettings]) -> Findings:
    settings = bench.settings
    by_frame, seen = _by_frame(bench.found["learned"]), set(bench.found["cells"]["seen"])
    means = {t: float(np.mean(values)) for t, values in by_frame.items()}
    unseen = [t for t in means if t not in seen]
    worst = min(unseen, key=lambda t: means[t])
    known = [t for t in means if t in seen]
    # What an unseen frame lacks, beside what the seen ones around it have.
    expected = np.interp(unseen, known, [means[t] for t in known])
    lacking = expected - [means[t] for t in unseen]
    half = settings.cells.course / 2
    early = float(np.mean([means[t] for t in unseen if t < half]))
    late = float(np.mean([means[t] for t in unseen if t >= half]))
    seen_mean, unseen_mean = (float(np.mean([means[t] for t in of])) for of in (known, unseen))
    rows = [
        (
            f"{t + 1}",
            "seen" if t in seen else "interpolated",
            mean_sd(by_frame[t]),
        )
        for t in means
    ]
    return Findings(
        text=(
            f"{settings.cells.count} {settings.cells.kind} cells of {settings.cells.course} "
            f"frames, of which the field saw {len(seen)}. DSC is {seen_mean:.3f} in frames that "
            f"were seen and {unseen_mean:.3f} in those that were not, worst "
            f"{mean_sd(by_frame[worst])} at time point {worst + 1} (the paper: {PAPER_WORST}). An "
            f"unseen frame lacks {lacking.mean():.3f} on average, {lacking.max():.3f} at most, "
            "beside what the seen ones around it have."
        ),
        tables=(
            Table(
                title=f"DSC by time point, worst of the paper {PAPER_WORST}",
                head=("time point", "frame", "DSC"),
                rows=tuple(rows),
            ),
        ),
        orderings=(
            Ordering(
                claim="unseen frames are given back less well than seen ones, if not by much",
                ours=f"{unseen_mean:.3f} against {seen_mean:.3f}",
                holds=0 < seen_mean - unseen_mean < 0.1,
            ),
            Ordering(
                claim="interpolation is worse towards the end, where cells are most complex",
                ours=f"{early:.3f} in the first half, {late:.3f} in the second",
                holds=late < early,
            ),
            Ordering(
                claim="the worst time point is an unseen one of the last gap",
                ours=f"time point {worst + 1}",
                holds=worst > sorted(seen)[-2] and means[worst] <= min(means.values()),
            ),
        ),
        numbers={
            "dsc": {str(t + 1): value for t, value in means.items()},
            "seen": [t + 1 for t in sorted(seen)],
            "dsc_seen": seen_mean,
            "dsc_unseen": unseen_mean,
            "worst": {"time_point": worst + 1, "dsc": means[worst]},
        },
    )


def _draw(bench: Bench[TimeSettings]) -> Figure:
    from matplotlib.figure import Figure

    by_frame, seen = _by_frame(bench.found["learned"]), set(bench.found["cells"]["seen"])
    figure = Figure(figsize=(9, 4), layout="constrained")
    axes = figure.subplots()
    for label, colour, marker, chosen in (
        ("seen", "black", "o", [t for t in by_frame if t in seen]),
        ("interpolated", "#d55e00", "x", [t for t in by_frame if t not in seen]),
    ):
        values: list[NDArray[np.float64]] = [np.array(by_frame[t]) for t in chosen]
        axes.errorbar(
            [t + 1 for t in chosen],
            [v.mean() for v in values],
            [sample_sd(v) for v in values],
            color=colour,
            marker=marker,
            linestyle="none",
            capsize=2,
            label=label,
        )
    axes.set_xlabel("time point")
    axes.set_ylabel("DSC")
    axes.legend()
    return figure


STUDY = Study(
    name="time-interpolation",
    title="Temporal interpolation",
    section="5.4, Fig. 9",
    settings={
        "small": TimeSettings(
            cells=Cells(kind="a549", count=4, course=29, across=96),
            measured_every=2,
            learning=Learning(
                steps=500,
                recipe=Recipe(pool_points=12288, frames_per_step=64, points_per_frame=64),
            ),
        ),
        "paper": TimeSettings(
            cells=Cells(kind="a549", count=33, course=29),
            learning=Learning(steps=2000 * 7, recipe=RECIPES["paper"]),
        ),
    },
    stages=_stages,
    conclude=_conclude,
    draw=_draw,
)
