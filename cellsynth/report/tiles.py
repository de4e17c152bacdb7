"""Projections of a sequence's frames, side by side on one sheet that a page animates.

Masks are shown as a lamp beside the viewer would light them: each ray belongs to the cell that
:func:`~cellsynth.texture.projection.project_labels` gives it to, and is as bright as that cell's
surface there faces the lamp. Images are their maximum projections. Both lie on square pixels, of
one size for a whole set, whatever the voxels are.
"""

from __future__ import annotations

import base64
import io
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from scipy.ndimage import gaussian_filter

from cellsynth.geometry import Index, Triple
from cellsynth.report.colours import COLOURS, colour_number
from cellsynth.shapes.cell_mask import bounding_box
from cellsynth.texture.projection import project_image, project_labels

__all__ = [
    "PAD",
    "Canvas",
    "Part",
    "Sheet",
    "Window",
    "image_sheet",
    "mask_sheet",
    "project_frame",
    "shrink",
]

# Rows and columns of a picture, which may lie beyond it.
Window = tuple[NDArray[np.int64], NDArray[np.int64]]

LEVELS = 20  # of brightness: with twelve colours and none, what a palette of 256 holds
LAMP = (-0.42, -0.52, 0.74)  # direction: x, y, towards the viewer
AMBIENT = 0.3
SMOOTHING_PX = 1.4  # of the surface at least, without which every slice is a step
SMOOTHING_VOXELS = 0.9  # and no less than this …
WIDEST_PX = 3.5  # … up to here
WINDOW = (0.5, 99.8)  # percentiles of an image that are shown black and white
QUALITY = 82
COLUMNS = 6
# Masks coarser than a picture are drawn rounded off; more cells than this would take too long.
ROUNDED_CELLS = 16
ROUNDED_FROM = 1.25  # pixels a voxel
ROUNDING = 1.0  # voxels, standard deviation
PAD = 2  # voxels around them, for what is rounded off outwards


@dataclass(frozen=True)
class Canvas:
    """Where projections are drawn.

    Attributes:
        pixel: Side of a pixel, in the unit of `voxel`.
        voxel: ``(z, y, x)``.
        shape: Voxels ``(y, x)`` of a frame.
    """

    pixel: float
    voxel: Triple
    shape: tuple[int, int]

    @property
    def size(self) -> tuple[int, int]:
        """Pixels ``(y, x)`` of a whole frame."""
        _, y, x = self.voxel
        return (
            max(1, math.ceil(self.shape[0] * y / self.pixel - 1e-6)),
            max(1, math.ceil(self.shape[1] * x / self.pixel - 1e-6)),
        )


@dataclass(frozen=True)
class Part:
    """A part of a picture; the rest of it is empty.

    Attributes:
        pixels: ``(y, x)``.
        start: Where in the picture it begins.
    """

    pixels: NDArray[np.uint8]
    start: tuple[int, int]

    def box(self) -> list[tuple[int, int]] | None:
        """First and last, exclusive, of rows and of columns with a cell; None where none is."""
        box = bounding_box(self.pixels[None] > 0)
        if box is None:
            return None
        return [(at + p.start, at + p.stop) for at, p in zip(self.start, box[1:], strict=True)]

    def within(self, window: Window) -> NDArray[np.uint8]:
        """What a window shows of the picture."""
        shown = np.zeros([len(at) for at in window], np.uint8)
        inside, source = [], []
        for at, start, n in zip(window, self.start, self.pixels.shape, strict=True):
            inside.append((at >= start) & (at < start + n))
            source.append(at[inside[-1]] - start)
        shown[np.ix_(*inside)] = self.pixels[np.ix_(*source)]
        return shown


@dataclass(frozen=True)
class Sheet:
    """Frames of one sequence on one picture, row after row.

    Attributes:
        uri: The picture as a ``data:`` address.
        columns: Frames in a row.
        rows: Rows.
        size: Pixels ``(y, x)`` of a frame.
    """

    uri: str
    columns: int
    rows: int
    size: tuple[int, int]


def project_frame(labels: NDArray[Any], canvas: Canvas, start: Index = (0, 0, 0)) -> Part:
    """A mask as seen along z: 0 where there is no cell, else colour and brightness.

    Memory is that of the part that is given, whatever the frame.

    Args:
        labels: ``(z, y, x)``, a frame or a part of it, all else being background.
        canvas: Where to draw.
        start: Where in the frame the part begins.
    """
    present = np.flatnonzero(np.bincount(labels.ravel()))
    present = present[present > 0]
    if not present.size:
        return Part(np.zeros((0, 0), np.uint8), (0, 0))
    cells, layer, (y, x) = _resampled(labels, present, start, canvas)
    owner = project_labels(cells)
    numbers = np.zeros(int(present[-1]) + 1, np.int64)
    numbers[present] = [colour_number(label) for label in present.tolist()]
    drawn = 1 + numbers[owner] * LEVELS + _levels(layer * _depth(cells, owner), owner, canvas)
    height, width = canvas.size[0] - y, canvas.size[1] - x
    return Part(np.where(owner > 0, drawn, 0).astype(np.uint8)[:height, :width], (y, x))


