"""What one step of a linear optimizer does along an eigenvector: the matrix M(h), how noise enters, and its powers.

The state is (θ − μ, v) with v = −u, u being PyTorch's velocity u ← βu + g. For heavy ball v is (θ_k − θ_{k−1})/η. For
Nesterov's momentum, where a step is −η(g + βu), it is the optimizer's memory.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np

from ..._learning_rates import check_learning_rate
from ...errors import ArgumentError
from ...optimizers import check_optimizer

_ALIKE = 1e-6  # of kernels that were measured


@dataclass(frozen=True)
class LinearStep:
    """A step θ ← θ − η(a g + b u) after u ← βu + g, for gradients g = h(θ − μ) + noise.

    Attributes:
        eta: η; with dampening d it is (1 − d)η.
        a, b: 0 and 1 for heavy ball, 1 and β for Nesterov's momentum.
        beta: β.
    """

    eta: float
    a: float
    b: float
    beta: float

    @property
    def reach(self) -> float:
        """How far a gradient moves θ in its own step, η(a + b)."""
        return self.eta * (self.a + self.b)

    @property
    def drag(self) -> float:
        """How far the velocity before a step moves θ in it, ηbβ."""
        return self.eta * self.b * self.beta

    @property
    def is_heavy_ball(self) -> bool:
        """Whether a = 0 and b = 1; plain SGD is one without memory."""
        return abs(self.a) < _ALIKE and abs(self.b - 1) < _ALIKE

    @property
    def bound(self) -> float:
        """The curvature below which steps are stable."""
        # An eigenvalue leaves the unit circle at −1 where 1 + trace + determinant = 0.
        crossing = self.eta * (self.a * (1 + self.beta) + self.b)
        return 2 * (1 + self.beta) / crossing

    @property
    def entry(self) -> np.ndarray:
        """How noise of a gradient enters the state, up to its sign, shape (2,)."""
        return np.array([self.reach, 1.0])

    def matrix(self, h: np.ndarray) -> np.ndarray:
        """Return M(h), shape (..., 2, 2)."""
        h = np.asarray(h, dtype=float)
        found = np.empty((*h.shape, 2, 2))
        found[..., 0, 0], found[..., 0, 1] = 1 - self.reach * h, self.drag
        found[..., 1, 0], found[..., 1, 1] = -h, self.beta
        return found

    def power(self, h: np.ndarray, steps: int) -> np.ndarray:
        """Return M(h) to the power of a number of steps, by squaring."""
        return np.linalg.matrix_power(self.matrix(h), steps)

    def roots(self, h: np.ndarray) -> np.ndarray:
        """Return the eigenvalues of M(h), the larger in size first, complex, shape (..., 2)."""
        trace, det = 1 + self.beta - self.reach * h, self.beta * (1 - self.eta * self.a * h)
        root = np.sqrt(np.asarray(trace**2 / 4 - det, dtype=complex))
        middle = trace / 2
        large = np.where(middle >= 0, middle + root, middle - root)
        small = np.divide(det, large, out=np.zeros_like(large), where=large != 0)
        return np.stack([large, small], axis=-1)

    def pulses(self, h: np.ndarray, steps: int) -> np.ndarray:
        """Return u_r = Σ_{j<r} M^j e for r = 0 … steps, shape (steps + 1, ..., 2): what constant noise sums to."""
        matrix, entry = self.matrix(h), self.entry
        found = np.zeros((steps + 1, *np.shape(h), 2))
        for r in range(steps):
            found[r + 1] = np.einsum("...ab,...b->...a", matrix, found[r]) + entry
        return found

    def pulse(self, h: np.ndarray, steps: int) -> np.ndarray:
        """Return Σ_{j<steps} M^j e alone, by doubling, shape (..., 2)."""
        matrix = self.matrix(h)
        power, total = matrix, np.broadcast_to(self.entry, (*np.shape(h), 2))
        if not steps:
            return np.zeros_like(total)
        for bit in f"{steps:b}"[1:]:
            total = total + np.einsum("...ab,...b->...a", power, total)
            power = power @ power
            if bit == "1":
                total = np.einsum("...ab,...b->...a", matrix, total) + self.entry
                power = power @ matrix
        return total


def linear_step(optimizer: Any, learning_rate: Any) -> LinearStep:
    """Return the step of an optimizer at a constant learning rate.

    Raises:
        ArgumentError: the learning rate is not positive; the optimizer is not linear in gradients, averages, or has
            symbols, a metric or steps that differ.
    """
    rate = check_learning_rate(learning_rate)
    chosen = check_optimizer(optimizer)
    if chosen.average is not None:
        raise ArgumentError(
            f"{chosen} averages its iterates: give the optimizer alone, and ask .averaged(ema=…|tail=…)."
        )
    flat, curved = chosen.companion(0.0), chosen.companion(1.0)
    # PyTorch's dampening makes every gradient smaller but the first, which is forgotten.
    scale, beta = float(curved[1, 0]), float(flat[1, 1])
    total = (1 - float(curved[0, 0])) / scale
    b = -float(flat[0, 1]) / beta if beta else total
    a = total - b
    return LinearStep(rate * scale, 0.0 if abs(a) < _ALIKE else a, b, beta)


def grown(matrix: np.ndarray, other: np.ndarray, source: np.ndarray, steps: int) -> np.ndarray:
    """Return Σ_{j<steps} A^j S (B^j)ᵀ by doubling.

    Args:
        matrix: A, shape (..., 2, 2).
        other: B, likewise.
        source: S, likewise.
        steps: how many terms.
    """
    if not steps:
        return np.zeros(np.broadcast_shapes(matrix.shape, other.shape, source.shape))
    left, right, total = matrix, other, source
    for bit in f"{steps:b}"[1:]:
        total = total + left @ total @ np.swapaxes(right, -1, -2)
        left, right = left @ left, right @ right
        if bit == "1":
            total = source + matrix @ total @ np.swapaxes(other, -1, -2)
            left, right = left @ matrix, right @ other
    return total


def settled(matrix: np.ndarray, other: np.ndarray, source: np.ndarray) -> np.ndarray:
    """Return P = A P Bᵀ + S, a Lyapunov equation of four unknowns for every pair; all of shape (..., 2, 2)."""
    pairs = np.einsum("...ab,...cd->...acbd", matrix, other)
    shape = pairs.shape[:-4]
    equations = np.eye(4) - pairs.reshape(*shape, 4, 4)
    sources = np.broadcast_to(source, (*shape, 2, 2)).reshape(*shape, 4, 1)
    return np.linalg.solve(equations, sources).reshape(*shape, 2, 2)
