"""How much memory there is, and how many draws of noise fit into it."""

import os
from dataclasses import dataclass

import jax
import jax.numpy as jnp
from jaxtyping import PyTree

from ..._mesh import ALONE, Devices
from ...derivatives import num_params
from ...errors import ArgumentError
from ._adjoints import ADJOINTS

_COPIES = 16  # vectors of parameters that a run of second order holds, at most
_COPIES_OF_PILOTS = 4  # the same for a pilot
_TOGETHER = 128  # runs side by side, and between two reports of progress
_SHARE = 0.5  # of the memory that draws may take
_SHARE_OF_CONTROL = 0.125  # of the memory that directions may take, with products of Hessians and adjoints


@dataclass(frozen=True)
class MemoryPlan:
    """How much runs side by side, and what is kept of the path.

    Attributes:
        draws: draws of second order, of one run for every column.
        higher_draws: pairs of draws of fourth order, each of which takes about twice as much as a run of second order.
        directions: directions of the noise, at every step.
    """

    draws: int
    higher_draws: int
    directions: int


def plan_memory(
    params: PyTree, columns: int, num_ties: int, steps: int, directions: int, pilots: int, devices: Devices = ALONE
) -> MemoryPlan:
    """Return how much of what is wanted fits into the memory.

    Args:
        params: the parameters.
        columns: the number of runs of a draw.
        num_ties: the number of equivalences of steps, for each of which higher orders are drawn.
        steps: T.
        directions: how many directions are wanted.
        pilots: how many pilot runs it takes to find them.
        devices: those that share the runs. How many runs make a group is what one device holds, so that draws are the
            same on any number of them; directions stand on every device.

    Raises:
        ArgumentError: not even one draw fits.
    """
    count = num_params(params)
    itemsize = max(jnp.asarray(leaf).dtype.itemsize for leaf in jax.tree.leaves(params))
    runs = runs_together(count, itemsize, columns, devices)
    higher = max(1, runs // (4 * num_ties))
    pilots_fit = runs * _COPIES >= pilots * _COPIES_OF_PILOTS
    kept = directions_kept(directions, count, itemsize, steps, devices) if pilots_fit else 0
    return MemoryPlan(max(1, runs // columns), higher, kept)


def available_memory() -> int:
    """Return the bytes of memory of the device that computes, of this process."""
    stats = jax.local_devices()[0].memory_stats() or {}
    return int(stats.get("bytes_limit") or os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"))


def runs_together(num_params: int, itemsize: int, columns: int, devices: Devices = ALONE) -> int:
    """Return how many runs fit side by side, no fewer than those of a draw.

    Raises:
        ArgumentError: not even they fit into the memory.
    """
    of_run, available = num_params * itemsize * _COPIES, devices.smallest(available_memory()) * _SHARE
    if columns * of_run > available:
        raise ArgumentError(
            f"One draw of noise along the path takes about {columns * of_run / 2**30:.2g} GiB for {num_params} "
            f"parameters and {columns} runs, and the memory is {available / _SHARE / 2**30:.2g} GiB, half of it for "
            "draws: give fewer epoch_lengths, parameters of lower precision, or a smaller model."
        )
    return max(columns, min(_TOGETHER, int(available // of_run)))


def directions_kept(wanted: int, num_params: int, itemsize: int, steps: int, devices: Devices = ALONE) -> int:
    """Return how many directions, at most, to keep at every step of the path, beside adjoints."""
    available = devices.smallest(available_memory() // devices.copies) * _SHARE_OF_CONTROL
    vectors = available / (num_params * itemsize * (steps + 1))
    return min(wanted, num_params, max(0, int(vectors) - ADJOINTS) // 2)