def _resampled(
    labels: NDArray[Any], present: NDArray[Any], start: Index, canvas: Canvas
) -> tuple[NDArray[Any], int, tuple[int, int]]:
    """A part of a frame on voxels as wide as pixels.

    Args:
        labels: The part.
        present: Its labels.
        start: Where in the frame it begins, ``(z, y, x)``.
        canvas: Where to draw.

    Returns:
        The labels, how many pixels deep they are, and where in the picture they begin.
    """
    scales = [size / canvas.pixel for size in canvas.voxel]
    flat = labels.shape[0] == 1
    rounded = not flat and min(scales) > ROUNDED_FROM and len(present) <= ROUNDED_CELLS
    layer = 2 if rounded else 1
    # Pixels are those of the whole picture, wherever the part begins: nothing trembles.
    first = [math.floor(s * scale) for s, scale in zip(start, scales, strict=True)]
    places = [
        (f + np.arange(max(1, math.ceil((s + n) * scale - f - 1e-6))) + 0.5) / scale - s
        for n, s, scale, f in zip(labels.shape, start, scales, first, strict=True)
    ]
    places[0] = np.array([0.5]) if flat else places[0][::layer]
    if rounded:
        return _rounded(labels, present, places), layer, (first[1], first[2])
    index = [
        np.clip(np.floor(at), 0, n - 1).astype(np.int64)
        for n, at in zip(labels.shape, places, strict=True)
    ]
    return labels[np.ix_(*index)], layer, (first[1], first[2])


def _rounded(
    labels: NDArray[Any], present: NDArray[Any], places: Sequence[NDArray[np.float64]]
) -> NDArray[np.uint16]:
    """Labels enlarged, each with a level set of its smoothed mask instead of its voxel faces.

    The level is the one that keeps the number of voxels, so that what is thin stays.
    """
    shape = [len(at) for at in places]
    made = np.zeros(shape, np.uint16)
    best = np.ones(shape, np.float32)
    for label in present:
        box = bounding_box(labels == label, grow=PAD)
        assert box is not None  # it is present
        mask = labels[box] == label
        soft = gaussian_filter(mask.astype(np.float32), ROUNDING, mode="nearest")
        outside = mask.size - int(np.count_nonzero(mask))
        level = np.partition(soft.ravel(), outside)[outside] if outside else np.float32(0.5)
        # The part of the picture that lies over the box, and its places within that.
        over = tuple(
            slice(*np.searchsorted(at, (part.start, part.start + n)).tolist())
            for at, part, n in zip(places, box, mask.shape, strict=True)
        )
        within = [at[o] - part.start for at, o, part in zip(places, over, box, strict=True)]
        # A share of the level, by which cells that touch are told apart.
        large = _enlarged(soft, within) / min(level, np.float32(0.5))
        mine = large >= best[over]
        made[over][mine] = label
        best[over][mine] = large[mine]
    return made


def _enlarged(
    volume: NDArray[np.float32], places: Sequence[NDArray[np.float64]]
) -> NDArray[np.float32]:
    """``volume`` at other places along each axis, linear between the middles of its voxels."""
    for axis, (n, place) in enumerate(zip(volume.shape, places, strict=True)):
        at = np.clip(place - 0.5, 0, n - 1)
        below = np.floor(at).astype(np.int64)
        share = (at - below).astype(np.float32).reshape([-1 if a == axis else 1 for a in range(3)])
        low = np.take(volume, below, axis=axis)
        high = np.take(volume, np.minimum(below + 1, n - 1), axis=axis)
        volume = low + (high - low) * share
    return volume


def _depth(cells: NDArray[Any], owner: NDArray[Any]) -> NDArray[np.float32]:
    """How far along each ray its cell begins, in pixels; nothing where there is no cell."""
    first: NDArray[np.float32] = np.argmax(cells == owner, axis=0).astype(np.float32)
    return first * (owner > 0)


