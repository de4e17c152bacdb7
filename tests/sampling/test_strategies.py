"""Drawn codes and rotations: from the seed and the number alone, with the moments they claim."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import kstest

from cellsynth.geometry import rotation_angle
from cellsynth.presets.models import Gaussian, Neighbourhood, Sampling
from cellsynth.sampling import draw_latent, draw_rotation, draw_stream

DIM = 16
SAMPLING = Sampling(
    strategy="gaussian", gaussian=Gaussian(sigma=0.3), neighbourhood=Neighbourhood(sigma=0.02)
)
LATENTS = np.random.default_rng(0).standard_normal((5, DIM)).astype(np.float32)


def draw(sequence: int, strategy=None, *, seed: int = 1, attempt: int = 0) -> np.ndarray:
    return draw_latent(draw_stream(seed, sequence, attempt), SAMPLING, LATENTS, strategy)


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
    # Each is as likely as any other.
    counts = np.bincount(nearest, minlength=5)
    assert (np.abs(counts - 200) < 4 * np.sqrt(160)).all()
    noise = offsets[np.arange(1000), nearest] / 0.02
    assert kstest(noise.ravel(), "norm").pvalue > 0.01


@pytest.mark.parametrize("strategy", ["gaussian", "neighbourhood"])
def test_the_preset_s_strategy_unless_another_is_given(strategy):
    sampling = SAMPLING.model_copy(update={"strategy": strategy})
    plain = draw_latent(draw_stream(1, 0), sampling, LATENTS)
    np.testing.assert_array_equal(plain, draw(0, strategy))
    assert not np.array_equal(
        plain, draw(0, {"gaussian", "neighbourhood"}.difference({strategy}).pop())
    )


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
