"""Optimizers and learning curves on several devices: the numbers of one device."""

import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]

CHECK = """
import jax
jax.config.update("jax_enable_x64", True)
import jax.numpy as jnp
import numpy as np
import feyngd as fd

assert jax.device_count() == 3
landscape = fd.Landscape(
    lambda theta, x: jnp.tanh(theta @ x) ** 2 + jnp.sum(theta**2) / 16, np.random.default_rng(0).normal(size=(11, 3))
)
at = landscape, np.linspace(-0.4, 0.6, 3), fd.Spacetime.sgd(7, 3, 2, drop_last=False), [0.05, 0.1]
optimizer = fd.averaged(fd.preconditioned(fd.momentum(0.9), np.array([1.0, 0.0, 2.0])), tail=2)
for chosen in (fd.sgd(), optimizer):
    for times in (None, [2, 3, 6]):
        one, several = (
            fd.simulate(*at, optimizer=chosen, times=times, control=True, runs=7, mesh=mesh, key=jax.random.key(0))
            for mesh in (None, jax.make_mesh((3,), ("runs",)))
        )
        np.testing.assert_allclose(several.samples, one.samples, rtol=1e-13)
"""


def test_three_devices_simulate_what_one_does():
    variables = {"JAX_PLATFORMS": "cpu", "XLA_FLAGS": "--xla_force_host_platform_device_count=3"}
    environment = {**os.environ, **variables}
    done = subprocess.run(
        [sys.executable, "-c", CHECK], env=environment, cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
