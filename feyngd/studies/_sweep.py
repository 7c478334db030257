"""Sweeps: predictions and simulations of many configurations, kept one by one, by one process or several."""

import inspect
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import jax
import numpy as np

from .._arguments import check_integer
from .._files import check_writable
from .._mesh import check_mesh, is_shared_by_processes
from .._store import Store, beside, digest, digest_of_arrays, writing
from .._version import __version__
from ..diagrams import diagrams
from ..errors import ArgumentError
from ..evaluation import Values, evaluate
from ..landscapes import DIGITS_MODELS, Landscape, cross_entropy, digits_landscape
from ..prediction import Comparison, Prediction, compare
from ..progress import Progress, check_progress
from ..simulation import simulate
from ._study import predictions_of
from ._sweep_config import Configuration, read_config
from ._sweep_files import read_result, read_values, write_result, write_values


@dataclass(frozen=True)
class Outcome:
    """The result of one configuration.

    Attributes:
        name: the configuration's name.
        state: "done" by this call; "skipped", as it was complete; "elsewhere", as another process is computing it.
        file: the JSON file; `None` elsewhere.
        verdict: whether prediction and simulation agree wherever the series has converged: "agrees" or "DIFFERS"; or
            why that cannot be said: "not converged" at any learning rate, "not simulated".
    """

    name: str
    state: str
    file: Path | None = None
    verdict: str = "not simulated"

    @property
    def passed(self) -> bool | None:
        """The verdict: `None` where nothing was tested."""
        return {"agrees": True, "DIFFERS": False}.get(self.verdict)

    def __str__(self) -> str:
        if self.file is None:
            return f"{self.state:<9}  {self.name}"
        return f"{self.state:<9}  {self.file.name}  {self.verdict}"


@dataclass(frozen=True)
class Sweep:
    """The results of all configurations of a sweep; prints as a table.

    Attributes:
        outcomes: one for each configuration.
        left_alone: the files that do not hold what their names say, each with the reason. They were not touched.
    """

    outcomes: tuple[Outcome, ...]
    left_alone: Mapping[Path, str]

    @property
    def passed(self) -> bool:
        """Whether no prediction differs from its simulation at a learning rate where the series has converged."""
        return all(outcome.passed is not False for outcome in self.outcomes)

    def count(self, state: str) -> int:
        """Return how many configurations are "done", "skipped" or "elsewhere"."""
        return sum(outcome.state == state for outcome in self.outcomes)

    def __str__(self) -> str:
        counts = ", ".join(f"{self.count(state)} {state}" for state in ("done", "skipped", "elsewhere"))
        return "\n".join([*map(str, self.outcomes), f"{len(self.outcomes)} configurations: {counts}"])


def sweep(
    config: str | os.PathLike[str] | Mapping[str, Any],
    out: str | os.PathLike[str],
    *,
    part: tuple[int, int] = (1, 1),
    mesh: jax.sharding.Mesh | None = None,
    progress: Progress | bool | None = None,
    report: Callable[[str], None] = lambda text: None,
) -> Sweep:
    """Predict and simulate every combination of networks, spacetimes and seeds, and keep each as it is finished.

    A configuration is complete when its JSON file exists, next to an NPZ file with the arrays. What is complete is
    skipped, so that a sweep that was stopped, at any moment and in any way, resumes where it was. Several processes may
    run the same sweep, or different ones, on one folder: each configuration is claimed by one of them. Values of
    diagrams are kept in the folder `values` and serve all spacetimes of a network.

    The numbers of a configuration depend on it alone, not on the others in the sweep. On a mesh they are those of one
    device up to rounding.

    Args:
        config: the path of a TOML file, or a mapping, with the entries `models`, `N`, `B`, `E`, `sampling`,
            `learning_rates` and `seeds` (lists), `quantity`, `order`, `runs` (0 for no simulation), `replicates` and,
            if not all digits are used, `limit`; `T` in place of `E`, numbers of steps; `drop_last`, a list of `true`
            and `false`, where a B does not divide an N; `optimizers`, a list of tables with entries among `momentum`,
            `nesterov`, `schedule`, `warmup` and `ema`, `{}` being plain SGD; and `check_dtype`, `false` to leave out
            what rounding does.
        out: the folder to write to; made if it is not there.
        part: (i, n) for the i-th of n parts, from (1, n) to (n, n): about as many successive configurations in each,
            for the jobs of an array. All parts may write to one folder.
        mesh: the devices of this process that share examples and runs, a `jax.sharding.Mesh`.
        progress: shows progress, such as `fd.Tqdm()`, or `True` for that; silent by default.
        report: called with a line for each configuration as it is finished, and for each file that does not hold what
            its name says. Such a file is left alone, and the result gets a name with a suffix.

    Returns:
        A `Sweep`: which configurations were done, skipped, or left to other processes.

    Raises:
        ArgumentError: the configuration, the part or the mesh is invalid or `out` cannot be written to, before anything
            is computed.
        FeynGDError: the system has no file locks, or the disk is full; or what `predict` and `simulate` raise.
    """
    shown = check_progress(progress)
    _check_mesh_of_one_process(mesh)
    configurations = _part_of(read_config(config), part)
    store = Store(check_writable(out), report)
    runner = _Runner(store, mesh, shown, report)
    outcomes: dict[Configuration, Outcome] = {}
    with runner.progress.task(len(configurations), "configurations") as task:
        # Twice: in the second pass what was elsewhere may be complete, or free as the other process was killed.
        for wait in (False, True):
            for one in configurations:
                if one not in outcomes or outcomes[one].state == "elsewhere":
                    outcomes[one] = runner.run(one, wait=wait)
                    if outcomes[one].state != "elsewhere":
                        task.advance()
    return Sweep(tuple(outcomes[one] for one in configurations), store.left_alone)


