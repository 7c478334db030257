"""How a command ends: exit statuses, and what is said when it is interrupted or its output cannot be written."""

import argparse
import os
import sys
import time
from contextlib import suppress
from pathlib import Path
from typing import IO, NoReturn

from .._terminal import SPELLED

CONTRADICTED = 1
REFUSED = 2
UNWRITTEN = 3
INTERRUPTED = 130  # 128 + SIGINT, as shells have it
CLOSED = 141  # 128 + SIGPIPE

STATUSES = """exit status:
  0    all is well
  1    simulation contradicts prediction, a claim does not hold, or what is predicted has not converged
  2    something given is invalid: nothing was computed, or the computation diverged; the message says what to change
  3    output or files could not be written, as on a full disk, or memory ran out
  130  interrupted
  141  whatever read the output has closed it, as `head` does
"""


def leaves(options: argparse.Namespace, path: str | os.PathLike[str]) -> None:
    """Note the file or folder that a command is about to write to."""
    options.leaves, options.started = Path(path), time.time()


def tell(text: str) -> None:
    """Say something on the standard error, if it can be written to."""
    if sys.stderr is not None:
        with suppress(OSError, ValueError):  # full or closed
            print(f"feyngd: {text}", file=sys.stderr, flush=True)


def tell_verdicts(verdicts: set[str]) -> None:
    """Say what is wrong with comparisons that have such verdicts."""
    if "DIFFERS" in verdicts:
        print("prediction and simulation DIFFER at a converged learning rate", file=sys.stderr)
    if "not converged" in verdicts:
        print(
            "a prediction has not converged at any learning rate, and is not tested: take smaller ones", file=sys.stderr
        )


def tell_failure(error: OSError | MemoryError, options: argparse.Namespace) -> int:
    """Say in one line that output failed, or memory, and return the exit status."""
    if isinstance(error, BrokenPipeError):
        if left := _left(options):
            tell(f"the output was closed{left}")
        return CLOSED
    if isinstance(error, MemoryError):
        tell(f"memory ran out{_left(options)}: take a smaller problem, or fewer runs")
        return UNWRITTEN
    where = f" {error.filename!r}" if error.filename else ""
    tell(f"cannot write{where} ({error.strerror or error}){_left(options)}")
    return UNWRITTEN


def tell_interruption(options: argparse.Namespace) -> int:
    """Say in one line that a command was interrupted, and return the exit status."""
    tell(f"interrupted{_left(options)}")
    return INTERRUPTED


def leave_interrupted(options: argparse.Namespace) -> NoReturn:
    """End the process, interrupted, with a line that says so.

    At once: JAX can swallow a KeyboardInterrupt, and an ordinary exit can crash under XLA's threads.
    """
    with suppress(OSError, ValueError, AttributeError, RuntimeError):  # RuntimeError: it was being written to
        sys.stdout.flush()
    text = f"feyngd: interrupted{_left(options)}\n"
    with suppress(OSError):
        if os.isatty(2):  # which shows ^C, and perhaps a bar, on this line
            text = "\n" + text
        os.write(2, text.encode(getattr(sys.stderr, "encoding", None) or "utf-8", SPELLED))
    os._exit(INTERRUPTED)


def flushed(status: int, options: argparse.Namespace) -> int:
    """Write what is still held back, and return the exit status, which is another if that fails."""
    for stream in (sys.stdout, sys.stderr):
        try:
            if stream is not None:
                stream.flush()
        except OSError as error:
            _discard(stream)
            if status not in (UNWRITTEN, CLOSED):  # which the user knows already
                status = tell_failure(error, options)
    return status


def _discard(stream: IO[str]) -> None:
    """Send what a stream holds back to nowhere; otherwise Python complains about it when it ends."""
    with suppress(OSError, ValueError):
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, stream.fileno())
        os.close(nowhere)
        stream.flush()


def _left(options: argparse.Namespace) -> str:
    """Say where finished work is, if this command has left any."""
    place = getattr(options, "leaves", None)
    if place is None:
        return ""
    with suppress(OSError):
        files = [place] if place.is_file() else place.rglob("*")
        since = options.started - 1  # clocks of file systems are coarse
        if any(file.is_file() and file.suffix != ".part" and file.stat().st_mtime >= since for file in files):
            return f"; what was finished is in {place}"
    return ""
