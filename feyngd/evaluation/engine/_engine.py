"""Runs plans at one point of a landscape: averages first, then rows."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int, PyTree

from ..._mesh import flat_mesh
from ...derivatives import Loss, TracedLoss, flat_loss, gradient_sizes, per_loss
from ...landscapes import Landscape
from ..planning import TEST, Dot, Given, Mean, Number, Product, Vector, constants_in, vectors_in
from ._factored_vectors import TangentSpace
from ._field_space import FieldSpace
from ._not_finite import NotFiniteError
from ._passes import Pass, run_pass
from ._row import Measured, Row, Rows, examples_at
from ._rows_at_once import gradients_together, rows_together


class Engine:
    """Averages of vectors and numbers over rows of examples, at one point.

    Args:
        landscape: the loss and its data.
        params: the point.
        chunk_size: how many rows are differentiated together; chosen by the size of the parameters if `None`.
        mesh: the devices to share the rows among.
        sample: the examples to average over, at position 0 and at `TEST`; all of them if `None`.
        draft: whether to compile fast and run slowly, for a few examples.

    Attributes:
        landscape: the loss and its data.
        params: the point, arrays of JAX.
        chosen_chunk_size: the chunk size that was asked for, if any.
        sample: the examples to average over, by position.
    """

    def __init__(
        self,
        landscape: Landscape,
        params: PyTree,
        *,
        chunk_size: int | None = None,
        mesh: jax.sharding.Mesh | None = None,
        sample: Rows | None = None,
        draft: bool = False,
    ) -> None:
        self.landscape, self.chosen_chunk_size, self._draft = landscape, chunk_size, draft
        self._mesh = None if mesh is None else flat_mesh(mesh)
        self.params = jax.tree.map(jnp.asarray, params)
        self._constants: dict[Mean | Given, PyTree] = {}
        everything = {0: np.arange(landscape.num_examples), TEST: np.arange(landscape.num_test_examples)}
        self.sample = everything if sample is None else sample

    def restricted(self, sample: Rows) -> "Engine":
        """Return an engine at the same point that averages over a sample of the examples, with the same programs."""
        return Engine(
            self.landscape,
            self.params,
            chunk_size=self.chosen_chunk_size,
            mesh=self._mesh,
            sample=sample,
            draft=self._draft,
        )

    def with_noise(self, key: jax.Array, positions: Iterable[int], draws: int) -> "Engine":
        """Return an engine at the same point with fresh noise, whose samples have so many draws of it an example."""
        twin = self.restricted({})
        twin.landscape = self.landscape.with_noise(key)
        everything = {p: np.arange(self.sizes[p == TEST]) for p in positions}
        twin.sample = {p: twin.uses(p, [examples] * draws) for p, examples in everything.items()}
        return twin

    def uses(self, position: int, examples: Sequence[Int[np.ndarray, " rows"]]) -> Int[np.ndarray, " all"]:
        """Return the numbers of a position's examples, draw by draw of the noise, as `examples_at` takes them."""
        if position == TEST and self.landscape.measured is not None:
            return np.concatenate(examples)
        size = self.sizes[position == TEST]
        return np.concatenate([numbers + size * draw for draw, numbers in enumerate(examples)])

    @property
    def sizes(self) -> tuple[int, int]:
        """The number of examples, and of test examples."""
        return self.landscape.num_examples, self.landscape.num_test_examples

    def fork(self) -> "Engine":
        """Return an engine that knows the same vectors and may be given others."""
        twin = self.restricted(self.sample)
        twin._constants = dict(self._constants)
        return twin

    def outer(self, u: Vector, v: Vector, basis: PyTree) -> PyTree:
        """Return the averages of (Q_a·u) v over the examples for stacked vectors Q, stacked likewise."""
        stacked = Given("Q")
        fork = self.fork()
        fork.give({stacked: basis})
        _, _, (average,) = fork._run((), (), {0: self.sample[0]}, ((u, v),), stacked)
        return average

    def give(self, vectors: Mapping[Given, PyTree] | Mapping[Mean, PyTree]) -> None:
        """Make vectors known that expressions name."""
        for name, vector in vectors.items():
            self._constants[name] = vector

    def average(self, means: Iterable[Mean]) -> None:
        """Compute averaged vectors, level by level."""
        todo = [mean for mean in means if mean not in self._constants]
        # A level needs the averages of the levels below it; test data are averaged apart.
        for level in sorted({mean.level for mean in todo}):
            for position, examples in self.sample.items():
                group = tuple(m for m in todo if m.level == level and m.of.positions == {position})
                if group:
                    averages, _, _ = self._run(group, (), {position: examples})
                    self.give(averages)

    def exact(self, numbers: Sequence[Number]) -> dict[Number, float]:
        """Return the averages of numbers that depend on one example at most."""
        products = [number for number in numbers if isinstance(number, (Dot, Product)) and not number.positions]
        # Both factors of a late product are averaged in the same pass as the numbers of one example.
        factors = dict.fromkeys(item for number in products if isinstance(number, Dot) for item in number.inputs)
        late = [item for item in factors if isinstance(item, Mean) and item not in self._constants]
        averages: dict[Number, float] = {}
        for position, examples in self.sample.items():
            group = tuple(number for number in numbers if number.positions == {position})
            means = tuple(mean for mean in late if mean.of.positions == {position})
            if group or means:
                vectors, by_chunk, _ = self._run(means, group, {position: examples})
                averages |= zip(group, by_chunk.sum(axis=0).tolist(), strict=True)
                self.give(vectors)
        return averages | {number: self._product(number) for number in products}

    def rows(self, numbers: Sequence[Number], rows: Rows) -> dict[Number, float]:
        """Return the averages of numbers over rows of examples."""
        _, by_chunk, _ = self._run((), tuple(numbers), rows)
        return dict(zip(numbers, by_chunk.sum(axis=0).tolist(), strict=True))

    def rows_by_chunk(
        self, numbers: Sequence[Number], rows: Rows, chunk_size: int
    ) -> dict[Number, Float[np.ndarray, " chunks"]]:
        """Return what every chunk of successive rows adds to the averages of numbers over all rows."""
        _, by_chunk, _ = self._run((), tuple(numbers), rows, chunk_size=chunk_size)
        return dict(zip(numbers, by_chunk.T, strict=True))

    def chunk_size(self, numbers: Sequence[Number], positions: Sequence[int]) -> int:
        """Return how many rows of a pass over numbers are differentiated together."""
        return self._chunk(Pass((), (), tuple(numbers), (), (), tuple(positions), *self._functions(positions)))

    @contextmanager
    def compiling(
        self, numbers: Sequence[Number], positions: Sequence[int], chunk_size: int | None = None
    ) -> Iterator[None]:
        """Compile the pass of `rows` in another thread meanwhile: most of the time of a first call is compilation."""
        if not numbers or self._mesh is not None:  # processes of a mesh must do the same in the same order
            yield
            return
        double = bool(jax.config.read("jax_enable_x64"))  # which holds for one thread

        def pass_over_nothing() -> None:
            with jax.enable_x64(double):
                nothing = {position: np.zeros(0, dtype=int) for position in positions}
                self._run((), tuple(numbers), nothing, chunk_size=chunk_size)

        with ThreadPoolExecutor(1) as pool:
            compiled = pool.submit(pass_over_nothing)
            yield
            compiled.result()

    def gradient_norms(self) -> Float[np.ndarray, " examples"]:
        """Return the norm of every example's gradient."""
        chunk = gradients_together(self.params, self.landscape.num_examples)
        norms = _compiled_norms(self.landscape.loss, chunk)
        return np.asarray(norms(self.params, self.landscape.data), dtype=float)

    def locate(self, item: Mean | Number, rows: Rows) -> tuple[int, ...] | None:
        """Return the examples of the first row in which a vector or number is not finite."""
        loss, params, constants = self.landscape.loss, self.params, self._constants
        shapes, measured, update = self.landscape.example_shapes, self.landscape.measured, self.landscape.update
        noisy, sizes = self.landscape.per_use_noise, self.sizes

        @jax.jit
        def is_finite(index: dict[int, Array], data: PyTree, test_data: PyTree) -> Bool[Array, ""]:
            examples = {
                p: examples_at(
                    test_data if p == TEST else data,
                    i,
                    noise_of=p if noisy and not (p == TEST and measured is not None) else None,
                )
                for p, i in index.items()
            }
            traced = TracedLoss(loss, params, shapes)
            space = TangentSpace(traced, params) if update is None else FieldSpace(loss, update, params)
            row = Row(space, constants, examples, Measured.at(measured, params))
            result = row.dense(item.of) if isinstance(item, Mean) else row.number(item)
            return jnp.all(jnp.stack([jnp.all(jnp.isfinite(leaf)) for leaf in jax.tree.leaves(result)]))

        for at in range(len(next(iter(rows.values())))):
            index = {position: jnp.asarray(array[at]) for position, array in rows.items()}
            if not bool(is_finite(index, self.landscape.data, self.landscape.test_data)):
                return tuple(int(array[at]) % sizes[position == TEST] for position, array in rows.items())
        return None

    def _run(
        self,
        means: tuple[Mean, ...],
        numbers: tuple[Number, ...],
        rows: Rows,
        outers: tuple[tuple[Vector, Vector], ...] = (),
        stacked: Given | None = None,
        chunk_size: int | None = None,
    ) -> tuple[dict[Mean, PyTree], Float[np.ndarray, "chunks numbers"], list[PyTree]]:
        """Run one pass over rows; see `Pass` for what it averages, and `run_pass` for what it returns."""
        items = (*(mean.of for mean in means), *numbers, *(vector for pair in outers for vector in pair))
        constants = dict.fromkeys(constant for item in items for constant in constants_in(item))
        # A shared vector that rows compute anyway is averaged over them.
        of_rows = {vector for item in numbers for vector in vectors_in(item)}
        measured, update = self._functions(rows)
        shared = tuple(mean for mean in means if mean.is_shared and (measured is not None or mean.of not in of_rows))
        others = tuple(mean for mean in means if mean not in shared)
        # The stacked vectors of outers come last, where the pass expects them.
        job = Pass(
            shared,
            others,
            numbers,
            outers,
            (*constants, *([stacked] if stacked else [])),
            tuple(rows),
            measured,
            update,
            self.landscape.per_use_noise,
        )
        averages, by_chunk, products, bad = run_pass(
            self.landscape.loss,
            job,
            self.params,
            [self._constants[constant] for constant in job.constants],
            self.landscape.data,
            self.landscape.test_data,
            rows,
            chunk_size=self._chunk(job) if chunk_size is None else chunk_size,
            room=self._room,
            mesh=self._mesh,
            draft=self._draft,
        )
        broken: list[Mean | Number] = [
            *bad,
            *(number for number, parts in zip(numbers, by_chunk.T, strict=True) if not np.isfinite(parts).all()),
        ]
        if broken:
            raise NotFiniteError(broken[0], self.locate(broken[0], rows))
        return averages, by_chunk, products

    def _functions(self, positions: Iterable[int]) -> tuple[Loss | None, Any]:
        """Return what is measured at `TEST` and what steps follow, where these are not the loss and its gradient."""
        return self.landscape.measured if TEST in positions else None, self.landscape.update

    def _product(self, number: Dot | Product) -> float:
        """Return the inner product of two averaged vectors, or the product of two such, in double precision."""
        if isinstance(number, Product):
            one, other = (self._product(factor) for factor in number.inputs if isinstance(factor, Dot))
            return one * other
        left, right = (jax.tree.leaves(self._constants[item]) for item in number.inputs)  # type: ignore[index]
        return float(
            sum(np.vdot(np.asarray(a, np.float64), np.asarray(b, np.float64)) for a, b in zip(left, right, strict=True))
        )

    def _chunk(self, job: Pass) -> int:
        landscape, size = self.landscape, self.chosen_chunk_size
        if size is None:
            size = rows_together(job, landscape.loss, self.params, landscape.example_shapes, self._room)
        return min(size, self._room)

    @property
    def _room(self) -> int:
        """The number of rows of a pass over everything."""
        return max(self.landscape.num_examples, self.landscape.num_test_examples)


@per_loss
def _compiled_norms(loss: Loss, chunk_size: int) -> Callable[[PyTree, PyTree], Float[Array, " examples"]]:
    """Compile the norm of every example's gradient as a function of the parameters and the data."""

    @jax.jit
    def norms(params: PyTree, data: PyTree) -> Float[Array, " examples"]:
        theta, example_loss = flat_loss(loss, params)
        sizes = gradient_sizes(partial(jax.grad(example_loss), theta), jnp.zeros_like(theta), data, chunk_size)
        return jnp.sqrt(sizes)

    return norms
