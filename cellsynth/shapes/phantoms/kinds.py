"""The kinds of phantoms: how each is drawn, how fine, how fast, and with which options."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from cellsynth.errors import InputError
from cellsynth.shapes.phantoms import a549, celegans, platynereis
from cellsynth.shapes.phantoms.phantom import Phantom

__all__ = ["KINDS", "Kind", "find_kind", "kind_options"]


@dataclass(frozen=True)
class Kind:
    """One kind of phantom.

    Attributes:
        draw: ``draw(n_frames, seed, **options)`` gives phantoms without end, or as many as a
            lineage table holds; the i-th depends on seed, options and i only.
        voxel_um: Default voxel size along every axis: a constant, so that a sequence does not
            depend on how many others are written with it.
        options: Default of each option that ``draw`` takes beside frames and seed.
    """

    draw: Callable[..., Iterator[Phantom]]
    voxel_um: float
    options: tuple[tuple[str, Any], ...] = ()


KINDS = {
    "celegans": Kind(
        celegans.families,
        celegans.VOXEL_UM,
        (("lineage", None), ("spread", celegans.SPREAD)),
    ),
    "platynereis": Kind(platynereis.cells, platynereis.VOXEL_UM),
    "a549": Kind(a549.cells, a549.VOXEL_UM),
}


def find_kind(name: str) -> Kind:
    """The kind of that name.

    Raises:
        InputError: There is none.
    """
    if name not in KINDS:
        raise InputError(f"phantom: unknown kind {name!r}; expected {' or '.join(KINDS)}")
    return KINDS[name]


def kind_options(name: str, **given: Any) -> dict[str, Any]:
    """The options of a kind: those given that are not None, the default for the rest.

    Raises:
        InputError: An option is given that the kind does not have.
    """
    options = dict(find_kind(name).options)
    for option, value in given.items():
        if value is None:
            continue
        if option not in options:
            having = " or ".join(kind for kind, k in KINDS.items() if option in dict(k.options))
            raise InputError(
                f"phantom: {option} is an option of {having}, not of {name}; leave it out"
            )
        options[option] = value
    return options
