"""A decoder folded for one frame: code, time, rotation and ω₀ become weights and biases.

What is left per point and layer is one small product with x, y, z, one with the previous layer,
and one sine in place, on a few thousand points at a time in buffers that are reused.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from cellsynth.errors import ShapeError
from cellsynth.field.decoder import Decoder, taken

__all__ = ["FoldedDecoder"]

CHUNK = 2048  # points a call: two buffers of 128 units fit a core's second-level cache
PROBES = 1024  # points on which single and double precision are compared


class FoldedDecoder:
    """The field of one cell in one frame: signed distance as a function of position alone.

    Evaluation runs in float32. Where the result is too close to zero for its sign to be sure, it
    is evaluated again in float64: :meth:`inside` therefore gives the same answer for a point
    whatever chunk, thread count or neighbours it is evaluated with.
    """

    def __init__(
        self, decoder: Decoder, latent: Tensor, time: float, rotation: NDArray[np.float64]
    ) -> None:
        """Fold ``decoder`` for one frame.

        Args:
            decoder: The field.
            latent: Code, ``(latent_dim,)``.
            time: Normalised time in [-1, 1].
            rotation: Proper rotation R, ``(3, 3)``; the cell is turned by it: f(Rᵀx).

        Raises:
            ShapeError: ``latent`` does not fit the decoder.
        """
        spec = decoder.spec
        if latent.shape != (spec.latent_dim,):
            raise ShapeError(
                f"latent has shape {tuple(latent.shape)}, this field takes ({spec.latent_dim},)"
            )
        self.device = decoder.output.weight.device
        self.spec = spec
        turn = torch.as_tensor(np.ascontiguousarray(rotation), dtype=torch.float64)
        z = _exact(latent)
        exact = []
        gains = [decoder.gain] * len(decoder.hidden) + [1.0]
        layers = [*decoder.hidden, decoder.output]
        for i, (layer, gain, columns) in enumerate(
            zip(layers, gains, decoder.columns, strict=True)
        ):
            weight = _exact(layer.weight) * gain
            bias = _exact(layer.bias) * gain
            if taken(columns.latent):
                bias = bias + weight[:, columns.latent] @ z
            if taken(columns.time):
                bias = bias + weight[:, columns.time.start] * time
            xyz = torch.zeros(3, len(bias), dtype=torch.float64)
            if taken(columns.coords):
                # Points are rows here: (Rᵀx)ᵀ Wᵀ = xᵀ (R Wᵀ).
                xyz = (turn @ weight[:, columns.coords].T).contiguous()
            hidden = weight[:, columns.hidden]
            own = decoder.own_matrices(i, z[None])
            if own is not None:
                hidden = hidden + gain * own[0]
            exact.append((bias, xyz, hidden.T.contiguous()))
        self._layers = {
            dtype: [tuple(w.to(self.device, dtype) for w in layer) for layer in exact]
            for dtype in (torch.float32, torch.float64)
        }
        self._coords_into_output = taken(decoder.columns[-1].coords)
        self._buffers: dict[torch.dtype, list[Tensor]] = {}
        self._rounding: float | None = None

    def sdf(self, coords: NDArray[Any], *, exact: bool = False) -> NDArray[Any]:
        """Signed distances ``(n,)`` at points ``(n, 3)`` in x, y, z, in units of Ω.

        float32, or float64 throughout if ``exact``.
        """
        dtype = torch.float64 if exact else torch.float32
        points = torch.from_numpy(np.ascontiguousarray(coords, np.float64)).to(self.device, dtype)
        out = torch.empty(len(points), dtype=dtype, device=self.device)
        with torch.inference_mode():
            for start in range(0, len(points), self._chunk):
                self._evaluate(
                    points[start : start + self._chunk], out[start : start + self._chunk]
                )
        values: NDArray[Any] = out.cpu().numpy()
        return values

    def inside(self, coords: NDArray[Any]) -> NDArray[np.bool_]:
        """Whether points ``(n, 3)`` lie in the cell: the sign of the field, surely."""
        sdf = self.sdf(coords)
        inside: NDArray[np.bool_] = sdf < 0
        unsure = np.flatnonzero(np.abs(sdf) < self.rounding)
        if len(unsure):
            inside[unsure] = self.sdf(coords[unsure], exact=True) < 0
        return inside

    @property
    def rounding(self) -> float:
        """How far float32 may be from float64 here: sixteen times the largest of 1024 probes."""
        if self._rounding is None:
            probes = np.random.default_rng(0).uniform(-1, 1, (PROBES, 3))
            error = np.abs(self.sdf(probes) - self.sdf(probes, exact=True)).max()
            self._rounding = 16 * float(error) + float(np.finfo(np.float32).tiny)
        return self._rounding

    @property
    def _chunk(self) -> int:
        # A GPU wants long rows; 2^18 points of 128 units are 128 MiB.
        return CHUNK if self.device.type == "cpu" else CHUNK * 128

    def _evaluate(self, points: Tensor, out: Tensor) -> None:
        n = len(points)
        layers = self._layers[points.dtype]
        if points.dtype not in self._buffers:
            width = max(len(bias) for bias, _, _ in layers)
            self._buffers[points.dtype] = [
                torch.empty(self._chunk * width, dtype=points.dtype, device=self.device)
                for _ in range(2)
            ]
        here, there = self._buffers[points.dtype]
        h = points
        for i, (bias, xyz, hidden) in enumerate(layers[:-1]):
            pre = there[: n * len(bias)].view(n, len(bias))
            torch.addmm(bias, points, xyz, out=pre)
            if i:
                pre.addmm_(h, hidden)
            h = pre.sin_() if self.spec.kind == "siren" else pre.relu_()
            here, there = there, here
        bias, xyz, hidden = layers[-1]
        torch.addmm(bias, h, hidden, out=out.view(n, 1))
        if self._coords_into_output:
            out.view(n, 1).addmm_(points, xyz)
        if self.spec.output == "tanh":
            out.tanh_()


def _exact(tensor: Tensor) -> Tensor:
    return tensor.detach().to("cpu", torch.float64)
