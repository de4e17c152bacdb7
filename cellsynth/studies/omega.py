"""How the frequency of the sines decides what a field can show: sphericity by ω₀.

Fields with several ω₀ learn cells with filopodia; one that is too smooth makes them rounder. The
first layers are drawn as in the paper, since a wider draw would raise the frequency by itself.

Source: Wiesner et al. 2024, section 5.6.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Annotated

import numpy as np
from pydantic import Field, Strict

from cellsynth.geometry import spread_frames
from cellsynth.presets.base import StrictModel
from cellsynth.presets.recipe import Recipe
from cellsynth.presets.recipes import RECIPES
from cellsynth.studies.fields import (
    Learning,
    forget,
    last_frames,
    learn,
    measured,
    open_kept,
    prepare_cells,
    sphericities,
)
from cellsynth.studies.phantom_cells import Cells
from cellsynth.studies.results import Ordering, Table
from cellsynth.studies.study import Bench, Findings, Found, Stage, Study
from cellsynth.studies.wording import mean_sd, sample_sd

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["STUDY", "OmegaSettings"]

RECOMMENDED = 30.0


class OmegaSettings(StrictModel):
    """What is trained, and on what."""

    cells: Cells
    omegas: Annotated[tuple[float, ...], Strict(False)] = Field(description="Values of ω₀")
    learning: Learning


def _stages(settings: OmegaSettings) -> tuple[Stage[OmegaSettings], ...]:
    trained = [Stage(_name(omega), partial(_train, omega=omega)) for omega in settings.omegas]
    return (Stage("cells", prepare_cells), *trained)


def _name(omega: float) -> str:
    return f"omega-{omega:g}"


def _train(bench: Bench[OmegaSettings], *, omega: float) -> Found:
    learning, store = bench.settings.learning, open_kept(bench, "store")
    field = learning.field.model_copy(update={"omega_0": omega})
    name = _name(omega)
    fit = learn(bench, name, store, learning.model_copy(update={"field": field}))
    found = measured(bench, fit, store, last_frames(store), shapes=True)
    forget(bench, name)
    return found


def _conclude(bench: Bench[OmegaSettings]) -> Findings:
    settings = bench.settings
    found = {omega: bench.found[_name(omega)] for omega in settings.omegas}
    round_ = {omega: sphericities(each["made"]) for omega, each in found.items()}
    means = {o: float(np.mean(values)) if values else None for o, values in round_.items()}
    dsc = {omega: float(np.mean(each["dsc"])) for omega, each in found.items()}
    real = sphericities(next(iter(found.values()))["real"])
    at = min(settings.omegas, key=lambda omega: abs(omega - RECOMMENDED))
    lower = [o for o in settings.omegas if o < at]
    higher = [o for o in settings.omegas if o > at]
    here = means[at]
    # A field without any cell is no sharper one, and no rounder one either.
    known = {o: m for o, m in means.items() if m is not None}
    rounder = here is not None and all(o in known and known[o] > here for o in lower)
    spread = sample_sd(round_[at])
    no_gain = here is not None and all(known.get(o, np.inf) >= here - spread for o in higher)
    told = {o: "no cell" if m is None else f"{m:.3f}" for o, m in means.items()}
    rows = [
        (f"{o:g}", mean_sd(round_[o]) if round_[o] else "no cell", mean_sd(found[o]["dsc"]))
        for o in settings.omegas
    ]
    return Findings(
        text=(
            f"{settings.cells.count} {settings.cells.kind} cells whose last frame has a sphericity "
            f"of {mean_sd(real)}. At ω₀ = {at:g} the field gives {told[at]} (DSC {dsc[at]:.3f}); "
            f"lower, {', '.join(f'{o:g}: {told[o]}' for o in lower) or 'not tried'}; higher, "
            f"{', '.join(f'{o:g}: {told[o]}' for o in higher) or 'not tried'}. The paper shows its "
            "values in a plot only."
        ),
        tables=(
            Table(
                title=f"Last frame by ω₀ (masks: sphericity {mean_sd(real)})",
                head=("ω₀", "sphericity 36πV²/S³", "DSC"),
                rows=tuple(rows),
            ),
        ),
        orderings=(
            Ordering(
                claim="below 30, cells come out rounder",
                ours=f"{', '.join(f'{o:g}: {told[o]}' for o in lower)} against {told[at]}",
                holds=rounder,
            ),
            Ordering(
                claim="above 30, they come out no sharper (by more than their spread at 30)",
                ours=f"{', '.join(f'{o:g}: {told[o]}' for o in higher)} against {told[at]}"
                f" ± {spread:.3f}",
                holds=no_gain,
            ),
        ),
        numbers={
            "sphericity": {f"{o:g}": m for o, m in means.items()},
            "sphericity_real": float(np.mean(real)),
            "dsc": {f"{o:g}": value for o, value in dsc.items()},
        },
    )


def _draw(bench: Bench[OmegaSettings]) -> Figure:
    from matplotlib.figure import Figure

    omegas = bench.settings.omegas
    found = [bench.found[_name(omega)] for omega in omegas]
    figure = Figure(figsize=(10, 4), layout="constrained")
    axes = figure.subplots(1, 2)
    real = sphericities(found[0]["real"])
    shown = [(o, sphericities(f["made"])) for o, f in zip(omegas, found, strict=True)]
    known = [(o, values) for o, values in shown if values]
    axes[0].errorbar(
        [o for o, _ in known],
        [np.mean(v) for _, v in known],
        [sample_sd(v) for _, v in known],
        color="#0072b2",
        marker="o",
        capsize=3,
        label="field",
    )
    axes[0].axhline(np.mean(real), color="black", linestyle="--", label="masks")
    axes[0].set_ylabel("sphericity 36πV²/S³, last frame")
    axes[0].legend()
    axes[1].errorbar(
        omegas,
        [np.mean(f["dsc"]) for f in found],
        [sample_sd(f["dsc"]) for f in found],
        color="#0072b2",
        marker="o",
        capsize=3,
    )
    axes[1].set_ylabel("DSC, last frame")
    for at in axes:
        at.set_xlabel("ω₀")
        at.axvline(RECOMMENDED, color="grey", linewidth=0.5)
    return figure


STUDY = Study(
    name="omega",
    title="Spectral bias",
    section="5.6, Fig. 11",
    settings={
        "small": OmegaSettings(
            cells=Cells(kind="a549", count=4, frames=spread_frames(30, 6), across=96),
            omegas=(1.0, 10.0, 30.0, 50.0, 70.0),
            learning=Learning(
                steps=400,
                recipe=Recipe(
                    pool_points=12288, frames_per_step=48, points_per_frame=85, coords_gain=1.0
                ),
            ),
        ),
        "paper": OmegaSettings(
            cells=Cells(kind="a549", count=33),
            omegas=(1.0, 10.0, 20.0, 30.0, 40.0, 50.0, 60.0, 70.0),
            learning=Learning(steps=2000 * 7, recipe=RECIPES["paper"]),
        ),
    },
    stages=_stages,
    conclude=_conclude,
    draw=_draw,
)
