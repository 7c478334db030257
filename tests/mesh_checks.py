"""Computes the same on a mesh and on one device, in a process of its own, and prints by how much they differ.

Called as `python tests/mesh_checks.py CHECK,CHECK… [PROCESS ADDRESS FOLDER]`, by tests/test_mesh.py.
"""

import json
import sys
import warnings
from functools import partial
from pathlib import Path

import jax
import numpy as np

PROCESS, ADDRESS, FOLDER = (int(sys.argv[2]), *sys.argv[3:5]) if len(sys.argv) > 2 else (-1, "", "")
if PROCESS >= 0:
    jax.distributed.initialize(ADDRESS, num_processes=2, process_id=PROCESS)
jax.config.update("jax_enable_x64", True)
warnings.simplefilter("ignore")

import jax.numpy as jnp  # noqa: E402

import feyngd as fd  # noqa: E402
from feyngd._mesh import Devices, is_writer  # noqa: E402
from feyngd.studies import anchor_study, study  # noqa: E402

DEVICES = np.array(jax.devices())
MESH = jax.make_mesh((len(DEVICES),), ("examples",))
EXAMPLES = np.random.default_rng(0).normal(size=(37, 5))  # a prime number: no mesh divides it
TESTED = np.random.default_rng(1).normal(size=(21, 5))
START = np.linspace(-0.4, 0.6, 5)
SPACETIME = fd.Spacetime.sgd(N=6, B=2, E=2)


def loss(theta, x):
    return jnp.tanh(theta @ x) ** 2 + jnp.sin(x[0] * theta[1]) / 8 + jnp.sum(theta**2) / 16


LANDSCAPE = fd.Landscape(loss, EXAMPLES)


def difference(one, other):
    """Return the largest difference, relative to the largest number."""
    one, other = np.asarray(one, dtype=float), np.asarray(other, dtype=float)
    return float(np.max(np.abs(one - other)) / np.max(np.abs(one)))


def both(call, measure, mesh=MESH):
    """Return the difference between what is computed on one device and on a mesh."""
    return difference(*(measure(call(one)) for one in (None, mesh)))


def devices():
    """Shares and sums of any number of rows, keys among them."""
    found = {}
    shared = Devices(MESH)
    square = shared.compiled(lambda rows: shared.collected(shared.own(rows) ** 2, len(rows)))
    weighted = shared.compiled(
        lambda rows, by: by * shared.total(jnp.dot(shared.own_weights(jnp.ones(len(rows))), shared.own(rows)))
    )
    for count in (1, 13):
        rows = np.arange(1.0, count + 1)
        found[f"squares of {count}"] = difference(rows**2, square(rows))
        found[f"sum of {count}"] = difference([2 * rows.sum()], [weighted(rows, 2)])
    keys = jax.random.split(jax.random.key(5), 2 * MESH.size)
    drawn = shared.compiled(lambda keys: shared.collected(jax.vmap(jax.random.normal)(keys)), rows=(0,))
    found["keys"] = difference(jax.vmap(jax.random.normal)(keys), drawn(keys))
    return found


def agreed():
    """A number that processes agree on: the smaller one, of process 1."""
    number = 2**40 + 7
    return {"smallest": Devices(MESH).smallest(number - max(PROCESS, 0)) - (number - (PROCESS >= 0))}


def simulate(counts=(13,)):
    def run(runs, mesh, **options):
        return fd.simulate(LANDSCAPE, START, SPACETIME, [0.05, 0.1], runs=runs, mesh=mesh, key=KEY, **options)

    return {f"{runs} runs": both(lambda mesh, n=runs: run(n, mesh), lambda made: made.samples) for runs in counts}


def simulate_in_blocks():
    """More runs than fit into a block, the readings, and controls."""
    found = simulate((700,))
    readings = {
        "unbiased": fd.Landscape(loss, EXAMPLES, reading="unbiased"),
        "conditional": fd.Landscape(loss, EXAMPLES[:6], TESTED, reading="conditional"),
    }
    for name, landscape in readings.items():
        found[name] = both(
            lambda mesh, one=landscape: fd.simulate(one, START, SPACETIME, 0.1, runs=11, mesh=mesh, key=KEY),
            lambda made: made.samples,
        )
    found["control"] = both(
        lambda mesh: fd.simulate(LANDSCAPE, START, SPACETIME, 0.1, runs=11, control=True, mesh=mesh, key=KEY),
        lambda made: made.samples,
    )
    return found


