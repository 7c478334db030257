"""The configurations of a sweep: the file that lists them, checked as a whole, and each of them."""

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields, replace
from itertools import product
from typing import Any

import jax.numpy as jnp

from .._arguments import check_integer, check_order
from .._files import read_toml
from .._learning_rates import check_learning_rates
from .._store import digest
from .._version import __version__
from ..errors import ArgumentError, SpacetimeError
from ..landscapes import DIGITS_MODELS, digits
from ..optimizers import Optimizer, Recipe
from ..quantities import QUANTITIES
from ..spacetimes import Spacetime

SAMPLINGS = ("reshuffled", "fixed", "with-replacement", "full-batch")
PLAIN = Recipe()
_SEEDS = 2**32  # JAX truncates longer seeds in single precision, so that two of them would give the same key


@dataclass(frozen=True)
class Configuration:
    """One network, spacetime and seed of a sweep, with all that its numbers depend on.

    Attributes:
        model: "convnet", "logistic" or "mlp".
        limit: how many of the digits are used; all if `None`.
        N: the number of training points.
        B: the batch size.
        E: the number of epochs; of steps for full batches; `None` if T is given.
        sampling: how batches are drawn.
        seed: of the starting point and of everything random.
        learning_rates: the learning rates, for which values and training sets are the same.
        quantity: "test_loss", "train_loss" or "gap".
        order: the highest power of η.
        runs: the number of simulated runs; 0 for a prediction alone.
        replicates: the number of random pairings behind every sampled value.
        dtype: the precision of the network; the same sweep in double precision is another one.
        check_dtype: whether to measure what rounding does; `None` leaves it to `predict`.
        T: the number of steps, which may end inside an epoch, in place of E.
        drop_last: whether the rest of an epoch is left out, where B does not divide N.
        recipe: of the optimizer.
    """

    model: str
    limit: int | None
    N: int
    B: int
    E: int | None
    sampling: str
    seed: int
    learning_rates: tuple[float, ...]
    quantity: str
    order: int
    runs: int
    replicates: int
    dtype: str
    check_dtype: bool | None = None
    T: int | None = None
    drop_last: bool | None = None
    recipe: Recipe = PLAIN

    @property
    def spacetime(self) -> Spacetime:
        """The spacetime.

        Raises:
            ArgumentError: N, B, E and the sampling do not make one.
        """
        if self.sampling != "full-batch":
            how = self.sampling
            return Spacetime.sgd(self.N, self.B, self.E, T=self.T, sampling=how, drop_last=self.drop_last)
        if self.B != self.N:
            raise SpacetimeError("Full batches have B = N: use this B, or sweep full batches in a file of their own.")
        return Spacetime.gd(self.N, self.E if self.T is None else self.T)

    @property
    def optimizer(self) -> Optimizer:
        """The optimizer, for the steps of the spacetime.

        Raises:
            ArgumentError: its schedule has another number of steps.
        """
        return self.recipe.make(int(self.spacetime.T))

    @property
    def digest(self) -> str:
        """The sha256 of the content, in hexadecimal digits."""
        return digest(self.to_dict())

    @property
    def name(self) -> str:
        """What the files are called: readable, then a hash of the whole content and the version of feyngd."""
        content = digest({"version": __version__, **self.to_dict()})[:12]
        length = f"E{self.E}" if self.T is None else f"T{self.T}"
        how = "" if self.recipe == PLAIN else f"_{self.recipe}"
        return f"{self.model}_N{self.N}_B{self.B}_{length}_{self.sampling}{how}_seed{self.seed}-{content}"

    def to_dict(self) -> dict[str, Any]:
        """Return the configuration as plain lists, numbers and strings, for JSON."""
        found = {field.name: getattr(self, field.name) for field in fields(self)}
        found |= {"learning_rates": list(self.learning_rates), "recipe": self.recipe.to_dict() or None}
        for name in ("check_dtype", "T", "drop_last", "recipe", *(["E"] if self.E is None else [])):
            if found[name] is None:
                del found[name]  # names and draws stay those of sweeps without this entry
        return found


def read_config(config: str | os.PathLike[str] | Mapping[str, Any]) -> list[Configuration]:
    """Read a sweep from a TOML file, or a mapping with the same entries, and return all its configurations.

    Configurations of one model and seed follow one another, as they share their values.

    Args:
        config: the path of the file, or a mapping.

    Raises:
        ArgumentError: the file cannot be read, an entry is missing, unknown or invalid, or a combination of sizes does
            not make a spacetime.
    """
    entries = dict(config) if isinstance(config, Mapping) else read_toml(config, "sweep")
    if unknown := [key for key in entries if key not in _CHECKS]:
        raise ArgumentError(f"Unknown entry {unknown[0]!r}: a sweep has the entries {', '.join(_CHECKS)}. Remove it.")
    optional = (*_OPTIONAL, "E") if "T" in entries else _OPTIONAL
    if missing := [key for key in _CHECKS if key not in entries and key not in optional]:
        raise ArgumentError(
            f"The sweep lacks {', '.join(missing)}: all entries but {', '.join(_OPTIONAL)} are needed, such as "
            f"{_EXAMPLES[missing[0]]}."
        )
    if ("E" in entries) == ("T" in entries):
        raise ArgumentError(
            "A sweep has the entry E, numbers of epochs, or T, numbers of steps, and not both: E = [1]."
        )
    checked = {
        key: check(key, entries.get(key)) for key, check in _CHECKS.items() if key in entries or key not in _LISTS
    }
    one_of_each = {"E": [None], "T": [None], "drop_last": [None], "optimizers": [PLAIN]}
    lists = [checked.pop(key, one_of_each.get(key)) for key in _LISTS]
    dtype = str(jnp.zeros(()).dtype)
    found = [
        Configuration(**dict(zip(_LISTS.values(), chosen, strict=True)), dtype=dtype, **checked)
        for chosen in product(*lists)
    ]
    # Where B divides N nothing is left to drop, so that both settings are one configuration.
    return list(dict.fromkeys(map(_sound, found)))


