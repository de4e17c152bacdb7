"""Code and rotation of unseen cells: Theorem 1, step by step and end to end."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from cellsynth.errors import InputError, ShapeError
from cellsynth.field.decoder import Decoder
from cellsynth.field.folded import FoldedDecoder
from cellsynth.field.model import CellModel
from cellsynth.geometry import frame_times, random_rotation, rotation_angle
from cellsynth.presets.bundle import read_bundle
from cellsynth.sampling.prior import CodePrior
from cellsynth.training import fitter as fitter_module
from cellsynth.training.fitter import CellFitter, FitOptions, Points
from cellsynth.training.starts import Starts, cover_rotations, field_axes

SHIPPED = Path(__file__).parents[2] / "presets" / "celegans"
FRAMES = 8
POINTS = 512


@pytest.fixture(scope="module")
def model() -> CellModel:
    """The shipped preset with six of its codes, in float64 so that paths can be compared."""
    found = CellModel.from_bundle(read_bundle(SHIPPED))
    return replace(found, decoder=found.decoder.double(), latents=found.latents[:6])


@pytest.fixture(scope="module")
def unseen(model) -> np.ndarray:
    """A code that is none of the learned ones."""
    return (0.6 * model.latents[0] + 0.4 * model.latents[3]).astype(np.float32)


def sampled(model: CellModel, latent: np.ndarray, rotation: np.ndarray) -> Points:
    """Distances of a code's cell turned by ``rotation``, near its surface and elsewhere."""
    rng = np.random.default_rng(5)
    times = frame_times(FRAMES)
    coords = np.empty((FRAMES, POINTS, 3))
    sdf = np.empty((FRAMES, POINTS))
    for t, time in enumerate(times):
        field = FoldedDecoder(model.decoder, torch.from_numpy(latent), float(time), np.eye(3))
        tried = rng.uniform(-1, 1, (20 * POINTS, 3))
        tried = tried[np.linalg.norm(tried, axis=1) < 1]
        values = field.sdf(tried, exact=True)
        near = np.argsort(np.abs(values))[: POINTS // 2]
        chosen = rng.permutation(np.concatenate([near, np.arange(POINTS - POINTS // 2)]))
        coords[t], sdf[t] = tried[chosen] @ rotation.T, values[chosen]
    return Points(coords, sdf, times)


def test_theorem_1_step_by_step(model, unseen, monkeypatch):
    short = (replace(fitter_module.STAGES[0], keep=4, steps=5), replace(fitter_module.STAGES[-1]))
    monkeypatch.setattr(fitter_module, "STAGES", short)
    fitter = CellFitter(model, FitOptions(starts=8, steps=3))
    axes = random_rotation(np.random.default_rng(1))
    turn = random_rotation(np.random.default_rng(2))
    points = sampled(model, unseen, np.eye(3))
    turned = replace(points, coords=points.coords @ turn.T)
    found = fitter.fit(points, axes)
    again = fitter.fit(turned, turn @ axes)
    assert np.abs(again.latent - found.latent).max() < 1e-6
    assert rotation_angle(again.rotation, turn @ found.rotation) < 1e-4
    assert again.loss == pytest.approx(found.loss, rel=1e-6)


def test_theorem_1_end_to_end(model, unseen):
    fitter = CellFitter(model, FitOptions(starts=4, prior=1e-6))
    rng = np.random.default_rng(3)
    own = field_axes(model.decoder, unseen)
    learned = model.latents[:, None] - model.latents[None]
    apart = np.sort(np.linalg.norm(learned, axis=-1), axis=1)[:, 1].min()
    turn = random_rotation(rng)
    found = fitter.fit(sampled(model, unseen, turn), turn @ own)
    assert rotation_angle(found.rotation, turn) < 0.5
    assert np.linalg.norm(found.latent - unseen) < 0.05 * apart
    assert found.loss < 1e-3
    assert np.allclose(found.rotation @ found.rotation.T, np.eye(3), atol=1e-12)


def test_as_it_lies_keeps_the_rotation(model, unseen):
    fitter = CellFitter(model, FitOptions(starts=4, prior=1e-6, rotate=False))
    found = fitter.fit(sampled(model, unseen, np.eye(3)), np.eye(3))
    assert np.allclose(found.rotation, np.eye(3), atol=1e-12)
    assert found.loss < 1e-3


def test_the_seed_decides(dividing_bundle):
    model = CellModel.from_bundle(dividing_bundle)
    points = sampled(model, model.latents[1], np.eye(3))
    poses = [
        CellFitter(model, FitOptions(starts=4, steps=1, seed=seed)).fit(points, np.eye(3))
        for seed in (0, 0, 1)
    ]
    assert np.array_equal(poses[0].latent, poses[1].latent)
    assert not np.array_equal(poses[0].latent, poses[2].latent)


@pytest.fixture
def cells_of_experts(dividing_bundle) -> CellModel:
    """A field with three experts that do something."""
    model = CellModel.from_bundle(dividing_bundle)
    spec = model.preset.field.model_copy(update={"experts": 3})
    decoder = Decoder(spec, generator=torch.Generator().manual_seed(0)).requires_grad_(False)
    for matrix in decoder.experts.parameters():
        matrix.normal_(0, 0.01, generator=torch.Generator().manual_seed(1))
    preset = model.preset.model_copy(update={"field": spec})
    return replace(model, preset=preset, decoder=decoder)


def test_matrices_of_experts_are_made_once_a_start(cells_of_experts, monkeypatch):
    """Frames of one start share its code; and points with codes of their own come in fewer."""
    made, each = [], []
    own_matrices, forward = Decoder.own_matrices, Decoder.forward

    def noted(decoder, layer, latents):
        made.append(len(latents))
        return own_matrices(decoder, layer, latents)

    def watched(decoder, coords, times, latents, of=None):
        if of is None:
            each.append(len(coords))
        return forward(decoder, coords, times, latents, of)

    fitter = CellFitter(cells_of_experts, FitOptions(starts=1, steps=1))
    points = sampled(cells_of_experts, cells_of_experts.latents[0], np.eye(3))
    monkeypatch.setattr(Decoder, "own_matrices", noted)
    monkeypatch.setattr(Decoder, "forward", watched)
    drawn = fitter_module._Batch(points, torch.device("cpu"), torch.float32).draw(
        np.random.default_rng(0), FRAMES, POINTS
    )
    starts = len(fitter._whitened)
    state = fitter_module._State(fitter._whitened, torch.eye(3).expand(starts, 3, 3))
    monkeypatch.setattr(fitter_module, "CPU_POINTS", FRAMES * POINTS)
    found = fitter._residuals(state, drawn)
    assert set(made) == {1}
    slow = torch.stack(
        [
            fitter._derivatives(state, start, drawn, torch.arange(FRAMES * POINTS))[0]
            for start in range(starts)
        ]
    )
    torch.testing.assert_close(found, slow, atol=1e-5, rtol=1e-4)
    each.clear()
    fitter._normal_equations(state, drawn, 0.01)
    assert max(each) == FRAMES * POINTS // 3


def test_rotations_cover():
    turns = cover_rotations(200)
    assert turns.shape == (200, 3, 3)
    assert np.allclose(turns @ turns.transpose(0, 2, 1), np.eye(3), atol=1e-12)
    assert np.allclose(np.linalg.det(turns), 1)
    assert all(np.count_nonzero(turn) == 3 and turn[0, 0] for turn in turns[:4])
    assert len(np.unique(turns[:24].round(6), axis=0)) == 24
    assert np.array_equal(cover_rotations(7), turns[:7])
    rng = np.random.default_rng(0)
    gaps = [min(rotation_angle(random_rotation(rng), turn) for turn in turns) for _ in range(100)]
    # 200 random rotations leave gaps of more than 60 degrees.
    assert max(gaps) < 55


def test_axes_of_the_field(dividing_bundle):
    model = CellModel.from_bundle(dividing_bundle)
    axes = field_axes(model.decoder, model.latents[0])
    assert abs(axes[0, 0]) == pytest.approx(1, abs=1e-2)
    assert np.linalg.det(axes) == pytest.approx(1)
    starts = Starts.of(model.decoder, model.latents)
    lying = random_rotation(np.random.default_rng(0))
    rotations = starts.rotations(lying, 4)
    assert rotations.shape == (4, 3, 3, 3)
    # Each start lays the long axis of the field's cell on that of the new one, either way round.
    along = rotations @ starts.axes[None, :, :, :1]
    assert np.allclose(np.abs(lying[:, 0] @ along[..., 0, None]), 1, atol=1e-9)


def test_starts_are_evenly_chosen(sphere_bundle):
    model = CellModel.from_bundle(sphere_bundle)
    many = np.repeat(model.latents, 50, axis=0) + np.arange(150, dtype=np.float32)[:, None] / 1e4
    starts = Starts.of(model.decoder, many)
    assert len(starts.latents) == 64
    assert np.array_equal(starts.latents[[0, -1]], many[[0, -1]])


def test_prior_whitens():
    rng = np.random.default_rng(0)
    codes = (rng.standard_normal((400, 3)) * [1, 0.1, 0.01] + 2).astype(np.float32)
    prior = CodePrior.of(codes, sigma=1)
    white = prior.whiten(codes)
    assert np.allclose(prior.mean + white @ prior.basis.T, codes, atol=1e-6)
    assert white.std(axis=0).max() == pytest.approx(1, abs=0.06)
    lone = CodePrior.of(codes[:1], sigma=0.5)
    assert np.allclose(lone.whiten(codes[:1] + 0.5), 1, atol=1e-6)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"starts": 0}, "fit: starts must be at least 1, got 0"),
        ({"steps": -1}, "fit: steps must be at least 1, got -1"),
        ({"prior": -0.5}, "fit: prior must be at least 0, got -0.5"),
        ({"seed": -3}, "fit: seed must be at least 0, got -3"),
    ],
)
def test_options_are_judged(options, message):
    with pytest.raises(InputError, match=message):
        FitOptions(**options)


def test_points_must_fit_each_other():
    with pytest.raises(ShapeError, match=r"sdf \(2, 4\).*expected \(f, p, 3\)"):
        Points(np.zeros((2, 5, 3)), np.zeros((2, 4)), np.zeros(2))


def test_starts_on_their_way_to_one_place_are_one() -> None:
    whitened = torch.zeros(4, 32)
    whitened[1] = 1 / 32**0.5  # one deviation in all from the first
    whitened[2] = 1.5  # another learned code
    rotations = torch.eye(3).repeat(4, 1, 1)
    rotations[3] = torch.diag(torch.tensor([1.0, -1.0, -1.0]))
    state = fitter_module._State(whitened, rotations)
    assert fitter_module._distinct(state, 4).tolist() == [0, 2, 3]
    assert fitter_module._distinct(state, 2).tolist() == [0, 2]
