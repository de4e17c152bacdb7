"""Drawn codes and rotations: from the seed and the number alone, with the moments they claim."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import kstest

from cellsynth.errors import InputError
from cellsynth.geometry import rotation_angle
from cellsynth.presets.models import Gaussian, Kernel, Mixture, Neighbourhood, Sampling
from cellsynth.sampling import draw_latent, draw_rotation, draw_stream, learned_turn

DIM = 16
SAMPLING = Sampling(
    strategy="gaussian",
    gaussian=Gaussian(sigma=0.3),
    neighbourhood=Neighbourhood(sigma=0.02),
    mixture=Mixture(members=(0, 0, 1, 1, 1), width=0.5),
    kernel=Kernel(width=0.6),
)
LATENTS = np.random.default_rng(0).standard_normal((5, DIM)).astype(np.float32)


def draw(sequence: int, strategy=None, *, seed: int = 1, attempt: int = 0) -> np.ndarray:
    turn = learned_turn(seed, sequence, len(LATENTS))
    return draw_latent(draw_stream(seed, sequence, attempt), SAMPLING, LATENTS, turn, strategy)


def test_streams_are_their_own():
    drawn = {
        draw_stream(seed, sequence, attempt).standard_normal(4).tobytes()
        for seed in range(4)
        for sequence in range(4)
        for attempt in range(4)
    }
    assert len(drawn) == 64
    again = draw_stream(2, 3, 1).standard_normal(4)
    np.testing.assert_array_equal(again, draw_stream(2, 3, 1).standard_normal(4))


def test_a_sequence_is_the_same_whatever_is_drawn_around_it():
    np.testing.assert_array_equal(draw(17), [draw(i) for i in range(18)][17])
    assert draw(17).dtype == np.float32
    assert draw(17).shape == (DIM,)


def test_gaussian_moments():
    codes = np.stack([draw(i, "gaussian") for i in range(1000)]).astype(np.float64)
    assert kstest(codes.ravel() / 0.3, "norm").pvalue > 0.01
    np.testing.assert_allclose(codes.mean(axis=0), 0, atol=4 * 0.3 / np.sqrt(1000))
    # No dimension depends on another.
    np.testing.assert_allclose(np.cov(codes.T), 0.09 * np.eye(DIM), atol=0.02)


def test_neighbours_lie_around_every_learned_code():
    codes = np.stack([draw(i, "neighbourhood") for i in range(1000)]).astype(np.float64)
    offsets = codes[:, None] - LATENTS
    nearest = np.linalg.norm(offsets, axis=2).argmin(axis=1)
    # Each has its turn once in five.
    assert (np.sort(nearest.reshape(-1, 5), axis=1) == np.arange(5)).all()
    # In an order that no one can tell.
    assert len(set(map(tuple, nearest.reshape(-1, 5)))) > 60
    noise = offsets[np.arange(1000), nearest] / 0.02
    assert kstest(noise.ravel(), "norm").pvalue > 0.01


def test_each_group_of_a_mixture_has_its_mean_and_covariance():
    codes = np.stack([draw(i, "mixture") for i in range(4000)]).astype(np.float64)
    # Two codes span a line, three a plane: a draw lies on one or in the other.
    pair, three = LATENTS[:2].astype(float), LATENTS[2:].astype(float)
    along = pair[1] - pair[0]
    off_line = codes - pair.mean(0)
    off_line -= np.outer(off_line @ along / (along @ along), along)
    in_pair = np.linalg.norm(off_line, axis=1) < 1e-5
    assert np.mean(in_pair) == pytest.approx(2 / 5, abs=0.04)
    for members, group in ((in_pair, pair), (~in_pair, three)):
        drawn = codes[members]
        np.testing.assert_allclose(drawn.mean(axis=0), group.mean(axis=0), atol=0.08)
        np.testing.assert_allclose(np.cov(drawn.T), 0.25 * np.cov(group.T), atol=0.08)


@pytest.mark.parametrize("width", [0.3, 1.0])
def test_a_kernel_of_any_width_keeps_mean_and_covariance(width):
    sampling = SAMPLING.model_copy(update={"kernel": Kernel(width=width)})
    codes = np.stack(
        [draw_latent(draw_stream(2, i), sampling, LATENTS, i % 5, "kernel") for i in range(6000)]
    ).astype(np.float64)
    np.testing.assert_allclose(codes.mean(axis=0), LATENTS.mean(axis=0), atol=0.07)
    # A code picked at random has the covariance of the population, n - 1 over n.
    expected = np.cov(LATENTS.T.astype(float)) * (1 - (1 - width**2) / len(LATENTS))
    np.testing.assert_allclose(np.cov(codes.T), expected, atol=0.12)


def test_a_strategy_that_was_not_calibrated_is_refused():
    sampling = SAMPLING.model_copy(update={"mixture": None})
    with pytest.raises(InputError, match=r"strategy mixture: .*expected gaussian, neighb.*kernel"):
        draw_latent(draw_stream(1, 0), sampling, LATENTS, 0, "mixture")
    # A preset that names it does not load.
    with pytest.raises(ValueError, match="strategy is kernel, which has no section"):
        Sampling(
            strategy="kernel", gaussian=Gaussian(sigma=1), neighbourhood=Neighbourhood(sigma=1)
        )


STRATEGIES = ["gaussian", "neighbourhood", "mixture", "kernel"]


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_the_preset_s_strategy_unless_another_is_given(strategy):
    sampling = SAMPLING.model_copy(update={"strategy": strategy})
    plain = draw_latent(draw_stream(1, 0), sampling, LATENTS, learned_turn(1, 0, 5))
    np.testing.assert_array_equal(plain, draw(0, strategy))
    assert not any(np.array_equal(plain, draw(0, s)) for s in STRATEGIES if s != strategy)


def test_rotations():
    rng = np.random.default_rng(0)
    np.testing.assert_array_equal(draw_rotation(rng, "none"), np.eye(3))
    given = draw_rotation(rng, "random")
    assert draw_rotation(rng, given) is given
    angles = np.radians(
        [rotation_angle(np.eye(3), draw_rotation(rng, "random")) for _ in range(1000)]
    )
    # Uniform on SO(3): the density of the angle is (1 - cos θ) / π.
    assert kstest(angles, lambda a: (a - np.sin(a)) / np.pi).pvalue > 0.01


def test_none_and_given_leave_the_stream_alone():
    """So that the same cell comes with any rotation."""
    rng, other = draw_stream(1, 0), draw_stream(1, 0)
    draw_rotation(rng, "none")
    draw_rotation(rng, np.eye(3))
    assert rng.random() == other.random()
