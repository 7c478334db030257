"""Several devices and several processes give the numbers of one, and any number of examples will do."""

import json
import os
import socket
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

PROGRAM = """
import json, sys
import numpy as np
import jax
devices, process = int(sys.argv[1]), int(sys.argv[2])
if process >= 0:
    jax.distributed.initialize(sys.argv[3], num_processes=2, process_id=process)
jax.config.update("jax_enable_x64", True)
import feyngd as fd
import jax.numpy as jnp
examples = np.random.default_rng(0).normal(size=(37, 5))  # a prime number: no mesh divides it
landscape = fd.Landscape(lambda theta, x: jnp.tanh(theta @ x) ** 2 + jnp.sin(x[0] * theta[1]) + theta[0] ** 3, examples)
mesh = None if devices == 1 else jax.make_mesh((devices,), ("examples",))
assert devices == 1 or len(jax.devices()) == devices
diagrams = [D for order in range(4) for D in fd.diagrams(order)]
values = fd.evaluate(
    diagrams, landscape, np.linspace(-0.4, 0.6, 5), estimator=sys.argv[4], replicates=4, mesh=mesh, chunk_size=4,
    key=jax.random.key(3),
)
print(json.dumps([values.replicates(D).tolist() for D in diagrams]))
"""


def start(devices, process=-1, address="", estimator="pairing", local=None):
    flags = f"--xla_force_host_platform_device_count={local or devices}"
    return subprocess.Popen(
        [sys.executable, "-c", PROGRAM, str(devices), str(process), address, estimator],
        env={**os.environ, "JAX_PLATFORMS": "cpu", "XLA_FLAGS": flags},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=Path(__file__).parents[2],
    )


def result(process):
    try:
        output, errors = process.communicate(timeout=240)
    finally:
        process.kill()
    assert process.returncode == 0, errors
    return [np.array(rows) for rows in json.loads(output.splitlines()[-1])]


def assert_same(ours, theirs):
    for one, other in zip(ours, theirs, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-11, atol=1e-14)


@pytest.fixture(scope="module")
def alone():
    return result(start(1))


@pytest.mark.slow
def test_eight_devices_give_the_same_numbers(alone):
    assert_same(result(start(8)), alone)


@pytest.mark.slow
def test_eight_devices_deflate_alike():
    assert_same(result(start(8, estimator="deflation")), result(start(1, estimator="deflation")))


@pytest.mark.slow
def test_two_processes_give_the_same_numbers(alone):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{free.getsockname()[1]}"
    processes = [start(4, process, address, local=2) for process in range(2)]
    for process in processes:
        assert_same(result(process), alone)
