"""Losses along the line through a train and a test minimum, and fits of parabolas to them."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..._arguments import check_integer
from ...drawing import new_axes
from ...errors import ArgumentError
from ...landscapes import Landscape
from ...minima import MeanLoss
from .._numbers import check_number

Accuracy = Callable[[Any, Any], Any]
Surfaces = tuple[MeanLoss, MeanLoss]  # of the train and of the test loss
Ends = tuple[np.ndarray, np.ndarray]  # train and test minimum


@dataclass(frozen=True, eq=False)
class Line:
    """Losses on the line through the minima θtr, at r = 0, and θte, at r = |s|.

    Attributes:
        r: where, in the unit of the parameters, shape (n,).
        train_losses: U, with the penalty, shape (n,).
        test_losses: V likewise.
        distance: |s|.
    """

    r: np.ndarray
    train_losses: np.ndarray
    test_losses: np.ndarray
    distance: float
    shaped: Callable[[float], Any]
    landscape: Landscape

    def accuracies(self, correct: Accuracy) -> tuple[np.ndarray, np.ndarray]:
        """Return the shares of train and test examples that a model gets right, shape (n,) each.

        Args:
            correct: a JAX function of parameters and one example, 1 or True where the model is right.
        """
        import jax

        share = jax.jit(lambda params, data: jax.vmap(lambda example: correct(params, example) * 1.0)(data).mean())
        points = [self.shaped(float(each)) for each in self.r]
        sides = (self.landscape.data, self.landscape.test_data)
        train, test = (np.array([float(share(point, data)) for point in points]) for data in sides)
        return train, test

    def to_dict(self) -> dict[str, Any]:
        """Return the line as lists of numbers, for JSON."""
        names = ("r", "train_losses", "test_losses")
        return {name: getattr(self, name).tolist() for name in names} | {"distance": self.distance}

    def plot(self, ax: Any = None) -> Any:
        """Draw both losses along the line, and return the Matplotlib axes."""
        ax = new_axes(ax)
        for name, losses, at in (("train", self.train_losses, 0.0), ("test", self.test_losses, self.distance)):
            (drawn,) = ax.plot(self.r, losses, label=f"{name} loss")
            ax.axvline(at, color=drawn.get_color(), linestyle=":")
        ax.set(xlabel="distance from the train minimum toward the test minimum", ylabel="loss")
        ax.legend()
        return ax


@dataclass(frozen=True, eq=False)
class Fit:
    """Curvatures c of the parabolas ½cr² that fit a loss on one side of its minimum.

    Attributes:
        train: of U, away from the test minimum.
        test: of V, toward the train minimum.
        train_residual: the root mean square of what the parabola leaves of U, in the unit of the loss.
        test_residual: the same of V.
        r: the distances from the minimum, shape (n,).
        train_rises: U minus its minimum there, shape (n,).
        test_rises: V minus its minimum there, shape (n,).
    """

    train: float
    test: float
    train_residual: float
    test_residual: float
    r: np.ndarray
    train_rises: np.ndarray
    test_rises: np.ndarray

    def to_dict(self) -> dict[str, Any]:
        """Return the fits as numbers, for JSON."""
        return {name: value.tolist() if isinstance(value, np.ndarray) else value for name, value in vars(self).items()}

    def plot(self, ax: Any = None) -> Any:
        """Draw both losses above their minima, reflected, with their parabolas, and return the Matplotlib axes."""
        ax = new_axes(ax)
        both = np.concatenate([-self.r[::-1], self.r])
        sides = (("train", "-", self.train_rises, self.train), ("test", "--", self.test_rises, self.test))
        for name, style, rises, c in sides:
            (drawn,) = ax.plot(both, np.concatenate([rises[::-1], rises]), style, label=f"{name} loss, reflected")
            ax.plot(both, c * both**2 / 2, ":", lw=3, alpha=0.5, color=drawn.get_color(), label=f"½cr², c = {c:.3g}")
        ax.set(xlabel="distance r from the minimum", ylabel="loss above its minimum")
        ax.legend()
        return ax


def check_reach(num: Any, reach: Any, distance: float) -> tuple[int, float]:
    """Return number and reach of the points on a line, or raise `ArgumentError`."""
    count, far = check_integer("num", num, least=3), check_number("reach", reach, above=0)
    if not distance:
        raise ArgumentError(
            "Train and test minimum are the same point, so that no line goes through both: give test data other than "
            "the data."
        )
    return count, far


def line(
    landscape: Landscape,
    surfaces: tuple[MeanLoss, MeanLoss],
    ends: tuple[np.ndarray, np.ndarray],
    num: int,
    reach: float,
) -> Line:
    """Return the losses along the line through two ends."""
    s = ends[1] - ends[0]
    distance = float(np.linalg.norm(s))
    shares = np.linspace(0.5 - reach, 0.5 + reach, num)
    train, test = (np.array([surface(ends[0] + share * s)[0] for share in shares]) for surface in surfaces)

    def shaped(r: float) -> Any:
        return surfaces[0].shaped(ends[0] + r / distance * s)

    return Line(shares * distance, train, test, distance, shaped, landscape)


def fitted(surfaces: Surfaces, ends: Ends, num: int, reach: float) -> Fit:
    """Return parabolas fitted to the test loss toward the train minimum, and to the train loss away from the test's."""
    back = ends[0] - ends[1]  # toward the train minimum, and beyond it away from the test minimum
    distance = float(np.linalg.norm(back))
    r = np.linspace(0, reach * distance, num)
    found = []
    for surface, end in zip(surfaces, ends, strict=True):
        f = np.array([surface(end + share / distance * back)[0] for share in r])
        f = f - f[0]
        c = 2 * float(r**2 @ f) / float(np.sum(r**4))
        found.append((c, float(np.sqrt(np.mean((f - c * r**2 / 2) ** 2))), f))
    (train, train_rest, train_rises), (test, test_rest, test_rises) = found
    return Fit(train, test, train_rest, test_rest, r, train_rises, test_rises)
