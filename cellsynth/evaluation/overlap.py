"""How well a trained field gives back the cells it was trained on."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from cellsynth.evaluation.agreement import dice
from cellsynth.field.decoder import Decoder
from cellsynth.field.folded import FoldedDecoder
from cellsynth.field.threads import cores, one_thread_each
from cellsynth.geometry import Grid, frame_times
from cellsynth.presets.models import Bound
from cellsynth.rendering.occupancy import occupancy
from cellsynth.shapes.store import ShapeStore

__all__ = ["Fit", "rebuilt_mask", "training_dice"]


@dataclass(frozen=True)
class Fit:
    """What is compared with the training masks.

    Attributes:
        decoder: The field.
        latents: Codes ``(sequences, latent_dim)``.
        rotations: Learned rotations ``(sequences, 3, 3)``.
        bound: How steep the field is.
    """

    decoder: Decoder
    latents: NDArray[np.float32]
    rotations: NDArray[np.float64]
    bound: Bound


def rebuilt_mask(
    fit: Fit, i: int, time: float, grid: Grid, alignment: NDArray[np.float64]
) -> NDArray[np.bool_]:
    """Training cell ``i`` as the field has it at a time in [-1, 1], where it was observed.

    Args:
        fit: The trained field with its codes and rotations.
        i: Number of the sequence.
        time: Normalised time.
        grid: Voxels in Ω.
        alignment: How the cell was aligned, ``(3, 3)``, as of :meth:`ShapeStore.grid`.
    """
    field = FoldedDecoder(
        fit.decoder, torch.from_numpy(fit.latents[i]), time, alignment @ fit.rotations[i]
    )
    return occupancy(field, grid, bound=fit.bound).to_dense()


def training_dice(
    fit: Fit,
    store: ShapeStore,
    *,
    times: NDArray[np.float64] | None = None,
    where: Iterable[tuple[int, int]] | None = None,
    on_progress: Callable[[int, int], None] | None = None,
) -> NDArray[np.float64]:
    """DSC of the field against the training masks, on the masks' own voxels.

    Each cell is rendered where it was observed, at the voxel size it was segmented at, so nothing
    is resampled.

    Args:
        fit: The trained field with its codes and rotations.
        store: The training data.
        times: Normalised times of the store's frames; from -1 to 1 by default.
        where: Sequence and frame pairs; all of them by default.
        on_progress: Called with frames done and frames in all.

    Returns:
        ``(sequences, frames)``, NaN where not asked for.
    """
    pairs = list(where if where is not None else np.ndindex(store.n_sequences, store.n_frames))
    found = np.full((store.n_sequences, store.n_frames), np.nan)
    times = frame_times(store.n_frames) if times is None else times

    def one(pair: tuple[int, int]) -> float:
        i, t = pair
        return dice(rebuilt_mask(fit, i, float(times[t]), *store.grid(i, t)), store.mask(i, t))

    with one_thread_each():
        pool = ThreadPoolExecutor(cores())
        try:
            for done, (pair, value) in enumerate(zip(pairs, pool.map(one, pairs), strict=True), 1):
                found[pair] = value
                if on_progress:
                    on_progress(done, len(pairs))
        finally:
            pool.shutdown(cancel_futures=True)
    return found
