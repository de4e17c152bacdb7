"""How short codes may be, and whether rotated copies of a cell share one.

Twenty-five cells, each there in four orientations, are learned by fields with a rotation for each
sequence and by fields without, with codes of several lengths. An equivariant field need not spend
its code on how a cell lies.

Source: Wiesner et al. 2024, section 5.2.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from cellsynth.evaluation.digits import shorts
from cellsynth.evaluation.embedding import nearest_codes, principal_components, tsne
from cellsynth.geometry import random_rotation, spread_frames
from cellsynth.presets.base import Integers, StrictModel
from cellsynth.presets.models import FieldSpec
from cellsynth.presets.recipe import Recipe
from cellsynth.presets.recipes import RECIPES
from cellsynth.shapes import cut_cells
from cellsynth.shapes.turned import turned
from cellsynth.studies.fields import (
    Learning,
    forget,
    kept_store,
    learn,
    measured,
    open_kept,
)
from cellsynth.studies.phantom_cells import Cells, half_extent_um, phantom_cells
from cellsynth.studies.results import Ordering, Table
from cellsynth.studies.study import Bench, Findings, Found, Stage, Study
from cellsynth.studies.wording import mean_sd, sample_sd

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["STUDY", "CompactnessSettings"]

COMPONENTS = 20
MOST = 0.5
KINDS = ("equivariant", "non-equivariant")
# Table 2 and section 5.2 of the paper.
PAPER_DSC = {
    "equivariant": {4: 0.780, 8: 0.867, 16: 0.924, 32: 0.954, 64: 0.958, 128: 0.959},
    "non-equivariant": {4: 0.684, 8: 0.789, 16: 0.872, 32: 0.934, 64: 0.959, 128: 0.958},
}
PAPER_SHARE = {"equivariant": 0.999, "non-equivariant": 0.612}


class CompactnessSettings(StrictModel):
    """What is trained, and on what."""

    cells: Cells
    copies: int = Field(4, ge=2, description="Orientations of each cell")
    latent_dims: Integers = Field((4, 8, 16, 32, 64, 128), description="Lengths of codes")
    mapped: int = Field(64, description="The length whose codes are looked at")
    measured: int = Field(100, ge=1, description="Sequences whose last frame is compared")
    learning: Learning


def _stages(settings: CompactnessSettings) -> tuple[Stage[CompactnessSettings], ...]:
    trained = [
        Stage(f"{kind}-{size}", partial(_train, kind=kind, size=size))
        for size in settings.latent_dims
        for kind in KINDS
    ]
    return (Stage("cells", _turn), *trained)


def _turn(bench: Bench[CompactnessSettings]) -> Found:
    """Every cell in several orientations, drawn uniformly."""
    settings = bench.settings
    extent = half_extent_um(settings.cells.kind)
    cells = phantom_cells(settings.cells, seed=bench.seed)
    upright = kept_store(bench, "upright", cells, half_extent_um=extent, orientation="none")
    rng = np.random.default_rng([bench.seed, settings.copies])
    sources = [
        turned(upright, i, random_rotation(rng), f"cell {i + 1} copy {k + 1}")
        for i in range(upright.n_sequences)
        for k in range(settings.copies)
    ]
    copies, _ = cut_cells(sources, n_frames=upright.n_frames)
    store = kept_store(bench, "turned", copies, half_extent_um=extent, orientation="none")
    return {"sequences": store.n_sequences, "frames": store.n_frames}


def _train(bench: Bench[CompactnessSettings], *, kind: str, size: int) -> Found:
    settings, store = bench.settings, open_kept(bench, "turned")
    field = settings.learning.field.model_copy(
        update={"latent_dim": size, "equivariant": kind == "equivariant"}
    )
    learning = settings.learning.model_copy(update={"field": field})
    name = f"{kind}-{size}"
    fit = learn(bench, name, store, learning)
    n = min(settings.measured, store.n_sequences)
    chosen = np.unique(np.linspace(0, store.n_sequences - 1, n).round().astype(int))
    found = measured(bench, fit, store, [(int(i), store.n_frames - 1) for i in chosen])
    if size == settings.mapped:
        found |= _codes(fit.latents, settings.copies, bench.seed)
    forget(bench, name)
    return found


def _codes(latents: NDArray[np.float32], copies: int, seed: int) -> Found:
    """How the codes are spread, and whether a copy's nearest code is another copy's."""
    ratios = principal_components(latents).ratios
    shapes = np.arange(len(latents)) // copies
    nearest, _ = nearest_codes(latents, latents, themselves=True)
    return {
        "ratios": list(shorts(ratios)),
        "share": float(f"{ratios[:COMPONENTS].sum():.5g}"),
        "same_shape": float(f"{np.mean(shapes[nearest] == shapes):.5g}"),
        "tsne": [list(shorts(place)) for place in tsne(latents, seed=seed)],
    }


def _conclude(bench: Bench[CompactnessSettings]) -> Findings:
    settings, found = bench.settings, bench.found
    dims = settings.latent_dims
    dsc = {k: {d: found[f"{k}-{d}"]["dsc"] for d in dims} for k in KINDS}
    means = {k: {d: float(np.mean(dsc[k][d])) for d in dims} for k in KINDS}
    mapped = {k: found[f"{k}-{settings.mapped}"] for k in KINDS}
    n = found["cells"]["sequences"]
    short_codes = [d for d in dims if d <= 32]
    better = [d for d in short_codes if means[KINDS[0]][d] > means[KINDS[1]][d]]
    gain = {d: means[KINDS[0]][d] - means[KINDS[1]][d] for d in dims}
    rows = [
        (f"{kind}, {who}", *cells)
        for kind in KINDS
        for who, cells in (
            ("paper", [_published(kind, d) for d in dims]),
            ("here", [mean_sd(dsc[kind][d]) for d in dims]),
        )
    ]
    shares = [
        (
            kind,
            f"{PAPER_SHARE[kind]:.1%}",
            f"{mapped[kind]['share']:.1%}",
            f"{mapped[kind]['same_shape']:.0%}",
        )
        for kind in KINDS
    ]
    share = {k: mapped[k]["share"] for k in KINDS}
    near = {k: mapped[k]["same_shape"] for k in KINDS}
    first, last = dims[0], dims[-1]
    return Findings(
        text=(
            f"{settings.cells.count} cells in {settings.copies} orientations each, {n} sequences. "
            f"With codes of {first} numbers the equivariant fields reach a DSC of "
            f"{means[KINDS[0]][first]:.3f}, the others {means[KINDS[1]][first]:.3f}; with {last}, "
            f"{means[KINDS[0]][last]:.3f} and {means[KINDS[1]][last]:.3f}. The first {COMPONENTS} "
            f"components hold {share[KINDS[0]]:.1%} of the variance of the codes of "
            f"{settings.mapped} numbers with rotations, {share[KINDS[1]]:.1%} without, and "
            f"{near[KINDS[0]]:.0%} against {near[KINDS[1]]:.0%} of them have another copy of their "
            "own cell as the nearest."
        ),
        tables=(
            Table(
                title="DSC at the last frame by length of the code",
                head=("field", *map(str, dims)),
                rows=tuple(rows),
            ),
            Table(
                title=f"Codes of {settings.mapped} numbers",
                head=(
                    "field",
                    f"variance in {COMPONENTS} components, paper",
                    "here",
                    "nearest code is a copy's",
                ),
                rows=tuple(shares),
            ),
        ),
        orderings=(
            Ordering(
                claim="with codes of up to 32 numbers the equivariant field is better",
                ours=", ".join(f"{d}: {gain[d]:+.3f}" for d in short_codes),
                holds=better == short_codes,
            ),
            Ordering(
                claim="the equivariant codes have more of their variance in 20 components",
                ours=f"{share[KINDS[0]]:.1%} against {share[KINDS[1]]:.1%}",
                holds=share[KINDS[0]] > share[KINDS[1]],
            ),
            Ordering(
                claim="rotated copies of a cell lie close together with rotations: of most codes "
                "the nearest is another copy's, and of more than without",
                ours=f"{near[KINDS[0]]:.0%} against {near[KINDS[1]]:.0%}",
                holds=near[KINDS[0]] > max(MOST, near[KINDS[1]]),
            ),
            Ordering(
                claim="the gain falls as codes grow longer",
                ours=f"{gain[first]:+.3f} at {first}, {gain[last]:+.3f} at {last}",
                holds=gain[first] > gain[last],
            ),
        ),
        numbers={
            "dsc": {k: {str(d): means[k][d] for d in dims} for k in KINDS},
            "share": share,
            "same_shape": near,
        },
    )


def _published(kind: str, size: int) -> str:
    value = PAPER_DSC[kind].get(size)
    return "–" if value is None else f"{value:.3f}"


def _draw(bench: Bench[CompactnessSettings]) -> Figure:
    from matplotlib.figure import Figure

    settings, found = bench.settings, bench.found
    figure = Figure(figsize=(13, 7.5), layout="constrained")
    axes = figure.subplots(2, 2)
    for kind, colour in zip(KINDS, ("#0072b2", "#d55e00"), strict=True):
        values = [found[f"{kind}-{d}"]["dsc"] for d in settings.latent_dims]
        axes[0, 0].errorbar(
            settings.latent_dims,
            [np.mean(v) for v in values],
            [sample_sd(v) for v in values],
            color=colour,
            marker="o",
            capsize=3,
            label=f"{kind}, here",
        )
        paper = {d: v for d, v in PAPER_DSC[kind].items() if d in settings.latent_dims}
        axes[0, 0].plot(
            list(paper), list(paper.values()), "--", color=colour, label=f"{kind}, paper"
        )
        ratios = found[f"{kind}-{settings.mapped}"]["ratios"]
        axes[0, 1].plot(
            np.arange(1, len(ratios) + 1), 100 * np.cumsum(ratios), color=colour, label=kind
        )
    axes[0, 0].set_xscale("log", base=2)
    axes[0, 0].set_xticks(settings.latent_dims, [str(d) for d in settings.latent_dims])
    axes[0, 0].set_xlabel("length of the code")
    axes[0, 0].set_ylabel("DSC, last frame")
    axes[0, 0].legend(fontsize=8)
    axes[0, 1].axvline(COMPONENTS, color="grey", linewidth=0.5)
    axes[0, 1].set_xlabel("principal components")
    axes[0, 1].set_ylabel("variance of the codes held, %")
    axes[0, 1].legend(fontsize=8)
    for at, kind in zip(axes[1], KINDS, strict=True):
        places = np.array(found[f"{kind}-{settings.mapped}"]["tsne"])
        shapes = np.arange(len(places)) // settings.copies
        at.scatter(*places.T, c=shapes, cmap="turbo", s=30)
        for place, shape in zip(places, shapes, strict=True):
            at.annotate(str(shape + 1), place, (3, 3), textcoords="offset points", fontsize=6)
        at.set_title(f"{kind}: t-SNE, a number a cell", fontsize=10)
        at.set_xticks([])
        at.set_yticks([])
    return figure


# Copies lie up to half a turn apart. The paper's 10,000 steps at 1e-3 can turn one by up to 10
# radians, ours at this rate about 6.
SMALL = Recipe(pool_points=6144, frames_per_step=200, points_per_frame=20, rotation_rate=0.05)

STUDY = Study(
    name="compactness",
    title="Latent space compactness",
    section="5.2, Fig. 6-7, Table 2",
    settings={
        "small": CompactnessSettings(
            cells=Cells(kind="platynereis", count=25, frames=spread_frames(30, 4), across=48),
            measured=50,
            learning=Learning(steps=240, recipe=SMALL),
        ),
        "paper": CompactnessSettings(
            cells=Cells(kind="platynereis", count=25),
            # 250,000 points of 20 frames; as many as a pool of the authors' own size has.
            learning=Learning(
                steps=2000 * 5,
                recipe=RECIPES["paper"].model_copy(update={"frames_per_step": 20}),
                field=FieldSpec(),
            ),
        ),
    },
    stages=_stages,
    conclude=_conclude,
    draw=_draw,
)
