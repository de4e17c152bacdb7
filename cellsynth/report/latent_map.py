"""Where drawn codes lie among the learned ones, on the two axes along which the latter vary."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from dominate import svg
from dominate.dom_tag import dom_tag
from numpy.typing import NDArray

from cellsynth.errors import InputError
from cellsynth.evaluation.embedding import FEWEST, principal_components
from cellsynth.report.charts import nice_steps, number

__all__ = ["LatentMap", "draw_map", "latent_map"]

SIDE_X, SIDE_Y = 560, 400
LEFT, RIGHT, TOP, BOTTOM = 56, 16, 14, 44
MOST_DRAWN = 2000


@dataclass(frozen=True)
class LatentMap:
    """Principal components of the learned codes.

    Attributes:
        learned: ``(n, 2)``, the learned codes.
        drawn: ``(m, 2)``, drawn codes on the same axes.
        explained: Share of the variance of the learned codes along each axis.
    """

    learned: NDArray[np.float64]
    drawn: NDArray[np.float64]
    explained: tuple[float, float]


def latent_map(learned: NDArray[Any], drawn: NDArray[Any]) -> LatentMap:
    """The map; learned codes ``(n, d)`` decide its axes.

    Raises:
        InputError: Fewer than three codes, codes of one number, or codes that are all alike: they
            have no plane.
    """
    n, size = learned.shape
    if n < FEWEST or size < 2:
        raise InputError(f"{n} codes of {size} numbers lie in no plane")
    found = principal_components(learned)
    first, second = found.ratios[:2].tolist()
    others = np.asarray(drawn, np.float64).reshape(-1, size)
    return LatentMap(found.scores(learned)[:, :2], found.scores(others)[:, :2], (first, second))


def draw_map(found: LatentMap, names: list[str]) -> dom_tag:
    """The drawing of a map: rings are learned codes, diamonds drawn ones, which have names."""
    points = np.concatenate([found.learned, found.drawn])
    alongs = nice_steps(float(points[:, 0].min()), float(points[:, 0].max()))
    ups = nice_steps(float(points[:, 1].min()), float(points[:, 1].max()))
    across, down = SIDE_X - LEFT - RIGHT, SIDE_Y - TOP - BOTTOM

    def at(point: NDArray[np.float64]) -> tuple[float, float]:
        x = LEFT + (point[0] - alongs[0]) / (alongs[-1] - alongs[0]) * across
        y = TOP + (ups[-1] - point[1]) / (ups[-1] - ups[0]) * down
        return round(float(x), 1), round(float(y), 1)

    told = f"{len(found.drawn)} drawn codes among {len(found.learned)} learned ones, on two axes"
    drawing = svg.svg(
        svg.title(told),
        viewBox=f"0 0 {SIDE_X} {SIDE_Y}",
        role="img",
        cls="chart map",
        aria_label=told,
    )
    for value in ups:
        _, y = at(np.array([alongs[0], value]))
        drawing.add(svg.line(x1=LEFT, x2=SIDE_X - RIGHT, y1=y, y2=y, cls="grid"))
        drawing.add(svg.text(number(value), x=LEFT - 8, y=y + 4, cls="tick end"))
    for value in alongs:
        x, _ = at(np.array([value, ups[0]]))
        drawing.add(svg.line(x1=x, x2=x, y1=TOP, y2=SIDE_Y - BOTTOM, cls="grid"))
        drawing.add(svg.text(number(value), x=x, y=SIDE_Y - BOTTOM + 18, cls="tick middle"))
    first, second = (f"component {i + 1}, {share:.0%}" for i, share in enumerate(found.explained))
    drawing.add(svg.text(first, x=LEFT + across / 2, y=SIDE_Y - 6, cls="tick middle"))
    turned = f"rotate(-90 12 {TOP + down / 2})"
    drawing.add(svg.text(second, x=12, y=TOP + down / 2, transform=turned, cls="tick middle"))
    for i, point in enumerate(found.learned):
        x, y = at(point)
        ring = svg.circle(svg.title(f"learned code {i + 1}"), cx=x, cy=y, r=5, cls="learned")
        drawing.add(ring)
    for name, point in zip(names[:MOST_DRAWN], found.drawn[:MOST_DRAWN], strict=True):
        x, y = at(point)
        diamond = f"M{x},{y - 6} l6,6 l-6,6 l-6,-6 z"
        drawing.add(svg.path(svg.title(f"sequence {name}"), d=diamond, cls="drawn"))
    return drawing
