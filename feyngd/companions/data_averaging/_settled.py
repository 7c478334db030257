"""What theory says of an ensemble of runs: the gap taken apart, stationarity, rates of change."""

import os
from dataclasses import dataclass, fields, replace
from typing import Any

import jax
import jax.numpy as jnp
from jax.flatten_util import ravel_pytree

from ..._archive import keep_attributes, read, write
from ...derivatives import num_params
from ...drawing import new_axes
from ...errors import ArgumentError
from ...landscapes import Landscape, Origin, enter
from .._assumptions import Assumptions
from ._assumptions import assumptions
from ._decomposition import Decomposition, decomposed
from ._plain import plain
from ._run_moments import Rates, Stationarity, rates, stationarity
from ._trained import Runs

_NOT_KEPT = ("landscape", "template")
_COLOURS = {"train_loss": "#0072B2", "test_loss": "#D55E00", "gap": "#009E73"}


@keep_attributes
@dataclass(frozen=True)
class _KeptRuns:
    """What a file of runs holds."""

    origin: Origin
    attributes: dict[str, Any]


@dataclass(frozen=True, eq=False, repr=False)
class Ensemble(Runs):
    """Runs of SGD on independently drawn training sets, and what their averages say; `ensemble` makes one."""

    def decompose(self, *, at: int = -1) -> Decomposition:
        """Take the gap apart: covariance of parameters and losses over training sets, and shift.

        Args:
            at: the number of a record; other than the last one with keep="records".

        Returns:
            A `Decomposition`; its `gap_cross` is the gap without test data.

        Raises:
            ArgumentError: parameters were not kept there, runs diverged, or there are fewer than 3 training sets.
        """
        self.check_diverged()
        return decomposed(self, self.params_at(at), range(len(self.times))[at])

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write all that was seen to a file, without the landscape: an NPZ with JSON in it, no pickle.

        Args:
            path: the file, which is written as it is named; one that exists is replaced.

        Raises:
            ArgumentError: the file cannot be written.
        """
        kept = {field.name: getattr(self, field.name) for field in fields(self) if field.name not in _NOT_KEPT}
        write(path, _KeptRuns(Origin.of(self.landscape, self.template), kept))

    @classmethod
    def load(cls, path: str | os.PathLike[str], landscape: Landscape, params: Any) -> "Ensemble":
        """Read what `save` has written.

        Args:
            path: the file.
            landscape: the landscape of the runs; loss and data are compared by their content.
            params: parameters with the structure of those of the runs.

        Raises:
            ArgumentError: there is no such file, or the runs belong to another loss, other data or parameters of
                another size.
        """
        kept = read(path, _KeptRuns)
        landscape, template = enter(landscape, params)
        origin, now = (replace(one, params="") for one in (kept.origin, Origin.of(landscape, template)))
        origin.check(now, "These runs", "Give the landscape that they were run on.")
        if (size := kept.attributes["flat_params"].shape[-1]) != num_params(template):
            raise ArgumentError(f"These runs have {size} parameters; the ones given are {num_params(template)}.")
        return cls(**kept.attributes, landscape=landscape, template=template)

    def to_dict(self) -> dict[str, Any]:
        """Return the settings, the times and the losses over training sets as plain values for JSON."""
        curves = {}
        for name in ("train_loss", "test_loss", "gap"):
            mean, stderr = self.mean_curve(name)
            curves[name] = {"mean": plain(mean), "stderr": plain(stderr)}
        names = ("learning_rate", "weight_decay", "noise", "optimizer", "spacetime", "drawing", "times")
        about = {name: plain(getattr(self, name)) for name in names}
        sets, runs = self.diverged.shape
        sizes = {"datasets": sets, "runs": runs, "diverged": int(self.diverged.sum())}
        return {**about, "temperature": self.temperature, **sizes, "curves": curves}

    def plot(self, ax: Any = None) -> Any:
        """Draw train loss, test loss and gap against steps, with two standard errors across training sets.

        Args:
            ax: matplotlib axes; new ones by default.

        Returns:
            The axes.

        Raises:
            FeynGDError: matplotlib is missing.
        """
        axes = new_axes(ax)
        for name, colour in _COLOURS.items():
            mean, stderr = self.mean_curve(name)
            axes.plot(self.times, mean, color=colour, label=name.replace("_", " "))
            axes.fill_between(self.times, mean - 2 * stderr, mean + 2 * stderr, color=colour, alpha=0.2, lw=0)
        axes.set_xlabel("steps")
        axes.set_ylabel("loss (unit of the loss)")
        sets, runs = self.diverged.shape
        count = f"{sets} training sets" + (f" × {runs} runs" if runs > 1 else "")
        axes.set_title(f"λ = {self.learning_rate:g}, T = {self.temperature:.3g}, {count}, 2 s.e.", fontsize=10)
        axes.legend(fontsize=8)
        return axes

    def stationarity(self) -> Stationarity:
        """Test whether |θ|² has stopped changing, by the exact relation 2E[θᵀw] = λE|w|² + T E tr(D + β²).

        Here w = ∇U + αθ, and D is the covariance of an example's gradient on the run's training set.

        Raises:
            ArgumentError: the runs are not plain SGD with replacement, for which alone the relation holds; or runs
                diverged.

        References:
            "Studying Generalization Through Data Averaging", equations (34) and (35), in discrete time.
        """
        self.check_plain("The fluctuation–dissipation relation")
        self.check_diverged()
        return stationarity(self)

    def assumptions(self, *, dataset: int = 0, run: int = 0, at: int = -1, key: jax.Array | None = None) -> Assumptions:
        """Measure what the steady state in closed form assumes, where a run is, for the settings of these runs.

        Levels and gaps of runs do not depend on it: they are what SGD did.

        Args:
            dataset, run: of which run.
            at: the number of a record; other than the last one with keep="records".
            key: as for `assumptions`.

        Raises:
            ArgumentError: parameters were not kept there, the run diverged, or a key is missing.
        """
        if self.diverged[dataset, run]:
            raise ArgumentError(f"Run {run} on training set {dataset} diverged: name another.")
        where = self.params_at(at)[dataset, run]
        return assumptions(
            self.landscape,
            ravel_pytree(self.template)[1](jnp.asarray(where)),
            self.spacetime,
            self.learning_rate,
            weight_decay=self.weight_decay,
            noise=self.noise,
            optimizer=self.optimizer,
            key=key,
        )

    def rates(self, dataset: int, *, time: str = "discrete") -> Rates:
        """Return what the next step does on average to the runs on one training set, from their parameters at the end.

        Args:
            dataset: its number.
            time: "discrete" for the step itself, to second order in λ for losses; "continuous" for (34)–(37) times λ.

        Raises:
            ArgumentError: there are fewer than 3 runs on it, the runs are not plain SGD with replacement, or diverged.

        References:
            "Studying Generalization Through Data Averaging", equations (34)–(37).
        """
        self.check_plain("What a step does on average")
        self.check_diverged()
        return rates(self, range(len(self.training_sets))[dataset], time)
