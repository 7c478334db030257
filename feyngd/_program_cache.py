"""Compiled programs on disk, so that a later process need not compile them again."""

import os
import sys
from pathlib import Path

import platformdirs

from ._files import check_writable

_LEAST_SECONDS = 0.1  # of compilation: reading a program takes a few milliseconds


def keep_programs(folder: str | os.PathLike[str] | None = None) -> Path:
    """Keep compiled programs on disk: what one process has compiled, the next one reads.

    This turns on JAX's own compilation cache, for all programs of the process. The command line does so by itself.
    Programs belong to a version of JAX and to a kind of processor, and are found by their content: after a change of
    the loss others are compiled. The folder can be deleted at any time. `JAX_ENABLE_COMPILATION_CACHE=0` turns it off.

    Call it first of all: once JAX has started, it reports differences between processors on the error output that do
    not matter here.

    Args:
        folder: where they are kept; by default where `JAX_COMPILATION_CACHE_DIR` says, or else the user's cache folder.

    Returns:
        The folder.

    Raises:
        ArgumentError: the folder cannot be written to.

    Examples:
        >>> import tempfile
        >>> import feyngd as fd
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     fd.keep_programs(folder).name == Path(folder).name
        True
    """
    default = os.environ.get("JAX_COMPILATION_CACHE_DIR") or platformdirs.user_cache_path("feyngd") / "programs"
    kept = check_writable(default if folder is None else folder)
    settings = {
        "jax_compilation_cache_dir": str(kept),
        "jax_persistent_cache_min_compile_time_secs": _LEAST_SECONDS,
        "jax_persistent_cache_min_entry_size_bytes": 0,
    }
    if "jax" in sys.modules:
        import jax

        for name, value in settings.items():
            jax.config.update(name, value)
    else:  # JAX reads them when it starts
        os.environ.update({name.upper(): str(value) for name, value in settings.items()})
        # XLA compares preferences of the compiler, such as that against gathers, with features of the processor.
        os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    return kept
