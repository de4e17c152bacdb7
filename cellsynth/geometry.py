"""Ω, voxel grids, times, rotations and the physical scale. Nobody else converts between them.

Ω = [-1, 1]³ holds one cell. Arrays are ``(t, z, y, x)``; points are ``(…, 3)`` in the order
x, y, z, as in the paper; :class:`Grid` owns the flip between the two. A preset's
``half_extent_um`` is half the side of Ω in micrometres and the only link to physical units.

Cells turn freely, so what the field knows must not depend on the orientation of the cube: the
field is trained, and is asked, inside the unit ball only. Outside the ball there is no cell. (The
paper's theorem assumes a spherical Ω for the same reason, supplement, "infinite sample limit".)
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from cellsynth.errors import InputError

if TYPE_CHECKING:
    import torch

__all__ = [
    "Grid",
    "Index",
    "Triple",
    "as_index",
    "euler_to_matrix",
    "frame_times",
    "matrix_to_euler",
    "random_rotation",
    "rotation_angle",
    "rotations_between",
    "rotvec_to_matrix",
    "spread_frames",
    "times_at_interval",
]

Triple = tuple[float, float, float]
Index = tuple[int, int, int]


def as_index(values: Any) -> Index:
    """Three whole numbers ``(z, y, x)`` of any kind as plain ints."""
    z, y, x = values
    return int(z), int(y), int(x)


@dataclass(frozen=True)
class Grid:
    """A regular voxel grid in Ω.

    Attributes:
        shape: Number of voxels ``(z, y, x)``.
        spacing: Distance of neighbouring voxel centres ``(z, y, x)``, in units of Ω.
        origin: Centre of voxel ``[0, 0, 0]`` as ``(z, y, x)``, in units of Ω.
    """

    shape: tuple[int, int, int]
    spacing: Triple
    origin: Triple

    def __post_init__(self) -> None:
        if any(n < 1 for n in self.shape):
            raise InputError(f"grid: shape must be at least 1 on every axis, got {self.shape}")
        if not all(math.isfinite(s) and s > 0 for s in self.spacing):
            raise InputError(f"grid: spacing must be above 0 on every axis, got {self.spacing}")

    @classmethod
    def over_omega(cls, shape: tuple[int, int, int]) -> Grid:
        """The grid of ``shape`` voxels that fills Ω: centres at -1 + (2i+1)/n on each axis."""
        if any(n < 1 for n in shape):
            raise InputError(f"grid: shape must be at least 1 on every axis, got {shape}")
        z, y, x = shape
        return cls(shape, (2 / z, 2 / y, 2 / x), (1 / z - 1, 1 / y - 1, 1 / x - 1))

    @classmethod
    def from_voxel_size(cls, voxel_size_um: Triple, half_extent_um: float) -> Grid:
        """The largest grid of that voxel size, ``(z, y, x)`` in µm, that lies centred inside Ω."""
        if not all(math.isfinite(s) and s > 0 for s in voxel_size_um):
            raise InputError(f"voxel size must be above 0 on every axis, got {voxel_size_um}")
        side_um = 2 * half_extent_um
        if max(voxel_size_um) > side_um:
            raise InputError(
                f"voxel size {voxel_size_um} µm does not fit: Ω is {side_um:g} µm wide; "
                "use smaller voxels"
            )
        # The small slack keeps 2.0 / 0.1 = 20 voxels from becoming 19 by rounding.
        shape = as_index(math.floor(side_um / s + 1e-9) for s in voxel_size_um)
        return cls.centred(shape, voxel_size_um, half_extent_um)

    @classmethod
    def centred(cls, shape: Index, voxel_size_um: Triple, half_extent_um: float) -> Grid:
        """The grid of these voxels, ``(z, y, x)``, the last in µm, whose middle is that of Ω."""
        spacing = tuple(s / half_extent_um for s in voxel_size_um)
        origin = tuple(-(n - 1) / 2 * s for n, s in zip(shape, spacing, strict=True))
        return cls(shape, _triple(spacing), _triple(origin))

    def __str__(self) -> str:
        return f"{' × '.join(map(str, self.shape))} voxels"

    @contextmanager
    def in_memory(self) -> Iterator[None]:
        """Within, memory that is too small for this grid is an `InputError` that names it."""
        try:
            yield
        except MemoryError as error:
            raise InputError(
                f"a grid of {self} does not fit in memory; give larger voxels"
            ) from error

    @property
    def size(self) -> int:
        """Number of voxels."""
        z, y, x = self.shape
        return z * y * x

    def voxel_size_um(self, half_extent_um: float) -> Triple:
        """Voxel size ``(z, y, x)`` in µm for an Ω of that half extent."""
        z, y, x = self.spacing
        return z * half_extent_um, y * half_extent_um, x * half_extent_um

    def voxel_to_coords(self, index: NDArray[Any]) -> NDArray[np.float64]:
        """Points of Ω, ``(…, 3)`` in x, y, z, of voxel positions ``(…, 3)`` in z, y, x."""
        zyx = np.asarray(self.origin) + np.asarray(index, np.float64) * np.asarray(self.spacing)
        return np.ascontiguousarray(zyx[..., ::-1])

    def coords_to_voxel(self, coords: NDArray[Any]) -> NDArray[np.float64]:
        """Fractional voxel positions ``(…, 3)`` in z, y, x of points ``(…, 3)`` in x, y, z."""
        zyx = np.asarray(coords, np.float64)[..., ::-1]
        return np.asarray((zyx - np.asarray(self.origin)) / np.asarray(self.spacing))


def _triple(values: Any) -> Triple:
    z, y, x = values
    return float(z), float(y), float(x)


def frame_times(n_frames: int) -> NDArray[np.float64]:
    """Normalised times of ``n_frames`` frames: -1 + 2i/(T-1), and 0 where there is one frame."""
    if n_frames < 1:
        raise InputError(f"number of frames must be at least 1, got {n_frames}")
    return np.zeros(1) if n_frames == 1 else np.linspace(-1.0, 1.0, n_frames)


def spread_frames(n_frames: int, most: int | None = None) -> tuple[int, ...]:
    """Numbers of at most so many frames, evenly from the first to the last; None is all."""
    wanted = np.linspace(0, n_frames - 1, min(n_frames, most or n_frames))
    return tuple(np.rint(wanted).astype(int).tolist())


def times_at_interval(
    interval_s: float, *, n_frames: int, frame_interval_s: float
) -> NDArray[np.float64]:
    """Normalised times of frames ``interval_s`` apart, as many as fit in a cell's sequence.

    The sequence is ``n_frames`` frames at ``frame_interval_s``, from -1 to 1. A last frame that
    comes late by less than a twentieth of an interval counts as on time.
    """
    duration_s = (n_frames - 1) * frame_interval_s
    count = math.floor(duration_s / interval_s + 0.05) + 1
    if count == n_frames:
        return frame_times(n_frames)
    times = -1 + 2 * interval_s * np.arange(count) / duration_s
    return np.asarray(np.minimum(times, 1.0))


def random_rotation(rng: np.random.Generator) -> NDArray[np.float64]:
    """A proper rotation ``(3, 3)``, uniform on SO(3): a normal 4-vector is a uniform quaternion.

    Source: Shoemake 1992, "Uniform random rotations"; Muller 1959 for the sphere.
    """
    w, x, y, z = rng.standard_normal(4)
    n = 2.0 / (w * w + x * x + y * y + z * z)
    return np.array(
        [
            [1 - n * (y * y + z * z), n * (x * y - z * w), n * (x * z + y * w)],
            [n * (x * y + z * w), 1 - n * (x * x + z * z), n * (y * z - x * w)],
            [n * (x * z - y * w), n * (y * z + x * w), 1 - n * (x * x + y * y)],
        ]
    )


def rotation_angle(a: NDArray[Any], b: NDArray[Any]) -> float:
    """Angle in degrees of the rotation that takes ``a`` to ``b``, both ``(3, 3)``."""
    # The chord ‖A - B‖ = 2√2 sin(θ/2) keeps small angles exact, where the trace loses them.
    chord = float(np.linalg.norm(np.asarray(a, np.float64) - np.asarray(b, np.float64)))
    return math.degrees(2 * math.asin(min(1.0, chord / (2 * math.sqrt(2)))))


def euler_to_matrix(angles: torch.Tensor) -> torch.Tensor:
    """Rotation matrices ``(…, 3, 3)`` of Euler angles ``(…, 3)`` in radians, differentiable.

    Convention ``XYZ``, as PyTorch3D's ``euler_angles_to_matrix``: Rx(a) · Ry(b) · Rz(c).
    PyTorch3D computes it where it is installed (extra ``pytorch3d``), RoMa otherwise.
    """
    matrix: torch.Tensor
    try:
        from pytorch3d.transforms import euler_angles_to_matrix
    except ImportError:
        import roma

        matrix = roma.euler_to_rotmat("XYZ", angles)
    else:
        matrix = euler_angles_to_matrix(angles, "XYZ")
    return matrix


def matrix_to_euler(matrix: torch.Tensor) -> torch.Tensor:
    """Euler angles ``(…, 3)`` in radians, ``XYZ``, of rotation matrices ``(…, 3, 3)``."""
    angles: torch.Tensor
    try:
        from pytorch3d.transforms import matrix_to_euler_angles
    except ImportError:
        import roma

        angles = roma.rotmat_to_euler("XYZ", matrix)
    else:
        angles = matrix_to_euler_angles(matrix, "XYZ")
    return angles


def rotations_between(
    a: NDArray[np.float64], b: NDArray[np.float64], shares: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Rotations ``(n, 3, 3)`` on the shortest way from ``a`` to ``b``, those too ``(3, 3)``.

    The way turns about one axis at one speed; ``shares`` ``(n,)`` of it are gone, 0 is ``a``.
    """
    import roma
    import torch

    turn = roma.rotmat_to_rotvec(torch.from_numpy(a.T @ b))
    part = rotvec_to_matrix(torch.from_numpy(shares)[:, None] * turn)
    return np.asarray(a @ part.numpy())


def rotvec_to_matrix(rotvec: torch.Tensor) -> torch.Tensor:
    """Rotation matrices ``(…, 3, 3)`` of rotation vectors ``(…, 3)`` in radians, differentiable.

    Source: Rodrigues' formula.
    """
    import roma

    matrix: torch.Tensor = roma.rotvec_to_rotmat(rotvec)
    return matrix
