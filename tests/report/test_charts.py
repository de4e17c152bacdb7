"""Drawings: axes that enclose the data, gaps that stay gaps."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cellsynth.report.charts import MOST_POINTS, Curve, line_chart, nice_steps, number


@given(st.floats(-1e9, 1e9), st.floats(1e-6, 1e9))
def test_steps_are_round_few_and_enclose(low, span):
    high = low + span
    steps = nice_steps(low, high)
    slack = 1e-6 * max(abs(low), abs(high), span)
    assert steps[0] <= low + slack
    assert steps[-1] >= high - slack
    assert 2 <= len(steps) <= 9
    assert steps == sorted(set(steps))


@pytest.mark.parametrize(
    ("low", "high", "steps"),
    [
        (0, 10, [0, 2, 4, 6, 8, 10]),
        (0.93, 0.99, [0.92, 0.94, 0.96, 0.98, 1.0]),
        (3, 3, [2.6, 2.8, 3.0, 3.2, 3.4]),
    ],
)
def test_steps(low, high, steps):
    assert nice_steps(low, high) == pytest.approx(steps)


@pytest.mark.parametrize(
    ("value", "text"), [(0.98766, "0.9877"), (12345.6, "12,346"), (0, "0"), (2e12, "2e+12")]
)
def test_numbers_have_four_digits(value, text):
    assert number(value) == text


def drawn(*curves: Curve) -> str:
    return line_chart(curves, title="Volume", x_title="time, min").render(pretty=False)


def points(text: str, kind: str) -> list[list[tuple[float, float]]]:
    found = re.findall(rf'<{kind} class="[^"]*series\d" points="([^"]*)"', text)
    return [[tuple(map(float, pair.split(","))) for pair in one.split(" ")] for one in found]


def test_a_curve_rises_to_the_right_where_values_do():
    [line] = points(drawn(Curve("a", 0, [0, 1, 2], [1, 2, 4], [1, 1, 3], [2, 3, 5])), "polyline")
    xs, ys = zip(*line, strict=True)
    assert xs == pytest.approx([xs[0], (xs[0] + xs[2]) / 2, xs[2]], abs=0.1)
    assert (ys[0] - ys[1]) == pytest.approx((ys[1] - ys[2]) / 2, abs=0.11)


def test_gaps_break_lines_and_bands():
    mean = [1.0, 2.0, None, 4.0, 5.0, None, 6.0]
    text = drawn(Curve("a", 1, range(7), mean, mean, mean))
    assert [len(line) for line in points(text, "polyline")] == [2, 2]
    assert [len(band) for band in points(text, "polygon")] == [4, 4, 2]
    assert text.count("<circle") == 1


def test_nothing_at_all_is_an_empty_chart():
    text = drawn(Curve("a", 0, [0.0], [None], [None], [None]))
    assert "polyline" not in text
    assert "time, min" in text
    assert "polyline" not in drawn(Curve("a", 0, [], [], [], []))


def test_long_courses_are_thinned():
    n = 10 * MOST_POINTS + 1
    [line] = points(drawn(Curve("a", 0, range(n), range(n), range(n), range(n))), "polyline")
    assert len(line) <= MOST_POINTS
