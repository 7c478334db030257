"""Progress: silent unless asked, and complete when asked."""

import io
import re

import jax
import numpy as np
import pytest

import feyngd as fd

pytestmark = pytest.mark.filterwarnings("ignore::feyngd.TruncationWarning")  # order 1 is enough for a bar


def landscape():
    return fd.Landscape(lambda theta, x: 0.5 * (theta - x) ** 2 + theta**3, np.array([-1.0, 0.0, 2.0]))


def calls(progress):
    key = jax.random.key(0)
    yield fd.evaluate(
        fd.Diagram.parse("a[b[a]]"), landscape(), 0.5, estimator="pairing", replicates=5, progress=progress, key=key
    )
    yield fd.predict(landscape(), 0.5, fd.Spacetime.sgd(2), 0.01, order=1, progress=progress, key=key)
    yield fd.simulate(landscape(), 0.5, fd.Spacetime.sgd(2), [0.01, 0.02], runs=3, progress=progress, key=key)


def test_silent_by_default(capfd):
    assert len(list(calls(None))) == 3
    assert len(list(calls(fd.Progress()))) == 3
    assert capfd.readouterr() == ("", "")


def test_tqdm_prints_complete_bars_to_the_file_given(capfd):
    stream = io.StringIO()
    assert len(list(calls(fd.Tqdm(file=stream, mininterval=0)))) == 3
    text = stream.getvalue()
    assert "values of diagrams: 100%" in text
    assert "runs of SGD: 100%" in text
    finished = re.findall(r"100%\S* (\d+)/(\d+)", text)
    assert ("5", "5") in finished
    assert ("6", "6") in finished
    assert all(done == total for done, total in finished)
    assert capfd.readouterr() == ("", "")


def test_a_failure_closes_the_bar():
    stream = io.StringIO()
    bar = fd.Tqdm(file=stream, mininterval=0)

    def interrupted():
        with bar.task(4, "four steps") as task:
            task.advance(3)
            raise RuntimeError("interrupted")

    with pytest.raises(RuntimeError, match="interrupted"):
        interrupted()
    assert "3/4" in stream.getvalue()
    assert stream.getvalue().endswith("\n")


def test_steps_are_reported_to_any_progress():
    """A progress of the user's own needs only `task`, and sees every step of the work."""
    seen = []

    class Task(type(fd.Progress().task(0, ""))):
        def advance(self, steps=1):
            seen.append(steps)

    class Counting(fd.Progress):
        def task(self, total, label):
            seen.append(label)
            return Task()

    fd.evaluate(
        [fd.Diagram.parse("[a[a]]"), fd.Diagram.parse("a[b[a]]")],
        landscape(),
        0.5,
        estimator="pairing",
        replicates=4,
        progress=Counting(),
        key=jax.random.key(0),
    )
    assert seen[0] == "values of diagrams"
    assert sum(seen[1:]) == 1 + 4
