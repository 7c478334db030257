"""Where the output goes: terminals that are not UTF-8, closed pipes, full disks, interruptions."""

import errno
import io
import json
import os
import signal
import subprocess
import sys
import time
from argparse import Namespace
from pathlib import Path

import pytest

from feyngd import cli
from feyngd.cli import _ending

FULL = Path("/dev/full")
needs_full = pytest.mark.skipif(not FULL.exists(), reason="there is no /dev/full")


def feyngd(*arguments: str, out=subprocess.PIPE, **environment: str) -> subprocess.CompletedProcess:
    return subprocess.run(
        [sys.executable, "-m", "feyngd.cli", *arguments],
        stdout=out,
        stderr=subprocess.PIPE,
        env={**os.environ, "PYTHONUNBUFFERED": "", "JAX_PLATFORMS": "cpu", **environment},
        check=False,
        timeout=300,
    )


class Written(io.TextIOWrapper):
    """A stream in an encoding that fails on a write where it is asked to."""

    def __init__(self, encoding: str, error: OSError | None = None) -> None:
        super().__init__(io.BytesIO(), encoding=encoding, errors="strict")
        self.error = error

    def write(self, text: str) -> int:
        if self.error:
            raise self.error
        return super().write(text)

    @property
    def text(self) -> str:
        self.flush()
        return self.buffer.getvalue().decode(self.encoding)


@pytest.fixture
def streams(monkeypatch):
    def put(encoding: str, error: OSError | None = None) -> tuple[Written, Written]:
        out, err = Written(encoding, error), Written(encoding)
        monkeypatch.setattr(sys, "stdout", out)
        monkeypatch.setattr(sys, "stderr", err)
        return out, err

    return put


# --- terminals that are not UTF-8 -------------------------------------------------------------------------------------


@pytest.mark.parametrize("encoding", ["ascii", "latin-1", "cp1252", "cp437", "cp932", "utf-16"])
def test_every_command_can_be_printed(streams, encoding: str) -> None:
    out, err = streams(encoding)
    assert cli.main(["series", "gap", "--order", "2"]) == 0
    assert cli.main(["diagrams", "3"]) == 0
    assert cli.main(["series", "-N", "0"]) == 2
    for command in ("demo", "series", "diagrams", "predict", "sweep", "anchor", "advise", "reproduce"):
        with pytest.raises(SystemExit):
            cli.main([command, "--help"])
    with pytest.raises(SystemExit):
        cli.main(["series", "--ordér", "3"])
    assert "[a[b]]" in out.text
    assert "-N 0 is not allowed" in err.text
    assert "\\u" not in out.text + err.text
    if encoding in ("ascii", "latin-1", "cp1252"):
        assert out.text.startswith("gap to order eta^2, moment basis")
        assert "kappa[" in out.text
        assert "a whole number >= 1" in err.text
    assert out.errors == err.errors == "strict"  # as before


def test_formulas_and_json_stay_whole(streams) -> None:
    out, _ = streams("ascii")
    assert cli.main(["series", "gap", "--order", "1", "--format", "json", "-N", "ν"]) == 0
    assert json.loads(out.text)["format"] == "feyngd series 1"
    out, _ = streams("cp1252")
    assert cli.main(["series", "gap", "--order", "1", "--format", "latex"]) == 0
    assert out.text == (r"-\frac{E}{B}\, \eta\, GG + \frac{E}{B}\, \eta\, \mathbb{E}[g_{i} g_{i}] + O(\eta^{2})" + "\n")


