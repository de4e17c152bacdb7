"""Drifting numbers, and bodies stretched, bent and lobed by them."""

import cc3d
import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from cellsynth.shapes.phantoms.drift import Drift
from cellsynth.shapes.phantoms.lobes import sphere_directions
from cellsynth.shapes.phantoms.warped import N_HARMONICS, WarpedBody, harmonics

VOLUME_UM3 = 1000.0


def _body(seed: int | None) -> WarpedBody:
    """A body as wild as any cell; a ball where there is no seed."""
    if seed is None:
        heights, lobes, bend, stretch, turn = (
            np.zeros(16),
            np.zeros(2),
            np.zeros(2),
            *[np.eye(3)] * 2,
        )
    else:
        rng = np.random.default_rng(seed)
        heights, lobes, bend = (
            0.07 * rng.standard_normal(16),
            rng.normal(size=2) / 2,
            rng.normal(size=2),
        )
        logs = np.diag([0.5, -0.2, -0.3])
        turned = Rotation.random(random_state=seed).as_matrix()
        stretch = turned @ np.diag(np.exp(np.diag(logs))) @ turned.T
        turn = Rotation.random(random_state=seed + 1).as_matrix()
    return WarpedBody.of_volume(
        VOLUME_UM3,
        heights=heights,
        lobe_directions=sphere_directions(2),
        lobe_heights=lobes,
        sharpness=4.0,
        stretch=stretch,
        bend=bend / 2,
        turn=turn,
    )


def _lattice(body: WarpedBody, n: int = 90) -> tuple[np.ndarray, list[np.ndarray], float]:
    low, high = body.box_um()
    low, high = low - 1, high + 1
    step = (high - low) / n
    axes = [low[k] + (np.arange(n) + 0.5) * step[k] for k in range(3)]
    return body.inside(np.ix_(*axes)), axes, float(step.prod())


def test_drifts_are_standard_normal_and_forget_over_their_memory() -> None:
    drift = Drift(np.random.default_rng(0), (4000,), memory_s=600.0, shortest_s=600.0)
    values = drift(np.array([0.0, 600.0, 30_000.0]))
    assert values.shape == (3, 4000)
    assert values.mean(axis=1) == pytest.approx(0, abs=0.06)
    assert values.std(axis=1) == pytest.approx(1, abs=0.04)
    correlation = np.corrcoef(values)
    # e⁻¹ for the whole process; without its fastest waves a little more is kept.
    assert 0.3 < correlation[0, 1] < 0.5
    assert abs(correlation[0, 2]) < 0.06


def test_a_drift_shows_nothing_faster_than_its_shortest_period() -> None:
    times_s = np.arange(4096) * 45.0
    drift = Drift(np.random.default_rng(1), (50,), memory_s=600.0, shortest_s=600.0)
    window = np.hanning(len(times_s))[:, None]
    power = (np.abs(np.fft.rfft(window * drift(times_s), axis=0)) ** 2).sum(axis=1)
    frequencies = np.fft.rfftfreq(len(times_s), 45.0)
    assert power[frequencies > 1.02 / 600].sum() < 1e-6 * power.sum()
    assert power[frequencies > 0.5 / 600].sum() > 0.05 * power.sum()


def test_a_drift_does_not_depend_on_the_times_asked() -> None:
    drift = Drift(np.random.default_rng(2), (2, 3), memory_s=600.0, shortest_s=600.0)
    times_s = np.arange(30) * 90.0
    whole = drift(times_s)
    assert whole.shape == (30, 2, 3)
    np.testing.assert_allclose(drift(times_s[7:9]), whole[7:9], rtol=0, atol=1e-12)
    again = Drift(np.random.default_rng(2), (2, 3), memory_s=600.0, shortest_s=600.0)
    np.testing.assert_array_equal(again(times_s), whole)