def _levels(depth: NDArray[np.float32], owner: NDArray[Any], canvas: Canvas) -> NDArray[np.int64]:
    """Brightness of each pixel, 0 … LEVELS - 1."""
    there = (owner > 0).astype(np.float32)
    width = max(SMOOTHING_PX, SMOOTHING_VOXELS * max(canvas.voxel) / canvas.pixel)
    width = min(width, WIDEST_PX)
    weight = np.maximum(gaussian_filter(there, width), 1e-3)
    smooth = gaussian_filter(depth * there, width) / weight
    # Beyond the outline the surface falls away: the rim of a body is seen edge on.
    inside = gaussian_filter(there, 2 * SMOOTHING_PX)
    smooth = smooth + 6 * (1 - inside) ** 2
    along_y, along_x = np.gradient(smooth) if min(smooth.shape) > 1 else (smooth * 0, smooth * 0)
    steep = np.sqrt(along_y**2 + along_x**2 + 1)
    x, y, towards = LAMP
    # The surface rises where its distance falls, so its normal is (∂x, ∂y, 1) of the distance.
    facing = np.maximum((along_x * x + along_y * y + towards) / steep, 0)
    light = np.clip(AMBIENT + (1 - AMBIENT) * facing, 0, 1)
    return np.asarray(np.rint(light * (LEVELS - 1)), np.int64)


def mask_sheet(frames: Sequence[NDArray[np.uint8]]) -> Sheet:
    """A sheet of pictures by :func:`project_frame`, all of one size; a PNG of 256 colours."""
    whole, columns, rows = _sheet(frames)
    picture = Image.fromarray(whole)
    picture.putpalette(_palette())  # turns it into one with a palette
    buffer = io.BytesIO()
    picture.save(buffer, "PNG", transparency=0, compress_level=9)
    return Sheet(_uri("png", buffer), columns, rows, frames[0].shape)


def image_sheet(frames: Sequence[NDArray[np.float32]]) -> Sheet:
    """A sheet of images of one size, grey, all on one scale; a JPEG, since noise is no PNG's."""
    low, high = np.percentile(np.stack(frames), WINDOW)
    shown = [255 * np.clip((f - low) / max(high - low, 1e-6), 0, 1) ** 0.8 for f in frames]
    whole, columns, rows = _sheet([np.rint(frame).astype(np.uint8) for frame in shown])
    buffer = io.BytesIO()
    Image.fromarray(whole).save(buffer, "JPEG", quality=QUALITY)
    return Sheet(_uri("jpeg", buffer), columns, rows, frames[0].shape)


def shrink(image: NDArray[Any], canvas: Canvas, window: Window) -> NDArray[np.float32]:
    """What a window shows of the maximum projection of an image on the pixels of a canvas.

    Each is the mean of its pixels; beyond the image all is as dark as the darkest that is shown.
    """
    flat = (project_image(image) if image.ndim == 3 else image).astype(np.float32)
    inside = [(at >= 0) & (at < n) for at, n in zip(window, canvas.size, strict=True)]
    for axis, (n, size) in enumerate(zip(canvas.size, canvas.voxel[1:], strict=True)):
        shown = window[axis][inside[axis]]
        edges = np.arange(n + 1) * canvas.pixel / size
        first = np.minimum(edges[:-1].astype(np.int64), flat.shape[axis] - 1)
        if canvas.pixel <= size:
            flat = np.take(flat, first[shown], axis=axis)
        else:
            sums = np.add.reduceat(flat, first, axis=axis)
            counts = np.diff(np.append(first, flat.shape[axis]))
            means = (sums / counts.reshape((-1, 1) if axis == 0 else (1, -1))).astype(np.float32)
            flat = np.take(means, shown, axis=axis)
    found = np.full([len(at) for at in window], flat.min(), np.float32)
    found[np.ix_(*inside)] = flat
    return found


def _sheet(frames: Sequence[NDArray[np.uint8]]) -> tuple[NDArray[np.uint8], int, int]:
    columns = min(COLUMNS, len(frames))
    rows = math.ceil(len(frames) / columns)
    height, width = frames[0].shape
    whole = np.zeros((rows * height, columns * width), np.uint8)
    for i, frame in enumerate(frames):
        y, x = i // columns * height, i % columns * width
        whole[y : y + height, x : x + width] = frame
    return whole, columns, rows


def _palette() -> list[int]:
    """Nothing, then each colour from dark to light."""
    found = [0, 0, 0]
    for colour in COLOURS:
        for level in range(LEVELS):
            share = level / (LEVELS - 1)
            for part in colour:
                # Darkened below two thirds, then lightened towards white: a soft highlight.
                shade = part * min(1.0, 0.16 + 1.26 * share)
                glow = max(0.0, share - 0.72) / 0.28
                found.append(round(shade + (255 - shade) * 0.42 * glow**2))
    return found + [0] * (768 - len(found))


def _uri(kind: str, buffer: io.BytesIO) -> str:
    return f"data:image/{kind};base64,{base64.b64encode(buffer.getvalue()).decode('ascii')}"
