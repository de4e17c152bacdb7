"""Sines against ReLU: the field of the paper and DeepSDF in 3D+t on cells with filopodia.

Both are trained by the same engine, with the same recipe and number of steps, and measured on the
last frame again and again.

Source: Wiesner et al. 2024, section 5.7; Park et al. 2019.
"""

from __future__ import annotations

import json
from functools import partial
from typing import TYPE_CHECKING

import numpy as np
from pydantic import Field

from cellsynth.evaluation.digits import short
from cellsynth.evaluation.overlap import training_dice
from cellsynth.formats.storage import whole_file
from cellsynth.geometry import spread_frames
from cellsynth.presets.base import StrictModel
from cellsynth.presets.fields import FIELDS
from cellsynth.presets.models import FieldSpec
from cellsynth.presets.recipe import Recipe
from cellsynth.presets.recipes import RECIPES
from cellsynth.studies.fields import (
    Learning,
    fitted,
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
from cellsynth.studies.wording import mean_sd
from cellsynth.training.loop import Report, Trainer

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["STUDY", "DeepSdfSettings"]

NAMES = ("siren", "deepsdf")
SHOWN = {"siren": "SIREN with rotations", "deepsdf": "DeepSDF"}
# Section 5.7 of the paper: DSC at the end of 2000 and of 4000 epochs, sphericity of frame 30.
PAPER = {
    "siren": ("0.950 ± 0.007 (2000 epochs)", "0.029 ± 0.009"),
    "deepsdf": ("0.928 ± 0.004 (4000 epochs)", "0.042 ± 0.008"),
}
PAPER_REAL = "0.021 ± 0.004"


class DeepSdfSettings(StrictModel):
    """What is trained, and on what."""

    cells: Cells
    steps: int = Field(ge=2, description="Steps of either training")
    recipe: Recipe
    every: int = Field(ge=1, description="Steps between two measurements of the DSC on the way")
    siren: FieldSpec
    deepsdf: FieldSpec


def _stages(settings: DeepSdfSettings) -> tuple[Stage[DeepSdfSettings], ...]:
    trained = (Stage(name, partial(_train, name=name)) for name in NAMES)
    return (Stage("cells", prepare_cells), *trained)


def _train(bench: Bench[DeepSdfSettings], *, name: str) -> Found:
    settings, store = bench.settings, open_kept(bench, "store")
    learning = Learning(steps=settings.steps, recipe=settings.recipe, field=getattr(settings, name))
    path = bench.folder / f"{name}.curve"
    # A training that goes on measures again what it had measured beyond its last checkpoint.
    curve: dict[int, float] = {}
    if path.is_file():
        curve = {int(k): v for k, v in json.loads(path.read_text(encoding="utf-8")).items()}

    def on_step(trainer: Trainer, report: Report) -> None:
        if report.step % settings.every and report.step != settings.steps:
            return
        dsc = training_dice(fitted(trainer), store, where=last_frames(store))
        curve[report.step] = short(float(np.nanmean(dsc)))
        with whole_file(path) as part:
            part.write_text(json.dumps(curve), encoding="utf-8")

    fit = learn(bench, name, store, learning, on_step=on_step)
    found = measured(bench, fit, store, last_frames(store), shapes=True)
    found["curve"] = [[step, curve[step]] for step in sorted(curve)]
    found["parameters"] = sum(p.numel() for p in fit.decoder.parameters())
    forget(bench, name)
    return found


def _conclude(bench: Bench[DeepSdfSettings]) -> Findings:
    settings = bench.settings
    found = {name: bench.found[name] for name in NAMES}
    dsc = {name: float(np.mean(each["dsc"])) for name, each in found.items()}
    made = {name: sphericities(each["made"]) for name, each in found.items()}
    volume = {
        name: float(np.mean([s[0] if s else 0.0 for s in each["made"]]))
        for name, each in found.items()
    }
    real = sphericities(found["siren"]["real"])
    real_volume = float(np.mean([s[0] for s in found["siren"]["real"] if s]))
    means = {name: float(np.mean(values)) if values else None for name, values in made.items()}
    told = {name: mean_sd(values) if values else "no cell" for name, values in made.items()}
    sines, relu = means["siren"], means["deepsdf"]
    half = {
        name: next((v for s, v in each["curve"] if 2 * s >= settings.steps), dsc[name])
        for name, each in found.items()
    }
    rows = [
        (
            SHOWN[name],
            f"{found[name]['parameters']:,}",
            PAPER[name][0],
            mean_sd(found[name]["dsc"]),
            PAPER[name][1],
            told[name],
            f"{volume[name]:.0f}",
        )
        for name in NAMES
    ]
    rows.append(("masks", "", "", "", PAPER_REAL, mean_sd(real), f"{real_volume:.0f}"))
    return Findings(
        text=(
            f"{settings.cells.count} {settings.cells.kind} cells, {settings.steps} steps of the "
            f"same recipe for either field; DeepSDF has {settings.deepsdf.hidden_layers} layers of "
            f"{settings.deepsdf.width} and a code of {settings.deepsdf.latent_dim}. At the last "
            f"frame the sines reach a DSC of {dsc['siren']:.3f} and a sphericity of "
            f"{told['siren']}, DeepSDF {dsc['deepsdf']:.3f} and {told['deepsdf']}; the masks have "
            f"{mean_sd(real)}."
        ),
        tables=(
            Table(
                title="Last frame",
                head=(
                    "field",
                    "parameters",
                    "DSC, paper",
                    "DSC, here",
                    "sphericity, paper",
                    "sphericity, here",
                    "volume, µm³",
                ),
                rows=tuple(rows),
            ),
        ),
        orderings=(
            Ordering(
                claim="the sines end with the higher DSC",
                ours=f"{dsc['siren']:.3f} against {dsc['deepsdf']:.3f}",
                holds=dsc["siren"] > dsc["deepsdf"],
            ),
            Ordering(
                claim="they get there sooner: half way they are ahead too",
                ours=f"{half['siren']:.3f} against {half['deepsdf']:.3f}",
                holds=half["siren"] > half["deepsdf"],
            ),
            Ordering(
                claim="DeepSDF makes rounder cells than the sines, and both rounder than the masks",
                ours=f"{told['deepsdf']}, {told['siren']}, {mean_sd(real)}",
                holds=sines is not None
                and relu is not None
                and relu > sines > float(np.mean(real)),
            ),
            Ordering(
                claim="DeepSDF's cells have the larger volume, as their processes are thicker",
                ours=f"{volume['deepsdf']:.0f} against {volume['siren']:.0f} µm³",
                holds=volume["deepsdf"] > volume["siren"],
            ),
        ),
        numbers={
            "dsc": dsc,
            "sphericity": means,
            "sphericity_real": float(np.mean(real)),
            "volume_um3": volume,
            "volume_real_um3": real_volume,
            "curve": {name: each["curve"] for name, each in found.items()},
        },
    )


def _draw(bench: Bench[DeepSdfSettings]) -> Figure:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(11, 4), layout="constrained")
    axes = figure.subplots(1, 2)
    kinds = {"masks": sphericities(bench.found["siren"]["real"])}
    for name, colour in zip(NAMES, ("#0072b2", "#d55e00"), strict=True):
        steps, dsc = np.array(bench.found[name]["curve"]).T
        axes[0].plot(steps, dsc, color=colour, marker="o", markersize=3, label=SHOWN[name])
        kinds[SHOWN[name]] = sphericities(bench.found[name]["made"])
    axes[0].set_xlabel("step")
    axes[0].set_ylabel("DSC, last frame, mean")
    axes[0].legend()
    known = {kind: values for kind, values in kinds.items() if values}
    axes[1].boxplot(list(known.values()))
    axes[1].set_xticks(range(1, len(known) + 1), list(known))
    axes[1].set_ylabel("sphericity 36πV²/S³, last frame")
    return figure


# DeepSDF with half its width and a fourth of its code: the whole has 1.84 million parameters, as
# many as eleven of the fields with sines; this one has 461,000.
NARROW = FIELDS["deepsdf"].model_copy(update={"width": 256, "latent_dim": 64})

STUDY = Study(
    name="deepsdf",
    title="Comparison with DeepSDF",
    section="5.7, Fig. 12",
    settings={
        "small": DeepSdfSettings(
            cells=Cells(kind="a549", count=4, frames=spread_frames(30, 6), across=96),
            steps=300,
            recipe=Recipe(pool_points=12288, frames_per_step=48, points_per_frame=85),
            every=75,
            siren=FIELDS["siren"],
            deepsdf=NARROW,
        ),
        "paper": DeepSdfSettings(
            cells=Cells(kind="a549", count=33),
            steps=4000 * 7,
            recipe=RECIPES["paper"],
            every=100 * 7,
            siren=FIELDS["siren"],
            deepsdf=FIELDS["deepsdf"],
        ),
    },
    stages=_stages,
    conclude=_conclude,
    draw=_draw,
)
