"""Brightness of cells: what is measured, described and drawn."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest

from cellsynth.errors import InputError
from cellsynth.formats.lineage import Lineage, Tracklet
from cellsynth.presets.texture import BrightnessSpec
from cellsynth.texture.brightness import (
    BrightnessDraw,
    CellLight,
    cell_lights,
    cell_sizes,
    fit_brightness,
    standard_brightness,
)
from cellsynth.texture.draws import even_normal

FLAT: dict[str, Any] = {
    "mean": 4.0,
    "deviation": 1.0,
    "lowest": -9.0,
    "highest": 9.0,
    "level": 4.0,
    "size": 2.0,
}
FRAMES = 30
# 1 ───────┬─ 2 ───
#          └─ 3 ───
DIVIDING = Lineage((Tracklet(1, 0, 13), Tracklet(2, 14, 29, 1), Tracklet(3, 14, 29, 1)))


def together(n: int) -> Lineage:
    """So many cells in all frames."""
    return Lineage(tuple(Tracklet(label, 0, FRAMES - 1) for label in range(1, n + 1)))


def spec(**others: Any) -> BrightnessSpec:
    return BrightnessSpec(**FLAT | others)


def drawn_cells(
    model: BrightnessSpec, lineage: Lineage, sequences: int, *, sizes: Mapping[int, float] = {}
) -> list[CellLight]:
    """Cells whose brightness is drawn from a model."""
    found = []
    for sequence in range(1, sequences + 1):
        draw = BrightnessDraw(model, lineage, seed=4, sequence=sequence)
        for t in range(FRAMES):
            there = {label: sizes.get(label, np.exp(2.0)) for label in lineage.at(t)}
            for label, value in draw.at(t, there).items():
                counts = np.exp(value * model.deviation + model.mean)
                found.append(CellLight(f"{sequence:02d}", t, label, there[label], counts))
    return found


def lineages(cells: list[CellLight], lineage: Lineage) -> dict[str, Lineage | None]:
    return dict.fromkeys((cell.sequence for cell in cells), lineage)


def reference_cells(rng: np.random.Generator) -> list[CellLight]:
    """The same sum, written down without the module that is tested: 80 sequences of 3 cells."""
    cells = []
    for sequence in range(80):
        of_sequence = 0.3 * rng.standard_normal()
        for label in (1, 2, 3):
            of_cell = 0.2 * rng.standard_normal()
            change = rng.standard_normal()
            size = np.exp(rng.normal(2.0, 0.5))
            for t in range(FRAMES):
                change = 0.8 * change + np.sqrt(1 - 0.8**2) * rng.standard_normal()
                log = 5 + of_sequence + of_cell + 0.1 * change
                log += -0.01 * t + 0.4 * (np.log(size) - 2.0)
                cells.append(CellLight(f"{sequence}", t, label, size, np.exp(log)))
    return cells


def test_the_numbers_of_a_known_model_are_found() -> None:
    cells = reference_cells(np.random.default_rng(0))
    found = fit_brightness(cells, lineages(cells, together(3)))
    assert found.between_sequences == pytest.approx(0.3, abs=0.05)
    assert found.between_cells == pytest.approx(0.2, abs=0.03)
    assert found.changing == pytest.approx(0.1, abs=0.01)
    assert found.memory == pytest.approx(0.8, abs=0.04)
    assert found.trend == pytest.approx(-0.01, abs=0.001)
    assert found.size_slope == pytest.approx(0.4, abs=0.07)
    assert found.level == pytest.approx(5 - 0.145, abs=0.1)
    assert (found.before, found.after) == ((), ())
    logs = np.log([cell.counts for cell in cells])
    assert (found.mean, found.deviation) == pytest.approx((logs.mean(), logs.std()))
    assert found.middle == 14.5


def test_a_model_is_found_in_what_it_drew() -> None:
    wanted = spec(trend=-0.02, between_sequences=0.25, between_cells=0.15, changing=0.1, memory=0.9)
    cells = drawn_cells(wanted, together(3), 60)
    found = fit_brightness(cells, lineages(cells, together(3)))
    for name in ("trend", "between_sequences", "between_cells", "changing", "memory"):
        assert getattr(found, name) == pytest.approx(getattr(wanted, name), rel=0.2), name


def test_a_few_dark_cells_stay_a_few_dark_cells() -> None:
    rng = np.random.default_rng(3)
    cells = []
    for label in range(1, 201):
        own = 5 + 0.1 * rng.standard_normal() - (2 if label % 10 == 0 else 0)
        for t in range(10):
            counts = np.exp(own + 0.05 * rng.standard_normal())
            cells.append(CellLight("01", t, label, np.exp(2.0), counts))
    found = fit_brightness(cells, {"01": None})
    drawn = np.log([cell.counts for cell in drawn_cells(found, together(200), 4)])
    seen = np.log([cell.counts for cell in cells])
    for share in (0.05, 0.25, 0.5, 0.75, 0.95):
        assert np.quantile(drawn, share) == pytest.approx(np.quantile(seen, share), abs=0.1), share
    normal = found.model_copy(update={"quantiles": ()})
    drawn = np.log([cell.counts for cell in drawn_cells(normal, together(200), 1)])
    assert np.quantile(drawn, 0.95) > np.quantile(seen, 0.95) + 0.15
    # Of few cells a distribution is not known.
    few = [cell for cell in cells if cell.label <= 29]
    assert fit_brightness(few, {"01": None}).quantiles == ()


def test_the_course_around_a_division_is_found_and_drawn() -> None:
    wanted = spec(before=(0.2, 0.5), after=(0.4, 0.1), between_sequences=0.1)
    cells = drawn_cells(wanted, DIVIDING, 8)
    of_first = {(cell.label, cell.frame): np.log(cell.counts) for cell in cells[: 14 + 32]}
    plain = of_first[1, 0]
    seen = [of_first[1, 12], of_first[1, 13], of_first[2, 14], of_first[3, 15], of_first[3, 16]]
    assert np.array(seen) - plain == pytest.approx([0.2, 0.5, 0.4, 0.1, 0.0])
    found = fit_brightness(cells, lineages(cells, DIVIDING))
    assert found.before == pytest.approx((0, 0, 0, 0, 0.2, 0.5), abs=1e-6)
    assert found.after == pytest.approx((0.4, 0.1, 0, 0, 0, 0), abs=1e-6)
    assert found.trend == pytest.approx(0, abs=1e-6)
    assert found.level == pytest.approx(np.log([c.counts for c in cells if not c.frame]).mean())
    # Without the table, or with too few divisions, there is no course.
    assert fit_brightness(cells, {}).before == ()
    few = [cell for cell in cells if cell.sequence in ("01", "02")]
    assert fit_brightness(few, lineages(few, DIVIDING)).after == ()


def test_what_cannot_be_told_apart_is_not_invented() -> None:
    rng = np.random.default_rng(1)
    one_each = [
        CellLight(f"{s}", t, 1, 7.0, np.exp(level))
        for s, level in enumerate(rng.normal(4, 0.2, 50))
        for t in range(5)
    ]
    found = fit_brightness(one_each, {})
    assert found.between_cells == found.changing == found.memory == 0
    assert found.between_sequences == pytest.approx(found.deviation)
    single = [CellLight("01", 0, label, 7.0, np.exp(rng.normal(4, 0.2))) for label in range(1, 50)]
    found = fit_brightness(single, {})
    assert found.between_sequences == found.changing == found.trend == found.size_slope == 0
    assert found.between_cells == pytest.approx(found.deviation)
    # Two cells in two frames bear no slope.
    few = [CellLight("01", t, n, n * 3.0, 50.0 * n + t) for n in (1, 2) for t in (0, 1)]
    assert fit_brightness(few, {}).size_slope == 0


@pytest.mark.parametrize("constant", [False, True])
@pytest.mark.parametrize("seed", range(5))
def test_a_slope_that_the_data_do_not_bear_is_left_out(seed: int, constant: bool) -> None:
    """All cells are of nearly one size; each brightness drawn anew, or one for each cell."""
    rng = np.random.default_rng(seed)
    cells = []
    for sequence in range(6):
        size, level = 1000 + rng.normal(0, 2), rng.normal(5, 0.2)
        for t in range(30):
            if not constant:
                size, level = 1000 + rng.normal(0, 2), rng.normal(5, 0.2)
            cells.append(CellLight(f"{sequence}", t, 1, size, np.exp(level - 0.02 * t)))
    found = fit_brightness(cells, {})
    assert found.size_slope == 0
    # The trend is that of a fit without it.
    frames = np.array([cell.frame for cell in cells])
    trend = np.polyfit(frames, np.log([cell.counts for cell in cells]), 1)[0]
    assert found.trend == pytest.approx(trend, rel=1e-6)
    assert trend == pytest.approx(-0.02, abs=0.006)


def test_a_slope_beyond_all_reason_is_left_out() -> None:
    sizes = np.linspace(1000, 1001, 90)
    cells = [
        CellLight(f"{i % 3}", i // 3, 1, size, np.exp(50 * np.log(size / 1000)))
        for i, size in enumerate(sizes)
    ]
    found = fit_brightness(cells, {})
    assert found.size_slope == 0
    assert found.trend == pytest.approx(3 * 50 * np.log(1.001) / 89, rel=0.01)


def test_fresh_change_has_no_memory() -> None:
    rng = np.random.default_rng(2)
    cells = [
        CellLight("01", t, n, 7.0, np.exp(rng.normal(4, 0.2))) for n in range(9) for t in range(40)
    ]
    found = fit_brightness(cells, {})
    assert found.memory <= 0.1
    assert found.changing == pytest.approx(0.2, abs=0.02)
    assert found.between_cells < 0.05


def test_slow_change_in_a_short_movie_counts_as_the_cells_own() -> None:
    rng = np.random.default_rng(3)
    cells = [
        CellLight(f"{s}", t, 1, 7.0, np.exp(level + 0.01 * t))
        for s, level in enumerate(rng.normal(4, 0.3, 20))
        for t in range(3)
    ]
    cells = [cell for cell in cells if int(cell.sequence) % 2 or cell.frame]  # no trend is seen
    found = fit_brightness(cells, {})
    assert found.changing < 0.05
    assert found.between_sequences == pytest.approx(0.3, abs=0.1)


def test_a_cell_is_the_same_whoever_is_asked_for_and_when() -> None:
    model = spec(between_sequences=0.3, between_cells=0.2, changing=0.4, memory=0.9)
    sizes = {1: 7.0, 2: 6.0, 3: 8.0}
    forth = BrightnessDraw(model, DIVIDING, seed=5, sequence=3)
    back = BrightnessDraw(model, DIVIDING, seed=5, sequence=3)
    whole = {t: forth.at(t, {n: sizes[n] for n in DIVIDING.at(t)}) for t in range(FRAMES)}
    for t in reversed(range(FRAMES)):
        for label in DIVIDING.at(t):
            assert back.at(t, {label: sizes[label]}) == {label: whole[t][label]}
    for seed, sequence in ((6, 3), (5, 4)):
        other = BrightnessDraw(model, DIVIDING, seed=seed, sequence=sequence)
        assert other.at(0, {1: 7.0})[1] != whole[0][1]


def test_daughters_inherit() -> None:
    model = spec(between_cells=1.0, changing=1.0, memory=0.99)
    leaps, apart, others = [], [], []
    for sequence in range(200):
        draw = BrightnessDraw(model, DIVIDING, seed=0, sequence=sequence)
        [last] = draw.at(13, {1: 7.0}).values()
        first = draw.at(14, {2: 7.0, 3: 7.0})
        leaps += [value - last for value in first.values()]
        late = draw.at(29, {2: 7.0, 3: 7.0})
        apart.append(late[2] - late[3])
        others.append(last)
    step = np.sqrt(2 * (1 - 0.99))
    assert np.std(leaps) == pytest.approx(step, rel=0.15)
    # Each takes steps of her own from the division on: 16 of them.
    assert np.std(apart) == pytest.approx(np.sqrt(2 * (1 - 0.99**32)), rel=0.15)
    assert np.std(others) == pytest.approx(np.sqrt(2), rel=0.15)


def test_cells_that_leave_and_labels_that_no_table_knows() -> None:
    model = spec(between_cells=0.3, changing=0.4, memory=0.9)
    # 1 ──  (gap)  ── 2: a single child is the same cell.
    gap = Lineage((Tracklet(1, 2, 4), Tracklet(2, 9, 12, 1)))
    draw = BrightnessDraw(model, gap, seed=0, sequence=1)
    assert np.isfinite(list(draw.at(9, {2: 7.0}).values())).all()
    alone = BrightnessDraw(model, Lineage(()), seed=0, sequence=1)
    late, early = alone.at(40, {5: 7.0}), alone.at(3, {5: 7.0})
    assert early != late
    assert BrightnessDraw(model, Lineage(()), seed=0, sequence=1).at(3, {5: 7.0}) == early
    assert alone.at(3, {}) == {}
    circle = Lineage((Tracklet(1, 0, 3, 2), Tracklet(2, 4, 6, 1)))
    assert set(BrightnessDraw(model, circle, seed=0, sequence=1).at(5, {2: 7.0})) == {2}


def test_conditions_stay_within_what_was_trained() -> None:
    model = spec(lowest=-1.0, highest=0.5, trend=-0.1, middle=14.5)
    draw = BrightnessDraw(model, together(1), seed=0, sequence=1)
    values = [draw.at(t, {1: np.exp(2.0)})[1] for t in range(FRAMES)]
    assert (values[0], values[-1]) == (0.5, -1.0)
    assert standard_brightness(np.exp(4.25), model) == pytest.approx(0.25)
    assert standard_brightness(1e9, model) == 0.5
    for dark in (0.0, -3.0, 1e-9):
        assert standard_brightness(dark, model) == -1.0


def test_lights_and_sizes_of_a_frame() -> None:
    labels = np.zeros((2, 6, 8), np.uint16)
    labels[0, 1:3, 1:4], labels[1, 4, 2:4] = 3, 7
    image = np.full(labels.shape, 20, np.uint16)
    image[labels == 3], image[labels == 7] = 50, 12
    image[1, 0, 0] = 999  # a hot pixel does not move a median
    assert cell_sizes(labels, (2.0, 0.5, 0.5)) == {3: 3.0, 7: 1.0}
    assert cell_lights("04", 9, labels, image, (2.0, 0.5, 0.5)) == [
        CellLight("04", 9, 3, 3.0, 30.0),
        CellLight("04", 9, 7, 1.0, -8.0),
    ]
    assert cell_lights("04", 9, np.ones_like(labels), image, (2.0, 0.5, 0.5)) == []


def light(counts: float, label: int = 1) -> CellLight:
    return CellLight("01", 0, label, 7.0, counts)


@pytest.mark.parametrize(
    ("cells", "match"),
    [
        ([], "no frame shows cells and background"),
        ([light(0.0), light(5.0)], "1 of 2 cells are not brighter than the background"),
        ([light(-4.0)] * 3, "3 of 3 cells are not brighter"),
        ([light(50.0)] * 4, "all 4 cells have the same"),
    ],
)
def test_what_cannot_be_measured_is_told(cells: list[CellLight], match: str) -> None:
    with pytest.raises(InputError, match=match) as info:
        fit_brightness(cells, {})
    assert "\n" not in str(info.value)


def test_a_dark_cell_among_many_does_no_harm() -> None:
    cells = [light(50.0 + n, n) for n in range(1, 40)]
    plain = fit_brightness(cells, {})
    assert fit_brightness([*cells, light(0.0, 99)], {}) == plain


def test_even_normals_are_normal_over_seeds_and_even_over_sequences() -> None:
    over_seeds = np.array([even_normal(seed, 7, 0) for seed in range(2000)])
    assert abs(over_seeds.mean()) < 0.07
    assert over_seeds.std() == pytest.approx(1, abs=0.05)
    pairs = [
        [even_normal(s, n, which) for n in range(1, 25)] for s in range(50) for which in (0, 1)
    ]
    # Of independent ones the mean is off by 0.2.
    assert np.std(np.mean(pairs, axis=1)) < 0.1
    assert np.std(np.std(pairs, axis=1)) < 0.06
    assert even_normal(3, 4, 0) == even_normal(3, 4, 0) != even_normal(3, 4, 1)
