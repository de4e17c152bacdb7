"""What codes tell: a map coloured by descriptors, and straight ways between three cells.

The ways lead from the cell with the least mean volume to that with the greatest, to one of average
volume, and back, with the cell half way on each, as in the paper's triangle.

Source: Wiesner et al. 2024, section 5.3.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from pydantic import Field

from cellsynth.errors import TopologyError
from cellsynth.evaluation.latent import LatentOptions, describe_code, explore_latents
from cellsynth.evaluation.latent_models import Described
from cellsynth.field.model import CellModel
from cellsynth.presets.base import StrictModel
from cellsynth.presets.bundle import Bundle
from cellsynth.presets.catalogue import find_preset
from cellsynth.presets.recipes import RECIPES
from cellsynth.studies.fields import Learning
from cellsynth.studies.phantom_cells import Cells
from cellsynth.studies.results import Ordering, Table
from cellsynth.studies.study import Bench, Findings, Found, Stage, Study
from cellsynth.studies.trained_presets import trained_preset

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["STUDY", "ExplorationSettings"]

# Mean volumes of the paper's three cells (Fig. 8), µm³.
PAPER_UM3 = {"least": 586.5, "greatest": 5719.9, "average": 3324.0}
CORNERS = ("least", "greatest", "average")
NEAR = 0.5  # rank correlation with the nearest code above which neighbours are alike
SHOWN = {
    "surface_um2": "surface",
    "volume_um3": "volume",
    "sphericity_paper": "sphericity",
}


class ExplorationSettings(StrictModel):
    """Which preset is looked at, shipped or trained for it, and in how many frames."""

    preset: str | None = Field(description="Name of a shipped preset; absent: it is trained")
    cells: Cells | None = Field(None, description="What it is trained on")
    learning: Learning | None = Field(None, description="How")
    frames: int = Field(ge=2, description="Frames that cells are measured in")


def _stages(settings: ExplorationSettings) -> tuple[Stage[ExplorationSettings], ...]:
    parts = (Stage("map", _map), Stage("ways", _ways))
    return parts if settings.preset else (Stage("preset", _train), *parts)


def _train(bench: Bench[ExplorationSettings]) -> Found:
    return {"sha256": _bundle(bench).sha256}


def _bundle(bench: Bench[ExplorationSettings]) -> Bundle:
    settings = bench.settings
    if settings.preset is not None:
        return find_preset(settings.preset)
    assert settings.cells is not None
    assert settings.learning is not None
    return trained_preset(bench, settings.cells, settings.learning)


def _map(bench: Bench[ExplorationSettings]) -> Found:
    bundle = _bundle(bench)
    options = LatentOptions(draws=0, frames=bench.settings.frames, seed=bench.seed)
    found = explore_latents(
        CellModel.from_bundle(bundle),
        bundle.sha256,
        options,
        on_progress=bench.progress("measuring"),
    )
    return found.model_dump(mode="json")


def _volumes(found: Found) -> dict[int, float]:
    """Mean volume by number of the code from 1, of whole cells."""
    return {
        code["number"]: code["described"]["volume_um3"]
        for code in found["learned"]
        if code["described"] is not None
    }


def _corners(found: Found) -> dict[str, int]:
    """Codes of the least, the greatest, and the volume nearest to the mean of all.

    Raises:
        TopologyError: Fewer than three cells are whole.
    """
    volumes = _volumes(found)
    if len(volumes) < len(CORNERS):
        raise TopologyError(
            f"preset {found['preset']['name']}: {len(volumes)} of {len(found['learned'])} learned "
            f"cells keep the topology, expected {len(CORNERS)} for a triangle; train it longer"
        )
    ordered = sorted(volumes, key=lambda number: volumes[number])
    mean = float(np.mean(list(volumes.values())))
    between = min(ordered[1:-1], key=lambda number: abs(volumes[number] - mean))
    return {"least": ordered[0], "greatest": ordered[-1], "average": between}


def _ways(bench: Bench[ExplorationSettings]) -> Found:
    """The cells at the corners of the triangle and half way between them."""
    model = CellModel.from_bundle(_bundle(bench))
    corners = _corners(bench.found["map"])
    codes = {name: model.latents[number - 1] for name, number in corners.items()}
    cells = {}
    for k, (a, b) in enumerate(_edges()):
        for name, code in ((a, codes[a]), (f"{a}-{b}", (codes[a] + codes[b]) / 2)):
            cell = describe_code(model, code, n_frames=bench.settings.frames)
            told = cell.model_dump(mode="json") if isinstance(cell, Described) else None
            cells[name] = {"described": told, "fault": None if told else str(cell)}
        bench.tell("walking", k + 1, len(CORNERS), "")
    return {"corners": corners, "cells": cells}


def _edges() -> list[tuple[str, str]]:
    return list(zip(CORNERS, CORNERS[1:] + CORNERS[:1], strict=True))


def _conclude(bench: Bench[ExplorationSettings]) -> Findings:
    found, ways = bench.found["map"], bench.found["ways"]
    volume = {
        name: cell["described"]["volume_um3"] if cell["described"] else None
        for name, cell in ways["cells"].items()
    }
    between = {
        f"{a}-{b}": _is_between(volume[a], volume[f"{a}-{b}"], volume[b]) for a, b in _edges()
    }
    near = {
        entry["descriptor"]: entry["neighbours"]
        for entry in found["correlations"]
        if entry["descriptor"] in SHOWN
    }
    first = {
        entry["descriptor"]: max((abs(r) for r in entry["spearman"] if r is not None), default=0.0)
        for entry in found["correlations"]
        if entry["descriptor"] in SHOWN
    }
    rows = []
    for a, b in _edges():
        rows.append((a, f"{PAPER_UM3[a]:.1f}", _um3(volume[a])))
        rows.append((f"half way from {a} to {b}", "between", _um3(volume[f"{a}-{b}"])))
    told = {name: "–" if rho is None else f"{rho:+.2f}" for name, rho in near.items()}
    alike = {name: rho is not None and rho > NEAR for name, rho in near.items()}
    return Findings(
        text=(
            f"The {len(found['learned'])} codes of preset {found['preset']['name']}, measured in "
            f"{found['frames']} frames. Rank correlation of a code's descriptor with that of its "
            "nearest other code: "
            + ", ".join(f"{SHOWN[name]} {value}" for name, value in told.items())
            + "; with whichever of the first three components goes best with it: "
            + ", ".join(f"{SHOWN[name]} {value:.2f}" for name, value in first.items())
            + ". Cells half way between two codes have a mean volume between theirs in "
            f"{sum(between.values())} of {len(between)} cases."
        ),
        tables=(
            Table(
                title="Mean volume over time on the triangle, µm³",
                head=("cell", "paper", "here"),
                rows=tuple(rows),
            ),
        ),
        orderings=(
            Ordering(
                claim="the place in the latent space tells surface, volume and sphericity",
                ours="with the nearest code "
                + ", ".join(f"{SHOWN[name]} {value}" for name, value in told.items()),
                holds=all(alike.values()),
            ),
            Ordering(
                claim="codes on a straight way give a proper change of volume",
                ours=", ".join(f"{name}: {_um3(volume[name])}" for name in between),
                holds=all(between.values()),
            ),
        ),
        numbers={"volume_um3": volume, "neighbours": near, "components": first},
    )


def _is_between(a: float | None, middle: float | None, b: float | None) -> bool:
    if a is None or middle is None or b is None:
        return False
    return min(a, b) < middle < max(a, b)


def _um3(value: float | None) -> str:
    return "no whole cell" if value is None else f"{value:.1f}"


def _draw(bench: Bench[ExplorationSettings]) -> Figure:
    from matplotlib.figure import Figure

    found, ways = bench.found["map"], bench.found["ways"]
    known = [code for code in found["learned"] if code["described"] is not None]
    figure = Figure(figsize=(15, 4), layout="constrained")
    axes = figure.subplots(1, len(SHOWN) + 1)
    for at, (name, title) in zip(axes, SHOWN.items(), strict=False):
        x, y = np.array([code["tsne"] for code in known]).T
        values = [code["described"][name] for code in known]
        painted = at.scatter(x, y, c=values, cmap="viridis", s=50)
        figure.colorbar(painted, ax=at, pad=0.01)
        at.set_title(title)
        at.set_xlabel("t-SNE")
        at.set_xticks([])
        at.set_yticks([])
    names = [name for a, b in _edges() for name in (a, f"{a}-{b}")]
    names.append(CORNERS[0])
    volumes = [(ways["cells"][n]["described"] or {}).get("volume_um3", np.nan) for n in names]
    axes[-1].plot(range(len(names)), volumes, color="#0072b2", marker="o")
    axes[-1].set_xticks(range(len(names)), [n.replace("-", "\n") for n in names], fontsize=7)
    axes[-1].set_ylabel("mean volume on the triangle, µm³")
    return figure


STUDY = Study(
    name="exploration",
    title="Latent space exploration",
    section="5.3, Fig. 8",
    settings={
        "small": ExplorationSettings(preset="platynereis", frames=5),
        "paper": ExplorationSettings(
            preset=None,
            cells=Cells(kind="platynereis", count=33),
            learning=Learning(steps=2000 * 7, recipe=RECIPES["paper"]),
            frames=30,
        ),
    },
    stages=_stages,
    conclude=_conclude,
    draw=_draw,
)
