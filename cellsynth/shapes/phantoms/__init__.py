"""Phantoms: procedural, labelled cells in motion to develop, test and train with."""

from cellsynth.shapes.phantoms.bodies import Family
from cellsynth.shapes.phantoms.kinds import KINDS, Kind
from cellsynth.shapes.phantoms.phantom import Phantom, render_family
from cellsynth.shapes.phantoms.phantom_set import (
    phantom_families,
    phantom_lineage,
    write_phantom,
)
from cellsynth.shapes.phantoms.render import family_grid
from cellsynth.shapes.phantoms.starrynite import LineageTable, read_lineage_table

__all__ = [
    "KINDS",
    "Family",
    "Kind",
    "LineageTable",
    "Phantom",
    "family_grid",
    "phantom_families",
    "phantom_lineage",
    "read_lineage_table",
    "render_family",
    "write_phantom",
]
