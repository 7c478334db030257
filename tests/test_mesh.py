"""Several devices and several processes give the numbers of one device, for any number of runs, draws and examples.

Sums over shares are rounded otherwise than sums over all, so that numbers differ by units in the last place of double
precision, and by a little more where a path amplifies them.
"""

import json
import os
import socket
import subprocess
import sys
from pathlib import Path

import jax
import numpy as np
import pytest

import feyngd as fd
from feyngd._mesh import Devices, check_mesh, is_writer

ROOT = Path(__file__).parents[1]
LAUNCH = ROOT / "docs" / "launch"
TOLERANCE = 1e-12  # of the largest number; differences seen are below 1e-14
SPACETIME = fd.Spacetime.sgd(N=20, B=2, E=2)


def start(command, devices, cwd=ROOT, **variables):
    environment = {"JAX_PLATFORMS": "cpu", "XLA_FLAGS": f"--xla_force_host_platform_device_count={devices}"}
    return subprocess.Popen(
        command,
        env={**os.environ, **environment, **variables},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=cwd,
    )


def output(process):
    try:
        text, errors = process.communicate(timeout=1200)
    finally:
        process.kill()
    assert process.returncode == 0, errors
    return text


def free_port():
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return free.getsockname()[1]


def on_one_host(checks, folder=""):
    """Return by how much eight devices differ from one."""
    command = [sys.executable, "tests/mesh_checks.py", checks, "-1", "", str(folder)]
    return [json.loads(output(start(command, 8)))]


def in_two_processes(checks, folder="", devices=1):
    """Return by how much two processes differ from one device, as each of them sees it."""
    address = f"127.0.0.1:{free_port()}"
    command = [sys.executable, "tests/mesh_checks.py", checks]
    processes = [start([*command, str(i), address, str(folder)], devices) for i in range(2)]
    return [json.loads(output(process).splitlines()[-1]) for process in processes]


def assert_same(found, checks):
    for differences in found:
        assert list(differences) == checks.split(",")
        for check, parts in differences.items():
            assert parts
            for part, difference in parts.items():
                assert 0 <= difference < TOLERANCE, (check, part, difference)


def test_eight_devices_simulate_what_one_does():
    checks = "devices,simulate,axes"
    assert_same(on_one_host(checks), checks)


def test_two_processes_simulate_what_one_device_does():
    checks = "agreed,simulate"
    assert_same(in_two_processes(checks), checks)


@pytest.mark.slow
@pytest.mark.parametrize("checks", ["simulate_in_blocks,simulate_sde", "draws", "conditional_anchor", "studies"])
def test_eight_devices_give_the_numbers_of_one(checks, tmp_path):
    assert_same(on_one_host(checks, tmp_path), checks)


@pytest.mark.slow
@pytest.mark.parametrize("checks", ["devices,simulate_in_blocks,simulate_sde", "anchor", "minimum"])
def test_two_processes_give_the_numbers_of_one_device(checks, tmp_path):
    assert_same(in_two_processes(checks, tmp_path, devices=2), checks)


# --- the scripts of the documentation, with a scheduler that knows this host only -------------------------------------

SRUN = """#!/bin/bash
for number in $(seq 0 $((SLURM_NTASKS - 1))); do SLURM_PROCID=$number SLURM_LOCALID=0 "$@" & jobs+=($!); done
for job in "${jobs[@]}"; do wait "$job" || status=1; done
exit ${status:-0}
"""


@pytest.fixture
def scheduler(tmp_path):
    """Return the variables of a job: commands that SLURM has, and what it says to every task."""
    commands = tmp_path / "commands"
    commands.mkdir()
    for name, text in {"srun": SRUN, "scontrol": "#!/bin/bash\necho 127.0.0.1\necho another-host\n"}.items():
        (commands / name).write_text(text)
        (commands / name).chmod(0o755)
    path = f"{commands}:{Path(sys.executable).parent}:{os.environ['PATH']}"
    said = {"SLURM_JOB_ID": "7", "SLURM_JOB_NODELIST": "host[1-2]", "SLURM_STEP_NODELIST": "host[1-2]"}
    return {"PATH": path, "PYTHONPATH": str(ROOT), "SLURM_NTASKS": "2", "PORT": str(free_port()), **said}


