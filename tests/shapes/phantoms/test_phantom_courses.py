"""Drawn and real divisions against the published figures, and tables that lie."""

import itertools
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from cellsynth.errors import InputError
from cellsynth.shapes.phantoms import Family, LineageTable, phantom_families, read_lineage_table
from cellsynth.shapes.phantoms.celegans import (
    FARTHEST_UM,
    GAP_UM,
    division_window,
    table_families,
)
from cellsynth.shapes.phantoms.courses import course_from_table, draw_course, has_table_error
from cellsynth.shapes.phantoms.starrynite import NucleusTrack, TableDivision

TABLE = Path(__file__).parents[3].parent / "shared/data/celegans_lineage/nuclei_AB.csv"
needs_table = pytest.mark.skipif(not TABLE.is_file(), reason=f"no lineage table at {TABLE}")


@pytest.fixture(scope="module")
def table() -> LineageTable:
    return read_lineage_table(TABLE)


def _division(n: int = 20) -> TableDivision:
    """A mother at rest and two daughters that drift apart along x."""
    still = np.zeros((n, 3))
    apart = np.stack([np.zeros(n), np.zeros(n), 1.7 + 0.02 * np.arange(n)], axis=1)
    return TableDivision(
        NucleusTrack(1, 0, "M", 1, still, np.full(n, 2.7)),
        (
            NucleusTrack(2, 1, "Ma", n + 1, -apart, np.full(n, 2.3)),
            NucleusTrack(3, 1, "Mp", n + 1, apart, np.full(n, 2.1)),
        ),
    )


def _distance_um(family: Family, minute: int) -> float:
    first, second = family.centres_um[family.division_frame + minute]
    return float(np.linalg.norm(second - first))


def _check_published_figures(families: Sequence[Family]) -> None:
    """Means within what leaving out the farthest-flying families and few draws explain."""
    born = [f.radii_um[f.division_frame :] for f in families]
    steady = [f.radii_um[: f.division_frame - 3, 0].mean() * 2 for f in families]
    assert np.mean(steady) == pytest.approx(2.71, abs=0.25)
    assert 0.2 < np.std(steady) < 0.6
    # Her sphere shrinks in the last minutes; the radii of her last frame are those of the lobes.
    shrunk = [f.radii_um[f.division_frame - 4, 0] for f in families]
    assert np.mean(shrunk) * 2 == pytest.approx(2.71, abs=0.25)
    assert np.mean([r[0].mean() * 2 for r in born]) == pytest.approx(2.31, abs=0.2)
    assert np.mean([r[-1].mean() * 2 for r in born]) == pytest.approx(2.43, abs=0.25)
    for minute, mean, tolerance in ((0, 3.32, 0.3), (1, 4.46, 0.4), (6, 5.17, 1.1)):
        distances = [_distance_um(f, minute) for f in families]
        assert np.mean(distances) == pytest.approx(mean, abs=tolerance), minute
    ratios = [(r.min(axis=1) ** 3 / r.max(axis=1) ** 3).mean() for r in born]
    assert np.mean(ratios) == pytest.approx(0.84, abs=0.05)
    for family in families:
        assert family.farthest_um() <= FARTHEST_UM
        frames = range(family.division_frame, family.n_frames)
        assert all(family.gap_um(frame) >= GAP_UM for frame in frames)
    moments = {f.division_frame for f in families}
    assert min(moments) >= 12
    assert max(moments) <= 18
    assert len(moments) > 3


def test_drawn_families_have_the_published_figures() -> None:
    _check_published_figures(phantom_families("celegans", 40))


def test_courses_before_any_are_left_out_have_the_published_figures() -> None:
    courses = [draw_course(np.random.default_rng(i), 15, 30, "M") for i in range(600)]
    mothers = np.array([c.mother_um for c in courses]).mean(axis=0)
    np.testing.assert_allclose(mothers[:12], 2.71, atol=0.06)
    np.testing.assert_allclose(mothers[12:], [2.67, 2.55, 2.49], atol=0.06)
    daughters = np.array([c.daughters_um.mean(axis=1) for c in courses])
    np.testing.assert_allclose(daughters[:, 0].mean(), 2.31, atol=0.05)
    np.testing.assert_allclose(daughters[:, 14].mean(), 2.43, atol=0.06)
    assert daughters[:, 0].std() == pytest.approx(0.34, rel=0.15)
    separations = np.array([c.separations_um for c in courses])
    distances = np.linalg.norm(separations, axis=2)
    np.testing.assert_allclose(distances.mean(axis=0)[[0, 1, 6]], [3.32, 4.46, 5.17], atol=0.2)
    np.testing.assert_allclose(distances.std(axis=0)[[0, 6]], [1.03, 1.95], rtol=0.15)
    axes = separations / distances[:, :, None]
    turns = np.degrees(np.arccos(np.clip(np.sum(axes[:, 0] * axes[:, 14], axis=1), -1, 1)))
    assert turns.mean() == pytest.approx(23, abs=2)
    assert turns.std() == pytest.approx(13, abs=2)


@needs_table
def test_real_families_have_the_published_figures_and_the_tables_numbers(
    table: LineageTable,
) -> None:
    assert len(table.divisions()) == 481
    families = phantom_families("celegans", 40, lineage=table)
    _check_published_figures(families)
    assert len({f.cells[0] for f in families}) == 40
    by_name = {division.mother.name: division for division in table.divisions()}
    for family in families[:10]:
        division = by_name[family.cells[0]]
        first, second = (d.centres_um[0] for d in division.daughters)
        # The first distance is the table's own; sizes are its own but for the smoothing.
        assert _distance_um(family, 0) == pytest.approx(np.linalg.norm(second - first))
        n = family.n_frames - family.division_frame
        for lobe, daughter in enumerate(division.daughters):
            drawn = 2 * family.radii_um[family.division_frame :, lobe]
            assert drawn.mean() == pytest.approx(daughter.diameters_um[:n].mean(), rel=0.03)


