"""How widely codes are drawn, with topologies that are a formula of the code's length."""

from __future__ import annotations

import numpy as np
import pytest

from cellsynth.sampling import calibration
from cellsynth.sampling.calibration import DRAWS, calibrate

DIM = 32
# Learned codes with a standard deviation of 1 around zero, up to a few percent.
LATENTS = np.random.default_rng(3).standard_normal((40, DIM)).astype(np.float32)
SPREAD = float(np.sqrt(np.mean(LATENTS.astype(float) ** 2)))


def rms(code: np.ndarray) -> float:
    return float(np.sqrt(np.mean(code**2)))


def nearest(code: np.ndarray) -> float:
    """Root mean square distance from the nearest learned code."""
    return float(np.sqrt(((LATENTS - code) ** 2).mean(axis=1).min()))


def test_where_every_draw_keeps_the_topology_the_spread_stays():
    sampling, found = calibrate(LATENTS, lambda _: True, seed=0)
    assert sampling.strategy == "gaussian"
    assert sampling.gaussian.sigma == pytest.approx(SPREAD, rel=1e-3)
    assert sampling.neighbourhood.sigma == pytest.approx(SPREAD / 2, rel=1e-3)
    assert found["gaussian"] == {
        "sigma": sampling.gaussian.sigma,
        "kept_topology": 1.0,
        "draws": calibration.DRAWS,
    }


def test_the_spread_shrinks_until_nine_of_ten_draws_hold():
    """Codes shorter than 0.63 hold: after three steps of 0.8, to 0.51, nearly all are."""
    sampling, found = calibrate(LATENTS, lambda code: rms(code) < 0.63, seed=0)
    assert sampling.strategy == "gaussian"
    steps = np.log(sampling.gaussian.sigma / SPREAD) / np.log(calibration.SHRINK)
    assert steps == pytest.approx(3, abs=0.01)
    assert found["gaussian"]["kept_topology"] >= calibration.WANTED


def test_neighbourhood_where_only_learned_codes_hold():
    sampling, found = calibrate(LATENTS, lambda code: nearest(code) < 0.45, seed=0)
    assert sampling.strategy == "neighbourhood"
    assert found["gaussian"]["kept_topology"] < 0.8
    assert found["neighbourhood"]["kept_topology"] >= calibration.WANTED
    assert sampling.neighbourhood.sigma < SPREAD / 2


def test_where_nothing_holds_both_say_so_and_gaussian_is_kept():
    sampling, found = calibrate(LATENTS, lambda _: False, seed=0)
    assert {found[name]["kept_topology"] for name in found} == {0.0}
    assert sampling.strategy == "gaussian"
    # Of equally bad widths the widest.
    assert sampling.gaussian.sigma == pytest.approx(SPREAD, rel=1e-3)


def test_of_widths_that_all_fail_the_best_is_taken():
    """Half of the draws hold at any width, but for one."""
    best = SPREAD * calibration.SHRINK**2
    rng = np.random.default_rng(1)

    def holds(code: np.ndarray) -> bool:
        return abs(rms(code) - best) < 0.13 * best or rng.random() < 0.3

    sampling, found = calibrate(LATENTS, holds, seed=0)
    assert sampling.gaussian.sigma == pytest.approx(best, rel=1e-3)
    assert 0.5 < found["gaussian"]["kept_topology"] <= 1


def test_draws_are_judged_as_they_are_drawn_for_data_sets():
    """Codes around zero, then codes around the learned ones, of the widths that are reported."""
    seen: list[np.ndarray] = []
    calibrate(LATENTS, lambda code: bool(seen.append(code)) or True, seed=0)
    gaussian, near = np.split(np.array(seen), 2)
    assert len(gaussian) == len(near) == calibration.DRAWS
    assert rms(gaussian) == pytest.approx(SPREAD, rel=0.1)
    assert np.mean([nearest(code) for code in near]) == pytest.approx(SPREAD / 2, rel=0.1)


def test_the_same_seed_gives_the_same_settings():
    def holds(code: np.ndarray) -> bool:
        return rms(code) < 0.7

    assert calibrate(LATENTS, holds, seed=4) == calibrate(LATENTS, holds, seed=4)


@pytest.mark.parametrize("holds", [True, False])
def test_progress_counts_draws_and_never_passes_the_end(holds):
    told: list[tuple[int, int]] = []
    calibrate(LATENTS, lambda _: holds, seed=0, on_progress=lambda *step: told.append(step))
    done, total = zip(*told, strict=True)
    assert set(total) == {2 * DRAWS}
    assert all(1 <= step <= 2 * DRAWS for step in done)
    if holds:
        assert list(done) == list(range(1, 2 * DRAWS + 1))
    else:
        # Hopeless widths are given up after three draws.
        assert len(done) < 2 * DRAWS