@pytest.mark.slow
def test_the_launcher_gives_the_numbers_of_one_device(scheduler, tmp_path):
    sizes = ["--examples", "50", "--runs", "21", "--draws", "0"]
    batch = ["bash", "several_hosts.sbatch", *sizes, "--out", str(tmp_path / "hosts.json")]
    output(start(batch, 2, cwd=LAUNCH, **scheduler))
    alone = [sys.executable, "several_hosts.py", *sizes, "--out", str(tmp_path / "alone.json")]
    output(start(alone, 1, cwd=LAUNCH, PYTHONPATH=str(ROOT)))
    hosts, one = (json.loads((tmp_path / f"{name}.json").read_text()) for name in ("hosts", "alone"))
    assert (hosts.pop("devices"), one.pop("devices")) == (4, 1)
    for name, numbers in one.items():
        np.testing.assert_allclose(hosts[name], numbers, rtol=1e-4 if name == "stderr" else 1e-5)  # single precision


@pytest.mark.slow
def test_the_jobs_of_an_array_do_a_sweep_together(scheduler, tmp_path):
    entries = {
        "models": ["logistic"], "limit": 20, "N": [4], "B": [1, 2], "E": [1], "sampling": ["reshuffled"],
        "learning_rates": [0.005], "seeds": [0], "quantity": "test_loss", "order": 1, "runs": 0, "replicates": 2,
    }  # fmt: skip
    (tmp_path / "sweep.toml").write_text("\n".join(f"{key} = {json.dumps(value)}" for key, value in entries.items()))
    for job in (1, 2):
        task = {"SLURM_ARRAY_TASK_ID": str(job), "SLURM_ARRAY_TASK_COUNT": "2"}
        text = output(start(["bash", str(LAUNCH / "sweep_array.sbatch")], 1, cwd=tmp_path, **scheduler, **task))
        assert text.splitlines()[-1] == "1 configurations: 1 done, 0 skipped, 0 elsewhere"
        assert len(list((tmp_path / "results").glob("*.json"))) == job


# --- what is no mesh --------------------------------------------------------------------------------------------------


class Elsewhere:
    """A device of another process."""

    process_index, platform = 1, "cpu"


@pytest.mark.parametrize("mesh", [8, "cpu", ("examples",), jax.devices()], ids=str)
def test_what_is_no_mesh_is_refused_before_any_work(mesh, tmp_path):
    landscape, params = fd.landscapes.toys.cosh()
    key = jax.random.key(0)
    calls = [
        lambda: fd.simulate(landscape, params, SPACETIME, 0.1, mesh=mesh, key=key),
        lambda: fd.simulate_sde(landscape, params, SPACETIME, 0.1, mesh=mesh, key=key),
        lambda: fd.anchor(landscape, params, steps=3, learning_rate=0.1, mesh=mesh, key=key),
        lambda: fd.near_minimum(landscape, params, mesh=mesh, key=key),
        lambda: fd.sweep({}, tmp_path / "sweep", mesh=mesh),
    ]
    for call in calls:
        with pytest.raises(fd.ArgumentError, match="make_mesh"):
            call()
    assert not list(tmp_path.iterdir())


def test_a_mesh_without_devices_is_refused():
    with pytest.raises(fd.ArgumentError, match="at least one device"):
        check_mesh(jax.sharding.Mesh(np.empty(0, object), ("examples",)))


def test_a_mesh_of_other_processes_is_refused(monkeypatch):
    mesh = jax.make_mesh((1,), ("examples",))
    monkeypatch.setattr(jax, "process_index", lambda: 3)
    with pytest.raises(fd.ArgumentError, match=r"process\(es\) 0, and none of process 3"):
        check_mesh(mesh)
    assert not is_writer(mesh)


def test_one_device_on_a_mesh_is_like_none():
    mesh = jax.make_mesh((1,), ("examples",))
    check_mesh(mesh)
    assert is_writer(mesh)
    assert Devices(mesh) == Devices(jax.sharding.Mesh(mesh.devices, ("other name",)))
    assert Devices(mesh).smallest(7) == Devices().smallest(7) == 7
    landscape, params = fd.landscapes.toys.cosh()
    one, other = (
        fd.simulate(landscape, params, SPACETIME, 0.1, runs=3, mesh=each, key=jax.random.key(0)).samples
        for each in (None, mesh)
    )
    np.testing.assert_allclose(one, other, rtol=1e-6)
