"""What importing feyngd brings in, and what works without JAX."""

import os
import subprocess
import sys

import pytest
import sympy

import feyngd as fd
from feyngd import Series, Spacetime

WITHOUT_JAX = """
import importlib.abc, sys

class NoJax(importlib.abc.MetaPathFinder):
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in ("jax", "jaxlib"):
            raise ImportError(f"{name} is blocked")

sys.meta_path.insert(0, NoJax())
import feyngd as fd
from sympy import symbols

N, B, E = symbols("N B E", integer=True, positive=True)
S = fd.Spacetime.sgd(N, B, E)
D = fd.Diagram.parse("[a a[b]]")
series = fd.expand("gap", order=2, spacetime=S)
assert fd.sanity_check(D, S) > 1
assert fd.count_diagrams(4) == len(fd.diagrams(4)) == 101
assert len(list(fd.embeddings(D, fd.Spacetime.sgd(3)))) == fd.count_embeddings(D, fd.Spacetime.sgd(3))
assert "O(" in series.latex() and str(series)
assert fd.Series.from_json(series.to_json()) == series
landscape = fd.testing.PolynomialLandscape([{(2,): 1, (1,): 1}, {(2,): 1, (1,): -1}])
exact = fd.testing.exact_series("gap", landscape, [0], fd.Spacetime.sgd(N=2), order=2)
values = fd.testing.ExactValues(landscape, [0])
assert values.sum(series.subs({N: 2, B: 1, E: 1})) == exact
assert fd.testing.check_identity(series, "gap", examples=3) == 3
assert not any(name.split(".")[0] in ("jax", "jaxlib", "scipy") for name in sys.modules)
print("done")
"""


def run(code, **environment):
    result = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, env={**os.environ, **environment}, check=False
    )
    assert result.returncode == 0, result.stderr
    return result.stdout.strip()


def test_importing_feyngd_is_light():
    heavy = ("jax", "jaxlib", "matplotlib", "hypothesis", "sklearn", "kauri", "optax")
    code = f"import sys, feyngd; print([name for name in {heavy} if name in sys.modules])"
    assert run(code) == "[]"


def test_hypothesis_comes_only_with_a_strategy():
    assert run("import sys, feyngd as fd; fd.testing.check_identity; print('hypothesis' in sys.modules)") == "False"


def test_everything_symbolic_works_without_jax():
    assert run(WITHOUT_JAX) == "done"


@pytest.mark.parametrize("sampling", ["fixed", "reshuffled"])
def test_ground_types_do_not_matter(sampling):
    """SymPy's pure-Python rationals give the same series as whichever types are installed here."""
    code = (
        "import feyngd as fd, sympy; from sympy.external.gmpy import GROUND_TYPES\n"
        "N, B, E = sympy.symbols('N B E', integer=True, positive=True)\n"
        f"S = fd.Spacetime.sgd(N, B, E, sampling={sampling!r})\n"
        "print(GROUND_TYPES); print(fd.expand('gap', order=3, spacetime=S).to_json())"
    )
    ground, text = run(code, SYMPY_GROUND_TYPES="python").split("\n", 1)
    assert ground == "python"
    N, B, E = sympy.symbols("N B E", integer=True, positive=True)
    here = fd.expand("gap", order=3, spacetime=Spacetime.sgd(N, B, E, sampling=sampling))
    assert Series.from_json(text) == here
    assert text == here.to_json()


def test_public_names():
    for name in dir(fd):
        assert getattr(fd, name) is not None or name.startswith("__")
    for name in ("Diagram", "diagrams", "Spacetime", "expand", "Series", "testing", "sanity_check"):
        assert name in dir(fd)
    with pytest.raises(AttributeError, match="no_such_name"):
        fd.no_such_name  # noqa: B018
    assert not issubclass(fd.MismatchError, ValueError)
    for error in (fd.ArgumentError, fd.DiagramError, fd.SpacetimeError, fd.LandscapeError):
        assert issubclass(error, ValueError)
        assert issubclass(error, fd.FeynGDError)
