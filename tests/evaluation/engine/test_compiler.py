"""How passes are compiled: fast or slowly, they compute the same."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from feyngd.evaluation.engine import _compiler


@pytest.mark.parametrize("draft", [False, True])
def test_results_do_not_depend_on_how_they_are_compiled(draft: bool) -> None:
    def function(x: jax.Array) -> jax.Array:
        return jax.lax.fori_loop(0, 5, lambda i, y: jnp.tanh(y @ y.T / (i + 1)), x)

    x = np.linspace(-1, 1, 16, dtype=np.float32).reshape(4, 4)
    np.testing.assert_allclose(_compiler.compiled(function, draft=draft)(x), jax.jit(function)(x), rtol=2e-6)


def test_options_that_this_xla_does_not_have_are_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_compiler, "_OPTIONS", {**_compiler._OPTIONS, "xla_no_such_option": True})
    assert _compiler.compiled(lambda: jnp.float32(3))() == 3


@pytest.mark.skipif(jax.default_backend() != "cpu", reason="options are those of CPUs")
def test_this_xla_has_all_options() -> None:
    assert all(_compiler._is_known(name, value) for name, value in _compiler._DRAFT.items())
