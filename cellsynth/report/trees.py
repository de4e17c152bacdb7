"""Lineages as trees: time runs to the right, a line is a cell, a fork its division."""

from __future__ import annotations

from dataclasses import dataclass

from dominate import svg
from dominate.dom_tag import dom_tag

from cellsynth.formats.lineage import Lineage, Tracklet
from cellsynth.report.charts import nice_steps, number
from cellsynth.report.colours import hex_colour

__all__ = ["MOST_CELLS", "Tree", "lineage_tree", "trees_of"]

WIDTH, ROW = 300, 22
LEFT, RIGHT, TOP, BOTTOM = 8, 30, 10, 26
MOST_CELLS = 64  # of a tree that is drawn


@dataclass(frozen=True)
class Tree:
    """A cell and all that it divides into.

    Attributes:
        name: What it is of.
        lineage: Its tracklets.
        n_frames: Frames of the sequence.
    """

    name: str
    lineage: Lineage
    n_frames: int

    @property
    def founder(self) -> Tracklet:
        """The cell that has no parent here."""
        return next(t for t in self.lineage.tracklets if t.parent not in self.lineage)

    def told(self) -> str:
        """The tree in words."""
        parts = []
        for t in self.lineage.tracklets:
            born = f" from cell {t.parent}" if t.parent else ""
            parts.append(f"cell {t.label}{born}, frames {t.begin} to {t.end}")
        return f"{self.name}: {'; '.join(parts)}"


def trees_of(name: str, lineage: Lineage, n_frames: int) -> list[Tree]:
    """Every family of a sequence, those with most cells first."""
    members: dict[int, list[Tracklet]] = {}
    for t in lineage.tracklets:
        line = lineage.line(t.label)
        founders = [n for n in line if n in lineage and lineage[n].parent not in lineage]
        members.setdefault(founders[0] if founders else t.label, []).append(t)
    trees = [Tree(name, Lineage(tuple(family)), n_frames) for family in members.values()]
    return sorted(trees, key=lambda tree: (-len(tree.lineage), tree.lineage.tracklets[0].label))


def lineage_tree(tree: Tree) -> dom_tag:
    """The drawing of a tree."""
    rows: dict[int, float] = {}
    _place(tree.lineage, tree.founder, rows)
    n_rows = sum(not tree.lineage.children(t.label) for t in tree.lineage.tracklets)
    height = TOP + ROW * n_rows + BOTTOM

    def at_x(frame: float) -> float:
        return round(LEFT + frame / max(1, tree.n_frames) * (WIDTH - LEFT - RIGHT), 1)

    def at_y(label: int) -> float:
        return round(TOP + ROW * (rows[label] + 0.5), 1)

    told = tree.told()
    drawing = svg.svg(
        svg.title(told), viewBox=f"0 0 {WIDTH} {height}", role="img", cls="tree", aria_label=told
    )
    foot = height - BOTTOM
    for frame in _ticks(tree.n_frames):
        x = at_x(frame + 0.5)
        drawing.add(svg.line(x1=x, x2=x, y1=TOP, y2=foot, cls="grid"))
        drawing.add(svg.text(number(frame), x=x, y=foot + 17, cls="tick middle"))
    for t in tree.lineage.tracklets:
        for child in tree.lineage.children(t.label):
            x, y = at_x(t.end + 1), at_y(t.label)
            bend = f"M{x},{y} C{at_x(child.begin) + 6},{y} {x},{at_y(child.label)} "
            bend += f"{at_x(child.begin) + 8},{at_y(child.label)}"
            drawing.add(svg.path(d=bend, cls="fork", stroke=hex_colour(child.label)))
    for t in tree.lineage.tracklets:
        y, born = at_y(t.label), 8 if t.parent in tree.lineage else 0
        line = f"M{at_x(t.begin) + born},{y} H{max(at_x(t.end + 1), at_x(t.begin) + born + 1)}"
        drawing.add(svg.path(d=line, cls="cell", stroke=hex_colour(t.label)))
        if not tree.lineage.children(t.label):
            drawing.add(svg.text(str(t.label), x=at_x(t.end + 1) + 7, y=y + 4, cls="tick"))
        elif t.parent not in tree.lineage:
            drawing.add(svg.text(str(t.label), x=at_x(t.begin) + 2, y=y - 6, cls="tick"))
    return drawing


def _place(lineage: Lineage, cell: Tracklet, rows: dict[int, float]) -> float:
    """Cells without daughters take a row each, mothers stand in the middle of theirs."""
    children = lineage.children(cell.label)
    if children:
        places = [_place(lineage, child, rows) for child in children]
        rows[cell.label] = (places[0] + places[-1]) / 2
    else:
        rows[cell.label] = float(sum(not lineage.children(label) for label in rows))
    return rows[cell.label]


def _ticks(n_frames: int) -> list[int]:
    steps = nice_steps(0, max(1, n_frames - 1), 4)
    return [int(step) for step in steps if step == int(step) and 0 <= step < n_frames]
