"""SOAP where Adam is slow: a quadratic whose axes are not the parameters'."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from cellsynth.training.checkpoint import Progress, load_checkpoint, save_checkpoint
from cellsynth.training.soap import Soap


def orthogonal(n: int, seed: int) -> torch.Tensor:
    q, _ = np.linalg.qr(np.random.default_rng(seed).standard_normal((n, n)))
    return torch.from_numpy(q).float()


def quadratic(w: torch.Tensor) -> torch.Tensor:
    """½ Σ λ_i μ_j (UᵀWV - 1)²: curvatures over five decades, along axes that are askew."""
    n, m = w.shape
    left, right = torch.logspace(-3, 0, n), torch.logspace(-2, 0, m)
    turned = orthogonal(n, 0).T @ w @ orthogonal(m, 1) - 1
    return 0.5 * (left[:, None] * right * turned.square()).sum()


def descend(optimiser: type, lr: float, steps: int = 400) -> float:
    w = torch.zeros(12, 8, requires_grad=True)
    running = optimiser([w], lr=lr)
    for step in range(steps):
        running.param_groups[0]["lr"] = lr * 0.5 * (1 + math.cos(math.pi * step / steps))
        running.zero_grad()
        quadratic(w).backward()
        running.step()
    return float(quadratic(w.detach()))


def test_soap_beats_adam_at_any_of_its_rates():
    adam = min(descend(torch.optim.Adam, lr) for lr in (3e-3, 1e-2, 3e-2, 1e-1))
    soap = min(descend(Soap, lr) for lr in (3e-3, 1e-2, 3e-2, 1e-1))
    assert soap < adam / 100


def test_vectors_and_unrotated_groups_take_adam_steps():
    generator = torch.Generator().manual_seed(0)
    start = [torch.randn(5, generator=generator), torch.randn(6, 3, generator=generator)]
    targets = [torch.randn(p.shape, generator=generator) for p in start]
    results = []
    for make in (
        lambda p: torch.optim.Adam(p, lr=0.01, betas=(0.95, 0.95)),
        lambda p: Soap([{"params": p, "rotate": False}], lr=0.01),
    ):
        parameters = [p.clone().requires_grad_() for p in start]
        optimiser = make(parameters)
        for _ in range(30):
            optimiser.zero_grad()
            sum(((p - t) ** 2).sum() for p, t in zip(parameters, targets, strict=True)).backward()
            optimiser.step()
        results.append([p.detach() for p in parameters])
    for a, b in zip(*results, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("shape", [(1, 6), (6, 1)])
def test_a_single_row_or_column_is_not_turned(shape):
    w = torch.ones(shape, requires_grad=True)
    optimiser = Soap([w], lr=0.01)
    (w**2).sum().backward()
    optimiser.step()
    assert set(optimiser.state[w]) == {"step", "mean", "square"}


def test_slices_of_three_dimensions_are_matrices_of_their_own():
    def descended(parameters):
        optimiser = Soap(parameters, lr=0.02, refresh=3)
        for _ in range(12):
            optimiser.zero_grad()
            slices = parameters if len(parameters) > 1 else parameters[0].unbind()
            sum((i + 1) * quadratic(w) for i, w in enumerate(slices)).backward()
            optimiser.step()
        return [p.detach() for p in parameters]

    apart = descended([torch.zeros(12, 8, requires_grad=True) for _ in range(3)])
    (together,) = descended([torch.zeros(3, 12, 8, requires_grad=True)])
    assert not torch.allclose(together[0], together[1])
    torch.testing.assert_close(together, torch.stack(apart), rtol=1e-3, atol=1e-5)


def test_parameters_without_gradient_stay():
    a, b = (torch.ones(3, 3, requires_grad=True) for _ in range(2))
    optimiser = Soap([a, b], lr=0.1)
    (a**2).sum().backward()
    optimiser.step()
    assert torch.equal(b, torch.ones(3, 3))
    assert not torch.equal(a, torch.ones(3, 3))


def test_bases_stay_orthonormal():
    w = torch.zeros(12, 8, requires_grad=True)
    optimiser = Soap([w], lr=0.01, refresh=3)
    for _ in range(50):
        optimiser.zero_grad()
        quadratic(w).backward()
        optimiser.step()
    for name, n in (("left_basis", 12), ("right_basis", 8)):
        basis = optimiser.state[w][name]
        torch.testing.assert_close(basis.T @ basis, torch.eye(n), atol=1e-5, rtol=0)


def test_its_state_survives_a_checkpoint(tmp_path):
    """Stopped at any step and loaded, it goes on bit for bit."""

    def steps(w, optimiser, n):
        for _ in range(n):
            optimiser.zero_grad()
            quadratic(w).backward()
            optimiser.step()

    for stop in (1, 9, 10, 11, 25):
        w = torch.zeros(12, 8, requires_grad=True)
        optimiser = Soap([w], lr=0.02)
        steps(w, optimiser, stop)
        save_checkpoint(
            tmp_path / "c", {"w": w, **optimiser.state_dict()["state"][0]}, Progress(stop, 0.0, "")
        )
        steps(w, optimiser, 23)
        tensors, _ = load_checkpoint(tmp_path / "c")
        other = tensors.pop("w").requires_grad_()
        resumed = Soap([other], lr=0.02)
        groups = resumed.state_dict()["param_groups"]
        resumed.load_state_dict({"state": {0: tensors}, "param_groups": groups})
        steps(other, resumed, 23)
        assert torch.equal(w, other), stop
