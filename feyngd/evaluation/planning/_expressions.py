"""What a pass over the population computes: vectors and numbers made from the loss's derivatives at a few examples.

A row of a pass holds one example for each *position* x, y, z, …. A `Vector` is a derivative of the loss at one of
them with all but one of its slots filled; a `Mean` is such a vector averaged over the population, a constant for all
rows. A `Scalar` or a `Dot` is a number. Expressions are equal if they are written alike: `j_y[g_x, ⟨g_x⟩]`.
"""

from collections.abc import Iterable, Iterator
from functools import cached_property

TEST = -1  # the position of an example from the separate test data
OTHER_TEST = -2  # that of a second one, which no row holds beside the first
CELLS = 1 << 10  # positions from here on are cells: examples with noise of their own
_MOST_CELLS = 1 << 5  # of one part
_NAMES = "xyzwabcdef"
_LETTERS = "lghjk"  # loss, gradient, Hessian, third and fourth derivative


class _Written:
    """Something equal to everything of its kind that is written alike."""

    text: str

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Written) and self.text == other.text

    def __hash__(self) -> int:
        return hash(self.text)

    def __repr__(self) -> str:
        return self.text


class Vector(_Written):
    """The derivative of the loss at one example with `inputs` in all slots but one.

    If it is `centred`, its mean over the population is subtracted; with a `basis`, its projection on the span of those
    vectors.
    """

    def __init__(
        self, position: int, inputs: "Iterable[Input]" = (), *, centred: bool = False, basis: "Given | None" = None
    ) -> None:
        self.position, self.centred, self.basis = position, centred, basis
        self.inputs = tuple(sorted(inputs, key=lambda item: item.text))
        outside = f"⊥{basis.text}" if basis else ""
        self.text = ("δ" if centred else "") + _write(len(self.inputs) + 1, position, self.inputs) + outside

    @cached_property
    def positions(self) -> frozenset[int]:
        """The positions whose examples the vector depends on."""
        return frozenset({self.position}).union(*(item.positions for item in self.inputs))

    def place(self, mapping: dict[int, int]) -> "Vector":
        """Return the vector with its positions renamed."""
        inputs = (item.place(mapping) for item in self.inputs)
        position = mapping.get(self.position, self.position)
        return Vector(position, inputs, centred=self.centred, basis=self.basis)

    def with_inputs(self, inputs: "Iterable[Input]") -> "Vector":
        """Return the vector with other inputs."""
        return Vector(self.position, inputs, centred=self.centred, basis=self.basis)

    def outside(self, basis: "Given") -> "Vector":
        """Return the vector minus its projection on the span of the given vectors."""
        return Vector(self.position, self.inputs, centred=self.centred, basis=basis)

    @property
    def whole(self) -> "Vector":
        """The vector without any projection subtracted."""
        return Vector(self.position, self.inputs, centred=self.centred)

    @property
    def uncentred(self) -> "Vector":
        """The vector without its mean subtracted."""
        return Vector(self.position, self.inputs)


class Mean(_Written):
    """The mean over the population of a vector that depends on one example."""

    positions: frozenset[int] = frozenset()

    def __init__(self, of: Vector) -> None:
        (position,) = of.positions
        # The mean over a cell keeps its position: cells draw different noise, so that products of means are unbiased.
        place = TEST if position == OTHER_TEST else 0
        self.of = of.place({position: place}) if position == OTHER_TEST or 0 <= position < CELLS else of
        self.text = f"⟨{self.of.text}⟩"

    def place(self, mapping: dict[int, int]) -> "Mean":
        """Return itself: it has no positions."""
        return self

    @cached_property
    def level(self) -> int:
        """One more than the levels of the means inside it: what has to be known before it."""
        return 1 + max((mean.level for mean in means_in(self.of)), default=0)

    @property
    def is_shared(self) -> bool:
        """Whether all directions are the same for every example, so that one derivative of the mean loss gives it."""
        return not self.of.centred and not any(item.positions for item in self.of.inputs)


class Given(_Written):
    """A vector that the pass is given, such as a direction of a basis."""

    positions: frozenset[int] = frozenset()

    def __init__(self, name: str) -> None:
        self.text = name

    def place(self, mapping: dict[int, int]) -> "Given":
        """Return itself: it has no positions."""
        return self


Input = Vector | Mean | Given


class Scalar(_Written):
    """The derivative of the loss at one example with `inputs` in all its slots."""

    def __init__(self, position: int, inputs: Iterable[Input] = ()) -> None:
        self.position = position
        self.inputs = tuple(sorted(inputs, key=lambda item: item.text))
        self.text = _write(len(self.inputs), position, self.inputs)

    @cached_property
    def positions(self) -> frozenset[int]:
        """The positions whose examples the number depends on."""
        return frozenset({self.position}).union(*(item.positions for item in self.inputs))

    def place(self, mapping: dict[int, int]) -> "Scalar":
        """Return the number with its positions renamed."""
        position = mapping.get(self.position, self.position)
        return Scalar(position, (item.place(mapping) for item in self.inputs))

    def with_inputs(self, inputs: Iterable[Input]) -> "Scalar":
        """Return the number with other inputs."""
        return Scalar(self.position, inputs)


