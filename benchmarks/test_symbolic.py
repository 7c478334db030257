"""How long the symbolic half takes, from empty caches. Run with `make benchmarks`."""

import subprocess
import sys

from sympy import symbols

import feyngd as fd

N, B, E = symbols("N B E", integer=True, positive=True)


def test_enumerate_order_6(cold) -> None:
    """All 5,861 diagrams of order 6; target 10 s."""
    assert len(cold(lambda: fd.diagrams(6))) == 5861


def test_closed_form_order_4_reshuffled_symbolic(cold) -> None:
    """Test loss to order 4, symbols N, B, E; target 5 s."""
    series = cold(lambda: fd.expand("test_loss", order=4, spacetime=fd.Spacetime.sgd(N, B, E)))
    assert len(series) == 124


def test_closed_form_order_5_reshuffled_symbolic(cold) -> None:
    """Test loss to order 5, symbols N, B, E; target 3 s on an idle core."""
    series = cold(lambda: fd.expand("test_loss", order=5, spacetime=fd.Spacetime.sgd(N, B, E)), rounds=1)
    assert len(series) == 824


def test_momentum_order_3_one_epoch(cold) -> None:
    """Test loss to order 3 with momentum β, one epoch, symbols N, B, β; target 10 s."""
    optimizer, spacetime = fd.momentum(symbols("beta")), fd.Spacetime.sgd(N, B, 1)
    series = cold(lambda: fd.expand("test_loss", order=3, spacetime=spacetime, optimizer=optimizer), rounds=1)
    assert series.order == 3


def test_closed_form_order_6_one_epoch(cold) -> None:
    """Test loss to order 6, one epoch of single points, symbol N; target 60 s."""
    series = cold(lambda: fd.expand("test_loss", order=6, spacetime=fd.Spacetime.sgd(N, B=1, E=1)), rounds=1)
    assert series.order == 6


def test_import(benchmark) -> None:
    """`import feyngd` in a fresh interpreter, without jax; target 0.6 s."""
    code = "import time; start = time.perf_counter(); import feyngd, sys; print(time.perf_counter() - start)"
    check = "; assert 'jax' not in sys.modules"
    benchmark.pedantic(lambda: subprocess.run([sys.executable, "-c", code + check], check=True), rounds=5)
    times = [
        float(subprocess.run([sys.executable, "-c", code + check], check=True, capture_output=True, text=True).stdout)
        for _ in range(5)
    ]
    benchmark.extra_info["import_alone_s"] = min(times)
    print(f"\nimport feyngd alone: {min(times):.2f} s")
