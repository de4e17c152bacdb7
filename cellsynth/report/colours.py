"""Colours of cells, the same in pictures, in 3D and in lineages.

Twelve hues that differ in lightness too, so that neighbours are told apart by those who do not
see colours well, on a light page and on a dark one.
"""

from __future__ import annotations

__all__ = ["COLOURS", "Rgb", "cell_colour", "colour_number", "hex_colour"]

Rgb = tuple[int, int, int]

COLOURS: tuple[Rgb, ...] = (
    (38, 166, 154),
    (255, 152, 67),
    (92, 138, 240),
    (232, 100, 138),
    (150, 120, 222),
    (226, 186, 76),
    (110, 186, 98),
    (72, 188, 216),
    (206, 92, 62),
    (128, 146, 170),
    (176, 172, 70),
    (196, 96, 190),
)


def colour_number(label: int) -> int:
    """Which of :data:`COLOURS` a cell has; cells with labels in a row differ."""
    return (label - 1) % len(COLOURS)


def cell_colour(label: int) -> Rgb:
    """Colour of the cell with this label."""
    return COLOURS[colour_number(label)]


def hex_colour(label: int) -> str:
    """The same as CSS has it, ``#26a69a``."""
    return "#{:02x}{:02x}{:02x}".format(*cell_colour(label))