def _part_of(configurations: list[Configuration], part: Any) -> list[Configuration]:
    """Return a part: successive configurations, which often share their values."""
    try:
        number, parts = part
    except (TypeError, ValueError):
        raise ArgumentError(f"part is a pair such as (1, 8), the first of 8 parts; got {part!r}.") from None
    parts = check_integer("the number of parts", parts, least=1)
    if (number := check_integer("the part", number, least=1)) > parts:
        raise ArgumentError(f"The part is from 1 to {parts}, the number of parts; got {number}.")
    count = len(configurations)
    return configurations[(number - 1) * count // parts : number * count // parts]


def _check_mesh_of_one_process(mesh: Any) -> None:
    check_mesh(mesh)
    if is_shared_by_processes(mesh):
        raise ArgumentError(
            "Every process of a sweep does configurations of its own, and this mesh has devices of several: give "
            "jax.make_mesh over jax.local_devices(), and each process a part or the same folder."
        )


class _Network:
    """A landscape with a starting point and the values of its diagrams, shared by all spacetimes."""

    def __init__(self, configuration: Configuration) -> None:
        for_params, rest = jax.random.split(jax.random.key(configuration.seed))
        self.key = jax.random.fold_in(rest, 0)
        self.replicates, self.model = configuration.replicates, configuration.model
        self.check_dtype = configuration.check_dtype
        self.landscape: Landscape
        self.landscape, self.params = digits_landscape(configuration.model, configuration.limit, key=for_params)
        # All diagrams that any spacetime can need, not those of this sweep: how a value is estimated, and with it the
        # last digits, depends on what is evaluated along with it, and must not depend on the rest of the sweep.
        root_tied = configuration.quantity != "test_loss"
        self.diagrams = [D for k in range(configuration.order + 1) for D in diagrams(k, root_tied=root_tied)]
        self.values: Values | None = None
        self.root = "train" if configuration.quantity == "train_loss" else "test"

    def description(self) -> dict[str, Any]:
        """Return all that the values depend on."""
        return {
            "version": __version__,
            "loss": [self.model, _source(DIGITS_MODELS[self.model]), _source(cross_entropy)],
            "params": digest_of_arrays(self.params),
            "data": digest_of_arrays(self.landscape.data),
            "reading": self.landscape.reading,
            "root": self.root,
            "basis": "moment",
            "diagrams": [str(diagram) for diagram in self.diagrams],
            "replicates": self.replicates,
            "key": np.asarray(jax.random.key_data(self.key)).tolist(),
            **({} if self.check_dtype is None else {"check_dtype": self.check_dtype}),
        }

    def evaluate(self, progress: Progress, mesh: jax.sharding.Mesh | None = None) -> Values:
        """Evaluate the diagrams."""
        found: Values = evaluate(
            self.diagrams,
            self.landscape,
            self.params,
            root=self.root,
            replicates=self.replicates,
            check_dtype=self.check_dtype,
            mesh=mesh,
            progress=progress,
            key=self.key,
        )
        return found


class _Runner:
    """Runs single configurations; holds the network of the last one."""

    def __init__(
        self, store: Store, mesh: jax.sharding.Mesh | None, progress: Progress, report: Callable[[str], None]
    ) -> None:
        self.store, self.mesh, self.progress, self.report = store, mesh, progress, report
        self._last: tuple[tuple[Any, ...], _Network] | None = None

    def run(self, configuration: Configuration, *, wait: bool) -> Outcome:
        """Run a configuration unless it is complete or another process has it.

        Args:
            configuration: what to run.
            wait: wait for values that another process is evaluating, instead of leaving the configuration for later.
        """
        name = configuration.name
        if (kept := self._kept(configuration)[0]) is not None:
            return kept
        with self.store.lock(name) as held:
            if not held:
                return Outcome(name, "elsewhere")
            kept, path = self._kept(configuration)  # again: another process may just have finished it
            if kept is not None:
                return kept
            prepared = self._prepare(configuration, wait)
            if prepared is None:
                return Outcome(name, "elsewhere")
            self.store.clean(name)
            prediction, comparison = self._compute(configuration, *prepared)
            with writing(self.store.folder):
                write_result(path, configuration, prediction, comparison)
        verdict = () if comparison is None else (comparison.verdict,)
        outcome = Outcome(name, "done", beside(path, "json"), *verdict)
        self.report(str(outcome))
        return outcome

    def _kept(self, configuration: Configuration) -> tuple[Outcome | None, Path]:
        def read(path: Path) -> Outcome | None:
            record = read_result(path, configuration)
            if record is None:
                return None
            verdict = (record["comparison"]["verdict"],) if configuration.runs else ()
            return Outcome(configuration.name, "skipped", beside(path, "json"), *verdict)

        return self.store.find(configuration.name, read)

    def _prepare(self, configuration: Configuration, wait: bool) -> tuple[_Network, Values] | None:
        """Return the network with its values; `None` if another process is evaluating them and we do not wait."""
        one = configuration
        shared = (one.model, one.limit, one.seed, one.quantity, one.order, one.replicates, one.dtype, one.check_dtype)
        if self._last is None or self._last[0] != shared:
            self._last = None  # let go of the old network's memory before the new one is made
            self._last = shared, _Network(one)
        network = self._last[1]
        if network.values is None:
            network.values = self._values(network, wait)
        return None if network.values is None else (network, network.values)

    def _values(self, network: _Network, wait: bool) -> Values | None:
        description = network.description()
        name = digest(description)
        stem = f"values/{name}"

        def read(path: Path) -> Values | None:
            return read_values(beside(path, "npz"), description, network.diagrams)

        values = self.store.find(stem, read)[0]
        if values is None:
            with self.store.lock(f"values-{name}", wait=wait) as held:
                if not held:
                    return None
                values, path = self.store.find(stem, read)
                if values is None:
                    self.store.clean(stem)
                    values = network.evaluate(self.progress, self.mesh)
                    with writing(self.store.folder):
                        write_values(beside(path, "npz"), description, values)
        return values

    def _compute(
        self, configuration: Configuration, network: _Network, values: Values
    ) -> tuple[Prediction, Comparison | None]:
        landscape, params, spacetime = network.landscape, network.params, configuration.spacetime
        rates, quantity = np.array(configuration.learning_rates), configuration.quantity
        (prediction,) = predictions_of(
            landscape,
            params,
            [(spacetime, configuration.optimizer)],
            rates,
            configuration.order,
            quantity,
            {network.root: values},
            configuration.check_dtype,
        )
        if not configuration.runs:
            return prediction, None
        simulation = simulate(
            landscape,
            params,
            spacetime,
            rates,
            optimizer=configuration.optimizer,
            runs=configuration.runs,
            quantity=quantity,
            mesh=self.mesh,
            progress=self.progress,
            key=_key_of_runs(configuration),
        )
        return prediction, compare(prediction, simulation)


def _key_of_runs(configuration: Configuration) -> jax.Array:
    """Return a key that depends on the configuration alone: its seed, with 64 bits of its content folded in.

    Whether rounding is measured is a question of diagnosis, which changes no draw.
    """
    _, rest = jax.random.split(jax.random.key(configuration.seed))
    key = jax.random.fold_in(rest, 1)
    content = replace(configuration, check_dtype=None).digest
    for first in (0, 8):
        key = jax.random.fold_in(key, int(content[first : first + 8], 16))
    return key


def _source(function: Callable[..., Any]) -> str:
    """Return the hash of the source of a function's module; empty where there are no sources, and the version decides.

    The whole module, as the function calls others in it.
    """
    try:
        return digest(inspect.getsource(inspect.getmodule(function) or function))
    except OSError:
        return ""
