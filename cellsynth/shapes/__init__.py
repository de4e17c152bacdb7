"""From masks of many cells to signed distances of single ones.

The flow, each step a public function::

    open_masks(path)          a CTC folder, TIFF or Zarr as mask sequences
      → cut_cells(sources)    tracks and divisions as single-cell sequences of N frames
      → build_store(path, …)  centred, aligned, one physical scale: signed distances on disk
      → ShapeStore.open(path) what training reads, a frame at a time
"""

from cellsynth.shapes.cells import CellSequence, LeftOut, cut_cells
from cellsynth.shapes.distance import signed_distance
from cellsynth.shapes.mask_sequence import MaskSequence
from cellsynth.shapes.masks import open_masks
from cellsynth.shapes.store import ShapeStore, build_store

__all__ = [
    "CellSequence",
    "LeftOut",
    "MaskSequence",
    "ShapeStore",
    "build_store",
    "cut_cells",
    "open_masks",
    "signed_distance",
]
