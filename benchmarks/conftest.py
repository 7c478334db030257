"""Shared by the benchmarks: every round starts with empty caches."""

import sys
from collections.abc import Callable

import pytest


def clear_caches() -> None:
    """Empty every function cache in feyngd."""
    for name, module in list(sys.modules.items()):
        if name.startswith("feyngd"):
            for value in list(vars(module).values()):
                if hasattr(value, "cache_clear"):
                    value.cache_clear()


@pytest.fixture
def cold(benchmark) -> Callable:
    """Benchmark a function with empty caches in every round, and return what it returns."""

    def run(function: Callable, *, rounds: int = 3):
        return benchmark.pedantic(function, setup=clear_caches, rounds=rounds)

    return run
