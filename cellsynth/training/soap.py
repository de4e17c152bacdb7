"""SOAP: Adam in the eigenbasis of Shampoo's preconditioner.

A gradient G of a matrix is turned into the eigenbases of the running means of GGᵀ and GᵀG, where
its entries are nearly independent; Adam runs there. The bases are refreshed every few steps by
one step of orthogonal iteration. For matrices of 128 rows the whole step costs a few
milliseconds, against a hundred for the gradient. Of a parameter with three dimensions every slice
along the first is a matrix of its own. Vectors take plain Adam steps.

Source: Vyas et al. 2024, "SOAP: Improving and Stabilizing Shampoo using Adam", algorithm 3.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor

__all__ = ["Soap"]


class Soap(torch.optim.Optimizer):
    """SOAP for matrices, Adam for everything else.

    Args:
        params: Parameters or groups of them.
        lr: Step size, on the scale of Adam's.
        betas: Decay of the first moment; of the second moment and the preconditioner.
        eps: Added to the root of the second moment.
        refresh: Steps between two refreshes of the eigenbases.
        rotate: Whether matrices of the group are turned at all; rows that are unrelated, as one
            code per sequence, are not.
    """

    def __init__(
        self,
        params: Iterable[Any],
        lr: float,
        *,
        betas: tuple[float, float] = (0.95, 0.95),
        eps: float = 1e-8,
        refresh: int = 10,
        rotate: bool = True,
    ) -> None:
        defaults = {"lr": lr, "betas": betas, "eps": eps, "refresh": refresh, "rotate": rotate}
        super().__init__(params, defaults)

    @torch.no_grad()
    def step(self, closure: Any = None) -> None:  # type: ignore[override]
        """Take one step; a ``closure`` is not supported."""
        assert closure is None
        for group in self.param_groups:
            for parameter in group["params"]:
                if parameter.grad is not None:
                    self._update(parameter, parameter.grad, group)

    def _update(self, parameter: Tensor, gradient: Tensor, group: dict[str, Any]) -> None:
        beta1, beta2 = group["betas"]
        state = self.state[parameter]
        # A row or a column has nothing to rotate.
        rotated = group["rotate"] and parameter.ndim > 1 and min(parameter.shape[-2:]) > 1
        if not state:
            state["step"] = torch.zeros(())
            state["mean"] = torch.zeros_like(parameter)
            state["square"] = torch.zeros_like(parameter)
            if rotated:
                state["left"], state["right"] = gradient @ gradient.mT, gradient.mT @ gradient
                state["left_basis"] = _eigenbasis(state["left"])
                state["right_basis"] = _eigenbasis(state["right"])
        state["step"] += 1
        count = float(state["step"])
        state["mean"].lerp_(gradient, 1 - beta1)
        turned, mean = gradient, state["mean"]
        if rotated:
            left, right = state["left_basis"], state["right_basis"]
            turned = left.mT @ gradient @ right
            mean = left.mT @ mean @ right
        state["square"].mul_(beta2).addcmul_(turned, turned, value=1 - beta2)
        root = (state["square"] / (1 - beta2**count)).sqrt_().add_(group["eps"])
        update = mean / (1 - beta1**count) / root
        if rotated:
            update = left @ update @ right.mT
            state["left"].lerp_(gradient @ gradient.mT, 1 - beta2)
            state["right"].lerp_(gradient.mT @ gradient, 1 - beta2)
            if count % group["refresh"] == 0:
                state["left_basis"] = _orthonormal(state["left"] @ left)
                state["right_basis"] = _orthonormal(state["right"] @ right)
        parameter.sub_(update, alpha=group["lr"])


def _eigenbasis(matrix: Tensor) -> Tensor:
    """Orthonormal eigenvectors as columns, the largest eigenvalue first."""
    basis: Tensor = torch.linalg.eigh(matrix.double())[1]
    return basis.flip(-1).to(matrix.dtype).contiguous()


def _orthonormal(matrix: Tensor) -> Tensor:
    """Orthonormal columns that span what those of ``matrix`` span, one after another."""
    # LAPACK leaves columns in a row. A checkpoint does not keep that, and products of the other
    # order of memory round otherwise: a resumed training would not take the same steps.
    basis: Tensor = torch.linalg.qr(matrix)[0]
    return basis.contiguous()
