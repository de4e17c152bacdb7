from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cellsynth.errors import InputError
from cellsynth.formats.ctc_table import format_table, parse_table
from cellsynth.formats.lineage import Lineage, Tracklet, lineage_faults, presence_faults


def test_the_family_of_the_fixture_is_read_as_drawn(lineage: Lineage) -> None:
    assert [t.label for t in lineage.children(1)] == [2, 3]
    assert [t.label for t in lineage.children(7)] == [8]
    assert lineage.children(5) == ()
    assert lineage.divisions() == (Tracklet(1, 0, 1),)  # one child is no division
    assert [lineage.at(t) for t in range(6)] == [
        (1, 5, 7), (1, 5, 7), (2, 3, 5), (2, 3, 5, 8), (2, 3, 5, 8), (),
    ]  # fmt: skip
    assert lineage[8] == Tracklet(8, 3, 4, 7)
    assert (8 in lineage, 9 in lineage, len(lineage), lineage.n_frames) == (True, False, 6, 5)
    lineage.check(5)


def test_tracklets_are_sorted_by_label_whatever_the_order_given(lineage: Lineage) -> None:
    assert Lineage(lineage.tracklets[::-1]) == lineage


def test_an_unknown_label_is_a_key_error(lineage: Lineage) -> None:
    with pytest.raises(KeyError):
        lineage[4]


def test_no_cell_is_a_lineage() -> None:
    Lineage(()).check(1)
    assert (Lineage(()).n_frames, Lineage(()).divisions()) == (0, ())


@pytest.mark.parametrize(
    ("tracklets", "rule", "row", "frame", "message"),
    [
        ([(0, 0, 1, 0)], "label-range", 0, None, "label 0 is outside 1 … 65535"),
        ([(65536, 0, 1, 0)], "label-range", 0, None, "label 65536"),
        ([(4, 0, 1, 0), (4, 2, 2, 0)], "label-twice", 1, None, "track 4 is listed twice"),
        ([(4, 2, 1, 0)], "begin-after-end", 0, 2, "begins in frame 2 and ends in frame 1"),
        ([(4, 0, 3, 0)], "frame-range", 0, 3, "names frame 3; the sequence has frames 0 … 2"),
        ([(4, -1, 2, 0)], "frame-range", 0, -1, "names frame -1"),
        ([(4, 0, 1, 9)], "parent-unlisted", 0, 0, "from parent 9, which is not listed"),
        ([(4, 0, 1, 4)], "parent-self", 0, 0, "track 4 begins in frame 0 as its own parent"),
        ([(2, 0, 1, 0), (7, 1, 2, 2)], "parent-late", 1, 1,
         "track 7 begins in frame 1 but its parent 2 ends in frame 1; a parent ends before"),
    ],
)  # fmt: skip
def test_each_rule_fires_alone(
    tracklets: list[tuple[int, int, int, int]],
    rule: str,
    row: int,
    frame: int | None,
    message: str,
) -> None:
    family = [Tracklet(*t) for t in tracklets]
    (fault,) = lineage_faults(family, 3)
    assert (fault.rule, fault.row, fault.frame) == (rule, row, frame)
    assert fault.label == family[row].label
    assert message in fault.message
    with pytest.raises(InputError, match=r"lineage.*: "):
        Lineage(tuple(family)).check(3)


def test_the_line_of_a_cell_goes_back_to_its_founder() -> None:
    family = Lineage((Tracklet(1, 0, 1), Tracklet(2, 2, 3, 1), Tracklet(5, 4, 6, 2)))
    assert family.line(5) == {5, 2, 1}
    assert family.line(1) == {1}
    assert family.line(8) == {8}
    assert Lineage((Tracklet(3, 4, 6, 9),)).line(3) == {3, 9}  # a parent that is not listed
    circle = Lineage((Tracklet(1, 0, 1, 2), Tracklet(2, 2, 3, 1)))
    assert circle.line(1) == {1, 2}


def test_the_number_of_frames_may_be_unknown() -> None:
    assert not list(lineage_faults([Tracklet(1, 0, 10**9)]))