def test_harmonics_are_orthonormal_and_of_degree_three_and_four() -> None:
    unit = sphere_directions(40_000)
    columns = np.stack([harmonics(row, list(unit.T)) for row in np.eye(N_HARMONICS)])
    np.testing.assert_allclose(columns @ columns.T / len(unit), np.eye(N_HARMONICS), atol=2e-3)
    lower = np.stack([np.ones(len(unit)), *unit.T, *(unit.T * unit[:, 0]), unit[:, 1] * unit[:, 2]])
    assert np.abs(columns @ lower.T).max() / len(unit) < 1e-3
    # Odd degree changes its sign at the opposite point, even degree does not.
    opposite = np.stack([harmonics(row, list(-unit.T)) for row in np.eye(N_HARMONICS)])
    np.testing.assert_allclose(opposite[:7], -columns[:7], atol=1e-9)
    np.testing.assert_allclose(opposite[7:], columns[7:], atol=1e-9)


def test_without_a_shape_the_body_is_a_ball() -> None:
    body = _body(None)
    radius = (VOLUME_UM3 * 3 / 4 / np.pi) ** (1 / 3)
    assert body.farthest_um() == pytest.approx(radius)
    points = body.surface_um(sphere_directions(50))
    assert np.linalg.norm(points, axis=1) == pytest.approx(radius)
    assert body.inside(
        [np.array([0.0, 0.99 * radius, 1.01 * radius]), *[np.zeros(1)] * 2]
    ).tolist() == [
        True,
        True,
        False,
    ]


@pytest.mark.parametrize("seed", range(5))
def test_volume_and_centroid_are_as_asked_and_the_body_is_one(seed: int) -> None:
    body = _body(seed)
    inside, axes, voxel_um3 = _lattice(body)
    assert inside.sum() * voxel_um3 == pytest.approx(VOLUME_UM3, rel=0.004)
    index = np.argwhere(inside)
    centroid = [axis[i].mean() for axis, i in zip(axes, index.T, strict=True)]
    assert centroid == pytest.approx([0, 0, 0], abs=0.03)
    assert cc3d.connected_components(inside, connectivity=6).max() == 1
    assert cc3d.connected_components(~inside, connectivity=26).max() == 1  # no hole


@pytest.mark.parametrize("seed", range(3))
def test_the_box_holds_the_body_and_fits_it(seed: int) -> None:
    body = _body(seed)
    low, high = body.box_um()
    points = body.surface_um(sphere_directions(60_000))
    assert (points > low).all()
    assert (points < high).all()
    assert np.abs(points.min(axis=0) - low).max() < 0.3
    assert np.abs(points.max(axis=0) - high).max() < 0.3
    assert body.farthest_um() == pytest.approx(np.linalg.norm(points, axis=1).max(), rel=0.01)


def _inside_slowly(body: WarpedBody, point: np.ndarray) -> bool:
    """The definition, one point at a time."""
    a, b, c = body.turn.T @ (point - body.offset_um) / body.size_um
    bow = np.sqrt(1 + a**2) - 1
    q = np.linalg.solve(body.stretch, [a, b - body.bend[0] * bow, c - body.bend[1] * bow])
    u = q / np.linalg.norm(q)
    w = harmonics(body.heights, list(u[:, None])).item() + sum(
        height * np.exp(body.sharpness * (u @ direction - 1))
        for direction, height in zip(body.lobe_directions, body.lobe_heights, strict=True)
    )
    return bool(np.linalg.norm(q) < np.exp(0.45 * np.tanh(w / 0.45)))


def test_a_grid_is_evaluated_as_by_the_plain_formula() -> None:
    body = _body(3)
    inside, axes, _ = _lattice(body, 14)
    coordinates = np.stack(np.meshgrid(*axes, indexing="ij"), axis=-1).reshape(-1, 3)
    expected = [_inside_slowly(body, point) for point in coordinates]
    np.testing.assert_array_equal(inside.ravel(), expected)
    assert 200 < sum(expected) < 2000
    single = body.inside(np.ix_(*(axis.astype(np.float32) for axis in axes)))
    assert np.count_nonzero(single != inside) <= 1


def test_no_radius_leaves_its_bounds() -> None:
    body = _body(0)
    wild = WarpedBody(
        100 * body.heights, body.lobe_directions, 100 * body.lobe_heights, 4.0, np.eye(3),
        np.zeros(2), np.eye(3), 1.0, np.zeros(3),
    )  # fmt: skip
    radii = wild.radii(sphere_directions(1000))
    assert radii.min() == pytest.approx(np.exp(-0.45), rel=1e-3)
    assert radii.max() == pytest.approx(np.exp(0.45), rel=1e-3)
