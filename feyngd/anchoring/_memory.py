"""How much memory there is, and how many draws of noise fit into it."""

import os
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp

from ..errors import ArgumentError
from ..evaluation import num_params

_COPIES = 16  # of a vector of parameters that a draw holds for an equivalence of steps, at the most
_TOGETHER = 32  # draws that run side by side, and between two reports of progress
_SHARE = 0.5  # of the memory that draws may take
_SHARE_OF_CONTROL = 0.125  # of the memory that the coordinates of the whole path may take, read and written


@dataclass(frozen=True)
class Room:
    """How much runs side by side, and what is kept of the path.

    Attributes:
        draws: draws of second order.
        jets: pairs of draws of fourth order, each of which takes about twice as much as a draw of second order.
        directions: directions of the noise, at every step.
    """

    draws: int
    jets: int
    directions: int


def room_for(params: Any, num_ties: int, steps: int, directions: int) -> Room:
    """Return how much of what is wanted fits into the memory.

    Raises:
        ArgumentError: not even one draw does.
    """
    count = num_params(params)
    itemsize = max(jnp.asarray(leaf).dtype.itemsize for leaf in jax.tree.leaves(params))
    draws = draws_together(count, itemsize, num_ties)
    return Room(draws, max(1, draws // 4), directions_kept(directions, count, itemsize, steps))


def available_memory() -> int:
    """Return the bytes of memory of the device that computes."""
    stats = jax.devices()[0].memory_stats() or {}
    return int(stats.get("bytes_limit") or os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"))


def draws_together(num_params: int, itemsize: int, num_ties: int) -> int:
    """Return how many draws of noise run side by side.

    Raises:
        ArgumentError: not even one fits into the memory.
    """
    one, room = num_params * itemsize * num_ties * _COPIES, available_memory() * _SHARE
    if one > room:
        raise ArgumentError(
            f"One draw of noise along the path takes about {one / 2**30:.2g} GiB for {num_params} parameters and "
            f"{num_ties} equivalences of steps, and the memory is {room / _SHARE / 2**30:.2g} GiB, half of it for "
            "draws: give fewer epoch_lengths, parameters of lower precision, or a smaller model."
        )
    return min(_TOGETHER, int(room // one))


def directions_kept(wanted: int, num_params: int, itemsize: int, steps: int) -> int:
    """Return how many directions, at most, to keep at every step of the path."""
    room = available_memory() * _SHARE_OF_CONTROL / (num_params * itemsize * (steps + 1))
    return min(wanted, num_params, int(room) // 2)
