"""A small data set of pairs: discs that drift, brighter inside, with noise."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import tifffile

SIDE = 48


def discs(t: int, side: int = SIDE) -> np.ndarray:
    """Labels ``(y, x)`` of two discs in frame ``t``."""
    y, x = np.mgrid[:side, :side]
    labels = np.zeros((side, side), np.uint16)
    labels[(y - 14 - t) ** 2 + (x - 16) ** 2 < 64] = 1
    labels[(y - 33) ** 2 + (x - 30 + t) ** 2 < 49] = 2
    return labels


def write_bright_pairs(
    root: Path, *, sequences: int = 3, frames: int = 3, depth: int | None = None, dark: bool = False
) -> Path:
    """As :func:`write_pairs`, on backgrounds of which one side is brighter.

    Cell 1 of sequence n has 100·n counts more than what lies around it, cell 2 half as many; or
    less, where cells are to be dark.
    """
    for n in range(1, sequences + 1):
        masks, images = root / f"{n:02d}_GT" / "TRA", root / f"{n:02d}"
        masks.mkdir(parents=True)
        images.mkdir()
        for t in range(frames):
            labels = discs(t)
            image = 1000 + 5.0 * np.arange(SIDE) + np.zeros(labels.shape)
            if depth:
                labels = np.stack([labels * (0 < z < depth - 1) for z in range(depth)])
                labels, image = labels.astype(np.uint16), np.stack([image] * depth)
            image += np.array([0, 100, 50])[labels] * (-n if dark else n)
            image += np.random.default_rng([n, t]).normal(0, 5, image.shape)
            tifffile.imwrite(masks / f"man_track{t:03d}.tif", labels, photometric="minisblack")
            counts = image.astype(np.uint16)
            tifffile.imwrite(images / f"t{t:03d}.tif", counts, photometric="minisblack")
        (masks / "man_track.txt").write_text(f"1 0 {frames - 1} 0\n2 0 {frames - 1} 0\n")
    return root


def counts_of(labels: np.ndarray, t: int, dtype: str = "uint16") -> np.ndarray:
    rng = np.random.default_rng(t)
    return (40 + 100 * (labels > 0) + rng.normal(0, 5, labels.shape)).astype(dtype)


def write_pairs(root: Path, *, frames: int = 3, depth: int | None = None, dtype="uint16") -> Path:
    """``root`` with one sequence; flat, or with so many slices."""
    masks, images = root / "01_GT" / "TRA", root / "01"
    masks.mkdir(parents=True)
    images.mkdir()
    for t in range(frames):
        labels = discs(t)
        if depth:
            labels = np.stack([labels * (0 < z < depth - 1) for z in range(depth)]).astype("uint16")
        tifffile.imwrite(masks / f"man_track{t:03d}.tif", labels, photometric="minisblack")
        image = counts_of(labels, t, dtype)
        tifffile.imwrite(images / f"t{t:03d}.tif", image, photometric="minisblack")
    (masks / "man_track.txt").write_text(f"1 0 {frames - 1} 0\n2 0 {frames - 1} 0\n")
    return root
