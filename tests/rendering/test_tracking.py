"""Labels and lineage of sequences drawn by hand.

A line is a frame, a column a voxel along x; time runs down. A digit is a voxel inside that is to
get that label, ``#`` one inside that is to get none, ``.`` one outside.
"""

from __future__ import annotations

import numpy as np
import pytest

from cellsynth.errors import TopologyError
from cellsynth.formats.lineage import Tracklet
from cellsynth.presets.models import Topology
from cellsynth.rendering.occupancy import Occupancy
from cellsynth.rendering.tracking import OneBody, Tracker, count_cells

ONE = Topology()
DIVIDING = Topology(begin_cells=1, divisions=1, end_cells=2)


def rows(drawing: str) -> list[str]:
    return drawing.split()


def frame(row: str, *, tight: bool = False) -> Occupancy:
    """One line as a volume ``(1, 2, x)``; ``tight`` keeps only the box around what is inside."""
    inside = np.array([[[c != "." for c in row]] * 2])
    shape = inside.shape
    at = np.flatnonzero(inside.any(axis=(0, 1)))
    if not (tight and len(at)):
        return Occupancy(inside, (0, 0, 0), shape, 0)
    return Occupancy(inside[..., at[0] : at[-1] + 1], (0, 0, int(at[0])), shape, 0)


def track(drawing: str, topology: Topology, *, tight: bool = False):
    """The labels as drawn lines, and the lineage."""
    frames = [frame(row, tight=tight) for row in rows(drawing)]
    tracker = Tracker(topology, len(frames))
    drawn = []
    for occupied in reversed(frames):
        labels = tracker.add(occupied)
        assert labels.dtype == np.uint16
        np.testing.assert_array_equal(labels[:, 0], labels[:, 1])
        line = np.full(occupied.shape[2], ".")
        line[occupied.offset[2] :][: labels.shape[2]] = [
            str(n) if n else "#" if i else "."
            for n, i in zip(labels[0, 0], occupied.inside[0, 0], strict=True)
        ]
        drawn.append("".join(line))
    return drawn[::-1], tracker.lineage()


CASES = {
    "one cell": (ONE, "..111... ..111... ...111..", [Tracklet(1, 0, 2)]),
    "division": (
        DIVIDING,
        "..11111.. ..11111.. .222.333. .22...33. 222...333",
        [Tracklet(1, 0, 1), Tracklet(2, 2, 4, 1), Tracklet(3, 2, 4, 1)],
    ),
    "division into unequal halves": (
        DIVIDING,
        ".1111111. .22222.3. .22222.3.",
        [Tracklet(1, 0, 0), Tracklet(2, 1, 2, 1), Tracklet(3, 1, 2, 1)],
    ),
    "two at the end only": (
        DIVIDING,
        "..111.. ..111.. ..2.3..",
        [Tracklet(1, 0, 1), Tracklet(2, 2, 2, 1), Tracklet(3, 2, 2, 1)],
    ),
    "two after the first frame": (
        DIVIDING,
        "..111.. ..2.3.. .22.33.",
        [Tracklet(1, 0, 0), Tracklet(2, 1, 2, 1), Tracklet(3, 1, 2, 1)],
    ),
    "apart, together, apart for good": (
        # The halves of frame 1 are no daughters, but one of them is too small to matter.
        Topology(begin_cells=1, divisions=1, end_cells=2, smallest_share=0.15),
        "111111111. 11111111.# 111111111. 2222.3333. 222...3333",
        [Tracklet(1, 0, 2), Tracklet(2, 3, 4, 1), Tracklet(3, 3, 4, 1)],
    ),
    "a cell that jumps": (ONE, "11......... ....11..... .........11", [Tracklet(1, 0, 2)]),
    "daughters that jump": (
        DIVIDING,
        "......111...... ...22.....33... 22...........33",
        [Tracklet(1, 0, 0), Tracklet(2, 1, 2, 1), Tracklet(3, 1, 2, 1)],
    ),
    "one daughter jumps": (
        DIVIDING,
        "...1111........ ...22.3........ ...22.....3....",
        [Tracklet(1, 0, 0), Tracklet(2, 1, 2, 1), Tracklet(3, 1, 2, 1)],
    ),
    "two cells, no division": (
        Topology(begin_cells=2, end_cells=2),
        "11....22 .11..22. 11....22",
        [Tracklet(1, 0, 2), Tracklet(2, 0, 2)],
    ),
    "two divisions": (
        Topology(begin_cells=1, divisions=2, end_cells=3),
        "..1111111.. .2222..555. .333.4.555. 333..4.555.",
        [
            Tracklet(1, 0, 0),
            Tracklet(2, 1, 1, 1),
            Tracklet(3, 2, 3, 2),
            Tracklet(4, 2, 3, 2),
            Tracklet(5, 1, 3, 1),
        ],
    ),
    "two divisions between two frames": (
        Topology(begin_cells=1, divisions=2, end_cells=3),
        "2222222 2222222 33.4.55",
        [Tracklet(2, 0, 1), Tracklet(3, 2, 2, 2), Tracklet(4, 2, 2, 2), Tracklet(5, 2, 2, 2)],
    ),
    "one frame": (DIVIDING, "..11..", [Tracklet(1, 0, 0)]),
    "two cells in one frame": (DIVIDING, "11..22", [Tracklet(1, 0, 0), Tracklet(2, 0, 0)]),
    "a loose voxel in one frame": (
        Topology(smallest_share=0.2),
        "#.11111..",
        [Tracklet(1, 0, 0)],
    ),
    "a loose voxel": (
        Topology(smallest_share=0.2),
        "..11111.# ..11111.. #.11111..",
        [Tracklet(1, 0, 2)],
    ),
}  # fmt: skip


