"""A preset ready to be asked: its decoder with the learned codes and rotations."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from cellsynth.errors import InputError
from cellsynth.field.decoder import Decoder
from cellsynth.field.folded import FoldedDecoder
from cellsynth.geometry import euler_to_matrix
from cellsynth.presets.bundle import Bundle
from cellsynth.presets.models import Preset

__all__ = ["CellModel", "pick_device"]


@dataclass(frozen=True)
class CellModel:
    """What generates cells.

    Attributes:
        preset: What the preset says.
        decoder: The trained field.
        latents: Learned codes ``(n, latent_dim)``.
        rotations: Learned rotations ``(n, 3, 3)``.
    """

    preset: Preset
    decoder: Decoder
    latents: NDArray[np.float32]
    rotations: NDArray[np.float64]

    @classmethod
    def from_bundle(cls, bundle: Bundle, device: str = "cpu") -> CellModel:
        """The model of a verified bundle, on ``device``."""
        tensors = bundle.tensors()
        decoder = Decoder(bundle.preset.field)
        decoder.load_state_dict(
            {
                name.removeprefix("field."): torch.from_numpy(array)
                for name, array in tensors.items()
                if name.startswith("field.")
            }
        )
        decoder.requires_grad_(False).to(device)
        angles = torch.from_numpy(tensors["rotations"]).double()
        return cls(bundle.preset, decoder, tensors["latents"], euler_to_matrix(angles).numpy())

    def at(
        self, latent: NDArray[np.float32], time: float, rotation: NDArray[np.float64]
    ) -> FoldedDecoder:
        """The field of the cell of that code, turned by ``rotation``, at one time in [-1, 1]."""
        return FoldedDecoder(self.decoder, torch.from_numpy(latent), time, rotation)


def pick_device(name: str) -> str:
    """The torch device of that name; ``auto`` is CUDA where there is one, else the CPU.

    Raises:
        InputError: No such device here.
    """
    if name == "auto":
        return "cuda" if torch.cuda.is_available() else "cpu"
    try:
        torch.zeros(1, device=name)
    except (RuntimeError, AssertionError) as error:
        reason = str(error).splitlines()[0]
        raise InputError(
            f"device {name!r} cannot be used here: {reason}; use auto or cpu"
        ) from None
    return name
