"""Who uses the cores: PyTorch within a product, or we across frames."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch

from cellsynth.formats.making import cores

__all__ = ["cores", "one_thread_each"]


@contextmanager
def one_thread_each() -> Iterator[None]:
    """Keep each product on the core that asks for it, since others render frames there.

    The products of a folded field are too small to be shared: PyTorch's threads would mostly wait
    for each other, and burn a core each while they do.
    """
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)
