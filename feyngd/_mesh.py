"""Meshes of devices, and programs whose rows are shared out among them: runs, draws of noise, examples.

A program is the same on every device. Of rows that all devices have, each takes its own share, the last one filled up;
what rows give is collected or summed over the devices, so that results stand on all of them and every process can read
them. Without a mesh a share is everything, and programs are what they were.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from .errors import ArgumentError

Tree = TypeVar("Tree")

_AXIS = "devices"


def check_mesh(mesh: Any) -> None:
    """Raise `ArgumentError` unless it is a mesh with a device of this process, or `None`."""
    if mesh is None:
        return
    if not isinstance(mesh, jax.sharding.Mesh):
        raise ArgumentError(f"A mesh is made as jax.make_mesh((8,), ('examples',)) for 8 devices; got {mesh!r}.")
    if not mesh.devices.size:
        raise ArgumentError(f"A mesh has at least one device, and this one has none: {mesh!r}. Leave mesh out for one.")
    owners, here = {device.process_index for device in mesh.devices.flat}, jax.process_index()
    if here not in owners:
        raise ArgumentError(
            f"The mesh has devices of process(es) {', '.join(map(str, sorted(owners)))}, and none of process {here}, "
            "which calls: make it of jax.devices(), all of them, or call in the processes that have a part in it."
        )


def flat_mesh(mesh: jax.sharding.Mesh) -> jax.sharding.Mesh:
    """Return the mesh of the same devices with a single axis.

    Its name and type are ours: XLA ends the process at names of axes that are not plain words.
    """
    return jax.sharding.Mesh(mesh.devices.reshape(-1), (_AXIS,))


def is_shared_by_processes(mesh: jax.sharding.Mesh | None) -> bool:
    """Whether devices of a mesh belong to several processes."""
    return mesh is not None and len({device.process_index for device in mesh.devices.flat}) > 1


def is_writer(mesh: jax.sharding.Mesh | None) -> bool:
    """Whether this process is the one, of those that share a mesh, that writes files."""
    return mesh is None or jax.process_index() == min(device.process_index for device in mesh.devices.flat)


@dataclass(frozen=True)
class Devices:
    """The devices that share out rows: those of a mesh, or one for `None`.

    Attributes:
        mesh: the mesh, whose axes become one.
    """

    mesh: jax.sharding.Mesh | None = None

    def __post_init__(self) -> None:
        if self.mesh is not None:
            object.__setattr__(self, "mesh", flat_mesh(self.mesh))

    @property
    def size(self) -> int:
        """How many devices there are."""
        return 1 if self.mesh is None else self.mesh.size

    @property
    def copies(self) -> int:
        """How many copies of what stands on every device are in one memory: CPU devices share that of their host."""
        if self.mesh is None:
            return 1
        here = [device for device in self.mesh.devices.flat if device.process_index == jax.process_index()]
        return len(here) if here[0].platform == "cpu" else 1

    def each(self, count: int) -> int:
        """Return how many of a number of rows every device gets, the last one filled up."""
        return -(-count // self.size)

    def compiled(self, function: Callable[..., Any], *, rows: Sequence[int] = ()) -> Callable[..., Any]:
        """Compile a function that runs on every device.

        Args:
            function: its results are the same on all devices; see `collected` and `total`.
            rows: the places of arguments, pytrees, whose leading axes are shared out: their lengths are multiples of
                the number of devices. All other arguments are given to every device.
        """
        if self.mesh is None:
            return jax.jit(function)
        mesh = self.mesh

        @jax.jit
        def run(*arguments: Any) -> Any:
            specs = tuple(_spec(place in rows) for place in range(len(arguments)))
            everywhere = _spec(False)
            # Results are the same everywhere because they were collected or summed, which JAX cannot see.
            shared_out = jax.shard_map(function, mesh=mesh, in_specs=specs, out_specs=everywhere, check_vma=False)
            return shared_out(*arguments)

        def placed(*arguments: Any) -> Any:
            return run(*(self.placed(given, split=place in rows) for place, given in enumerate(arguments)))

        return placed

    def placed(self, tree: Tree, *, split: bool = False) -> Tree:
        """Return arrays on all devices, whole or with their leading axis shared out; what is there already stays."""
        if self.mesh is None:
            return tree
        sharding = jax.sharding.NamedSharding(self.mesh, _spec(split))
        placed: Tree = jax.tree.map(lambda leaf: _placed(leaf, sharding), tree)
        return placed

    def smallest(self, number: int) -> int:
        """Return the smallest of the numbers that the processes give, so that all of them do the same."""
        if not is_shared_by_processes(self.mesh):
            return number
        assert self.mesh is not None
        sharding = jax.sharding.NamedSharding(self.mesh, _spec(True))
        # Two halves, since a number of bytes takes more bits than JAX's integers have by default.
        halves = np.array([divmod(number, 2**30)], np.int32)
        given = jax.make_array_from_callback((self.size, 2), sharding, lambda index: halves)
        high, low = zip(*np.asarray(self._everything(given)).tolist(), strict=True)
        return min(2**30 * a + b for a, b in zip(high, low, strict=True))

    # --- inside of programs -------------------------------------------------------------------------------------------

    def own(self, rows: Tree) -> Tree:
        """Return this device's share of rows that all devices have; the last row fills up."""
        if self.mesh is None:
            return rows
        places, _ = self._places(jax.tree.leaves(rows)[0].shape[0])
        own: Tree = jax.tree.map(lambda leaf: leaf[places], rows)
        return own

    def own_weights(self, weights: Float[Array, " rows"]) -> Float[Array, " share"]:
        """Return the weights of this device's share, zero where it was filled up."""
        if self.mesh is None:
            return weights
        places, real = self._places(len(weights))
        return jnp.where(real, weights[places], 0)

    def collected(self, shares: Tree, count: int | None = None, *, axis: int = 0) -> Tree:
        """Return the results of all devices one after the other along an axis, without those of rows that fill up.

        Args:
            shares: what this device's share gave.
            count: the number of rows; all if `None`.
            axis: where the rows are.
        """
        if self.mesh is None:
            return shares

        def all_of(leaf: Array) -> Array:
            gathered = jax.lax.all_gather(leaf, _AXIS, axis=axis, tiled=True)
            return jax.lax.slice_in_dim(gathered, 0, count, axis=axis)

        collected: Tree = jax.tree.map(all_of, shares)
        return collected

    def total(self, shares: Tree) -> Tree:
        """Return the sum over all devices of what their shares gave."""
        if self.mesh is None:
            return shares
        total: Tree = jax.lax.psum(shares, _AXIS)
        return total

    # ------------------------------------------------------------------------------------------------------------------

    def _places(self, count: int) -> tuple[Array, Array]:
        """Return the rows of this device's share, and which of them are its own and not there to fill up."""
        places = jax.lax.axis_index(_AXIS) * self.each(count) + jnp.arange(self.each(count))
        return jnp.minimum(places, count - 1), places < count

    def _everything(self, rows: Array) -> Array:
        """Return rows that were shared out on every device."""
        assert self.mesh is not None
        gathered: Array = jax.jit(
            lambda array: array, out_shardings=jax.sharding.NamedSharding(self.mesh, _spec(False))
        )(rows)
        return gathered


ALONE = Devices()  # one device


def _spec(split: bool) -> jax.sharding.PartitionSpec:
    return jax.sharding.PartitionSpec(_AXIS) if split else jax.sharding.PartitionSpec()


def _placed(leaf: Any, sharding: jax.sharding.NamedSharding) -> Array:
    """Put an array on devices; every process has all of it."""
    array = jnp.asarray(leaf)
    if array.sharding == sharding:
        return array
    if sharding.is_fully_addressable:
        return jax.device_put(array, sharding)
    # Unlike `device_put` this does not compare the array between processes at every call.
    is_key = jnp.issubdtype(array.dtype, jax.dtypes.prng_key)
    host = np.asarray(jax.random.key_data(array) if is_key else array)
    made = jax.make_array_from_callback(host.shape, sharding, lambda index: host[index])
    return jax.random.wrap_key_data(made, impl=jax.random.key_impl(array)) if is_key else made
