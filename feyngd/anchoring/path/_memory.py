"""How much memory there is, and how many draws of noise fit into it."""

import os
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp

from ...derivatives import num_params
from ...errors import ArgumentError
from ._adjoints import READ

_COPIES = 16  # of a vector of parameters that a chain holds, at the most
_COPIES_OF_PILOTS = 4  # the same for a pilot
_TOGETHER = 128  # chains that run side by side, and between two reports of progress
_SHARE = 0.5  # of the memory that draws may take
_SHARE_OF_CONTROL = 0.125  # of the memory that directions may take, with products of Hessians and adjoints


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


def room_for(params: Any, columns: int, num_ties: int, steps: int, directions: int, pilots: int) -> Room:
    """Return how much of what is wanted fits into the memory.

    Args:
        params: the parameters.
        columns: the number of chains of a draw.
        num_ties: the number of equivalences of steps, for each of which higher orders are drawn.
        steps: T.
        directions: how many directions are wanted.
        pilots: how many chains it takes to find them.

    Raises:
        ArgumentError: not even one draw does.
    """
    count = num_params(params)
    itemsize = max(jnp.asarray(leaf).dtype.itemsize for leaf in jax.tree.leaves(params))
    chains = chains_together(count, itemsize, columns)
    jets = max(1, chains // (4 * num_ties))
    found = chains * _COPIES >= pilots * _COPIES_OF_PILOTS
    return Room(max(1, chains // columns), jets, directions_kept(directions, count, itemsize, steps) if found else 0)


def available_memory() -> int:
    """Return the bytes of memory of the device that computes."""
    stats = jax.devices()[0].memory_stats() or {}
    return int(stats.get("bytes_limit") or os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"))


def chains_together(num_params: int, itemsize: int, columns: int) -> int:
    """Return how many chains run side by side, no fewer than those of a draw.

    Raises:
        ArgumentError: not even they fit into the memory.
    """
    one, room = num_params * itemsize * _COPIES, available_memory() * _SHARE
    if columns * one > room:
        raise ArgumentError(
            f"One draw of noise along the path takes about {columns * one / 2**30:.2g} GiB for {num_params} "
            f"parameters and {columns} chains, and the memory is {room / _SHARE / 2**30:.2g} GiB, half of it for "
            "draws: give fewer epoch_lengths, parameters of lower precision, or a smaller model."
        )
    return max(columns, min(_TOGETHER, int(room // one)))


def directions_kept(wanted: int, num_params: int, itemsize: int, steps: int) -> int:
    """Return how many directions, at most, to keep at every step of the path, beside adjoints."""
    room = available_memory() * _SHARE_OF_CONTROL / (num_params * itemsize * (steps + 1))
    return min(wanted, num_params, max(0, int(room) - READ) // 2)
