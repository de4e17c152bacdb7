"""Curves over time, as drawings in the page: they take its colours, scale, and print."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from dominate import svg
from dominate.dom_tag import dom_tag

__all__ = ["Curve", "line_chart", "nice_steps", "number"]

Gaps = Sequence[float | None]

WIDTH, HEIGHT = 460, 250
LEFT, RIGHT, TOP, BOTTOM = 54, 14, 12, 38
MOST_POINTS = 300


@dataclass(frozen=True)
class Curve:
    """A mean and the quartiles around it; None where there is nothing.

    Attributes:
        name: What it is of; with `series` how it is drawn.
        series: 0 or 1.
        x: Place of each value along the axis.
        mean: Values.
        low: First quartiles.
        high: Third quartiles.
    """

    name: str
    series: int
    x: Sequence[float]
    mean: Gaps
    low: Gaps
    high: Gaps


def nice_steps(low: float, high: float, most: int = 5) -> list[float]:
    """Round numbers, about ``most`` of them, that enclose ``low`` to ``high``."""
    span = high - low
    if not span > 0:
        span = abs(high) * 0.2 or 1.0
        low, high = low - span / 2, high + span / 2
    rough = span / most
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(s * power for s in (1, 2, 2.5, 5, 10) if s * power >= rough * (1 - 1e-9))
    first, last = math.floor(low / step + 1e-9), math.ceil(high / step - 1e-9)
    return [round(i * step, 12) for i in range(first, last + 1)]


def number(value: float) -> str:
    """Four digits at most, and no exponent where it can be done without."""
    text = f"{value:.4g}"
    return f"{value:,.0f}" if "e+" in text and abs(value) < 1e9 else text


def line_chart(curves: Sequence[Curve], *, title: str, x_title: str) -> dom_tag:
    """Means as lines, quartiles as bands.

    Args:
        curves: One or two.
        title: What is drawn, for those who hear the page.
        x_title: What the axis along counts.
    """
    values = [v for c in curves for part in (c.mean, c.low, c.high) for v in part if v is not None]
    places = [x for c in curves for x in c.x] or [0.0]
    if not values:
        values = [0.0, 1.0]
    ups = nice_steps(min(values), max(values))
    alongs = nice_steps(min(places), max(places)) if max(places) > min(places) else [places[0]]
    x_low, x_high = min(places), max(places)
    if x_high == x_low:
        x_low, x_high = x_low - 0.5, x_high + 0.5

    def at_x(x: float) -> float:
        return round(LEFT + (x - x_low) / (x_high - x_low) * (WIDTH - LEFT - RIGHT), 1)

    def at_y(y: float) -> float:
        return round(TOP + (ups[-1] - y) / (ups[-1] - ups[0]) * (HEIGHT - TOP - BOTTOM), 1)

    drawing = svg.svg(
        svg.title(title), viewBox=f"0 0 {WIDTH} {HEIGHT}", role="img", cls="chart", aria_label=title
    )
    for y in ups:
        drawing.add(svg.line(x1=LEFT, x2=WIDTH - RIGHT, y1=at_y(y), y2=at_y(y), cls="grid"))
        drawing.add(svg.text(number(y), x=LEFT - 8, y=at_y(y) + 4, cls="tick end"))
    for x in alongs:
        if x_low <= x <= x_high:
            drawing.add(svg.text(number(x), x=at_x(x), y=HEIGHT - BOTTOM + 18, cls="tick middle"))
    middle = (LEFT + WIDTH - RIGHT) / 2
    drawing.add(svg.text(x_title, x=middle, y=HEIGHT - 3, cls="tick middle"))
    thinned = [_thinned(curve) for curve in curves]
    for curve in thinned:
        for run in _runs(curve.low, curve.high):
            up = [f"{at_x(curve.x[i])},{at_y(curve.high[i] or 0)}" for i in run]
            down = [f"{at_x(curve.x[i])},{at_y(curve.low[i] or 0)}" for i in reversed(run)]
            drawing.add(svg.polygon(points=" ".join(up + down), cls=f"band series{curve.series}"))
    for curve in thinned:
        for run in _runs(curve.mean):
            points = [(at_x(curve.x[i]), at_y(curve.mean[i] or 0)) for i in run]
            if len(points) == 1:
                (x, y) = points[0]
                drawing.add(svg.circle(cx=x, cy=y, r=3, cls=f"dot series{curve.series}"))
                continue
            line = " ".join(f"{x},{y}" for x, y in points)
            drawing.add(svg.polyline(points=line, cls=f"line series{curve.series}"))
    return drawing


def _thinned(curve: Curve) -> Curve:
    """At most so many points as can be seen."""
    step = max(1, math.ceil(len(curve.x) / MOST_POINTS))
    parts = (part[::step] for part in (curve.mean, curve.low, curve.high))
    return Curve(curve.name, curve.series, curve.x[::step], *parts)


def _runs(*parts: Gaps) -> list[list[int]]:
    """Places in a row at which no part has a gap."""
    runs: list[list[int]] = [[]]
    for i, values in enumerate(zip(*parts, strict=True)):
        if any(value is None for value in values):
            runs.append([])
        else:
            runs[-1].append(i)
    return [run for run in runs if run]