class Dot(_Written):
    """The inner product of two vectors.

    If both are means it may be `is_late`: then nothing else waits for them, and they are averaged in the last pass.
    """

    def __init__(self, left: Input, right: Input, *, is_late: bool = False) -> None:
        self.inputs = tuple(sorted((left, right), key=lambda item: item.text))
        self.is_late = is_late
        self.text = ("∘" if is_late else "·").join(item.text for item in self.inputs)

    @cached_property
    def positions(self) -> frozenset[int]:
        """The positions whose examples the number depends on."""
        return self.inputs[0].positions | self.inputs[1].positions

    def place(self, mapping: dict[int, int]) -> "Dot":
        """Return the number with its positions renamed."""
        return self.with_inputs(item.place(mapping) for item in self.inputs)

    def with_inputs(self, inputs: Iterable[Input]) -> "Dot":
        """Return the product of other vectors."""
        return Dot(*inputs, is_late=self.is_late)


class Product(_Written):
    """The product of two numbers, which may depend on the same examples: those of two trees."""

    def __init__(self, one: Scalar | Dot, other: Scalar | Dot) -> None:
        self.inputs = tuple(sorted((one, other), key=lambda item: item.text))
        self.text = "×".join(f"({item.text})" for item in self.inputs)

    @cached_property
    def positions(self) -> frozenset[int]:
        """The positions whose examples the number depends on."""
        return self.inputs[0].positions | self.inputs[1].positions

    def place(self, mapping: dict[int, int]) -> "Product":
        """Return the number with its positions renamed."""
        return Product(*(item.place(mapping) for item in self.inputs))


Number = Scalar | Dot | Product


def _write(rank: int, position: int, inputs: Iterable[Input]) -> str:
    letter = _LETTERS[rank] if rank < len(_LETTERS) else f"d{rank}"
    where = _write_position(position)
    inside = ", ".join(item.text for item in inputs)
    return f"{letter}_{where}" + (f"[{inside}]" if inside else "")


def _write_position(position: int) -> str:
    if position < 0:
        return "t" if position == TEST else "u"
    if position >= CELLS:
        return f"{_write_position(part_of(position))}{position % _MOST_CELLS + 1}"
    return _NAMES[position] if position < len(_NAMES) else f"x{position}"


def cell_position(part: int, cell: int) -> int:
    """Return the position of a cell, given the number of its part and its own number within it."""
    return CELLS + _MOST_CELLS * part + cell


def part_of(position: int) -> int:
    """Return what says which example a position has: the number of the part of a cell, or the position itself."""
    return (position - CELLS) // _MOST_CELLS if position >= CELLS else position


def positions_of(items: "Iterable[Number | Vector]") -> tuple[int, ...]:
    """Return the positions of a row that several numbers or vectors share, test data last."""
    positions: frozenset[int] = frozenset().union(*(item.positions for item in items))
    return tuple(sorted(positions, key=lambda position: (position == TEST, position)))


def vectors_in(item: Input | Number) -> Iterator[Vector]:
    """Iterate over the vectors that have to be computed in a row, inner ones first."""
    if isinstance(item, (Mean, Given)):
        return
    for inner in item.inputs:
        yield from vectors_in(inner)
    if isinstance(item, Vector):
        yield item


def means_in(item: Input | Number) -> Iterator[Mean]:
    """Iterate over the means that have to be known before a row is computed, without the means inside them."""
    if isinstance(item, Mean):
        yield item
    elif not isinstance(item, Given):
        for inner in item.inputs:
            yield from means_in(inner)
        if isinstance(item, Vector) and item.centred:
            yield Mean(item.uncentred)


def means_below(item: Input | Number) -> tuple[Mean, ...]:
    """Return all means that have to be known, also those inside others, those that others are made from first."""
    found: dict[Mean, None] = {}

    def add(inner: Input | Number) -> None:
        for mean in means_in(inner):
            add(mean.of)
            found[mean] = None

    add(item)
    return tuple(sorted(found, key=lambda mean: (mean.level, mean.text)))


def constants_in(item: Input | Number) -> tuple[Mean | Given, ...]:
    """Return everything that a row takes as given: means, and given vectors."""
    found: dict[Mean | Given, None] = dict.fromkeys(means_in(item))

    def add(inner: Input | Number) -> None:
        if isinstance(inner, Given):
            found[inner] = None
        elif not isinstance(inner, Mean):
            if isinstance(inner, Vector) and inner.basis:
                found[inner.basis] = None
            for deeper in inner.inputs:
                add(deeper)

    add(item)
    return tuple(found)
