"""Runs plans at one point of a landscape: averages first, then rows."""

import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from ...derivatives import Loss, TracedLoss, noted, per_loss
from ...diagrams import Diagram
from ...errors import ArgumentError, LandscapeError
from ...landscapes import Landscape
from ..planning import CONVOLUTIONAL, DENSE, TEST, CostModel, Dot, Given, Mean, Number, Vector, constants_in, vectors_in
from ._factored_vectors import Space
from ._passes import Program, run_sweep
from ._row import Row, Rows

_MEMORY = 2**28  # bytes for the per-example vectors of one chunk
_LARGEST_CHUNK = 64
_MOST_ROWS = 4096  # of one chunk on an accelerator
# On CPUs caches decide how many rows go together: as many as fit, within limits that were measured.
_CACHE = 2**23
_MOST_ROWS_ON_CPU = 160
_LEAST_ROWS = {"one example": 40, "several examples": 80}
_MANY_USES = 2  # of a weight by one example, from which arithmetic and not memory takes the time


class Engine:
    """Averages of vectors and numbers over rows of examples, at one point.

    Args:
        landscape: the loss and its data.
        params: the point.
        chunk_size: how many rows are differentiated together; chosen by the size of the parameters if `None`.
        mesh: the devices to share the rows among.
        sample: the examples to average over, at position 0 and at `TEST`; all of them if `None`.
        draft: whether to compile fast and run slowly, for a few examples.
    """

    def __init__(
        self,
        landscape: Landscape,
        params: Any,
        *,
        chunk_size: int | None = None,
        mesh: jax.sharding.Mesh | None = None,
        sample: Rows | None = None,
        draft: bool = False,
    ) -> None:
        self._landscape, self._mesh, self._chunk_size, self._draft = landscape, mesh, chunk_size, draft
        self.params = jax.tree.map(jnp.asarray, params)
        self._constants: dict[Mean | Given, Any] = {}
        everything = {0: np.arange(landscape.num_examples), TEST: np.arange(landscape.num_test_examples)}
        self.sample = everything if sample is None else sample

    def restricted(self, sample: Rows) -> "Engine":
        """Return an engine at the same point that averages over a sample of the examples, with the same programs."""
        return Engine(
            self._landscape,
            self.params,
            chunk_size=self._chunk_size,
            mesh=self._mesh,
            sample=sample,
            draft=self._draft,
        )

    @property
    def sizes(self) -> tuple[int, int]:
        """The number of examples, and of test examples."""
        return self._landscape.num_examples, self._landscape.num_test_examples

    def fork(self) -> "Engine":
        """Return an engine that knows the same vectors and may be given others."""
        twin = self.restricted(self.sample)
        twin._constants = dict(self._constants)
        return twin

    def outer(self, u: Vector, v: Vector, basis: Any) -> Any:
        """Return the averages of (Q_a·u) v over the examples for stacked vectors Q, stacked likewise."""
        stacked = Given("Q")
        fork = self.fork()
        fork.give({stacked: basis})
        _, _, (average,) = fork._sweep((), (), {0: self.sample[0]}, ((u, v),), stacked)
        return average

    def give(self, vectors: dict[Given, Any]) -> None:
        """Make vectors known that expressions name."""
        for name, vector in vectors.items():
            self._constants[name] = vector

    def average(self, means: Iterable[Mean]) -> None:
        """Compute averaged vectors, level by level."""
        todo = [mean for mean in means if mean not in self._constants]
        for level in sorted({mean.level for mean in todo}):
            for position, examples in self.sample.items():
                group = tuple(m for m in todo if m.level == level and m.of.positions == {position})
                if group:
                    averages, _, _ = self._sweep(group, (), {position: examples})
                    self._constants |= averages

    def exact(self, numbers: Sequence[Number]) -> dict[Number, float]:
        """Return the averages of numbers that depend on one example at most."""
        products = [number for number in numbers if isinstance(number, Dot) and not number.positions]
        late = dict.fromkeys(mean for number in products for mean in number.inputs if mean not in self._constants)
        found: dict[Number, float] = {}
        for position, examples in self.sample.items():
            group = tuple(number for number in numbers if number.positions == {position})
            means = tuple(mean for mean in late if mean.of.positions == {position})  # type: ignore[union-attr]
            if group or means:
                averages, results, _ = self._sweep(means, group, {position: examples})  # type: ignore[arg-type]
                found |= zip(group, results.tolist(), strict=True)
                self._constants |= averages
        return found | {number: self._product(number) for number in products}

    def rows(self, numbers: Sequence[Number], rows: Rows) -> dict[Number, float]:
        """Return the averages of numbers over rows of examples."""
        _, results, _ = self._sweep((), tuple(numbers), rows)
        return dict(zip(numbers, results.tolist(), strict=True))

    @contextmanager
    def compiling(self, numbers: Sequence[Number], positions: Sequence[int]) -> Iterator[None]:
        """Compile the sweep of `rows` in another thread meanwhile: most of the time of a first call is compilation."""
        if not numbers or self._mesh is not None:  # processes of a mesh must do the same in the same order
            yield
            return
        double = bool(jax.config.read("jax_enable_x64"))  # which holds for one thread

        def sweep_nothing() -> None:
            with jax.enable_x64(double):
                self.rows(numbers, {position: np.zeros(0, dtype=int) for position in positions})

        with ThreadPoolExecutor(1) as pool:
            compiled = pool.submit(sweep_nothing)
            yield
            compiled.result()

    def gradient_norms(self) -> np.ndarray:
        """Return the norm of every example's gradient, shape (M,)."""
        size = sum(leaf.size * leaf.dtype.itemsize for leaf in jax.tree.leaves(self.params))
        chunk = max(1, min(_LARGEST_CHUNK, _MEMORY // (2 * size), self._landscape.num_examples))
        norms = _compiled_norms(self._landscape.loss, chunk)
        return np.asarray(norms(self.params, self._landscape.data), dtype=float)

    def locate(self, item: Mean | Number, rows: Rows) -> tuple[int, ...] | None:
        """Return the examples of the first row in which a vector or number is not finite."""
        loss, params, constants = self._landscape.loss, self.params, self._constants

        @jax.jit
        def finite(index: dict[int, jax.Array], data: Any, test_data: Any) -> jax.Array:
            examples = {
                p: jax.tree.map(lambda leaf, i=i: leaf[i], test_data if p == TEST else data) for p, i in index.items()
            }
            traced = TracedLoss(loss, params, next(iter(examples.values())))
            row = Row(Space(traced, params), constants, examples)
            result = row.dense(item.of) if isinstance(item, Mean) else row.number(item)
            return jnp.all(jnp.stack([jnp.all(jnp.isfinite(leaf)) for leaf in jax.tree.leaves(result)]))

        for at in range(len(next(iter(rows.values())))):
            index = {position: jnp.asarray(array[at]) for position, array in rows.items()}
            if not bool(finite(index, self._landscape.data, self._landscape.test_data)):
                return tuple(int(array[at]) for array in rows.values())
        return None

    def _sweep(
        self,
        means: tuple[Mean, ...],
        numbers: tuple[Number, ...],
        rows: Rows,
        outers: tuple[tuple[Vector, Vector], ...] = (),
        stacked: Given | None = None,
    ) -> tuple:
        items = (*(mean.of for mean in means), *numbers, *(vector for pair in outers for vector in pair))
        constants = dict.fromkeys(constant for item in items for constant in constants_in(item))
        # A shared vector that rows compute anyway is averaged over them.
        of_rows = {vector for item in numbers for vector in vectors_in(item)}
        shared = tuple(mean for mean in means if mean.is_shared and mean.of not in of_rows)
        rest = tuple(mean for mean in means if mean not in shared)
        program = Program(shared, rest, numbers, outers, (*constants, *([stacked] if stacked else [])), tuple(rows))
        averages, results, products, bad = run_sweep(
            self._landscape.loss,
            program,
            self.params,
            [self._constants[constant] for constant in program.constants],
            self._landscape.data,
            self._landscape.test_data,
            rows,
            chunk_size=self._chunk(program),
            room=self._room,
            mesh=self._mesh,
            draft=self._draft,
        )
        broken: list[Mean | Number] = [
            *bad,
            *(number for number, result in zip(numbers, results, strict=True) if not math.isfinite(result)),
        ]
        for item in broken:
            raise NotFiniteError(item, self.locate(item, rows))
        return averages, results, products

    def _product(self, number: Dot) -> float:
        left, right = (jax.tree.leaves(self._constants[item]) for item in number.inputs)  # type: ignore[index]
        return float(
            sum(np.vdot(np.asarray(a, np.float64), np.asarray(b, np.float64)) for a, b in zip(left, right, strict=True))
        )

    def _chunk(self, program: Program) -> int:
        largest = self._chunk_size
        if largest is None:
            items = (
                *(mean.of for mean in program.means),
                *program.numbers,
                *(v for pair in program.outers for v in pair),
            )
            vectors = 2 + len({vector for item in items for vector in vectors_in(item)})
            # Factors double in number with every direction, and most vectors have one; sketches write them out.
            numbers = 2 * _row_size(self._landscape.loss, self.params, self._landscape.example_shapes)
            numbers += sum(leaf.size for leaf in jax.tree.leaves(self.params)) if program.outers else 0
            size = numbers * max(leaf.dtype.itemsize for leaf in jax.tree.leaves(self.params))
            # The largest number that makes as few chunks, so that the last one is not half empty.
            most = min(_rows_together(program, size * vectors), _MEMORY // (size * vectors), self._room)
            most = max(1, most)
            largest = -(-self._room // -(-self._room // most))
        return min(largest, self._room)

    @property
    def _room(self) -> int:
        return max(self._landscape.num_examples, self._landscape.num_test_examples)


def _rows_together(program: Program, size: int) -> int:
    """Return how many rows are fastest together, given the bytes of one."""
    if jax.default_backend() != "cpu":
        return _MOST_ROWS
    if not (program.means or program.numbers or program.outers):
        return _MOST_ROWS_ON_CPU
    least = _LEAST_ROWS["one example" if len(program.positions) == 1 else "several examples"]
    return min(max(least, _CACHE // size), _MOST_ROWS_ON_CPU)


@per_loss
def _compiled_norms(loss: Loss, chunk_size: int) -> Callable[[Any, Any], jax.Array]:
    """Compile the norm of every example's gradient, shape (M,), as a function of the parameters and the data."""

    @jax.jit
    def norms(params: Any, data: Any) -> jax.Array:
        def one(example: Any) -> jax.Array:
            slope = jax.grad(loss)(params, example)
            return jnp.sqrt(sum(jnp.sum(leaf**2) for leaf in jax.tree.leaves(slope)))

        return jax.lax.map(one, data, batch_size=chunk_size)

    return norms


def cost_model(loss: Loss, params: Any, example: Any) -> CostModel:
    """Tell whether arithmetic takes the time, or reading and writing a vector of parameters for every example.

    Vectors are small where gradients of weights are kept as products. Otherwise it depends on how often one example
    uses a weight.
    """
    dense = _row_size(loss, params, example)
    return CONVOLUTIONAL if _operations(loss, params, example) > _MANY_USES * 2 * dense else DENSE


def _operations(loss: Loss, params: Any, example: Any) -> float:
    """Return how many arithmetic operations the loss of one example takes."""

    def count() -> float:
        lowered = jax.jit(lambda p, e: loss(p, e)).lower(params, example)
        return float((lowered.cost_analysis() or {}).get("flops", 0.0))

    return noted(loss, "operations", count)


def _row_size(loss: Loss, params: Any, example: Any) -> int:
    """Return how many numbers make the gradient of one example, with products counted by their factors."""

    def count() -> int:
        sizes = [int(np.size(leaf)) for leaf in jax.tree.leaves(params)]
        for site in TracedLoss(loss, params, example).sites:
            sizes[site.leaf] = site.rows * (site.inputs + site.outputs)
        return sum(sizes)

    return noted(loss, "row size", count)


class NotFiniteError(Exception):
    """A vector or number is not finite; holds which, and the examples of the first row where it is not."""

    def __init__(self, item: Mean | Number, examples: tuple[int, ...] | None) -> None:
        super().__init__(item.text)
        self.item, self.examples = item, examples

    def explain(self, diagram: Diagram) -> LandscapeError:
        """Return the error to show, naming the diagram."""
        where = f"The value of diagram {diagram} is not finite"
        if self.examples is None:
            return LandscapeError(
                f"{where}: {self.item} is at every example, but the sum over examples is too large. Use 64-bit floats, "
                "or scale the loss."
            )
        item = self.item.of if isinstance(self.item, Mean) else self.item
        rank = max(
            [len(v.inputs) + 1 for v in vectors_in(item)]
            + ([0] if isinstance(item, (Vector, Dot)) else [len(item.inputs)])
        )
        return LandscapeError(
            f"{where} at example {', '.join(map(str, self.examples))}: in {item}, a derivative of the loss, of order "
            f"up to {rank}, is infinite, not a number or too large there. Check that the loss is smooth at these "
            "parameters, or use 64-bit floats."
        )


def check_mesh(mesh: Any) -> None:
    """Raise `ArgumentError` unless it is a mesh of devices, or `None`."""
    if mesh is not None and not isinstance(mesh, jax.sharding.Mesh):
        raise ArgumentError(f"A mesh is made as jax.make_mesh((8,), ('examples',)) for 8 devices; got {mesh!r}.")
