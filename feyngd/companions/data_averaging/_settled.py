"""What theory says of an ensemble of runs: the gap taken apart, stationarity, rates of change."""

from dataclasses import dataclass

import jax
import jax.numpy as jnp
from jax.flatten_util import ravel_pytree

from ...errors import ArgumentError
from .._assumptions import Assumptions
from ._assumptions import assumptions
from ._decomposition import Decomposition, decomposed
from ._run_moments import Rates, Stationarity, rates, stationarity
from ._trained import Runs


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
