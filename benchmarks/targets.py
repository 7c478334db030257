"""What values cost, in gradients: single vectors, whole plans, compilation, orders, sizes, devices, memory."""

import math
import os
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import jax
import numpy as np
from by_hand import runs
from measuring import fastest_gradient, forget_memory, held_memory, in_turns, once
from problems import Problem, images, num_params, problem, trained

import feyngd as fd
from feyngd.evaluation.engine import Engine
from feyngd.evaluation.estimators import random_rows
from feyngd.evaluation.planning import Mean, Vector
from feyngd.landscapes import Landscape, cross_entropy, digits, enter, tanh_mlp


def up_to(order: int) -> list[fd.Diagram]:
    """Return all diagrams up to an order."""
    return [diagram for k in range(order + 1) for diagram in fd.diagrams(k)]


def untied(order: int) -> list[fd.Diagram]:
    """Return the diagrams up to an order whose nodes are all in parts of their own: those of gradient descent."""
    return [diagram for diagram in up_to(order) if len(diagram.parts) == diagram.order + 1]


def vectors() -> dict[str, Mean]:
    """Return the derivatives of the mean loss along its gradient: Hessian, J and K vectors."""
    gradient = Mean(Vector(0))
    return {name: Mean(Vector(0, [gradient] * count)) for count, name in enumerate(("HVP", "J", "K"), start=1)}


def work(
    one: Problem, diagrams: Sequence[fd.Diagram], mesh: Any = None, chunk_size: int | None = None
) -> tuple[Callable, Callable]:
    """Return what computes everything exact, and what computes one pairing of the rest."""
    landscape, params = enter(*one)  # with a frozen loss, whose programs are kept
    plan = fd.plan(diagrams, landscape, params)
    engine = Engine(landscape, params, mesh=mesh, chunk_size=chunk_size)
    engine.average(plan.means)

    def exact() -> None:
        fresh = Engine(landscape, params, mesh=mesh, chunk_size=chunk_size)
        fresh.average(plan.means)
        fresh.exact(plan.exact)

    def paired() -> None:
        if plan.paired:
            engine.rows(plan.paired, random_rows(jax.random.key(1), 0, plan.positions, *engine.sizes))

    return exact, paired


def single_vectors(name: str) -> dict[str, float]:
    """Return the gradients that an HVP, a J and a K vector take."""
    landscape, params = enter(*problem(name))
    engine = Engine(landscape, params)
    engine.average([Mean(Vector(0))])

    def run(mean: Mean) -> Callable[[], None]:
        return lambda: engine.fork().average([mean])

    times = in_turns({"g": fastest_gradient(landscape, params)} | {n: run(m) for n, m in vectors().items()}, 15)
    return {label: times[label] / times["g"] for label in vectors()}


def plans(name: str, order: int = 4) -> dict[str, float]:
    """Return the gradients that whole plans take: everything exact, and one pairing of the rest."""
    landscape, params = problem(name)
    timed = {"g": fastest_gradient(landscape, params), "our g": work((landscape, params), up_to(1)[-1:])[0]}
    timed["exact by hand"], timed["pairing by hand"] = runs(landscape, params)
    for top in range(1, order + 1):
        timed[f"exact {top}"], timed[f"pairing {top}"] = work((landscape, params), up_to(top))
        timed[f"untied {top}"], _ = work((landscape, params), untied(top))
    times = in_turns(timed)
    return {label: seconds / times["g"] for label, seconds in times.items() if label != "g"} | {"g in s": times["g"]}


def compilation(name: str) -> dict[str, float]:
    """Return the seconds that first calls take beyond second ones, order ≤ 3: tracing and compilation."""
    landscape, params = problem(name)
    diagrams = up_to(3)

    def ours() -> Callable[[bool], Any]:
        fresh = Landscape(lambda params, example: landscape.loss(params, example), landscape.data)
        fd.plan(diagrams, fresh, params)
        options = {"replicates": 2, "estimator": "pairing", "key": jax.random.key(0)}
        return lambda check: fd.evaluate(diagrams, fresh, params, check_dtype=check, **options)

    def seconds(call: Callable[[], Any]) -> float:
        return once(call) - min(once(call), once(call))

    def by_hand() -> Any:
        return [run() for run in by_hand_runs]

    found = {}
    for _ in range(2):
        jax.clear_caches()
        call = ours()
        times = {"values": seconds(partial(call, False)), "dtype check": seconds(partial(call, True))}
        jax.clear_caches()
        started = time.perf_counter()
        by_hand_runs = runs(landscape, params)
        by_hand()
        first = time.perf_counter() - started
        times["by hand"] = first - min(once(by_hand), once(by_hand))
        found = {key: min(found.get(key, math.inf), value) for key, value in times.items()}
    return found


