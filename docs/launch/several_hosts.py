"""Simulate SGD and predict its learning curve on all devices of all processes; the first process writes the numbers.

Start it once in every process, by `several_hosts.sbatch` or by hand, with three variables: COORDINATOR, the address and
port of the first process; PROCESSES, how many there are; and PROCESS, which of them this is, from 0. Without them it
runs alone, on all devices of one host.
"""

import argparse
import json
import os

import jax


def join_the_others() -> None:
    """Join the other processes. This comes before anything else that JAX does."""
    if "COORDINATOR" in os.environ:
        jax.distributed.initialize(
            os.environ["COORDINATOR"],
            num_processes=int(os.environ["PROCESSES"]),
            process_id=int(os.environ["PROCESS"]),
            # Under SLURM, JAX would otherwise give every process one device only.
            cluster_detection_method="deactivate",
        )


def main() -> None:
    """Compute, the same in every process."""
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--out", default="several_hosts.json")
    options.add_argument("--examples", type=int, default=1797)
    options.add_argument("--runs", type=int, default=20_000)
    options.add_argument("--draws", type=int, default=64, help="of noise along the path; 0 for no learning curve")
    given = options.parse_args()
    join_the_others()

    import feyngd as fd

    # Your landscape and start: the same in every process, from the same files and the same key.
    landscape, start = fd.landscapes.digits_landscape("mlp", given.examples, key=jax.random.key(0))
    spacetime, rate = fd.Spacetime.sgd(N=20, B=2, E=2), 0.05
    mesh = jax.make_mesh((jax.device_count(),), ("devices",))  # all devices of all processes
    simulation = fd.simulate(landscape, start, spacetime, rate, runs=given.runs, mesh=mesh, key=jax.random.key(1))
    numbers = {"devices": mesh.size, "mean": float(simulation.mean[0]), "stderr": float(simulation.stderr[0])}
    if given.draws:
        anchored = fd.anchor(
            landscape,
            start,
            steps=int(spacetime.T),
            learning_rate=rate,
            epoch_lengths=[10],
            num_samples=given.draws,
            mesh=mesh,
            key=jax.random.key(2),
        )
        numbers["predicted"] = anchored.predict(spacetime).mean.tolist()
    if jax.process_index() == 0:  # every process has the results; one writes them
        with open(given.out, "w", encoding="utf-8") as file:
            json.dump(numbers, file)


if __name__ == "__main__":
    main()