def simulate_sde():
    def run(runs, mesh):
        return fd.simulate_sde(LANDSCAPE, START, SPACETIME, [0.05], runs=runs, substeps=2, mesh=mesh, key=KEY)

    return {f"{runs} paths": both(lambda mesh, n=runs: run(n, mesh), lambda made: made.samples) for runs in (3, 13)}


def axes():
    """Meshes of any form, with axes of any name."""
    half = len(DEVICES) // 2
    meshes = [
        jax.sharding.Mesh(
            DEVICES[::-1].reshape(half, 2), ("größte Achse", "b c"), axis_types=(jax.sharding.AxisType.Explicit,) * 2
        ),
        jax.sharding.Mesh(DEVICES[:3], ("some",)),
    ]

    def run(mesh):
        return fd.simulate(LANDSCAPE, START, SPACETIME, [0.05], runs=5, mesh=mesh, key=KEY)

    return {str(mesh): both(run, lambda made: made.samples, mesh) for mesh in meshes}


def functionals(made):
    """Return all numbers of an anchored path."""
    by_ties = (made.second, made.train_second, made.third, made.fourth)
    parts = [made.train_loss, made.test_loss, made.influence, *(rows for one in by_ties for rows in one.values())]
    return np.concatenate([np.ravel(part) for part in parts])


def anchor(reading="population", **options):
    landscape = fd.Landscape(loss, EXAMPLES, TESTED if reading == "conditional" else None, reading=reading)
    sizes = {"num_samples": 5, "truncation_samples": 3, "noise_examples": 8, "curvature_examples": 8}

    def run(mesh):
        given = {"steps": 6, "learning_rate": 0.1, "epoch_lengths": [3], **sizes, **options}
        return fd.anchor(landscape, START, **given, mesh=mesh, key=KEY)

    return {reading: both(run, functionals)}


def draws():
    """Draws alone: what compiles fast."""
    return anchor(truncation_samples=0, control_directions=0, epoch_lengths=[])


def conditional_anchor():
    return anchor("conditional")


def minimum():
    """Dense and by Lanczos, with more examples than devices and with fewer."""

    def predicted(count, method, mesh):
        examples = EXAMPLES[:count]
        landscape = fd.Landscape(lambda theta, x: jnp.sum((theta - x) ** 2 + (theta - x) ** 4 / 8), examples)
        options = {"method": method, "num_samples": 4, "chunk_size": 4, "mesh": mesh, "key": KEY}
        return fd.near_minimum(landscape, examples.mean(axis=0), **options).predict(SPACETIME, [0.01, 0.05])

    return {
        f"{method}, {count} examples": both(
            partial(predicted, count, method),
            lambda made: np.concatenate([made.mean, made.stderr, made.noiseless, made.truncation]),
        )
        for count, method in ((37, "dense"), (37, "lanczos"), (3, "lanczos"))
    }


def studies():
    """Files of one process only; the other one computes along."""
    folder = Path(FOLDER) / str(max(PROCESS, 0))

    def run(mesh):
        out = folder / ("one" if mesh is None else "mesh")
        options = {"order": 2, "runs": 13, "replicates": 2, "mesh": mesh, "key": KEY}
        return study(LANDSCAPE, START, SPACETIME, [0.01, 0.02], out, **options)

    def curves(mesh):
        out = folder / ("one curve" if mesh is None else "curve on a mesh")
        options = {"runs": 5, "num_samples": 3, "mesh": mesh, "key": KEY}
        return anchor_study(LANDSCAPE, START, [SPACETIME], 0.05, out, **options)

    found = {
        "predicted": both(run, lambda made: made[0].prediction.mean),
        "simulated": both(run, lambda made: made[0].simulation.samples),
        "curve": both(curves, lambda made: np.append(made[0].mean, made[0].prediction.mean)),
    }
    for name in ("mesh/prediction.json", "mesh/prediction.png", "curve on a mesh/anchor.json"):
        assert (folder / name).exists() == is_writer(MESH), name
    return found


KEY = jax.random.key(3)
CHECKS = (
    agreed,
    devices,
    simulate,
    simulate_in_blocks,
    simulate_sde,
    axes,
    draws,
    anchor,
    conditional_anchor,
    minimum,
    studies,
)
print(json.dumps({one.__name__: one() for one in CHECKS if one.__name__ in sys.argv[1].split(",")}))
