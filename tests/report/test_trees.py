"""Lineage trees, from lineages as one draws them."""

from __future__ import annotations

import re

import pytest

from cellsynth.formats.lineage import Lineage, Tracklet
from cellsynth.report.colours import hex_colour
from cellsynth.report.sections import lineage_section
from cellsynth.report.source import SetSource, ShownSequence
from cellsynth.report.trees import MOST_CELLS, lineage_tree, trees_of

#        2 ──────
#   1 ──<    4 ──
#        3 ─<
#            5 ──
TWICE = Lineage((
    Tracklet(1, 0, 2), Tracklet(2, 3, 8, 1), Tracklet(3, 3, 5, 1), Tracklet(4, 6, 8, 3),
    Tracklet(5, 6, 8, 3), Tracklet(9, 1, 4),
))  # fmt: skip


def rows(text: str) -> dict[str, float]:
    """Height of each cell's line by its colour."""
    cells = re.findall(r'<path class="cell" d="M([\d.]+),([\d.]+) H([\d.]+)" stroke="(#\w+)"', text)
    return {stroke: float(y) for _, y, _, stroke in cells}


def test_each_family_is_a_tree_the_largest_first():
    trees = trees_of("sequence 01", TWICE, 9)
    assert [[t.label for t in tree.lineage.tracklets] for tree in trees] == [[1, 2, 3, 4, 5], [9]]
    assert trees[0].founder.label == 1
    assert trees[0].told() == (
        "sequence 01: cell 1, frames 0 to 2; cell 2 from cell 1, frames 3 to 8; "
        "cell 3 from cell 1, frames 3 to 5; cell 4 from cell 3, frames 6 to 8; "
        "cell 5 from cell 3, frames 6 to 8"
    )


def test_mothers_stand_between_their_daughters():
    text = lineage_tree(trees_of("s", TWICE, 9)[0]).render(pretty=False)
    at = {label: rows(text)[hex_colour(label)] for label in (1, 2, 3, 4, 5)}
    assert at[2] < at[4] < at[5]
    assert at[3] == pytest.approx((at[4] + at[5]) / 2)
    assert at[1] == pytest.approx((at[2] + at[3]) / 2)
    assert text.count('class="fork"') == 4


def test_time_runs_to_the_right():
    text = lineage_tree(trees_of("s", TWICE, 9)[0]).render(pretty=False)
    spans = {
        stroke: (float(x), float(end))
        for x, _, end, stroke in re.findall(
            r'd="M([\d.]+),([\d.]+) H([\d.]+)" stroke="(#\w+)"', text
        )
    }
    assert spans[hex_colour(1)][1] < spans[hex_colour(2)][0] < spans[hex_colour(2)][1]
    assert spans[hex_colour(2)][1] == spans[hex_colour(4)][1]


def test_a_cell_in_a_single_frame_is_seen():
    text = lineage_tree(trees_of("s", Lineage((Tracklet(7, 0, 0),)), 1)[0]).render(pretty=False)
    assert hex_colour(7) in rows(text)


def test_families_too_large_to_draw_are_counted_and_told():
    large = [Tracklet(1, 0, 0)]
    for label in range(2, MOST_CELLS + 2):
        large.append(Tracklet(label, label, label, label - 1))
    small = [Tracklet(200, 0, 5), Tracklet(201, 6, 9, 200), Tracklet(202, 6, 9, 200)]

    def section(*tracklets: Tracklet) -> str:
        lineage = Lineage(tracklets)
        shown = ShownSequence("01", 99, (1, 2, 2), None, None, lineage, lambda _: None)
        return lineage_section(SetSource("set", (shown,), {})).tag().render(pretty=False)

    both = section(*large, *small)
    assert "2 families, 1 division in all." in both
    assert "1 of 2 families. 1 of more than 64 cells: too large to draw." in both
    assert both.count('class="tree"') == 1
    alone = section(*large)
    assert "1 family, 0 divisions in all." in alone
    assert "0 of 1 families. 1 of more than 64 cells: too large to draw." in alone
    assert "too large" not in section(*small)