@pytest.mark.parametrize("tight", [False, True], ids=["whole grid", "boxes"])
@pytest.mark.parametrize("case", CASES.values(), ids=CASES.keys())
def test_drawn_sequences(case, tight):
    topology, drawing, tracklets = case
    drawn, lineage = track(drawing, topology, tight=tight)
    assert sorted(lineage.tracklets, key=lambda t: t.label) == tracklets
    assert drawn == rows(drawing)


@pytest.mark.parametrize(
    ("topology", "drawing", "message"),
    [
        (ONE, ".11.. .11.. .....", "cells in the last frame: got 0, expected 1"),
        (ONE, ".111. .111. 11.11", "cells in the last frame: got 2, expected 1"),
        (DIVIDING, ".111. .111. .111.", "cells in the last frame: got 1, expected 2"),
        (DIVIDING, "11.11 11.11 11.11", "cells in the first frame: got 2, expected 1"),
        (ONE, "....", "cells in the only frame: got 0, expected 1"),
        (ONE, "11..11", "cells in the only frame: got 2, expected 1"),
        (DIVIDING, "11.11.11", "cells in the only frame: got 3, expected 1 to 2"),
        (ONE, "..... .111. .111.", "frame 0: no cell"),
        (DIVIDING, ".111. ..... 11.11", "frame 1: no cell"),
        # Apart for a moment: neither a division nor one cell.
        (ONE, ".1111. .11.1. .1111.", "frame 1: a cell lies in more than one piece"),
        (DIVIDING, "1111111 11.1111 1111111 111.222", "frame 1: a cell lies in more than one"),
        # A large loose piece that comes from nowhere, and one that goes nowhere.
        (ONE, "111...11 111..... 111.....", "frame 0: a cell lies in more than one piece"),
        (
            Topology(begin_cells=2, end_cells=2),
            "11...11 .11111. 11...11",
            "frame 1: more cells than the topology allows",
        ),
    ],
)
def test_what_breaks_the_topology_is_named(topology, drawing, message):
    with pytest.raises(TopologyError, match=message):
        track(drawing, topology)


def test_a_loose_piece_is_dropped_or_fails_by_its_share():
    drawing = "11111.# 11111.. 11111.."
    drawn, _ = track(drawing, Topology(smallest_share=0.17))
    assert drawn == rows(drawing)
    with pytest.raises(TopologyError, match="frame 0: a cell lies in more than one piece"):
        track(drawing, Topology(smallest_share=0.16))


def test_pieces_that_touch_at_a_corner_are_one():
    inside = np.zeros((2, 2, 2), np.bool_)
    inside[0, 0, 0] = inside[1, 1, 1] = True
    assert count_cells(inside, 0.01) == 1


@pytest.mark.parametrize(
    ("row", "share", "n"),
    [("...", 0.01, 0), ("1.1", 0.01, 2), ("1.1111", 0.2, 2), ("1.1111", 0.21, 1), ("1", 0.0, 1)],
)
def test_count_cells(row, share, n):
    assert count_cells(frame(row).inside, share) == n


@pytest.mark.parametrize("shape", [(3, 1, 3), (1, 31, 20), (31, 1, 9), (9, 9, 1), (5, 7, 9)])
def test_as_many_pieces_as_there_can_be(shape):
    inside = np.zeros(shape, np.bool_)
    inside[::2, ::2, ::2] = True
    assert count_cells(inside, 0.0) == inside.sum()


def test_labels_do_not_depend_on_what_came_before_in_time():
    """Frames are final as soon as they are read: earlier ones change nothing."""
    long, _ = track("..111.. ..111.. .22.33.", DIVIDING)
    short, _ = track("..111.. .22.33.", DIVIDING)
    assert long[1:] == short


def one_body(drawing: str):
    """Labels as drawn lines, and the tracklets, of all pieces as one cell."""
    frames = [frame(row) for row in rows(drawing)]
    body = OneBody(ONE, len(frames))
    drawn = [body.add(each)[0, 0] for each in reversed(frames)][::-1]
    return ["".join(str(n) if n else "." for n in line) for line in drawn], body.lineage()


def test_all_pieces_are_one_body():
    drawn, lineage = one_body("##.##.# ..##... ##...##")
    assert drawn == ["11.11.1", "..11...", "11...11"]
    assert lineage.tracklets == (Tracklet(1, 0, 2),)


def test_a_body_that_is_gone_for_a_while_comes_back_as_its_own_child():
    drawn, lineage = one_body("... ##. ... ... .## .##")
    assert drawn == ["...", "22.", "...", "...", ".11", ".11"]
    assert lineage.tracklets == (Tracklet(1, 4, 5, parent=2), Tracklet(2, 1, 1))
    lineage.check(6)


def test_a_body_that_is_never_there():
    with pytest.raises(TopologyError, match="no cell in any frame"):
        one_body("... ...")
