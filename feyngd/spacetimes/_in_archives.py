"""How results keep their spacetime in a file: by its sizes, and by its batches if they are explicit."""

from typing import Any

import sympy

from .._archive import keep
from ._spacetime import Spacetime


def _state(spacetime: Spacetime) -> tuple[Any, ...]:
    sizes = (spacetime.N, spacetime.B, spacetime.E, spacetime.T)
    return (
        *(None if size is None else int(size) for size in sizes),
        spacetime.sampling,
        spacetime.explicit,
        spacetime.drop_last,
    )


def _rebuilt(state: tuple[Any, ...]) -> Spacetime:
    N, B, E, T = (None if size is None else sympy.Integer(size) for size in state[:4])
    return Spacetime(N, B, E, T, *state[4:])  # files before 0.2 have no drop_last


keep(Spacetime, _state, _rebuilt)
