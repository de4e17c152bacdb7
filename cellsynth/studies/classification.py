"""The type of a cell from its code: one field for cells of three types.

The cells of each type are brought to one size, so that it is the shape that tells. How well codes
tell types is measured three ways: by the nearest other code, by how much nearer codes are to their
own type than to the next, and by a linear classifier that never saw the code it judges.

Source: Wiesner et al. 2024, section 5.8; Rousseeuw 1987 for the silhouette.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import numpy as np
from pydantic import Field, Strict

from cellsynth.evaluation.digits import short, shorts
from cellsynth.evaluation.embedding import nearest_codes, tsne
from cellsynth.geometry import spread_frames
from cellsynth.presets.base import StrictModel
from cellsynth.presets.recipe import Recipe
from cellsynth.presets.recipes import RECIPES
from cellsynth.shapes.one_size import bring_to_one_size
from cellsynth.shapes.pose import measure_pose
from cellsynth.studies.fields import (
    Learning,
    forget,
    kept_store,
    last_frames,
    learn,
    measured,
    open_kept,
)
from cellsynth.studies.phantom_cells import Cells, KindName, phantom_cells
from cellsynth.studies.results import Ordering, Table
from cellsynth.studies.study import Bench, Findings, Found, Stage, Study
from cellsynth.studies.wording import mean_sd

if TYPE_CHECKING:
    from matplotlib.figure import Figure
    from numpy.typing import NDArray

__all__ = ["STUDY", "ClassificationSettings"]

HEADROOM = 1.15
FOLDS = 5
STYLES = (("#0072b2", "o"), ("#d55e00", "s"), ("#009e73", "^"))


class ClassificationSettings(StrictModel):
    """What is trained, and on what."""

    cells: Annotated[tuple[Cells, ...], Strict(False)] = Field(
        min_length=2, description="Cells of each type, all of as many frames"
    )
    learning: Learning

    @property
    def kinds(self) -> list[KindName]:
        """The type of every sequence."""
        return [cells.kind for cells in self.cells for _ in range(cells.count)]


def _stages(settings: ClassificationSettings) -> tuple[Stage[ClassificationSettings], ...]:
    return (Stage("cells", _prepare), Stage("learned", _train))


def _prepare(bench: Bench[ClassificationSettings]) -> Found:
    kinds = [phantom_cells(cells, seed=bench.seed) for cells in bench.settings.cells]
    cells = bring_to_one_size(kinds)
    reach_um = max(measure_pose(cell, "none").radius_um for cell in cells)
    store = kept_store(bench, "store", cells, half_extent_um=HEADROOM * reach_um)
    return {"sequences": store.n_sequences}


def _train(bench: Bench[ClassificationSettings]) -> Found:
    store = open_kept(bench, "store")
    fit = learn(bench, "training", store, bench.settings.learning)
    found = measured(bench, fit, store, last_frames(store))
    kinds = np.array(bench.settings.kinds)
    nearest, _ = nearest_codes(fit.latents, fit.latents, themselves=True)
    found |= {
        "nearest": short(float(np.mean(kinds[nearest] == kinds))),
        "silhouette": short(_silhouette(fit.latents, kinds)),
        "linear": short(_linear(fit.latents, kinds, bench.seed)),
        "tsne": [list(shorts(place)) for place in tsne(fit.latents, seed=bench.seed)],
    }
    forget(bench, "training")
    return found


def _silhouette(latents: NDArray[np.float32], kinds: NDArray[np.str_]) -> float:
    """Mean of (b - a) / max(a, b): distance to the own type a, to the nearest other b."""
    from sklearn.metrics import silhouette_score

    return float(silhouette_score(latents.astype(np.float64), kinds))


def _linear(latents: NDArray[np.float32], kinds: NDArray[np.str_], seed: int) -> float:
    """Share of codes whose type a logistic regression on the others tells."""
    from sklearn.linear_model import LogisticRegression
    from sklearn.model_selection import StratifiedKFold, cross_val_predict
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    folds = min(FOLDS, int(np.unique(kinds, return_counts=True)[1].min()))
    split = StratifiedKFold(folds, shuffle=True, random_state=seed % 2**32)
    model = make_pipeline(StandardScaler(), LogisticRegression(max_iter=1000))
    told = cross_val_predict(model, latents.astype(np.float64), kinds, cv=split)
    return float(np.mean(told == kinds))


def _conclude(bench: Bench[ClassificationSettings]) -> Findings:
    found, settings = bench.found["learned"], bench.settings
    kinds = np.array(settings.kinds)
    dsc = np.array(found["dsc"])
    names = [cells.kind for cells in settings.cells]
    chance = max(float(np.mean(kinds == name)) for name in names)
    return Findings(
        text=(
            f"One field for {len(kinds)} cells of {len(names)} types, brought to one size. "
            f"{found['nearest']:.0%} of the codes have one of their own type as the nearest, "
            f"{found['linear']:.0%} are told by a linear classifier that did not see them (by "
            f"chance {chance:.0%}); the mean silhouette is {found['silhouette']:.2f}. The paper "
            "shows a t-SNE map with a cluster a type, without a number."
        ),
        tables=(
            Table(
                title="Cells of one field",
                head=("type", "cells", "DSC, last frame"),
                rows=tuple(
                    (name, f"{np.sum(kinds == name)}", mean_sd(dsc[kinds == name]))
                    for name in names
                ),
            ),
        ),
        orderings=(
            Ordering(
                claim="every type is a distinct cluster of codes",
                ours=f"silhouette {found['silhouette']:.2f}; nearest code of the own type in "
                f"{found['nearest']:.0%}",
                holds=found["silhouette"] > 0 and found["nearest"] >= 0.95,
            ),
            Ordering(
                claim="the type of a cell can be told from its code",
                ours=f"{found['linear']:.0%}, by chance {chance:.0%}",
                holds=found["linear"] >= 0.95,
            ),
        ),
        numbers={key: found[key] for key in ("nearest", "silhouette", "linear")}
        | {"dsc": {name: float(dsc[kinds == name].mean()) for name in names}},
    )


def _draw(bench: Bench[ClassificationSettings]) -> Figure:
    from matplotlib.figure import Figure

    kinds = np.array(bench.settings.kinds)
    places = np.array(bench.found["learned"]["tsne"])
    figure = Figure(figsize=(6, 5), layout="constrained")
    axes = figure.subplots()
    for cells, (colour, marker) in zip(bench.settings.cells, STYLES, strict=False):
        mine = places[kinds == cells.kind]
        x, y = mine.T
        axes.scatter(x, y, c=colour, marker=marker, s=36, label=cells.kind)
    axes.legend()
    axes.set_xlabel("t-SNE of the codes")
    axes.set_xticks([])
    axes.set_yticks([])
    return figure


_SEEN = spread_frames(30, 5)

STUDY = Study(
    name="classification",
    title="Cell classification based on a latent code",
    section="5.8, Fig. 13",
    settings={
        "small": ClassificationSettings(
            cells=(
                Cells(kind="platynereis", count=12, frames=_SEEN, across=64),
                Cells(kind="celegans", count=12, frames=_SEEN, across=64),
                Cells(kind="a549", count=12, frames=_SEEN, across=96),
            ),
            learning=Learning(
                steps=300,
                recipe=Recipe(pool_points=8192, frames_per_step=180, points_per_frame=24),
            ),
        ),
        "paper": ClassificationSettings(
            cells=tuple(Cells(kind=kind, count=33) for kind in ("platynereis", "celegans", "a549")),
            learning=Learning(steps=2000 * 20, recipe=RECIPES["paper"]),
        ),
    },
    stages=_stages,
    conclude=_conclude,
    draw=_draw,
)
