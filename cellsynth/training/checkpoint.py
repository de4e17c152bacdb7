"""The state of a training on disk: one safetensors file, replaced whole or not at all."""

from __future__ import annotations

import json
import os
from dataclasses import asdict, dataclass
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from cellsynth.errors import FormatError, InputError, StorageError

__all__ = ["Progress", "load_checkpoint", "save_checkpoint"]


@dataclass(frozen=True)
class Progress:
    """How far a training has come.

    Attributes:
        step: Steps taken.
        seconds: Time spent in steps, over all runs.
        fingerprint: What the training is of (recipe, field, data, seed, length); a checkpoint of
            another training is refused.
    """

    step: int
    seconds: float
    fingerprint: str


def save_checkpoint(path: Path, tensors: dict[str, Tensor], progress: Progress) -> None:
    """Write ``tensors`` and ``progress``; a kill at any moment leaves the old file or the new.

    Raises:
        StorageError: The disk is full or not writable. The old checkpoint is still there.
    """
    part = path.with_name(path.name + ".part")
    try:
        save_file(
            {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()},
            part,
            metadata={"progress": json.dumps(asdict(progress))},
        )
        with part.open("rb") as file:
            os.fsync(file.fileno())
        part.replace(path)
    except (OSError, SafetensorError) as error:
        part.unlink(missing_ok=True)
        raise StorageError(f"{path}: cannot write the checkpoint: {error}") from error


def load_checkpoint(
    path: Path, fingerprint: str | None = None
) -> tuple[dict[str, Tensor], Progress]:
    """The tensors and the progress of a checkpoint, on the CPU.

    Args:
        path: The file.
        fingerprint: What the training is of; None takes the checkpoint of any.

    Raises:
        FormatError: The file is not a checkpoint of ours.
        InputError: It is of another training.
    """
    try:
        with safe_open(path, framework="pt") as file:
            progress = Progress(**json.loads((file.metadata() or {})["progress"]))
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except (SafetensorError, KeyError, TypeError, ValueError) as error:
        raise FormatError(
            f"{path}: not a training checkpoint ({error}); remove it or train without --resume"
        ) from error
    if not all(torch.isfinite(t).all() for t in tensors.values() if t.is_floating_point()):
        raise FormatError(f"{path}: holds numbers that are not finite; train without --resume")
    if fingerprint not in (None, progress.fingerprint):
        raise InputError(
            f"{path}: belongs to a training with other data or settings; "
            "give the same options again, or --overwrite to start anew"
        )
    return tensors, progress
