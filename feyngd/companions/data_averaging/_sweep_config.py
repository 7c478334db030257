"""The file of a temperature sweep, checked as a whole, and the cells that it lists."""

import os
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, fields
from itertools import product
from typing import Any

import numpy as np

from ..._arguments import check_integer
from ..._files import read_toml
from ..._learning_rates import check_learning_rate
from ..._store import digest
from ..._version import __version__
from ...errors import ArgumentError, SpacetimeError
from ...landscapes import DIGITS_MODELS
from ...spacetimes import Spacetime
from .._heavy_ball import FORMS
from .._numbers import check_choice, check_number
from ._ensemble import DRAWINGS
from ._forms import RULES, epochs, epochs_of_batch

SAMPLINGS = ("reshuffled", "with-replacement")
STARTS = ("random", "minimum")
TOYS = ("mean-estimation",)
MODELS = (*DIGITS_MODELS, *TOYS)
_SEEDS = 2**32  # JAX truncates longer seeds in single precision


@dataclass(frozen=True)
class Recipe:
    """An optimizer of a sweep: momentum, its form, and "constant" or "cosine", the quarter cosine of the paper."""

    momentum: float = 0.0
    schedule: str = "constant"
    form: str = "pytorch"

    @classmethod
    def read(cls, entries: Any) -> "Recipe":
        """Make a recipe from a mapping, or raise `ArgumentError` if an entry is unknown or not allowed."""
        known = [field.name for field in fields(cls)]
        if not isinstance(entries, Mapping):
            raise ArgumentError(
                f"An optimizer is a table with entries among {', '.join(known)}, such as {{momentum = 0.9, schedule = "
                f'"cosine"}}; got {entries!r}.'
            )
        if unknown := [key for key in entries if key not in known]:
            raise ArgumentError(f"Unknown entry {unknown[0]!r} of an optimizer: there are {', '.join(known)}.")
        made = cls(**{**entries, "momentum": check_number("momentum", entries.get("momentum", 0.0), least=0, below=1)})
        check_choice("schedule of a sweep", made.schedule, ("constant", "cosine"))
        check_choice("form", made.form, FORMS)
        return made

    def __str__(self) -> str:
        words = [f"momentum {self.momentum:g}"] if self.momentum else ["SGD"]
        words += ["cosine"] if self.schedule == "cosine" else []
        words += ["Sutskever"] if self.form == "sutskever" and self.momentum else []
        return ", ".join(words)


@dataclass(frozen=True)
class Cell:
    """One ensemble of a sweep, with all that its numbers depend on but the landscape.

    Attributes:
        learning_rate: λ.
        B: the batch size.
        recipe: of the optimizer.
        drawing: "iid", "split" or "overlap".
        seed: of everything random.
        steps: T.
        N: the number of training points.
        sampling: how batches are drawn.
        datasets: the number of training sets.
        runs: on each of them.
        weight_decay: α.
        noise: β.
        start: "random" or "minimum".
        test_size: the number of test examples; the drawing's default if `None`.
        records: how often runs are looked at.
        landscape: a hash of what the loss computes, the data and the start.
    """

    learning_rate: float
    B: int
    recipe: Recipe
    drawing: str
    seed: int
    steps: int
    N: int
    sampling: str
    datasets: int
    runs: int
    weight_decay: float
    noise: float
    start: str
    test_size: int | None
    records: int
    landscape: str

    @property
    def temperature(self) -> float:
        """T = λ/B."""
        return self.learning_rate / self.B

    @property
    def effective_temperature(self) -> float:
        """T/(1 − μ)."""
        return self.temperature / (1 - self.recipe.momentum)

    @property
    def spacetime(self) -> Spacetime:
        """N, B, T and sampling; where B does not divide N, an epoch ends with a smaller batch."""
        rest = False if self.sampling == "reshuffled" and self.N % self.B else None
        return Spacetime.sgd(self.N, self.B, T=self.steps, sampling=self.sampling, drop_last=rest)

    @property
    def words(self) -> str:
        """What the cell is, in words."""
        return f"λ={self.learning_rate:g}, B={self.B}, {self.recipe}, {self.drawing}, seed {self.seed}"

    @property
    def name(self) -> str:
        """What the files are called: readable, then a hash of the whole content and the version."""
        content = digest({"version": __version__, **self.to_dict()})[:12]
        how = str(self.recipe).replace(", ", "_").replace(" ", "")
        return f"lr{self.learning_rate:g}_B{self.B}_{how}_{self.drawing}_seed{self.seed}-{content}"

    @property
    def draws(self) -> str:
        """A hash of all that decides what is drawn: cells that differ in the drawing alone have the same runs."""
        content = {name: value for name, value in self.to_dict().items() if name not in ("drawing", "test_size")}
        return digest({**content, "distinct": self.drawing != "iid"})

    def to_dict(self) -> dict[str, Any]:
        """Return the cell as plain values."""
        return asdict(self)


