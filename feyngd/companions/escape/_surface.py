"""The mean loss of a landscape in double precision, as a function of flat vectors, and the noise of its gradient."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from ..._arguments import check_integer
from ...derivatives import CHUNK, FrozenLoss, lifted_array, noted
from ...errors import ArgumentError
from ...kinks import Kink
from ...landscapes import Landscape, enter, find_kinks
from ._programs import Programs, in_double, is_real

DENSE = 1500  # parameters up to which matrices are formed
_COLUMNS = 64  # vectors that are multiplied together
_ROOM = 32  # points that a program for many has room for, at least


class Surface:
    """A landscape around parameters of one structure; all points are NumPy vectors of shape (p,), in double precision.

    Args:
        landscape: the loss and its data.
        params: shows the structure.
        chunk_size: how many examples are differentiated together.

    Raises:
        ArgumentError: not a landscape, one whose distribution is unknown, or an invalid chunk size.
        LandscapeError: the loss or the parameters are invalid.
    """

    def __init__(self, landscape: Landscape, params: Any, chunk_size: int = CHUNK) -> None:
        check_integer("chunk_size", chunk_size, least=1)
        given = landscape.loss if isinstance(landscape, Landscape) else None
        precise = params
        landscape, params = enter(landscape, params)
        if landscape.reading == "unbiased":
            raise ArgumentError(
                "In the unbiased reading the distribution is unknown, and so are the loss that is escaped from and its "
                "noise: use reading='population', or 'conditional' for SGD on these data."
            )
        landscape.validate(params)
        self.landscape, self.params = landscape, params
        self.count = landscape.num_examples
        chunk = min(chunk_size, self.count)
        double = in_double(given, landscape.loss, params, landscape.example_shapes)
        self._programs: Programs = noted(double, f"escape, {chunk}", lambda: Programs(double, params, chunk))
        with jax.enable_x64(True):
            self._data = jax.tree.map(lambda leaf: lifted_array(leaf) if is_real(leaf) else leaf, landscape.data)
        self.start = self.flat(precise)
        self.size = len(self.start)

    @property
    def is_dense(self) -> bool:
        """Whether matrices are formed."""
        return self.size <= DENSE

    def kinks(self, points: np.ndarray) -> tuple[Kink, ...]:
        """Return where the loss is not smooth within reach of points of shape (n, p), each place of it once."""
        loss = self.landscape.loss
        assert isinstance(loss, FrozenLoss)
        found: dict[tuple[str, str], Kink] = {}
        for point in points:
            params = self.shaped(point, precise=False)
            for kink in find_kinks(loss, params, self.landscape.data, jaxpr=loss.jaxpr):
                known = found.get((kink.operation, kink.source))
                if known is None or kink.near > known.near:
                    found[kink.operation, kink.source] = kink
        return tuple(found.values())

    # --- structure ----------------------------------------------------------------------------------------------------

    def flat(self, params: Any) -> np.ndarray:
        """Return parameters as a vector.

        Raises:
            ArgumentError: they have another structure, other shapes, or are not finite.
        """
        leaves, structure = jax.tree.flatten(params)
        own, expected = jax.tree.flatten(self.params)
        is_same = str(structure) == str(expected)
        if not is_same or [np.shape(leaf) for leaf in leaves] != [np.shape(leaf) for leaf in own]:
            raise ArgumentError(
                f"Points of one landscape are pytrees of one structure and set of shapes; got {structure} of shapes "
                f"{[np.shape(leaf) for leaf in leaves]} beside {expected} of {[np.shape(leaf) for leaf in own]}. "
                "Give both alike."
            )
        vector = np.concatenate([np.ravel(np.asarray(leaf, dtype=float)) for leaf in leaves])
        if not np.all(np.isfinite(vector)):
            raise ArgumentError(
                f"Parameters are finite; {np.sum(~np.isfinite(vector))} of these {len(vector)} are not. Give those of "
                "a run that did not diverge."
            )
        return vector

    def shaped(self, vectors: np.ndarray, *, precise: bool = True) -> Any:
        """Return vectors of shape (..., p) with the structure of the parameters.

        Args:
            vectors: one, or several with leading axes, which the leaves then have too.
            precise: whether leaves are NumPy arrays in double precision; otherwise JAX arrays like the parameters'.
        """
        leaves, structure = jax.tree.flatten(self.params)
        places = np.cumsum([np.size(leaf) for leaf in leaves])[:-1]
        parts = np.split(np.asarray(vectors, dtype=float), places, axis=-1)
        shaped: list[Any] = [
            part.reshape(vectors.shape[:-1] + leaf.shape) for part, leaf in zip(parts, leaves, strict=True)
        ]
        if not precise:
            shaped = [jnp.asarray(part, leaf.dtype) for part, leaf in zip(shaped, leaves, strict=True)]
        return jax.tree.unflatten(structure, shaped)

    # --- derivatives of the mean loss ---------------------------------------------------------------------------------

    def losses(self, points: np.ndarray) -> np.ndarray:
        """Return the mean loss at points of shape (n, p)."""
        return self.gradients(points)[0]

    def gradient(self, point: np.ndarray) -> tuple[float, np.ndarray]:
        """Return loss and gradient at one point."""
        values, slopes = self.gradients(point[None])
        return float(values[0]), slopes[0]

    def gradients(self, points: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return losses, shape (n,), and gradients, shape (n, p)."""
        return self._of_points("gradients", points)

    def products(self, point: np.ndarray, vectors: np.ndarray) -> np.ndarray:
        """Return Hv for vectors in rows."""
        return self._in_blocks("products", vectors, point)

    def hessian(self, point: np.ndarray) -> np.ndarray:
        """Return H, shape (p, p)."""
        matrix = self.products(point, np.eye(self.size))
        return (matrix + matrix.T) / 2

    def third(self, point: np.ndarray, along: np.ndarray, vectors: np.ndarray) -> np.ndarray:
        """Return ∇³l[along, v, ·] for vectors v in rows."""
        return self._in_blocks("third", vectors, point, along)

    def third_and_fourth(self, point: np.ndarray, vectors: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return ∇³l[v, v, v] and ∇⁴l[v, v, v, v] for vectors v in rows."""
        return self._in_blocks("third_and_fourth", vectors, point)

    def fourth(self, point: np.ndarray, first: np.ndarray, second: np.ndarray) -> np.ndarray:
        """Return ∇⁴l[u, u, v, v] for pairs of vectors in rows."""
        pairs = np.concatenate([first, second], axis=1)
        return self._in_blocks("fourth", pairs, point)

    # --- noise of the gradient ----------------------------------------------------------------------------------------

    def along(self, points: np.ndarray, tangents: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
        """Return l, G·e, C_e and H_e at points along directions e; each of shape (n,)."""
        return self._of_points("along", points, tangents)

    def slopes(self, points: np.ndarray, tangents: np.ndarray) -> np.ndarray:
        """Return every example's slope g_n = e·∇l_n, shape (n, M)."""
        return self._of_points("slopes", points, tangents)

    def noise_products(self, point: np.ndarray, vectors: np.ndarray) -> np.ndarray:
        """Return Cv for vectors in rows, with C the covariance of one example's gradient divided by M."""
        return self._in_blocks("noise_products", vectors, point)

    def covariance(self, point: np.ndarray) -> np.ndarray:
        """Return C, shape (p, p)."""
        matrix = self._run("covariance", point)
        return (matrix + matrix.T) / 2

    def gradient_scale(self, point: np.ndarray) -> float:
        """Return rms‖∇l_n‖, against which gradients of the mean count as small."""
        return float(self._run("gradient_scale", point))

    def combinations(self, point: np.ndarray, weights: np.ndarray) -> np.ndarray:
        """Return Σ_n w_n ∇l_n for weights in rows of shape (m, M); shape (m, p)."""
        return self._run("combinations", point, weights)

    def central_moments(self, point: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return the second and fourth central moment of every component of the examples' gradients, shape (p,)."""
        return self._run("central_moments", point)

    def traced(self) -> tuple[Callable[..., Any], Callable[..., Any], Any]:
        """Return the loss of a flat vector and an example, the way back to parameters, and the data, for programs."""
        return self._programs.loss, self._programs.unravel, self._data

    def _run(self, name: str, *arguments: Any) -> Any:
        with jax.enable_x64(True):
            found = getattr(self._programs, name)(self._data, *arguments)
            return jax.tree.map(lambda leaf: np.array(leaf, dtype=float), found)

    def _of_points(self, name: str, *rows: np.ndarray) -> Any:
        """Return a function of many points, whose number is rounded up so that few programs serve all numbers."""
        count = len(rows[0])
        room = count if count == 1 else max(_ROOM, 1 << (count - 1).bit_length())
        filled = [np.concatenate([part, np.repeat(part[-1:], room - count, axis=0)]) for part in rows]
        return jax.tree.map(lambda part: part[:count], self._run(name, *filled))

    def _in_blocks(self, name: str, rows: np.ndarray, *before: Any) -> Any:
        """Return a function of rows, a block of one size at a time; the last is filled up with zeros."""
        size = 1 if len(rows) == 1 else min(_COLUMNS, max(4, self.size))
        found = []
        for first in range(0, len(rows), size):
            block = rows[first : first + size]
            filled = np.concatenate([block, np.zeros((size - len(block), rows.shape[1]))])
            found.append(self._run(name, *before, filled))
        return jax.tree.map(lambda *parts: np.concatenate(parts)[: len(rows)], *found)
