"""The network: f(code, x, y, z, t) → signed distance.

Every layer's matrix is read as columns ``[previous layer | code | x y z | t]``. The points of one
frame share code and time, so those columns act once per frame and become part of its bias; only
the previous layer and x, y, z act per point. Training and rendering both rest on that split.

With *experts* the columns of the previous layer are the cell's own: a sum of matrices, weighed by
its code. Where points share a code it is made once for all of them, and a point costs what it costs
without; where each has its own, a point goes through every expert.
"""

from __future__ import annotations

import math
from typing import NamedTuple, cast

import torch
from torch import Tensor, nn

from cellsynth.errors import ShapeError
from cellsynth.presets.models import FieldSpec

__all__ = ["Decoder", "LayerColumns", "layer_columns", "taken"]


class LayerColumns(NamedTuple):
    """Column ranges of one weight matrix; empty where the layer does not take that input."""

    hidden: slice
    latent: slice
    coords: slice
    time: slice


def layer_columns(spec: FieldSpec) -> tuple[LayerColumns, ...]:
    """Which columns of each layer's matrix take what, first layer first, output layer last."""
    columns = []
    previous = 0
    for layer, (out, _) in enumerate(spec.layer_shapes(), start=1):
        latent = previous + (spec.latent_dim if layer in spec.latent_layers else 0)
        xyz = latent + (3 if spec.takes_coords(layer) else 0)
        time = xyz + (xyz > latent)
        columns.append(
            LayerColumns(
                slice(0, previous), slice(previous, latent), slice(latent, xyz), slice(xyz, time)
            )
        )
        previous = out
    return tuple(columns)


# Standard deviation of the mixing weights' own weights before training: codes start around 0.01,
# so that the experts start with weights of about 0.25.
MIXING_SIGMA = 3.0


def taken(columns: slice) -> bool:
    """Whether a layer takes that input at all."""
    return bool(columns.stop > columns.start)