def test_the_command_itself_in_a_c_locale() -> None:
    """No UTF-8 mode, and the encoding of the locale: what `LC_ALL=C` was before Python 3.7."""
    locale = {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0", "PYTHONIOENCODING": ""}
    done = feyngd("series", "gap", "--order", "1", **locale)
    assert (done.returncode, done.stderr) == (0, b"")
    assert done.stdout.startswith(b"gap to order eta^1")
    done = feyngd("predict", "--help", PYTHONIOENCODING="cp1252")
    assert (done.returncode, done.stderr) == (0, b"")
    assert b"theta - eta grad l" in done.stdout


# --- closed pipes and full disks --------------------------------------------------------------------------------------


@pytest.mark.parametrize("unbuffered", ["", "1"])
def test_closed_pipe_ends_quietly(unbuffered: str) -> None:
    for arguments in (["series", "--order", "3"], ["diagrams", "5"], ["series", "--help"]):
        read, write = os.pipe()
        os.close(read)
        done = feyngd(*arguments, out=write, PYTHONUNBUFFERED=unbuffered)
        os.close(write)
        assert (done.returncode, done.stderr) == (141, b"")


@needs_full
@pytest.mark.parametrize("unbuffered", ["", "1"])
def test_full_disk_is_one_line(unbuffered: str) -> None:
    for arguments in (["series", "--order", "1"], ["diagrams", "5"], ["--help"], ["--version"]):
        with FULL.open("wb") as full:
            done = feyngd(*arguments, out=full, PYTHONUNBUFFERED=unbuffered)
        assert done.returncode == 3
        assert done.stderr == b"feyngd: cannot write (No space left on device)\n"


@needs_full
def test_failed_output_names_the_files_that_are_there(tmp_path: Path) -> None:
    with FULL.open("wb") as full:
        done = feyngd("diagrams", "2", "--svg", str(tmp_path / "all.svg"), out=full)
    assert done.returncode == 3
    assert done.stderr.decode().endswith(f"left on device); what was finished is in {tmp_path / 'all.svg'}\n")
    assert (tmp_path / "all.svg").read_text().count("<title>") >= 4


def test_errors_that_cannot_be_said_are_only_a_status() -> None:
    for target in ("2>&-", *(["2>/dev/full"] if FULL.exists() else [])):
        done = subprocess.run(
            ["sh", "-c", f"'{sys.executable}' -m feyngd.cli series -N 0 {target}"], capture_output=True, check=False
        )
        assert done.returncode in (2, 3)
        assert (done.stdout, done.stderr) == (b"", b"")


def test_failures_within_a_run(streams, tmp_path: Path) -> None:
    _, err = streams("utf-8", BrokenPipeError(errno.EPIPE, "Broken pipe"))
    assert cli.main(["series"]) == 141
    assert err.text == ""
    _, err = streams("utf-8", BrokenPipeError(errno.EPIPE, "Broken pipe"))
    assert cli.main(["diagrams", "2", "--svg", str(tmp_path / "x.svg")]) == 141
    assert err.text == f"feyngd: the output was closed; what was finished is in {tmp_path / 'x.svg'}\n"
    _, err = streams("utf-8", OSError(errno.EDQUOT, "Disk quota exceeded", "results/a.json"))
    assert cli.main(["series"]) == 3
    assert err.text == "feyngd: cannot write 'results/a.json' (Disk quota exceeded)\n"


def test_a_full_disk_while_files_are_written(streams, tmp_path: Path, monkeypatch) -> None:
    """The first experiment's files are there; those of the second have no room."""

    def run(*_, **__):
        (tmp_path / "first.json").write_text("{}")
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("feyngd.experiments.reproduce", run)
    _, err = streams("utf-8")
    assert cli.main(["reproduce", "linear-screw", "--out", str(tmp_path), "--quiet"]) == 3
    assert err.text == f"feyngd: cannot write (No space left on device); what was finished is in {tmp_path}\n"


def test_what_was_finished_is_what_this_run_wrote(tmp_path: Path) -> None:
    options = Namespace()
    assert _ending._left(options) == ""
    (tmp_path / "old.json").write_text("{}")
    os.utime(tmp_path / "old.json", (1e9, 1e9))
    _ending.leaves(options, tmp_path)
    (tmp_path / "half.json.part").write_text("{")
    (tmp_path / "values").mkdir()
    assert _ending._left(options) == ""
    (tmp_path / "values" / "new.npz").write_text("")
    assert _ending._left(options) == f"; what was finished is in {tmp_path}"
    _ending.leaves(options, tmp_path / "none")
    assert _ending._left(options) == ""


def test_a_failure_is_reported_once(monkeypatch, capsys) -> None:
    class Failing(io.StringIO):
        def flush(self) -> None:
            raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(sys, "stdout", Failing())
    for status in (_ending.UNWRITTEN, _ending.CLOSED):
        assert _ending.flushed(status, Namespace()) == status
    assert capsys.readouterr().err == ""
    assert _ending.flushed(0, Namespace()) == _ending.UNWRITTEN
    assert capsys.readouterr().err == "feyngd: cannot write (No space left on device)\n"


# --- interruptions, and what is imported ------------------------------------------------------------------------------


def test_an_interruption_is_one_line() -> None:
    process = subprocess.Popen(
        [sys.executable, "-m", "feyngd.cli", "series", "--order", "6"], stderr=subprocess.PIPE, stdout=subprocess.PIPE
    )
    try:
        said = process.stderr.readline()  # that it takes minutes
        time.sleep(0.2)
        process.send_signal(signal.SIGINT)
        out, rest = process.communicate(timeout=60)
    finally:
        process.kill()
    assert said.startswith(b"feyngd: 6,685 diagrams")
    assert (process.returncode, out, rest) == (130, b"", b"feyngd: interrupted\n")


def test_symbolic_commands_leave_jax_alone() -> None:
    code = (
        "import sys; from feyngd import cli; cli.main(['series', '--order', '1']); cli.main(['diagrams', '2']); "
        "sys.exit('jax' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], stdout=subprocess.DEVNULL, check=False).returncode == 0
