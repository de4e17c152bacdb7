"""The network: f(code, x, y, z, t) → signed distance.

Every layer's matrix is read as columns ``[previous layer | code | x y z | t]``. The points of one
frame share code and time, so those columns act once per frame and become part of its bias; only
the previous layer and x, y, z act per point. Training and rendering both rest on that split.
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


def taken(columns: slice) -> bool:
    """Whether a layer takes that input at all."""
    return bool(columns.stop > columns.start)


class Decoder(nn.Module):
    """Auto-decoder of signed distances, a SIREN by default.

    Hidden layer l computes ``sin(ω₀ (W_l [h | z | x y z | t] + b_l))`` (or a ReLU without ω₀), the
    output layer is linear. A SIREN starts from U(±1/c_in) in the first layer and
    U(±√(6/c_in)/ω₀) in all others, c_in counted with what is concatenated.

    Source: Sitzmann et al. 2020 (layers); Park et al. 2019 (codes); Wiesner et al. 2024,
    section 3.4 (code into layers 1, 5 and 8, coordinates into every hidden layer; the authors'
    code gives them to the output layer too).
    """

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

    def forward(self, coords: Tensor, times: Tensor, latents: Tensor) -> Tensor:
        """Signed distances at the points of several frames.

        Args:
            coords: Points in the field's own orientation, ``(frames, points, 3)``.
            times: Normalised times, ``(frames,)``.
            latents: Codes, ``(frames, latent_dim)``.

        Returns:
            ``(frames, points)``, in units of Ω.

        Raises:
            ShapeError: The three do not fit each other or the field.
        """
        if (
            coords.ndim != 3
            or coords.shape[-1] != 3
            or times.shape != coords.shape[:1]
            or latents.shape != (coords.shape[0], self.spec.latent_dim)
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
                pre = torch.addmm(pre, h, weight[:, columns.hidden].T)
            if i < last:
                h = torch.sin(pre) if self.spec.kind == "siren" else torch.relu(pre)
        sdf = pre.view(frames, points)
        return torch.tanh(sdf) if self.spec.output == "tanh" else sdf
