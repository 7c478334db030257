"""Programs on disk: a second process reads what the first one has compiled, and a folder has to be writable."""

import os
import subprocess
import sys

import pytest

import feyngd as fd

_RUN = """
import sys
import feyngd as fd
if sys.argv[2] == "late":
    import jax
fd.keep_programs(sys.argv[1])
import jax
import jax.numpy as jnp
hits = []
jax.monitoring.register_event_listener(lambda name, **_: hits.append(name) if name.endswith("cache_hits") else None)
def slow(x):
    for k in range(600):
        x = jnp.sin(x @ x.T) + k
    return x
jax.jit(slow)(jnp.eye(3))
print(len(hits))
"""


@pytest.mark.parametrize("when", ["early", "late"])
def test_a_second_process_reads_the_programs_of_the_first(tmp_path, when):
    unset = {key: value for key, value in os.environ.items() if not key.startswith("JAX_")}
    hits = []
    for _ in range(2):
        done = subprocess.run(
            [sys.executable, "-c", _RUN, str(tmp_path), when], env=unset, capture_output=True, text=True, check=True
        )
        assert done.stderr == "" or when == "late"
        hits.append(int(done.stdout))
    assert hits[0] == 0
    assert hits[1] >= 1
    assert any(tmp_path.iterdir())


def test_the_folder_of_the_environment_is_kept(tmp_path, monkeypatch):
    monkeypatch.setenv("JAX_COMPILATION_CACHE_DIR", str(tmp_path / "mine"))
    monkeypatch.setattr("jax.config.update", lambda name, value: None)
    assert fd.keep_programs() == tmp_path / "mine"


def test_a_folder_that_cannot_be_written_to_is_refused(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(fd.ArgumentError, match="Cannot write to"):
        fd.keep_programs(tmp_path / "file" / "programs")
