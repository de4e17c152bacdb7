"""The latent map: true axes, always the same way round."""

from __future__ import annotations

import numpy as np
import pytest

from cellsynth.errors import InputError
from cellsynth.report.latent_map import draw_map, latent_map


@pytest.fixture
def codes() -> np.ndarray:
    """Codes in a plane of seven dimensions, 5 wide one way and 2 the other."""
    rng = np.random.default_rng(3)
    plane, _ = np.linalg.qr(rng.standard_normal((7, 2)))
    flat = rng.standard_normal((40, 2)) * [5, 2]
    return (flat - flat.mean(axis=0)) @ plane.T + 10


def test_distances_within_the_plane_stay(codes):
    found = latent_map(codes, codes[:5])
    assert sum(found.explained) == pytest.approx(1)
    assert found.explained[0] > 0.7
    apart = np.linalg.norm(codes[:, None] - codes[None], axis=-1)
    shown = np.linalg.norm(found.learned[:, None] - found.learned[None], axis=-1)
    np.testing.assert_allclose(shown, apart, atol=1e-9)
    np.testing.assert_allclose(found.drawn, found.learned[:5], atol=1e-9)


def test_axes_do_not_turn_over(codes):
    first = latent_map(codes, codes)
    order = np.random.default_rng(0).permutation(len(codes))
    np.testing.assert_allclose(latent_map(codes[order], codes).drawn, first.drawn, atol=1e-9)


def test_every_code_is_drawn_and_named(codes):
    drawn = draw_map(latent_map(codes, codes[:3]), ["01", "<02>", "03"]).render(pretty=False)
    assert drawn.count("<circle") == 40
    assert drawn.count('class="drawn"') == 3
    assert "sequence &lt;02&gt;" in drawn
    assert "3 drawn codes among 40 learned ones" in drawn


def test_a_map_without_drawn_codes(codes):
    assert "<circle" in draw_map(latent_map(codes, np.empty((0, 7))), []).render()


@pytest.mark.parametrize(
    ("learned", "fault"),
    [
        (np.ones((5, 7)), "5 codes that do not differ have no principal components"),
        (np.eye(2, 7), "2 codes of 7 numbers lie in no plane"),
        (np.arange(4.0)[:, None], "4 codes of 1 numbers lie in no plane"),
    ],
)
def test_codes_without_a_plane_are_refused(learned, fault):
    with pytest.raises(InputError, match=f"^{fault}$"):
        latent_map(learned, learned)


def test_three_codes_on_a_line_are_a_plane_seen_edge_on():
    found = latent_map(np.outer([0.0, 1.0, 3.0], np.ones(4)), np.ones((1, 4)))
    assert found.explained == pytest.approx((1, 0))
    np.testing.assert_allclose(found.learned[:, 0] + 8 / 3, [0, 2, 6])
    np.testing.assert_allclose(found.drawn[0], [2 - 8 / 3, 0], atol=1e-12)
