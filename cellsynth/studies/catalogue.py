"""All studies by name; a study's module is loaded when it is asked for."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from cellsynth.errors import InputError
from cellsynth.presets.judge import nearest

if TYPE_CHECKING:
    from cellsynth.studies.study import Study

__all__ = ["STUDIES", "find_study"]

# Name, and what of the paper it repeats; the module has the name with underscores.
STUDIES = {
    "reconstruction": "cells given back and drawn anew (5.1, Fig. 4-5, Table 1)",
    "compactness": "short codes and rotated cells (5.2, Fig. 6-7, Table 2)",
    "exploration": "what codes tell, and ways between them (5.3, Fig. 8)",
    "time-interpolation": "frames never seen (5.4, Fig. 9)",
    "space-interpolation": "coarse grids and fine ones (5.5, Fig. 10)",
    "omega": "the frequency of the sines (5.6, Fig. 11)",
    "deepsdf": "sines against ReLU (5.7, Fig. 12)",
    "classification": "the type of a cell from its code (5.8, Fig. 13)",
    "texture": "images of drawn cells (5.9, Fig. 14)",
}


def find_study(name: str) -> Study[Any]:
    """The study of that name.

    Raises:
        InputError: There is none.
    """
    if name not in STUDIES:
        hint = nearest(name, list(STUDIES)) or f"; expected {', '.join(STUDIES)}"
        raise InputError(f"study: no study {name!r}{hint}")
    module = import_module(f"cellsynth.studies.{name.replace('-', '_')}")
    found: Study[Any] = module.STUDY
    return found
