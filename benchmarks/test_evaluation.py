"""How long values take, in units of one gradient over the whole population. Run with `make benchmarks`."""

import time

import jax

import feyngd as fd
from feyngd.landscapes import digits_landscape


def _seconds(function, repeats: int = 5) -> float:
    function()
    times = []
    for _ in range(repeats):
        start = time.perf_counter()
        function()
        times.append(time.perf_counter() - start)
    return min(times)


def test_values_of_order_3_in_gradients(benchmark) -> None:
    """All values of order ≤ 3 on the digits convnet, one pairing more or less, against a chunked gradient."""
    landscape, params = digits_landscape("convnet", key=jax.random.key(0))
    gradient = jax.jit(jax.grad(landscape.mean_loss))
    unit = _seconds(lambda: jax.block_until_ready(gradient(params)))
    wanted = [D for order in range(4) for D in fd.diagrams(order)]
    few, many = 2, 6

    def run(replicates: int) -> float:
        start = time.perf_counter()
        fd.evaluate(wanted, landscape, params, replicates=replicates, key=jax.random.key(1))
        return time.perf_counter() - start

    short = run(few)
    long = benchmark.pedantic(run, args=(many,), rounds=1)
    print(f"\none pairing of all values of order ≤ 3: {(long - short) / (many - few) / unit:.0f} gradients")
    print(f"with compilation and exact values: {long / unit:.0f} gradients for {many} pairings")
