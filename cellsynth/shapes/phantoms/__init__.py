"""Phantoms: procedural, labelled, dividing nuclei to develop, test and train with."""

from cellsynth.shapes.phantoms.bodies import Family
from cellsynth.shapes.phantoms.phantom_set import (
    KINDS,
    VOXEL_UM,
    phantom_families,
    phantom_lineage,
    write_phantom,
)
from cellsynth.shapes.phantoms.render import family_grid, render_family
from cellsynth.shapes.phantoms.starrynite import LineageTable, read_lineage_table

__all__ = [
    "KINDS",
    "VOXEL_UM",
    "Family",
    "LineageTable",
    "family_grid",
    "phantom_families",
    "phantom_lineage",
    "read_lineage_table",
    "render_family",
    "write_phantom",
]