@dataclass(frozen=True)
class Config:
    """A temperature sweep: its entries, checked.

    Attributes:
        entries: as plain values, with those that were left out.
    """

    entries: Mapping[str, Any]

    def __getattr__(self, name: str) -> Any:
        try:
            return self.__dict__["entries"][name]
        except KeyError:
            raise AttributeError(name) from None

    def cells(self, landscape: str) -> list[Cell]:
        """Return all cells, for a landscape with a hash; those of one optimizer follow one another."""
        found = []
        for recipe, drawing, seed, B, rate in product(
            self.optimizers, self.drawings, self.seeds, self.B, self.learning_rates
        ):
            names = ("N", "sampling", "datasets", "runs", "weight_decay", "noise", "start", "test_size", "records")
            same = {name: self.entries[name] for name in names}
            how = {"recipe": Recipe(**recipe), "drawing": drawing, "seed": seed, "steps": self._steps(rate, B)}
            found.append(Cell(learning_rate=rate, B=B, landscape=landscape, **how, **same))
        return found

    def _steps(self, rate: float, B: int) -> int:
        if self.entries["steps"] is not None:
            return int(self.entries["steps"])
        rule = self.entries["epochs"]
        number = rule
        if isinstance(rule, Mapping):
            reference = (rule["reference"][0], rule["reference"][1])
            number = epochs_of_batch(rate, B, reference=reference, rule=rule["rule"], cap=rule["cap"])
        return -(-int(number) * self.N // B) if self.sampling == "with-replacement" else int(number) * -(-self.N // B)


def read_config(config: str | os.PathLike[str] | Mapping[str, Any], *, own_model: bool = False) -> Config:
    """Read a sweep from a TOML file, or a mapping with the same entries.

    Args:
        config: the path of the file, or a mapping.
        own_model: whether the landscape is given, so that `model` is no more than a name.

    Raises:
        ArgumentError: the file cannot be read, or an entry is missing, unknown or invalid.
    """
    entries = dict(config) if isinstance(config, Mapping) else read_toml(config, "temperature sweep")
    if unknown := [key for key in entries if key not in _CHECKS]:
        raise ArgumentError(
            f"Unknown entry {unknown[0]!r}: a temperature sweep has the entries {', '.join(_CHECKS)}. Remove it."
        )
    needed = [key for key in _CHECKS if key not in _DEFAULTS]
    if missing := [key for key in needed if key not in entries]:
        raise ArgumentError(
            f"The temperature sweep lacks {', '.join(missing)}; {', '.join(needed)} are needed, such as "
            f"{_EXAMPLES[missing[0]]}."
        )
    if (entries.get("steps") is None) == (entries.get("epochs") is None):
        raise ArgumentError("A temperature sweep has the entry steps or epochs, and not both: epochs = 20.")
    checked = {key: check(key, {**_DEFAULTS, **entries}[key]) for key, check in _CHECKS.items()}
    if not own_model:
        check_choice("model", checked["model"], MODELS)
    for B in checked["B"]:
        if checked["N"] < B:
            raise ArgumentError(f"A batch has at most N={checked['N']} points; got B={B}.")
    made = Config(checked)
    try:
        for cell in made.cells(""):
            _ = cell.spacetime
    except SpacetimeError as error:
        raise ArgumentError(f"A cell of the sweep is no spacetime: {error}") from error
    return made


# --- checks of single entries -----------------------------------------------------------------------------------------


def _text(name: str, value: Any) -> str:
    if not isinstance(value, str) or not value:
        raise ArgumentError(f"{name} is a name, such as {_EXAMPLES[name]}; got {value!r}.")
    return value


def _integer(least: int) -> Callable[[str, Any], int]:
    return lambda name, value: check_integer(name, value, least=least)


def _optional(check: Callable[[str, Any], Any]) -> Callable[[str, Any], Any]:
    return lambda name, value: None if value is None else check(name, value)


def _word(known: tuple[str, ...]) -> Callable[[str, Any], str]:
    return lambda name, value: check_choice(name, value, known)


def _number(name: str, value: Any) -> float:
    return check_number(name, value, least=0)


def _rate(name: str, value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise ArgumentError(f"{name} is a positive finite number; got {value!r}.")
    return check_learning_rate(value)


def _flag(name: str, value: Any) -> bool:
    if not isinstance(value, bool):
        raise ArgumentError(f"{name} is true or false; got {value!r}.")
    return value


def _seed(name: str, value: Any) -> int:
    if (seed := check_integer(name, value, least=0)) >= _SEEDS:
        raise ArgumentError(f"{name} is an integer from 0 to {_SEEDS - 1}; got {value!r}.")
    return seed


def _recipe(name: str, value: Any) -> dict[str, Any]:
    return asdict(Recipe.read(value))


def _several(check: Callable[[str, Any], Any]) -> Callable[[str, Any], list[Any]]:
    def of_list(name: str, value: Any) -> list[Any]:
        listed = value.tolist() if isinstance(value, np.ndarray) else value
        if not isinstance(listed, list | tuple) or not listed:
            raise ArgumentError(f"{name} is a list with at least one entry, such as {_EXAMPLES[name]}; got {value!r}.")
        found = [check(f"every entry of {name}", one) for one in listed]
        if twice := [one for place, one in enumerate(found) if one in found[:place]]:
            raise ArgumentError(f"{name} lists {twice[0]!r} twice: list every entry once.")
        return found

    return of_list


def _epochs(name: str, value: Any) -> Any:
    if value is None or isinstance(value, int):
        return None if value is None else check_integer(name, value, least=1)
    known = {"reference": None, "rule": "printed", "cap": 4}
    if not isinstance(value, Mapping) or "reference" not in value or set(value) - set(known):
        raise ArgumentError(
            f"epochs is a number, or a rule with the entries {', '.join(known)}, such as "
            f'{{reference = [0.002, 30], rule = "equal-time"}}; got {value!r}.'
        )
    rule = {**known, **value}
    check_choice("rule", rule["rule"], RULES)
    if not isinstance(rule["reference"], list | tuple) or len(rule["reference"]) != 2:
        raise ArgumentError(f"The reference of epochs is a temperature and a number; got {rule['reference']!r}.")
    reference = [check_number("The temperature of the reference", rule["reference"][0], above=0), rule["reference"][1]]
    epochs(1.0, reference=(reference[0], reference[1]), rule=rule["rule"], cap=rule["cap"])  # raises
    return {**rule, "reference": reference}


_CHECKS: dict[str, Callable[[str, Any], Any]] = {
    "model": _text,
    "limit": _optional(_integer(2)),
    "N": _integer(1),
    "B": _several(_integer(1)),
    "learning_rates": _several(_rate),
    "optimizers": _several(_recipe),
    "drawings": _several(_word(DRAWINGS)),
    "datasets": _integer(3),
    "runs": _integer(1),
    "steps": _optional(_integer(1)),
    "epochs": _epochs,
    "sampling": _word(SAMPLINGS),
    "weight_decay": _number,
    "noise": _number,
    "start": _word(STARTS),
    "test_size": _optional(_integer(1)),
    "records": _integer(2),
    "seeds": _several(_seed),
    "long_run": _flag,
}
_DEFAULTS: dict[str, Any] = {
    "limit": None,
    "optimizers": [{}],
    "drawings": ["split"],
    "runs": 1,
    "steps": None,
    "epochs": None,
    "sampling": "reshuffled",
    "weight_decay": 0.0,
    "noise": 0.0,
    "start": "random",
    "test_size": None,
    "records": 100,
    "seeds": [0],
    "long_run": True,
}
_EXAMPLES = {
    "model": 'model = "mlp"',
    "N": "N = 256",
    "B": "B = [16, 32]",
    "learning_rates": "learning_rates = [0.05, 0.1, 0.2]",
    "optimizers": 'optimizers = [{}, {momentum = 0.9, schedule = "cosine"}]',
    "drawings": 'drawings = ["split", "overlap"]',
    "datasets": "datasets = 16",
    "seeds": "seeds = [0]",
}
