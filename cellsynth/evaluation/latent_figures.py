"""Figures of a preset's codes: coloured by what their cells are like, and with drawn ones."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from cellsynth.evaluation.latent_models import DESCRIPTORS, Descriptor, LatentMap, LearnedCode

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = ["DESCRIPTIONS", "draw_drawn", "draw_map", "save_figure"]

DESCRIPTIONS: dict[Descriptor, str] = {
    "volume_um3": "volume, µm³",
    "surface_um2": "surface, µm²",
    "sphericity_paper": "sphericity, 36πV²/S³",
    "growth": "growth, last frame / first",
}
# Colours that differ in lightness too (Okabe and Ito 2008), and a marker each.
STYLES = {
    "gaussian": ("#0072b2", "x"),
    "neighbourhood": ("#009e73", "+"),
    "mixture": ("#d55e00", "1"),
    "kernel": ("#cc79a7", "2"),
}
DPI = 80


def save_figure(figure: Figure, stem: Path) -> None:
    """Write ``stem.png`` and ``stem.svg``; the bytes depend on what is drawn alone."""
    from matplotlib import rc_context

    # Laid out once; every drawing would do it anew, and that is most of the work.
    figure.draw_without_rendering()
    figure.set_layout_engine("none")
    with rc_context({"svg.hashsalt": "cellsynth", "svg.fonttype": "path"}):
        figure.savefig(stem.with_suffix(".png"), dpi=DPI, metadata={"Software": None})
        figure.savefig(stem.with_suffix(".svg"), metadata={"Date": None})


def draw_map(found: LatentMap) -> Figure:
    """Learned codes in principal components and in t-SNE, coloured by each descriptor.

    Codes whose cells break the topology are hollow. Numbers are those of the codes.
    """
    from matplotlib.figure import Figure

    figure = Figure(figsize=(15, 7), layout="constrained")
    axes = figure.subplots(2, len(DESCRIPTORS), squeeze=False)
    for column, name in enumerate(DESCRIPTORS):
        for row, places in enumerate(
            ([_plane(code.pca) for code in found.learned], [code.tsne for code in found.learned])
        ):
            at = axes[row, column]
            painted = _paint(at, found.learned, np.array(places), name)
            if row == 0:
                at.set_title(DESCRIPTIONS[name])
            if painted is not None:
                figure.colorbar(painted, ax=at, pad=0.01)
        _name_components(axes[0, column], found)
        _name_tsne(axes[1, column], found.perplexity[0])
    figure.suptitle(f"{found.preset.name}: {len(found.learned)} learned codes")
    return figure


def draw_drawn(found: LatentMap) -> Figure:
    """Drawn codes among the learned ones, what components hold, and how far neighbours are."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(12, 9), layout="constrained")
    axes = figure.subplots(2, 2)
    strategies = sorted({code.strategy for code in found.drawn}, key=list(STYLES).index)
    for at, learned, place in (
        (axes[0, 0], [_plane(code.pca) for code in found.learned], lambda code: _plane(code.pca)),
        (
            axes[0, 1],
            [code.tsne_among_drawn for code in found.learned],
            lambda code: code.tsne_among_drawn,
        ),
    ):
        for strategy in strategies:
            colour, marker = STYLES[strategy]
            drawn = np.array([place(code) for code in found.drawn if code.strategy == strategy])
            x, y = drawn.T
            at.scatter(x, y, c=colour, marker=marker, s=40, linewidths=1, label=strategy)
        x, y = np.array(learned).T
        at.scatter(x, y, c="black", s=16, label="learned")
    _name_components(axes[0, 0], found)
    _name_tsne(axes[0, 1], found.perplexity[1])
    axes[0, 0].legend(fontsize=8)
    _draw_held(axes[1, 0], found)
    _draw_spacing(axes[1, 1], found, strategies)
    figure.suptitle(f"{found.preset.name}: learned codes and codes drawn, seed {found.seed}")
    return figure


def _paint(
    axes: Axes, codes: Sequence[LearnedCode], places: np.ndarray[Any, Any], name: Descriptor
) -> Any:
    """Codes coloured by a descriptor; what colours them, None where nothing is known."""
    known = np.array([code.described is not None for code in codes])
    values = [getattr(code.described, name) for code in codes if code.described is not None]
    painted = None
    x, y = places.T
    if known.any():
        painted = axes.scatter(x[known], y[known], c=values, cmap="viridis", s=60)
    if not known.all():
        axes.scatter(x[~known], y[~known], facecolors="none", edgecolors="grey", marker="s", s=60)
    for code, place in zip(codes, places, strict=True):
        axes.annotate(str(code.number), place, (4, 4), textcoords="offset points", fontsize=7)
    return painted


def _plane(pca: Sequence[float]) -> tuple[float, float]:
    """The first two components, where there are two."""
    return pca[0], pca[1] if len(pca) > 1 else 0.0


def _name_components(axes: Axes, found: LatentMap) -> None:
    ratios = [component.ratio for component in found.components] + [0.0]
    axes.set_xlabel(f"component 1 ({ratios[0]:.1%})")
    axes.set_ylabel(f"component 2 ({ratios[1]:.1%})")


def _name_tsne(axes: Axes, perplexity: float) -> None:
    axes.set_xlabel(f"t-SNE, perplexity {perplexity:.3g}")
    axes.set_xticks([])
    axes.set_yticks([])


def _draw_held(axes: Axes, found: LatentMap) -> None:
    held = np.cumsum([component.ratio for component in found.components])
    axes.plot(np.arange(1, len(held) + 1), 100 * held, marker="o", markersize=3, color="black")
    for i, entry in enumerate(found.held):
        at = (entry.components, 100 * held[entry.components - 1])
        axes.axhline(100 * entry.share, color="grey", linewidth=0.5)
        axes.plot(*at, "o", color="#d55e00")
        axes.annotate(
            f"{100 * entry.share:g} % in {entry.components}",
            at,
            (4, -14 * (i + 1)),
            textcoords="offset points",
            fontsize=8,
            ha="right",
        )
    axes.set_xlabel("principal components")
    axes.set_ylabel("variance of the learned codes held, %")
    axes.set_ylim(0, 104)


def _draw_spacing(axes: Axes, found: LatentMap, strategies: Sequence[str]) -> None:
    kinds = ["learned", *strategies]
    groups: list[list[float]] = [[code.distance for code in found.learned]]
    groups += [[c.distance for c in found.drawn if c.strategy == s] for s in strategies]
    for i, (kind, distances) in enumerate(zip(kinds, groups, strict=True)):
        colour, _ = STYLES.get(kind, ("black", ""))
        # Beside each other where they would hide each other; no chance in it.
        across = i + 0.3 * (np.arange(len(distances)) / max(1, len(distances) - 1) - 0.5)
        axes.scatter(across, np.sort(distances), c=colour, s=10)
        axes.hlines(np.median(distances), i - 0.3, i + 0.3, colors=colour, linewidths=1)
    axes.set_xticks(range(len(kinds)), kinds, fontsize=8)
    axes.set_ylabel("distance to the nearest (other) learned code")
    axes.set_ylim(bottom=0)
