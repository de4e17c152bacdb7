"""The numbers of a preset: names and shapes, to and from safetensors bytes. Never a pickle."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import PurePath

import numpy as np
import safetensors.numpy
from numpy.typing import NDArray
from safetensors import SafetensorError

from cellsynth.errors import BundleError
from cellsynth.presets.judge import nearest
from cellsynth.presets.models import FieldSpec, TextureSpec

__all__ = [
    "decode_tensors",
    "encode_tensors",
    "expected_tensors",
    "expected_texture",
    "refuse_pickle",
]

Tensors = dict[str, NDArray[np.float32]]

_PICKLE_NAMES = {".pt", ".pth", ".pkl", ".pickle", ".ckpt", ".joblib"}


def expected_tensors(spec: FieldSpec, n_sequences: int) -> dict[str, tuple[int, ...]]:
    """Shape of every tensor of a preset, by name.

    ``field.layers.{i}.weight`` is ``(out, in)``, ``field.layers.{i}.bias`` ``(out,)``, the output
    layer being the last; ``field.experts.{i}``, ``(experts, out, previous layer)``, are the
    experts of the hidden layer after ``field.layers.{i}``, and ``field.mixing`` is ``(experts,
    latent_dim)``; ``latents`` is ``(n, latent_dim)``; ``rotations`` is ``(n, 3)``, Euler angles
    XYZ in radians, zeros where the field has no rotations.
    """
    shapes: dict[str, tuple[int, ...]] = {}
    layers = spec.layer_shapes()
    for i, (out, inputs) in enumerate(layers):
        shapes[f"field.layers.{i}.weight"] = (out, inputs)
        shapes[f"field.layers.{i}.bias"] = (out,)
    if spec.experts:
        shapes["field.mixing"] = (spec.experts, spec.latent_dim)
        for i in range(spec.hidden_layers - 1):
            shapes[f"field.experts.{i}"] = (spec.experts, layers[i + 1][0], layers[i][0])
    return {**shapes, "latents": (n_sequences, spec.latent_dim), "rotations": (n_sequences, 3)}


def expected_texture(spec: TextureSpec) -> dict[str, tuple[int, ...]]:
    """Shape of every tensor of a texture's generator, by name.

    Convolutions have ``weight`` and ``bias``, the normalisation after one ``mean`` and ``var``.
    """
    net = spec.generator
    shapes: dict[str, tuple[int, ...]] = {}

    def normed(conv: str, norm: str, inputs: int, outputs: int, *, size: int = 3) -> None:
        shapes[f"{conv}.weight"] = (outputs, inputs, size, size)
        shapes[f"{conv}.bias"] = (outputs,)
        shapes[f"{norm}.mean"] = shapes[f"{norm}.var"] = (outputs,)

    def residual(name: str, width: int) -> None:
        for half in ("first", "second"):
            normed(f"{name}.{half}.1", f"{name}.{half}.2", width, width)

    def raised(name: str, inputs: int, outputs: int) -> None:
        if net.upsampling == "resize":
            normed(f"{name}.1.1", f"{name}.1.2", inputs, outputs)
        else:
            normed(f"{name}.0", f"{name}.1", inputs, outputs)
            shapes[f"{name}.0.weight"] = (inputs, outputs, 3, 3)  # transposed

    def head(name: str, width: int) -> None:
        shapes[f"{name}.image.weight"] = (1, width, 7, 7)
        shapes[f"{name}.image.bias"] = (1,)
        if net.noise:
            shapes[f"{name}.strength.weight"] = (1, width, 1, 1)
            shapes[f"{name}.strength.bias"] = (1,)
            shapes[f"{name}.kernel.weight"] = (1, 1, 5, 5)

    seen = spec.inputs - net.noise
    width, layer = net.channels, 0
    normed("body.0.1", "body.0.2", seen, width, size=7)
    for layer in range(1, net.downsamplings + 1):
        normed(f"body.{layer}.1", f"body.{layer}.2", width, 2 * width)
        width *= 2
    for _ in range(net.blocks):
        layer += 1
        residual(f"body.{layer}", width)
    for _ in range(net.downsamplings):
        layer += 1
        raised(f"body.{layer}", width, width // 2)
        width //= 2
    head("head", width)
    if net.enhancer:
        half = width // 2
        normed("lower.0.1", "lower.0.2", seen, half, size=7)
        normed("lower.1.1", "lower.1.2", half, width)
        for i in range(net.enhancer_blocks):
            residual(f"upper.{i}", width)
        raised(f"upper.{net.enhancer_blocks}", width, half)
        head("fine", half)
    return shapes


def encode_tensors(
    tensors: Mapping[str, NDArray[np.floating]], expected: Mapping[str, tuple[int, ...]], where: str
) -> bytes:
    """``tensors`` as safetensors bytes; equal tensors give equal bytes.

    They are float32, or float16 where that loses nothing.

    Raises:
        BundleError: A name, shape, type or value that does not fit; begins with ``where``.
    """
    for name, tensor in tensors.items():
        if not np.issubdtype(np.asarray(tensor).dtype, np.floating):
            raise BundleError(f"{where}: {name} must be floating point, got {tensor.dtype}")
    plain = {k: np.ascontiguousarray(v, dtype=np.float32) for k, v in sorted(tensors.items())}
    _check(plain, expected, where)
    return safetensors.numpy.save({name: _shortened(plain[name]) for name in plain})


def _shortened(tensor: NDArray[np.float32]) -> NDArray[np.floating]:
    """In 16 bits, if these numbers are among those of 16 bits."""
    with np.errstate(over="ignore"):
        short = tensor.astype(np.float16)
    return short if np.array_equal(short, tensor) else tensor


def decode_tensors(data: bytes, expected: Mapping[str, tuple[int, ...]], where: str) -> Tensors:
    """The tensors in ``data``, each a writable array of its own.

    Raises:
        BundleError: A pickle, no safetensors file, or tensors that do not fit ``expected``.
    """
    refuse_pickle(data, where)
    try:
        found = safetensors.numpy.load(data)
    except (SafetensorError, ValueError, KeyError) as error:
        raise BundleError(f"{where}: no valid safetensors file ({error})") from None
    _check(found, expected, where)
    return {name: np.array(found[name], dtype=np.float32) for name in expected}


def refuse_pickle(data: bytes, where: str) -> None:
    """Raise BundleError if ``data``, or the file name that ``where`` ends with, is a pickle's.

    PyTorch writes its checkpoints as a pickle or as a zip around one, so a zip counts too.
    """
    # The length that opens a safetensors file may look like a pickle's opcode, so what follows
    # it decides first: an opening brace.
    safe = data[8:9] == b"{" and int.from_bytes(data[:8], "little") <= len(data) - 8
    opcode = data[:1] == b"\x80" and data[1:2] in {b"\x02", b"\x03", b"\x04", b"\x05"}
    named = PurePath(where).suffix.lower() in _PICKLE_NAMES
    if named or (not safe and (opcode or data[:4] == b"PK\x03\x04")):
        raise BundleError(
            f"{where} is a pickle; cellsynth neither reads nor writes pickles, "
            "since opening one can run any program; offer safetensors"
        )


def _check(
    found: Mapping[str, NDArray[np.generic]], expected: Mapping[str, tuple[int, ...]], where: str
) -> None:
    for name in found:
        if name not in expected:
            absent = [known for known in expected if known not in found]
            raise BundleError(f"{where}: tensor {name} is unknown{nearest(name, absent)}")
    for name, shape in expected.items():
        if name not in found:
            raise BundleError(f"{where}: tensor {name} is missing, expected shape {shape}")
        tensor = found[name]
        if tensor.shape != shape:
            raise BundleError(f"{where}: {name} has shape {tensor.shape}, expected {shape}")
        if tensor.dtype not in (np.float32, np.float16):
            raise BundleError(f"{where}: {name} is {tensor.dtype}, expected float32 or float16")
        finite = np.isfinite(tensor)
        if not finite.all():
            place = tuple(map(int, np.argwhere(~finite)[0]))
            raise BundleError(f"{where}: {name}{list(place)} is {tensor[place]}, expected a number")