@needs_table
def test_families_of_a_table_are_seeded_and_do_not_depend_on_the_count(
    table: LineageTable,
) -> None:
    five = phantom_families("celegans", 5, frames=12, lineage=table)
    two = phantom_families("celegans", 2, frames=12, lineage=TABLE)
    for a, b in zip(five, two, strict=False):
        assert a.cells == b.cells
        assert a.division_frame == b.division_frame
        for name in ("centres_um", "radii_um", "stretches", "mode_heights", "blends_um"):
            np.testing.assert_array_equal(getattr(a, name), getattr(b, name))
    other = phantom_families("celegans", 5, frames=12, seed=1, lineage=table)
    assert [f.cells for f in other] != [f.cells for f in five]
    with pytest.raises(
        InputError, match=r"nuclei_AB.csv: \d+ divisions can be used for 200 frames"
    ):
        phantom_families("celegans", 33, frames=200, lineage=table)


def test_drawn_families_are_seeded_and_do_not_depend_on_the_count() -> None:
    three = phantom_families("celegans", 3, frames=8, seed=5)
    again = phantom_families("celegans", 2, frames=8, seed=5)
    np.testing.assert_array_equal(three[1].centres_um, again[1].centres_um)
    assert not np.array_equal(three[0].radii_um, three[1].radii_um)
    other = phantom_families("celegans", 1, frames=8, seed=6)
    assert not np.array_equal(three[0].radii_um, other[0].radii_um)


@pytest.mark.parametrize("frames", [2, 3, 5, 60])
def test_any_number_of_frames_from_two_holds_a_division(frames: int) -> None:
    (family,) = phantom_families("celegans", 1, frames=frames, seed=2)
    assert family.n_frames == frames
    assert 1 <= family.division_frame < frames
    assert np.isfinite(family.centres_um).all()


def test_the_division_falls_in_the_window() -> None:
    assert division_window(30, 3) == (12, 18)
    assert division_window(30, 0) == (15, 15)
    assert division_window(4, 9) == (1, 3)
    moments = {f.division_frame for f in phantom_families("celegans", 4, frames=30, spread=0)}
    assert moments == {15}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"kind": "hela"}, r"unknown kind 'hela'; expected celegans or "),
        ({"count": 0}, r"count must be at least 1, got 0"),
        ({"frames": 1}, r"frames must be at least 2.*got 1"),
        ({"seed": -4}, r"seed must be at least 0, got -4"),
        ({"spread": -1}, r"spread must be at least 0 frames, got -1"),
    ],
)
def test_numbers_out_of_range_are_refused(change: dict[str, object], message: str) -> None:
    options: dict[str, object] = {"kind": "celegans", "count": 1} | change
    with pytest.raises(InputError, match=message):
        phantom_families(**options)  # type: ignore[arg-type]


def test_smoothing_stops_at_the_division_and_keeps_the_first_distance() -> None:
    division = _division()
    division.daughters[0].centres_um[0] *= 0.5
    course = course_from_table(division, 10, 20)
    np.testing.assert_allclose(course.mother_um, 2.7)
    np.testing.assert_allclose(course.daughters_um, np.array([[2.3, 2.1]] * 10))
    distances = np.linalg.norm(course.separations_um, axis=1)
    assert distances[0] == pytest.approx(1.5 * 1.7)
    assert distances[1] == pytest.approx(2 * 1.72, abs=0.06)
    for frames in (11, 12):
        assert len(course_from_table(division, 10, frames).separations_um) == frames - 10


def _jump(division: TableDivision) -> None:
    division.daughters[1].centres_um[5:, 0] += 3


def _mother_jump(division: TableDivision) -> None:
    division.mother.centres_um[-3:, 1] += 3


def _turn(division: TableDivision) -> None:
    for daughter in division.daughters:
        daughter.centres_um[7] = daughter.centres_um[7, [0, 2, 1]]


def _growth(division: TableDivision) -> None:
    division.daughters[0].diameters_um[4] *= 2


def _same_place(division: TableDivision) -> None:
    division.daughters[0].centres_um[3] = division.daughters[1].centres_um[3]


@pytest.mark.parametrize("spoil", [_jump, _mother_jump, _turn, _growth, _same_place])
def test_a_table_with_a_jump_is_passed_over(spoil) -> None:  # type: ignore[no-untyped-def]
    division = _division()
    assert not has_table_error(division, 15, 15)
    spoil(division)
    assert has_table_error(division, 15, 15)


def test_daughters_that_touch_or_fly_apart_are_passed_over(tmp_path: Path) -> None:
    header = "track,parent_track,t_min,nucleus_id,x_vox,y_vox,z_vox,diameter_vox,name\n"
    rows = []
    for number, apart in enumerate((12, 25, 80)):  # in units of 0.16 µm; daughters are 14 wide
        mother, x = 10 * number + 1, 200 * number
        for minute in range(4):
            rows.append(f"{mother},0,{minute},1,{x},0,0,16,M{number}\n")
            for daughter, side in ((1, -1), (2, 1)):
                place = x + side * apart / 2
                rows.append(
                    f"{mother + daughter},{mother},{minute + 4},1,{place},0,0,14,M{number}d\n"
                )
    path = tmp_path / "nuclei.csv"
    path.write_text(header + "".join(rows))
    table = read_lineage_table(path)
    assert len(table.divisions()) == 3
    families = list(itertools.islice(table_families(table, 4, 0, 0), 9))
    assert [f.cells[0] for f in families] == ["M1"]
    assert families[0].division_frame == 2
