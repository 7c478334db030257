"""Settings of the whole suite: Hypothesis profiles, how JAX compiles, and annotations checked at run time."""

import os
import shutil
import tempfile

import pytest
from hypothesis import settings
from jaxtyping import install_import_hook

# The same examples on every run by default, fresh ones with HYPOTHESIS_PROFILE=dev.
settings.register_profile("ci", derandomize=True, deadline=None, print_blob=True)
settings.register_profile("dev", deadline=None, print_blob=True)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "ci"))

# XLA reports on stderr when it reads a program from its cache; tests look at what we print.
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
# Tests compile many small programs, several of them in more than one process, and run them once.
os.environ.setdefault("XLA_FLAGS", "--xla_backend_optimization_level=0")
os.environ.setdefault("JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS", "0.3")
# Types and shapes of arguments and results are checked in every call of these packages and modules. The checker adds
# frames to the stack, so spectra._trace_estimate is not among them: its warnings count frames up to the user's line.
install_import_hook(
    [
        "feyngd.derivatives",
        "feyngd.spectra._lanczos",
        "feyngd.spectra._matrices",
        "feyngd.spectra._noise_spectrum",
        "feyngd.spectra._spectrum",
        "feyngd.evaluation.engine",
        "feyngd.evaluation.estimators",
        "feyngd.anchoring.path",
        "feyngd.simulation",
    ],
    "annotation_checks.checked",
)


def pytest_configure(config: pytest.Config) -> None:
    """Compile the passes of the engine as fast as everything else, unless the tests run long."""
    if config.getoption("markexpr") == "not slow":
        from feyngd.evaluation.engine import _compiler

        _compiler._OPTIONS.update(_compiler._DRAFT)


_OWN_CACHE = None
if "JAX_COMPILATION_CACHE_DIR" not in os.environ:
    _OWN_CACHE = os.environ["JAX_COMPILATION_CACHE_DIR"] = tempfile.mkdtemp(prefix="feyngd-tests-")


def pytest_unconfigure(config: pytest.Config) -> None:
    """Remove the cache in the process that made it; workers were given it."""
    if _OWN_CACHE is not None:
        shutil.rmtree(_OWN_CACHE, ignore_errors=True)
