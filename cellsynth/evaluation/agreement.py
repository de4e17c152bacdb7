"""How far two masks of one cell agree: their overlap, and the distance of their surfaces."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from cellsynth.errors import InputError
from cellsynth.evaluation.mask_surface import Surface

__all__ = ["SurfaceDistance", "dice", "surface_distance"]

QUANTILE = 0.95


def dice(a: NDArray[np.bool_], b: NDArray[np.bool_]) -> float:
    """Dice similarity coefficient 2|A∩B| / (|A| + |B|) of two masks; 1 if both are empty."""
    total = int(a.sum()) + int(b.sum())
    return 1.0 if total == 0 else 2 * int((a & b).sum()) / total


@dataclass(frozen=True)
class SurfaceDistance:
    """How far apart two surfaces are, in µm.

    Attributes:
        mean_um: Mean distance of a point of either surface to the other; both count half.
        p95_um: 95 % of either surface lie within this of the other.
    """

    mean_um: float
    p95_um: float


def surface_distance(a: Surface, b: Surface) -> SurfaceDistance:
    """Distance of two surfaces, each point weighted by the area that it stands for.

    Points lie half a voxel to a voxel apart, within half a voxel of the surface, and the nearest
    point is taken for the nearest place. What is the same is at 0; what is far apart looks nearer
    by up to a quarter of a voxel's longest side, since the points that stick out are found first.

    Raises:
        InputError: A surface without area.

    Source: Nikolov et al. 2021, "Clinically applicable segmentation of head and neck anatomy for
    radiotherapy", for weighting by area.
    """
    from scipy.spatial import KDTree

    if not (a.areas_um2.sum() > 0 and b.areas_um2.sum() > 0):
        raise InputError("surfaces to compare must have an area above 0")
    means, quantiles = [], []
    for one, other in ((a, b), (b, a)):
        distances, _ = KDTree(other.points_um).query(one.points_um)
        order = np.argsort(distances)
        below = np.cumsum(one.areas_um2[order])
        means.append(float(distances @ one.areas_um2) / float(below[-1]))
        at = int(np.searchsorted(below, QUANTILE * below[-1]))
        quantiles.append(float(distances[order[min(at, len(order) - 1)]]))
    return SurfaceDistance(sum(means) / 2, max(quantiles))