def test_check_counts_what_it_does_not_tell() -> None:
    lineage = Lineage((Tracklet(1, 3, 2), Tracklet(2, 1, 1, 2)))
    message = r"lineage frame 3: track 1 begins in frame 3.* \(the first of 2 faults\)"
    with pytest.raises(InputError, match=message):
        lineage.check()


def test_masks_and_tracks_are_compared_in_every_given_frame() -> None:
    tracks = [Tracklet(3, 0, 2), Tracklet(9, 1, 1)]
    assert not list(presence_faults(tracks, {0: {3}, 1: {3, 9}, 2: {3}}))
    assert not list(presence_faults(tracks, {1: [9, 3]}))  # other frames are not judged
    faults = list(presence_faults(tracks, {0: {3, 9}, 1: {3}, 2: {3, 4}}))
    assert [(f.frame, f.label, f.rule, f.row) for f in faults] == [
        (0, 9, "label-outside-track", 1),
        (1, 9, "label-absent", 1),
        (2, 4, "label-unlisted", -1),
    ]
    assert faults[0].message == "label 9 is present, but its track lasts from frame 1 to 1"
    assert faults[1].message == "label 9 is absent, but its track lasts from frame 1 to 1"
    assert faults[2].message == "label 4 is not listed as a track"


def test_a_track_of_a_billion_frames_is_judged_at_once() -> None:
    assert not list(presence_faults([Tracklet(1, 0, 10**18 - 1)], {0: {1}, 5: {1}}))


numbers = st.integers(0, 10**6)
lineages = st.lists(
    st.builds(Tracklet, numbers, numbers, numbers, numbers), unique_by=lambda t: t.label
).map(lambda tracklets: Lineage(tuple(tracklets)))


@given(lineages)
def test_a_table_round_trips(lineage: Lineage) -> None:
    rows, problems = parse_table(format_table(lineage))
    assert problems == []
    assert Lineage(tuple(t for _, t in rows)) == lineage
    assert [line for line, _ in rows] == list(range(1, len(lineage) + 1))


@given(lineages, st.integers(0, 10**6))
def test_at_agrees_with_the_plain_definition(lineage: Lineage, frame: int) -> None:
    plain = [t.label for t in lineage.tracklets if frame in range(t.begin, t.end + 1)]
    assert list(lineage.at(frame)) == plain
    children = [c for t in lineage.tracklets for c in lineage.children(t.label)]
    assert set(children) == {t for t in lineage.tracklets if t.parent and t.parent in lineage}


@pytest.mark.parametrize(
    ("line", "fatal", "message"),
    [
        ("1\t0\t2\t0", False, "single spaces"),
        ("1  0 2 0", False, "single spaces"),
        (" 1 0 2 0", False, "single spaces"),
        ("1 0 2 0 ", False, "single spaces"),
        ("", False, "is blank"),
        ("1 0 2 -1", False, "no number is negative"),
        ("+1 0 2 0", False, "signed"),
        ("L B E P", True, "reads 'L B E P'; expected four whole numbers"),
        ("1 0 2", True, "reads '1 0 2'"),
        ("1 0 2 0 0", True, "four whole numbers"),
        ("1 0 2.0 0", True, "four whole numbers"),
        ("1,0,2,0", True, "four whole numbers"),
        ("9" * 5000 + " 0 2 0", True, "999…'"),
    ],
)
def test_a_line_that_is_not_four_numbers_is_told(line: str, fatal: bool, message: str) -> None:
    rows, (problem,) = parse_table(f"5 0 1 0\n{line}\n6 0 1 0\n")
    assert (problem.line, problem.fatal) == (2, fatal)
    assert message in problem.message
    assert len(problem.message) < 120
    assert len(rows) == (2 if fatal or not line else 3)


def test_windows_line_ends_are_line_ends() -> None:
    assert parse_table("1 0 2 0\r\n2 0 2 0\r\n") == parse_table("1 0 2 0\n2 0 2 0")
