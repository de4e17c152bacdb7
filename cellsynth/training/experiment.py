"""An experiment folder of the paper's authors: settings, weights, codes and angles of one epoch.

Layout (their code at 1484f06)::

    specs.json                              settings
    model_parameters/eNNNN_model.pth        {"epoch", "model_state_dict"}; module.lin0.weight …
    latent_codes/eNNNN_lat_vecs.mat         lat_vecs (n, CodeLength)
    latent_codes/eNNNN_rot_angs.mat         rot_ang (n, 3), Euler angles XYZ in radians

Their network is ours under other names. Layers count from 0; what a layer takes besides the layer
before it stands in the same order, code, x, y, z, t; coordinates go into the output layer too.
Their rows x·R are our Rᵀx, and their times are ours.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field

from cellsynth.errors import FormatError, InputError, MissingError
from cellsynth.presets.base import Integers
from cellsynth.presets.judge import judge
from cellsynth.presets.models import COORDS, FieldSpec

__all__ = ["Experiment", "NetworkSpecs", "Specs", "read_experiment"]

SPECS = "specs.json"
_WEIGHTS = re.compile(r"e([0-9]+)_model\.pth")

# Values are distances over 32 voxels or more: outside they are cut off there, and each frame is
# divided by its largest. So the plateau around a cell lies at 1, or lower where the cell is thicker
# than 32 voxels, and says nothing but "far". Up to half of 1 the field is still a slope in nearly
# every frame, and steep enough for blocks wide enough to begin with.
TRUNCATION = 0.5
OMEGA_0 = 30.0  # written into their code


class _Theirs(BaseModel):
    model_config = ConfigDict(frozen=True, strict=True, allow_inf_nan=False)


class NetworkSpecs(_Theirs):
    """Their network. A key that is unknown may change it, and is refused."""

    model_config = ConfigDict(extra="forbid")

    dims: Integers = Field(min_length=1)
    latent_in: Integers = ()
    xyz_in_all: bool | None = None
    use_tanh: bool = False
    use_sine: bool = True
    norm_layers: Integers | None = None
    weight_norm: bool = False
    dropout: Integers | None = None
    dropout_prob: float = 0.0
    latent_dropout: bool = False
    positional_encoding: bool = False
    fourier_degree: int = 1


class Schedule(_Theirs):
    """A rate's course: the weights', the codes' or the rotations'."""

    initial: float = Field(alias="Initial", gt=0, le=1)


class Specs(_Theirs):
    """What of ``specs.json`` says what the model is, and how it was trained."""

    code_length: int = Field(alias="CodeLength", ge=1)
    n_sequences: int = Field(alias="NumSequences", ge=1)
    network: NetworkSpecs = Field(alias="NetworkSpecs")
    description: str | list[str] = Field("", alias="Description")
    n_frames: int | None = Field(None, alias="ReconstructionFramesPerSequence", ge=1)
    optimise_rotations: bool = Field(True, alias="OptimizeRot")
    clamp: bool = Field(False, alias="ClampSDFminmax")
    clamp_at: float = Field(1.0, alias="ClampingDistance", gt=0)
    frames_per_batch: int | None = Field(None, alias="FramesPerBatch", ge=1)
    code_init_sigma: float | None = Field(None, alias="CodeInitStdDev", ge=0)
    schedules: list[Schedule] = Field([], alias="LearningRateSchedule")


@dataclass(frozen=True)
class Experiment:
    """One epoch of an experiment, in our terms.

    Attributes:
        folder: Where it lies.
        epoch: Which.
        specs: Its settings.
        field_spec: The network.
        weights: Its weights, named as in a preset: ``field.layers.0.weight`` …
        latents: Codes ``(n, latent_dim)``.
        angles: Euler angles ``(n, 3)``, zeros where it learned none.
    """

    folder: Path
    epoch: int
    specs: Specs
    field_spec: FieldSpec
    weights: dict[str, NDArray[np.float32]] = field(repr=False)
    latents: NDArray[np.float32] = field(repr=False)
    angles: NDArray[np.float32] = field(repr=False)


def read_experiment(folder: Path, epoch: int | None = None) -> Experiment:
    """Read the model of ``epoch``, the last one by default. Nothing in the folder is executed.

    Raises:
        MissingError: No such folder, or a file of it is not there.
        InputError: There is no such epoch.
        FormatError: A file that is damaged or does not fit the others, or a network that differs
            from ours.
    """
    if not folder.is_dir():
        raise MissingError(f"{folder}: no such folder; expected an experiment with {SPECS} in it")
    specs = _read_specs(folder / SPECS)
    spec = _field(specs, folder / SPECS)
    path, epoch = _choose(folder / "model_parameters", epoch)
    weights = _read_weights(path, spec)
    codes = folder / "latent_codes"
    shape = (specs.n_sequences, specs.code_length)
    stem = path.name.removesuffix("_model.pth")
    latents = _read_matrix(codes / f"{stem}_lat_vecs.mat", "lat_vecs", shape)
    angles_path = codes / f"{stem}_rot_angs.mat"
    if specs.optimise_rotations:
        angles = _read_matrix(angles_path, "rot_ang", (specs.n_sequences, 3))
    else:
        angles = np.zeros((specs.n_sequences, 3), np.float32)
    return Experiment(folder, epoch, specs, spec, weights, latents, angles)


def _read_specs(path: Path) -> Specs:
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise MissingError(
            f"{path} is missing; expected the settings of an experiment of the authors' code"
        ) from None
    except (OSError, ValueError, RecursionError) as error:
        raise FormatError(f"{path}: not readable as JSON: {_reason(error)}") from error
    if not isinstance(found, dict):
        raise FormatError(f"{path}: not a JSON object, expected the settings of an experiment")
    return judge(Specs, found, str(path), FormatError)


def _field(specs: Specs, path: Path) -> FieldSpec:
    """Their network as ours.

    Raises:
        FormatError: It has parts that ours has not.
    """
    network = specs.network
    refused = {
        "xyz_in_all": (not network.xyz_in_all, "true"),
        "norm_layers": (bool(network.norm_layers), "none"),
        "weight_norm": (network.weight_norm, "false"),
        "dropout": (bool(network.dropout) and network.dropout_prob > 0, "none"),
        "latent_dropout": (network.latent_dropout, "false"),
        "positional_encoding": (network.positional_encoding, "false"),
    }
    for key, (wrong, expected) in refused.items():
        if wrong:
            got = json.dumps(getattr(network, key))
            raise FormatError(
                f"{path}: NetworkSpecs.{key} is {got}, expected {expected}; such a network "
                "cannot be imported"
            )
    dims, latent_in = network.dims, sorted(network.latent_in)
    if latent_in and not 1 <= latent_in[0] <= latent_in[-1] < len(dims):
        raise FormatError(
            f"{path}: NetworkSpecs.latent_in is {latent_in}, expected layers 1 to {len(dims) - 1}; "
            "such a network cannot be imported"
        )
    # What is concatenated before the next layer is part of a layer's width.
    units = {
        width - COORDS - (specs.code_length if layer in latent_in else 0)
        for layer, width in enumerate(dims, start=1)
    }
    alike = len(set(dims)) == 1
    if not alike and len(units) > 1:
        raise FormatError(
            f"{path}: NetworkSpecs.dims {list(dims)} gives layers of {sorted(units)} units, "
            "expected one number; such a network cannot be imported"
        )
    return judge(
        FieldSpec,
        {
            "kind": "siren" if network.use_sine else "relu",
            "hidden_layers": len(dims),
            "width": dims[0] if alike else units.pop(),
            "widths_include_inputs": alike,
            "latent_dim": specs.code_length,
            "latent_layers": [1, *(layer + 1 for layer in latent_in)],
            "coords_layers": "all+output",
            "omega_0": OMEGA_0,
            "equivariant": specs.optimise_rotations,
            "output": "tanh" if network.use_tanh else "linear",
            # Where they cut off values before comparing them, values beyond are arbitrary.
            "truncation": min(TRUNCATION, specs.clamp_at) if specs.clamp else TRUNCATION,
            "domain": "cube",
        },
        str(path),
        FormatError,
    )


def _choose(folder: Path, epoch: int | None) -> tuple[Path, int]:
    """The file of the weights, and its epoch."""
    found = {}
    if folder.is_dir():
        matches = [(_WEIGHTS.fullmatch(path.name), path) for path in sorted(folder.iterdir())]
        found = {int(match[1]): path for match, path in matches if match}
    if not found:
        raise MissingError(f"{folder}: no weights in it, expected files such as e2000_model.pth")
    if epoch is not None and epoch not in found:
        known = ", ".join(map(str, sorted(found)))
        raise InputError(f"{folder}: no epoch {epoch}, expected one of {known}")
    chosen = max(found) if epoch is None else epoch
    return found[chosen], chosen


def _read_weights(path: Path, spec: FieldSpec) -> dict[str, NDArray[np.float32]]:
    try:
        # Tensors and plain containers only; whatever could run a program is refused by PyTorch.
        found = torch.load(path, map_location="cpu", weights_only=True)
    # A damaged file can make the unpickler raise nearly anything.
    except Exception as error:
        raise FormatError(
            f"{path}: not readable as plain weights ({type(error).__name__}); a damaged file, or a "
            "pickle with more in it, which is not opened since it can run any program"
        ) from error
    state = found.get("model_state_dict") if isinstance(found, dict) else None
    if not isinstance(state, dict) or not all(torch.is_tensor(v) for v in state.values()):
        raise FormatError(f"{path}: holds no model_state_dict of tensors")
    theirs = {str(key).removeprefix("module."): tensor for key, tensor in state.items()}
    weights = {}
    for i, (out, inputs) in enumerate(spec.layer_shapes()):
        for part, shape in (("weight", (out, inputs)), ("bias", (out,))):
            tensor = theirs.pop(f"lin{i}.{part}", None)
            if tensor is None or tuple(tensor.shape) != shape:
                got = "is missing" if tensor is None else f"has shape {tuple(tensor.shape)}"
                raise FormatError(f"{path}: lin{i}.{part} {got}, expected {shape} by {SPECS}")
            weights[f"field.layers.{i}.{part}"] = _finite(tensor.float().numpy(), path, f"lin{i}")
    if theirs:
        raise FormatError(f"{path}: {min(theirs)} is not part of the network in {SPECS}")
    return weights


def _read_matrix(path: Path, name: str, shape: tuple[int, int]) -> NDArray[np.float32]:
    from scipy.io import loadmat

    if not path.is_file():
        raise MissingError(f"{path} is missing; expected {name} {shape}")
    try:
        found = loadmat(str(path), variable_names=[name]).get(name)
    # As above; MATLAB files of version 7.3 are among what cannot be read.
    except Exception as error:
        raise FormatError(
            f"{path}: not readable as a MATLAB file up to version 7: {_reason(error)}"
        ) from error
    if not isinstance(found, np.ndarray) or found.dtype.kind != "f" or found.shape != shape:
        got = f"{found.dtype} {found.shape}" if isinstance(found, np.ndarray) else "nothing"
        raise FormatError(f"{path}: {name} is {got}, expected floats {shape} by {SPECS}")
    return _finite(found, path, name)


def _finite(array: NDArray[Any], path: Path, name: str) -> NDArray[np.float32]:
    if not np.isfinite(array).all():
        raise FormatError(f"{path}: {name} holds NaN or infinity, expected numbers")
    return np.ascontiguousarray(array, np.float32)


def _reason(error: Exception) -> str:
    return " ".join(str(error).split()) or type(error).__name__
