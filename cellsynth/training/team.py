"""Several processes, one training: torchrun starts them, here they add up and agree.

Every process holds the whole field and takes the same steps; they share the frames of a step and
add up its gradient. Numbers that are not of the step itself (the clock, whether the data are
ready) are the first process's, and travel between CPUs: whoever waits for them keeps no GPU busy.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta

import torch
from torch import Tensor

from cellsynth.errors import InputError, TeamError

__all__ = ["Team", "joined"]

# The first process may measure distances for hours while the others wait. A process that died is
# noticed at once all the same: its connections close, and torchrun ends the others.
PATIENCE = timedelta(days=7)


@dataclass(frozen=True)
class Team:
    """The processes of one training, as one of them sees them; by default there is only that one.

    Every method but :attr:`leads` is called by all of them, in the same order, and raises
    :class:`TeamError` where another is gone.

    Attributes:
        rank: Which of them this is, from 0.
        size: How many they are.
        device: The torch device of this one.
    """

    rank: int = 0
    size: int = 1
    device: str = "cpu"

    @property
    def leads(self) -> bool:
        """Whether this is the first: the one that reads, writes and tells."""
        return self.rank == 0

    def sum_(self, tensors: Sequence[Tensor]) -> None:
        """Replace tensors of one type, on :attr:`device`, by their sums over all processes."""
        if self.size == 1:
            return
        import torch.distributed as dist

        flat = torch.cat([tensor.reshape(-1) for tensor in tensors])
        with _told():
            dist.all_reduce(flat)
        begin = 0
        for tensor in tensors:
            end = begin + tensor.numel()
            tensor.copy_(flat[begin:end].view_as(tensor))
            begin = end

    def agree(self, value: float) -> float:
        """The first process's ``value``."""
        if self.size == 1:
            return value
        import torch.distributed as dist

        number = torch.tensor([value], dtype=torch.float64)
        with _told():
            dist.broadcast(number, src=0)
        return float(number)

    def wait(self) -> None:
        """Go on when all are here."""
        if self.size == 1:
            return
        import torch.distributed as dist

        with _told():
            dist.all_reduce(torch.zeros(1))

    def first_does(self, work: Callable[[], None]) -> bool:
        """The first process does ``work``, the others wait for it.

        Returns:
            Whether it is done. Where ``work`` raises, the first process raises what it raised, and
            the others are told False: there is nothing that they could add.
        """
        done = 0.0
        try:
            if self.leads:
                work()
            done = 1.0
        finally:
            done = self.agree(done)
        return bool(done)


@contextmanager
def joined(device: str) -> Iterator[Team]:
    """The team that torchrun started, or this process alone.

    Args:
        device: ``cpu``, or ``cuda``: then each process takes the GPU of its own number.

    Raises:
        InputError: More processes than GPUs, or an environment that is not torchrun's.
    """
    size = _number("WORLD_SIZE", 1)
    if size == 1:
        yield Team(device=device)
        return
    import torch.distributed as dist

    rank, local = _number("RANK"), _number("LOCAL_RANK")
    on_gpu = torch.device(device).type == "cuda"
    if on_gpu:
        found = torch.cuda.device_count()
        if local >= found:
            raise InputError(
                f"torchrun: process {local} of this machine has no GPU for itself, there are "
                f"{found}; start no more processes than that, or train on --device cpu"
            )
        torch.cuda.set_device(local)
        device = f"cuda:{local}"
    with _told():
        dist.init_process_group("cpu:gloo,cuda:nccl" if on_gpu else "gloo", timeout=PATIENCE)
    try:
        yield Team(rank, size, device)
    except BaseException:
        # NCCL's good-bye waits for all; where one failed, the end of its process is good-bye.
        if not on_gpu:
            dist.destroy_process_group()
        raise
    dist.destroy_process_group()


@contextmanager
def _told() -> Iterator[None]:
    """Say what it means when the others cannot be reached."""
    try:
        yield
    except RuntimeError as error:
        reason = str(error).splitlines()[0]
        raise TeamError(
            f"torchrun: another process of this training is gone ({reason}); see what it said, "
            "then start all of them again with --resume"
        ) from error


def _number(name: str, default: int | None = None) -> int:
    """A whole number from the environment."""
    text = os.environ.get(name, None if default is None else str(default))
    if text is None or not text.isdecimal() or (name == "WORLD_SIZE" and text == "0"):
        raise InputError(
            f"environment: WORLD_SIZE asks for several processes, but {name} is {text!r}; start "
            "them with torchrun, or unset WORLD_SIZE"
        )
    return int(text)