def memory(count: int) -> dict[str, float]:
    """Return the time and memory of all values of order ≤ 3 on many images; run it in a process of its own."""
    landscape, params = images(count)
    unit = in_turns({"g": fastest_gradient(landscape, params)}, 2)["g"]
    data = sum(np.asarray(leaf).nbytes for leaf in jax.tree.leaves(landscape.data)) / 2**30
    forget_memory()
    before = held_memory()
    seconds = once(lambda: fd.evaluate(up_to(3), landscape, params, replicates=2, key=jax.random.key(0)))
    exact, paired = work((landscape, params), up_to(3))
    times = in_turns({"exact": exact, "paired": paired}, 1)
    return {
        "examples": count,
        "parameters": num_params(params),
        "data in GiB": data,
        "before in GiB": before,
        "peak in GiB": held_memory(),
        "whole call in s": seconds,
        "g in s": unit,
        "exact": times["exact"] / unit,
        "pairing": times["paired"] / unit,
    }


def devices(count: int) -> dict[str, float]:
    """Return what a mesh of devices takes; run it in a process that has so many."""
    one = problem("convnet")
    mesh = jax.make_mesh((count,), ("examples",)) if count > 1 else None
    exact, paired = work(one, up_to(3), mesh)
    times = in_turns({"g": fastest_gradient(*one), "exact": exact, "paired": paired}, 5)
    return {"devices": count, "exact": times["exact"] / times["g"], "pairing": times["paired"] / times["g"]}


def sizes(examples: int, width: int) -> dict[str, float]:
    """Return what an MLP with one hidden layer takes, on digits repeated or left out to make a number of examples."""
    pictures, labels = digits()
    index = np.arange(examples) % len(labels)
    model = tanh_mlp((8, 8), 10, (width,))
    params = model.init(jax.random.key(0))
    landscape = Landscape(cross_entropy(model), (pictures[index], labels[index]))
    exact, paired = work((landscape, params), up_to(3))
    times = in_turns({"g": fastest_gradient(landscape, params), "exact": exact, "paired": paired})
    cost = {"exact": times["exact"] / times["g"], "pairing": times["paired"] / times["g"], "g in s": times["g"]}
    return {"examples": examples, "parameters": num_params(params), **cost}


def deflation(name: str) -> dict[str, Any]:
    """Return relative standard errors at a trained point by pairing and by deflation, and what both take."""
    landscape, params = trained(name)
    unit = in_turns({"g": fastest_gradient(landscape, params)})["g"]
    diagrams = up_to(3)
    found: dict[str, dict[str, float]] = {}
    for estimator in ("pairing", "deflation"):

        def call(estimator: str = estimator) -> fd.Values:
            return fd.evaluate(
                diagrams, landscape, params, estimator=estimator, check_dtype=False, key=jax.random.key(0)
            )

        values = call()
        found["cost in g"] = found.get("cost in g", {}) | {estimator: once(call) / unit}
        for diagram in diagrams:
            if values[diagram].kind != "exact":
                error = values[diagram].stderr / abs(values[diagram].value)
                found[str(diagram)] = found.get(str(diagram), {}) | {estimator: float(error)}
    return {"loss": float(landscape.mean_loss(params)), "rows": found}


def in_own_process(call: str, num_devices: int = 1) -> str:
    """Return what a script prints that imports this module and evaluates one expression."""
    code = f"import json, targets; print(json.dumps(targets.{call}))"
    flags = f"{os.environ.get('XLA_FLAGS', '')} --xla_force_host_platform_device_count={num_devices}"
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=Path(__file__).parent,
        env={**os.environ, "XLA_FLAGS": flags},
        check=True,
        capture_output=True,
        text=True,
    )
    return done.stdout.splitlines()[-1]
