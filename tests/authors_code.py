"""What the paper's authors' code does, written plainly: its network, and the folder it saves."""

from __future__ import annotations

import json
import math
from pathlib import Path

import numpy as np
import torch
from scipy.io import savemat

CODE, SEQUENCES, FRAMES = 3, 2, 3
NETWORK = {
    "dims": [16, 16, 16, 16],
    "latent_in": [2],
    "xyz_in_all": True,
    "use_tanh": False,
    "use_sine": True,
    "norm_layers": [],
    "weight_norm": False,
    "dropout": [],
    "dropout_prob": 0.2,
    "latent_dropout": False,
    "positional_encoding": False,
    "fourier_degree": 1,
}
SPECS = {
    "Description": ["two", "little cells"],
    "CodeLength": CODE,
    "NumSequences": SEQUENCES,
    "OptimizeRot": True,
    "ClampSDFminmax": False,
    "ClampingDistance": 0.1,
    "FramesPerBatch": 5,
    "CodeInitStdDev": 0.04,
    "ReconstructionFramesPerSequence": FRAMES,
    "ReconstructionDims": [8, 8, 8],
    "LearningRateSchedule": [
        {"Type": "Step", "Initial": rate, "Interval": 350, "Factor": 0.5}
        for rate in (2e-4, 3e-4, 4e-4)
    ],
    "SomethingElse": "is no business of ours",
}


def widths(network: dict) -> list[tuple[int, int]]:
    """``(in, out)`` of each linear layer: dims count what is concatenated before the layer."""
    dims = [CODE + 4, *network["dims"], 1]
    layers = []
    for i in range(len(dims) - 1):
        out = dims[i + 1]
        if i + 1 in network["latent_in"]:
            out -= dims[0]
        elif i + 1 < len(dims) - 1:
            out -= 4
        layers.append((dims[i], out))
    return layers


def weights(network: dict, seed: int = 0) -> dict[str, torch.Tensor]:
    """Smooth at first, so that there is something like a cell."""
    generator = torch.Generator().manual_seed(seed)
    state = {}
    for i, (inputs, out) in enumerate(widths(network)):
        scale = 0.03 if network["use_sine"] else 0.5
        state[f"module.lin{i}.weight"] = scale * torch.randn(out, inputs, generator=generator)
        state[f"module.lin{i}.bias"] = scale * torch.randn(out, generator=generator)
    return state


def forward(network: dict, state: dict, code, points, time: float) -> np.ndarray:
    """Their forward pass, in double precision."""
    n = len(points)
    xyzt = np.concatenate([points, np.full((n, 1), time)], axis=1)
    given = np.concatenate([np.tile(code, (n, 1)), xyzt], axis=1)
    x = given
    last = len(network["dims"])
    for i in range(last + 1):
        if i in network["latent_in"]:
            x = np.concatenate([x, given], axis=1)
        elif i:
            x = np.concatenate([x, xyzt], axis=1)
        weight, bias = (
            state[f"module.lin{i}.{part}"].double().numpy() for part in ("weight", "bias")
        )
        x = x @ weight.T + bias
        if i < last:
            x = np.sin(30 * x) if network["use_sine"] else np.maximum(x, 0)
    return np.tanh(x[:, 0]) if network["use_tanh"] else x[:, 0]


def rotation(a: float, b: float, c: float) -> np.ndarray:
    """Rx(a) · Ry(b) · Rz(c)."""
    ca, sa, cb, sb, cc, sc = (f(v) for v in (a, b, c) for f in (math.cos, math.sin))
    x = np.array([[1, 0, 0], [0, ca, -sa], [0, sa, ca]])
    y = np.array([[cb, 0, sb], [0, 1, 0], [-sb, 0, cb]])
    z = np.array([[cc, -sc, 0], [sc, cc, 0], [0, 0, 1]])
    return x @ y @ z


def write_experiment(folder: Path, *, network=None, epochs=(20, 1000), **specs) -> dict:
    """An experiment folder, and what is in its last epoch."""
    network = NETWORK | (network or {})
    for name in ("model_parameters", "latent_codes"):
        (folder / name).mkdir(parents=True)
    settings = SPECS | {"NetworkSpecs": network} | specs
    settings = {key: value for key, value in settings.items() if value is not None}
    (folder / "specs.json").write_text(json.dumps(settings))
    held: dict = {"network": network}
    for epoch in epochs:
        rng = np.random.default_rng(epoch)
        held |= {
            "state": weights(network, epoch),
            "latents": 0.1 * rng.standard_normal((SEQUENCES, CODE)).astype(np.float32),
            "angles": rng.standard_normal((SEQUENCES, 3)).astype(np.float32),
        }
        stem = f"e{epoch:04d}"
        torch.save(
            {"epoch": epoch, "model_state_dict": held["state"]},
            folder / "model_parameters" / f"{stem}_model.pth",
        )
        codes = folder / "latent_codes"
        savemat(codes / f"{stem}_lat_vecs.mat", {"lat_vecs": held["latents"]})
        savemat(codes / f"{stem}_rot_angs.mat", {"rot_ang": held["angles"]})
    return held