class Decoder(nn.Module):
    """Auto-decoder of signed distances, a SIREN by default.

    Hidden layer l computes ``sin(ω₀ (W_l [h | z | x y z | t] + b_l))`` (or a ReLU without ω₀), the
    output layer is linear. A SIREN starts from U(±1/c_in) in the first layer and
    U(±√(6/c_in)/ω₀) in all others, c_in counted with what is concatenated.

    With experts the columns of h in hidden layers after the first are W_l + Σ_k (M z)_k E_lk for
    the code z, with E from 0 and M from N(0, 3²).

    Source: Sitzmann et al. 2020 (layers); Park et al. 2019 (codes); Yang et al. 2019, "CondConv"
    (experts); Wiesner et al. 2024, section 3.4 (code into layers 1, 5 and 8, coordinates into
    every hidden layer; the authors' code gives them to the output layer too).
    """

    mixing: nn.Parameter | None

    def __init__(
        self,
        spec: FieldSpec,
        *,
        generator: torch.Generator | None = None,
        coords_gain: float = 1.0,
    ) -> None:
        """Draw a new decoder; arguments as :meth:`reset_parameters`."""
        super().__init__()
        self.spec = spec
        self.columns = layer_columns(spec)
        self.layers = nn.ModuleList(nn.Linear(c_in, c_out) for c_out, c_in in spec.layer_shapes())
        # (experts, out, in) of each hidden layer but the first; none without experts.
        self.experts = nn.ParameterList(
            torch.zeros(spec.experts, c_out, columns.hidden.stop)
            for (c_out, _), columns in zip(
                spec.layer_shapes()[1:-1], self.columns[1:-1], strict=True
            )
            if spec.experts
        )
        mixing = nn.Parameter(torch.zeros(spec.experts, spec.latent_dim)) if spec.experts else None
        self.register_parameter("mixing", mixing)
        self.reset_parameters(generator, coords_gain=coords_gain)

    @torch.no_grad()
    def reset_parameters(
        self, generator: torch.Generator | None = None, *, coords_gain: float = 1.0
    ) -> None:
        """Draw all weights anew; biases as PyTorch's linear layers, U(±1/√c_in).

        Args:
            generator: Where the numbers come from.
            coords_gain: Factor on the first layer's weights of x, y, z and t. Its c_in counts
                the code, so without it the first sines turn far less than those of a SIREN
                without a code, and fine detail is learned slowly. A ReLU has no frequency,
                so it is left out there.
        """
        for i, layer in enumerate([*self.hidden, self.output]):
            c_in = layer.in_features
            if self.spec.kind == "siren":
                bound = 1 / c_in if i == 0 else math.sqrt(6 / c_in) / self.spec.omega_0
            else:
                bound = math.sqrt(6 / c_in)
            layer.weight.uniform_(-bound, bound, generator=generator)
            layer.bias.uniform_(-1 / math.sqrt(c_in), 1 / math.sqrt(c_in), generator=generator)

        first, columns = self.hidden[0], self.columns[0]
        if self.spec.kind == "siren":
            first.weight[:, columns.coords.start : columns.time.stop] *= coords_gain
        if self.mixing is not None:
            self.mixing.normal_(0, MIXING_SIGMA, generator=generator)
            for matrices in self.experts:
                matrices.zero_()

    @property
    def hidden(self) -> list[nn.Linear]:
        """The hidden layers, first to last."""
        return [cast(nn.Linear, layer) for layer in self.layers[:-1]]

    @property
    def output(self) -> nn.Linear:
        """The last layer, which gives the distance."""
        return cast(nn.Linear, self.layers[-1])

    @property
    def gain(self) -> float:
        """What every hidden pre-activation is multiplied by: ω₀ for a SIREN, else 1."""
        return self.spec.omega_0 if self.spec.kind == "siren" else 1.0

    def own_matrices(self, layer: int, latents: Tensor) -> Tensor | None:
        """What the codes ``(n, latent_dim)`` add to the columns of h in a layer, counted from 0.

        Returns:
            ``(n, out, in)`` without ω₀, in the precision of the codes; None where a layer is the
            same for all of them.
        """
        found = self._experts(layer)
        if found is None or self.mixing is None:
            return None
        found = found.to(latents)
        mixed = (latents @ self.mixing.T.to(latents)) @ found.flatten(1)
        return mixed.view(len(latents), *found.shape[1:])

    def _experts(self, layer: int) -> Tensor | None:
        """``(experts, out, in)`` of a layer, counted from 0; None where it has none."""
        if self.mixing is None or not 0 < layer < len(self.layers) - 1:
            return None
        return cast(Tensor, self.experts[layer - 1])

    def forward(
        self, coords: Tensor, times: Tensor, latents: Tensor, of: Tensor | None = None
    ) -> Tensor:
        """Signed distances at the points of several frames.

        Args:
            coords: Points in the field's own orientation, ``(frames, points, 3)``.
            times: Normalised times, ``(frames,)``.
            latents: Codes, ``(codes, latent_dim)``; by default one for each frame.
            of: Number of each frame's code, ``(frames,)``. With experts, frames of one code are
                best one after another: they then share its matrices.

        Returns:
            ``(frames, points)``, in units of Ω.

        Raises:
            ShapeError: The three do not fit each other or the field.
        """
        if (
            coords.ndim != 3
            or coords.shape[-1] != 3
            or times.shape != coords.shape[:1]
            or latents.shape[1:] != (self.spec.latent_dim,)
            or (latents if of is None else of).shape[:1] != coords.shape[:1]
        ):
            raise ShapeError(
                f"decoder: got coords {tuple(coords.shape)}, times {tuple(times.shape)}, latents "
                f"{tuple(latents.shape)}; expected (f, p, 3), (f,), (f, {self.spec.latent_dim})"
            )
        frames, points, _ = coords.shape
        xyz = coords.reshape(frames * points, 3)
        h = xyz
        layers = [*self.hidden, self.output]
        last = len(layers) - 1
        runs = None
        if self.mixing is not None:
            runs = _Runs.of(latents, of, points)
        if of is not None:
            latents = latents[of]
        for i, (layer, columns) in enumerate(zip(layers, self.columns, strict=True)):
            gain = self.gain if i < last else 1.0
            weight = layer.weight * gain
            per_frame = layer.bias * gain
            if taken(columns.latent):
                per_frame = per_frame + latents @ weight[:, columns.latent].T
            if taken(columns.time):
                per_frame = per_frame + times[:, None] @ weight[:, columns.time].T
            width = layer.out_features
            pre = per_frame.expand(frames, width)[:, None, :].expand(frames, points, width)
            if taken(columns.coords):
                pre = pre + (xyz @ weight[:, columns.coords].T).view(frames, points, width)
            pre = pre.reshape(frames * points, width)
            if taken(columns.hidden):
                shared = weight[:, columns.hidden]
                pre = self._take_hidden(i, pre, h, shared, runs)
            if i < last:
                h = torch.sin(pre) if self.spec.kind == "siren" else torch.relu(pre)
        sdf = pre.view(frames, points)
        return torch.tanh(sdf) if self.spec.output == "tanh" else sdf

    def _take_hidden(
        self, layer: int, pre: Tensor, h: Tensor, shared: Tensor, runs: _Runs | None
    ) -> Tensor:
        """``pre`` and what the previous layer ``h`` adds; ``shared`` is for all codes, with ω₀."""
        if runs is not None and max(runs.sizes) != 1:
            own = self.own_matrices(layer, runs.latents)
            if own is not None:
                return runs.addmm(pre, h, shared + self.gain * own)
        found = torch.addmm(pre, h, shared.T)
        experts = self._experts(layer)
        if runs is None or experts is None or self.mixing is None:
            return found
        # A matrix for every point would be larger than what it is made of.
        weights = runs.latents @ self.mixing.T
        each = torch.einsum("ni,koi->nko", h, self.gain * experts)
        return found + torch.einsum("nk,nko->no", weights, each)


class _Runs(NamedTuple):
    """Frames of one code after another, whose points take the same matrices.

    Attributes:
        latents: The code of each run.
        sizes: Points of each run.
    """

    latents: Tensor
    sizes: list[int]

    @classmethod
    def of(cls, latents: Tensor, of: Tensor | None, points: int) -> _Runs:
        """The runs among frames with so many points each, whose codes are ``of`` these."""
        if of is None:
            return cls(latents, [points] * len(latents))
        if latents.is_cuda:  # one product for all frames beats as many as there are codes
            return cls(latents[of], [points] * len(of))
        which, counts = torch.unique_consecutive(of, return_counts=True)
        return cls(latents[which], [n * points for n in counts.tolist()])

    def addmm(self, pre: Tensor, h: Tensor, matrices: Tensor) -> Tensor:
        """``pre + h @ matrix.T``, rows by the matrix of their run."""
        if len(set(self.sizes)) == 1:
            runs = len(self.sizes)
            wide, before = (x.view(runs, self.sizes[0], x.shape[-1]) for x in (pre, h))
            return torch.baddbmm(wide, before, matrices.transpose(1, 2)).view(pre.shape)
        rows = (torch.split(x, self.sizes) for x in (pre, h))
        parts = zip(*rows, matrices, strict=True)
        return torch.cat([torch.addmm(p, x, matrix.T) for p, x, matrix in parts])
