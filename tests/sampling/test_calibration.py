"""How widely codes are drawn, with cells whose descriptors are a formula of the code."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise

import numpy as np
import pytest

from cellsynth.sampling.calibration import ALIKE, DRAWS, WANTED, WIDTHS, calibrate

DIM = 32
RNG = np.random.default_rng(3)
# Learned codes vary in six directions of 32, as codes of related cells do.
LATENTS = (RNG.standard_normal((33, 6)) @ RNG.standard_normal((6, DIM))).astype(np.float32)
SPREAD = float(np.sqrt(np.mean(LATENTS.astype(float) ** 2)))
AXIS = LATENTS[0] / np.linalg.norm(LATENTS[0])


def plain(code: np.ndarray) -> dict[str, float]:
    """A cell of any code, its volume linear in the code."""
    return {"volume": float(code @ AXIS)}


def nearest(code: np.ndarray) -> float:
    """Root mean square distance from the nearest learned code."""
    return float(np.sqrt(((LATENTS - code) ** 2).mean(axis=1).min()))


def breaking_each(n: int) -> Callable[[np.ndarray], dict[str, float] | None]:
    """Whole are only cells very near a learned one, and not near every ``n``-th."""

    def judge(code: np.ndarray) -> dict[str, float] | None:
        distance = ((LATENTS - code) ** 2).sum(axis=1)
        near = nearest(code) < 0.07 * SPREAD
        return plain(code) if near and distance.argmin() % n else None

    return judge


def test_the_widest_most_diverse_draw_is_taken_where_all_cells_are_alike():
    sampling, found = calibrate(LATENTS, plain, seed=0)
    assert sampling.strategy == "mixture"
    assert sampling.mixture.width == 1
    assert len(sampling.mixture.members) == len(LATENTS)
    assert found["mixture"]["kept_topology"] == 1
    assert found["mixture"]["draws"] == DRAWS
    assert found["mixture"]["p"]["volume"] >= ALIKE
    assert found["learned"] == {"kept_topology": 1.0}


def test_what_is_reported_is_what_is_kept():
    sampling, found = calibrate(LATENTS, plain, seed=0)
    assert sampling.gaussian.sigma == pytest.approx(found["gaussian"]["width"] * SPREAD, rel=1e-3)
    near = found["neighbourhood"]["width"]
    assert sampling.neighbourhood.sigma == pytest.approx(near * SPREAD, rel=1e-3)
    assert sampling.kernel.width == found["kernel"]["width"]
    assert all(found[name]["width"] in WIDTHS[name] for name in WIDTHS)


@pytest.mark.parametrize(("limit", "width"), [(0.45, 0.3), (0.07, 0.05)])
def test_draws_that_break_the_topology_make_it_narrower(limit: float, width: float):
    """Only cells closer than that to a learned one hold together."""

    def judge(code: np.ndarray) -> dict[str, float] | None:
        return plain(code) if nearest(code) < limit * SPREAD else None

    sampling, found = calibrate(LATENTS, judge, seed=0)
    assert sampling.strategy == "neighbourhood"
    assert sampling.neighbourhood.sigma == pytest.approx(width * SPREAD, rel=1e-3)
    assert found["mixture"]["kept_topology"] < WANTED
    # Given up after a few draws.
    assert found["mixture"]["draws"] < DRAWS


def test_draws_that_are_no_longer_alike_are_not_taken():
    """A descriptor that mixing codes changes: how far the cell is from the nearest learned one."""

    def judge(code: np.ndarray) -> dict[str, float]:
        return {"volume": float(code @ AXIS), "bland": max(0.0, nearest(code) / SPREAD - 0.4)}

    sampling, found = calibrate(LATENTS, judge, seed=0)
    assert found["mixture"]["p"]["bland"] < ALIKE
    assert found["gaussian"]["p"]["bland"] < ALIKE
    assert sampling.strategy in {"kernel", "neighbourhood"}
    assert min(found[sampling.strategy]["p"].values()) >= ALIKE


def test_cells_of_another_shape_are_no_better_for_being_whole():
    """Far from a code all are whole and too large; near it some break, the others are right."""
    shift = 10 * max(abs(float(code @ AXIS)) for code in LATENTS)
    broken = iter(range(10**6))

    def judge(code: np.ndarray) -> dict[str, float] | None:
        if nearest(code) > 0.2 * SPREAD:
            return {"volume": float(code @ AXIS) + shift}
        near = nearest(code) > 0
        return None if near and next(broken) % 10 == 0 else plain(code)

    sampling, found = calibrate(LATENTS, judge, seed=0)
    assert sampling.strategy == "neighbourhood"
    assert found["neighbourhood"]["width"] == 0.1
    assert found["neighbourhood"]["kept_topology"] == 0.9
    assert found["mixture"]["kept_topology"] == 1


def test_drawn_cells_need_not_be_whole_more_often_than_the_learned_ones():
    """Every fifth learned cell breaks, and so does whatever is drawn near it."""
    sampling, found = calibrate(LATENTS, breaking_each(5), seed=0)
    assert sampling.strategy == "neighbourhood"
    assert found["neighbourhood"]["width"] == 0.05
    assert found["neighbourhood"]["draws"] == DRAWS
    assert 0.7 < found["neighbourhood"]["kept_topology"] < WANTED


def test_a_width_at_which_next_to_none_is_whole_is_not_taken_for_alike():
    """Every second learned cell breaks; what is drawn near them does so unless it is very near."""
    sampling, found = calibrate(LATENTS, breaking_each(2), seed=0)
    assert sampling.strategy == "neighbourhood"
    assert found["neighbourhood"]["width"] == 0.05
    assert found["neighbourhood"]["p"]


def test_draws_that_are_nothing_alike_are_given_up_at_half():
    shift = 10 * max(abs(float(code @ AXIS)) for code in LATENTS)
    learned = {code.tobytes() for code in LATENTS}

    def judge(code: np.ndarray) -> dict[str, float]:
        return {"volume": float(code @ AXIS) + shift * (code.tobytes() not in learned)}

    _, found = calibrate(LATENTS, judge, seed=0)
    for name in WIDTHS:
        assert found[name]["draws"] == DRAWS // 2
        assert found[name]["p"]["volume"] < 1e-3


def test_where_nothing_holds_the_widest_stays_and_the_share_is_told():
    sampling, found = calibrate(LATENTS, lambda _: None, seed=0)
    assert {found[name]["kept_topology"] for name in WIDTHS} == {0.0}
    assert found["learned"] == {"kept_topology": 0.0}
    assert found["mixture"]["p"] == {}
    assert sampling.kernel.width == max(WIDTHS["kernel"])


@pytest.mark.parametrize("n", [1, 3])
def test_a_few_codes_have_no_covariance(n):
    sampling, found = calibrate(LATENTS[:n], plain, seed=0)
    assert sampling.mixture is None
    assert sampling.kernel is None
    assert set(found) == {"gaussian", "neighbourhood", "learned"}


def test_the_same_seed_gives_the_same_settings():
    assert calibrate(LATENTS, plain, seed=4) == calibrate(LATENTS, plain, seed=4)


def test_codes_that_are_all_zero_have_a_width_all_the_same():
    sampling, _ = calibrate(np.zeros((5, DIM), np.float32), plain, seed=0)
    assert 0 < sampling.gaussian.sigma < 1e-5


@pytest.mark.parametrize("holds", [True, False])
def test_progress_rises_and_never_passes_the_end(holds):
    told: list[tuple[int, int]] = []

    def judge(code: np.ndarray) -> dict[str, float] | None:
        return plain(code) if holds else None

    calibrate(LATENTS, judge, seed=0, on_progress=lambda *step: told.append(step))
    done, total = zip(*told, strict=True)
    assert len(set(total)) == 1
    assert all(before < after for before, after in pairwise(done))
    assert done[-1] <= total[0]