def _sound(one: Configuration) -> Configuration:
    """Return the configuration as its spacetime has it, or raise `ArgumentError` if there is none."""
    length = f"E={one.E}" if one.T is None else f"T={one.T}"
    try:
        drop_last = one.spacetime.drop_last
        _ = one.optimizer
    except SpacetimeError as error:
        raise ArgumentError(
            f"A sweep runs every combination, and N={one.N}, B={one.B}, {length}, sampling={one.sampling!r} is no "
            f"spacetime: {error} Or split the sweep into files in which all combinations are."
        ) from error
    except ArgumentError as error:
        raise ArgumentError(
            f"A sweep runs every combination, and N={one.N}, B={one.B}, {length} has no optimizer {one.recipe}: "
            f"{error} Or split the sweep into files in which all combinations are."
        ) from error
    return replace(one, drop_last=drop_last)


# --- checks of single entries -----------------------------------------------------------------------------------------


def _integer(least: int) -> Callable[[str, Any], int]:
    return lambda name, value: check_integer(name, value, least=least)


def _name(known: tuple[str, ...]) -> Callable[[str, Any], str]:
    def check(name: str, value: Any) -> str:
        if not isinstance(value, str) or value not in known:
            raise ArgumentError(f"{name} is one of {', '.join(map(repr, known))}; got {value!r}.")
        return value

    return check


def _several(check_one: Callable[[str, Any], Any]) -> Callable[[str, Any], list[Any]]:
    def check(name: str, value: Any) -> list[Any]:
        if not isinstance(value, (list, tuple)) or not value:
            raise ArgumentError(f"{name} is a list with at least one entry, such as {_EXAMPLES[name]}; got {value!r}.")
        found = [check_one(f"every entry of {name}", one) for one in value]
        if twice := [one for place, one in enumerate(found) if one in found[:place]]:
            raise ArgumentError(f"{name} lists {twice[0]!r} twice: list every entry once.")
        return found

    return check


def _rate(name: str, value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise ArgumentError(f"{name} is a positive finite number; got {value!r}.")
    return float(check_learning_rates(value)[0])


def _rates(name: str, value: Any) -> tuple[float, ...]:
    return tuple(_several(_rate)(name, value))


def _seed(name: str, value: Any) -> int:
    if (seed := check_integer(name, value, least=0)) >= _SEEDS:
        raise ArgumentError(f"{name} is an integer from 0 to {_SEEDS - 1}; got {value!r}.")
    return seed


def _runs(name: str, value: Any) -> int:
    if (runs := check_integer(name, value, least=0)) == 1:
        raise ArgumentError("runs is 0 for no simulation or an integer ≥ 2, as one run has no standard error; got 1.")
    return runs


def _limit(name: str, value: Any) -> int | None:
    digits(value)  # raises, and says what is allowed
    return value


def _flag(name: str, value: Any) -> bool | None:
    if value is not None and not isinstance(value, bool):
        raise ArgumentError(f"{name} is true or false, or left out; got {value!r}.")
    return value


def _bool(name: str, value: Any) -> bool:
    if not isinstance(value, bool):
        raise ArgumentError(f"{name} is true or false; got {value!r}.")
    return value


def _recipe(name: str, value: Any) -> Recipe:
    try:
        recipe = Recipe.read(value)
        recipe.to_dict()
    except ArgumentError as error:
        raise ArgumentError(f"{name} is a table such as {{momentum = 0.9}}: {error}") from error
    return recipe


def _order(name: str, value: Any) -> int:
    return check_order(value)


_CHECKS: dict[str, Callable[[str, Any], Any]] = {
    "models": _several(_name(tuple(DIGITS_MODELS))),
    "limit": _limit,
    "N": _several(_integer(1)),
    "B": _several(_integer(1)),
    "E": _several(_integer(1)),
    "T": _several(_integer(1)),
    "drop_last": _several(_bool),
    "sampling": _several(_name(SAMPLINGS)),
    "optimizers": _several(_recipe),
    "learning_rates": _rates,
    "seeds": _several(_seed),
    "quantity": _name(QUANTITIES),
    "order": _order,
    "runs": _runs,
    "replicates": _integer(2),
    "check_dtype": _flag,
}
_OPTIONAL = ("limit", "T", "drop_last", "optimizers", "check_dtype")
# The entries that are lists to combine, each with the attribute of a configuration that has one of them.
_LISTS = {
    "models": "model",
    "seeds": "seed",
    "N": "N",
    "B": "B",
    "E": "E",
    "T": "T",
    "drop_last": "drop_last",
    "sampling": "sampling",
    "optimizers": "recipe",
}
_EXAMPLES = {
    "models": 'models = ["convnet"]',
    "N": "N = [10]",
    "B": "B = [1, 2]",
    "E": "E = [1]",
    "T": "T = [10]",
    "drop_last": "drop_last = [true]",
    "optimizers": "optimizers = [{momentum = 0.9}]",
    "sampling": 'sampling = ["reshuffled"]',
    "learning_rates": "learning_rates = [0.005, 0.01]",
    "seeds": "seeds = [0, 1]",
    "quantity": 'quantity = "test_loss"',
    "order": "order = 3",
    "runs": "runs = 2000",
    "replicates": "replicates = 16",
}
