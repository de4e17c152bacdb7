"""What is drawn once for a sequence: normal numbers that are spread evenly over sequences."""

from __future__ import annotations

import numpy as np
from scipy.special import ndtri

__all__ = ["EVEN", "even_normal"]

# Steps of the additive recurrence that fills a square most evenly: 1/g and 1/g², where g is the
# real root of g³ = g + 1. Source: Roberts 2018, "The unreasonable effectiveness of quasirandom
# sequences".
EVEN = (0.7548776662466927, 0.5698402909980532)
# Keeps this stream apart from others that a seed begins.
_STREAM = 9


def even_normal(seed: int, sequence: int, which: int) -> float:
    """A normal number of a sequence, mean 0 and variance 1.

    Over seeds it is an ordinary draw. Over the sequences of one seed it is spread evenly: twenty
    of them hold the middle and both ends of the distribution as they should, where twenty
    independent ones are off by a fifth of a deviation on average. No sequence needs to know of
    the others.

    Args:
        seed: Of the data set.
        sequence: Number of the sequence.
        which: 0 or 1; the pairs of both fill a square evenly.
    """
    begin = np.random.default_rng([seed, which, _STREAM]).uniform()
    place = (begin + sequence * EVEN[which]) % 1
    return float(ndtri(np.clip(place, 1e-9, 1 - 1e-9)))
