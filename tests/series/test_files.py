"""Series in files, pickled and copied."""

import copy
import json
import pickle
from fractions import Fraction

import optax
import pytest
from sympy import Rational, Sum, cos, gamma, pi, symbols

import feyngd as fd
from feyngd import Diagram, ResummedSeries, Series, Spacetime

N, B, E, T = symbols("N B E T", integer=True, positive=True)
BETA, RHO = symbols("beta rho")
HERE = Spacetime.sgd(N, B, E)
PLACES = [HERE, Spacetime.gd(N, E * N / B), Spacetime.sgd(4, 2, 1), Spacetime.from_batches([[0], [1, 1]], N=2)]


@pytest.mark.parametrize("place", PLACES, ids=str)
def test_series_are_kept_in_files(tmp_path, place):
    series = fd.expand("train_loss", order=2, spacetime=place)
    series.save(tmp_path / "series.json")
    again = Series.load(str(tmp_path / "series.json"))
    assert again == series
    assert (again.quantity, again.spacetime, again.symbols) == (series.quantity, place, series.symbols)
    assert (tmp_path / "series.json").read_text(encoding="utf-8").startswith("{")
    assert [path.name for path in tmp_path.iterdir()] == ["series.json"]


@pytest.mark.parametrize("place", PLACES, ids=str)
def test_resummed_series_are_kept_in_files(tmp_path, place):
    series = fd.expand("gap", order=1, spacetime=place, resummed=True).at_minimum()
    series.save(tmp_path / "series.json")
    again = ResummedSeries.load(tmp_path / "series.json")
    assert again == series
    assert dict(again) == dict(series)
    assert ResummedSeries.from_json(series.to_json()) == series
    assert again != fd.expand("gap", order=1, spacetime=place, resummed=True)
    assert (again.form, again.is_at_minimum, again.spacetime) == ("discrete", True, place)


@pytest.mark.parametrize(
    "optimizer",
    [
        fd.momentum(symbols("beta"), nesterov=True),
        fd.averaged(fd.schedule([1, 0.5, Fraction(1, 3)], fd.momentum(Fraction(1, 2), classical=True)), tail="all"),
        fd.averaged(fd.momentum(0.9, dampening=Fraction(1, 10)), ema=symbols("rho") / 2),
        fd.averaged(fd.sgd(), weights=[0, Fraction(1, 2), Fraction(1, 2)]),
        fd.schedule([Fraction(1)] * 3),
    ],
    ids=str,
)
def test_resummed_series_keep_their_optimizer(optimizer):
    series = fd.ResummedSeries("gap", 1, Spacetime.sgd(3), optimizer=optimizer)
    again = ResummedSeries.from_json(series.to_json())
    assert again == series
    assert again.optimizer == optimizer
    assert [type(x) for x in (again.optimizer.beta, again.optimizer.dampening)] == [
        type(x) for x in (optimizer.beta, optimizer.dampening)
    ]
    assert again != fd.ResummedSeries("gap", 1, Spacetime.sgd(3))
    assert pickle.loads(pickle.dumps(series)) == series


def test_resummed_series_with_functions_and_metrics_are_pickled(tmp_path):
    for optimizer in (fd.schedule(float), fd.preconditioned(fd.sgd(), [2.0])):
        series = fd.ResummedSeries("gap", 1, Spacetime.sgd(3), optimizer=optimizer)
        assert pickle.loads(pickle.dumps(series)) == series
        with pytest.raises(fd.ArgumentError, match="without metrics, and schedules that are lists"):
            series.save(tmp_path / "series.json")


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("values.json", b'{"format": "feyngd values 1"}'),
        ("list.json", b"[1, 2]"),
        ("text.txt", b"gap to order 2"),
        ("empty.json", b""),
        ("binary.npz", b"PK\x03\x04\xff\xfe\x00"),
    ],
)
@pytest.mark.parametrize("kind", [Series, ResummedSeries])
def test_other_files_are_refused(tmp_path, name, content, kind):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(fd.ArgumentError, match=name):
        kind.load(tmp_path / name)


@pytest.mark.parametrize(
    ("place", "optimizer"),
    [
        (Spacetime.gd(N, T), fd.momentum(BETA, nesterov=True)),
        (Spacetime.sgd(4, 2, E), fd.averaged(fd.sgd(), ema=RHO)),
        (
            Spacetime.sgd(5, 2, T=4, drop_last=False),
            fd.schedule([BETA, 1, Fraction(1, 3), 0], fd.momentum(RHO, dampening=RHO)),
        ),
        (
            Spacetime.sgd(5, 2, T=4, drop_last=True),
            fd.averaged(fd.momentum(0.9, classical=True, dampening=0.5), tail=2),
        ),
        (Spacetime.from_batches([[0], [1, 1]], N=2), fd.averaged(fd.sgd(), weights=[Fraction(1, 3), Fraction(2, 3)])),
        (Spacetime.sgd(4), fd.from_optax(optax.sgd(0.1, momentum=0.3), steps=4)),
        (Spacetime.sgd(4), fd.schedule(lambda step: 1 / (1 + step))),
    ],
    ids=str,
)
def test_series_with_optimizers_are_kept_exactly(place, optimizer):
    series = fd.expand("gap", order=1, spacetime=place, optimizer=optimizer)
    again = Series.from_json(series.to_json())
    assert dict(again) == dict(series)  # the same expressions, floats to the last bit
    assert again.symbols == series.symbols
    assert again.spacetime == place
    if callable(optimizer.multipliers):
        optimizer = optimizer.over_steps(4)
    assert again.optimizer == optimizer
    assert again.to_json() == series.to_json()


def test_expressions_of_other_kinds_are_kept():
    x, t = symbols("x", real=True), symbols("t", integer=True)
    value = Sum(x**t * cos(pi * t / 3), (t, 0, T - 1)) / 3 + 2**x + Rational(1, 7)
    own = Series({Diagram.parse("[]"): value}, quantity="mine", order=0)
    again = Series.from_json(own.to_json())
    assert again[Diagram.parse("[]")] == value


def test_what_optimizers_cannot_write_is_refused():
    metric = fd.expand("gap", order=1, spacetime=Spacetime.sgd(4), optimizer=fd.preconditioned(fd.momentum(0.5), 2.0))
    with pytest.raises(fd.ArgumentError, match="without metrics"):
        metric.to_json()


@pytest.mark.parametrize(
    "tree",
    [["__import__", "os"], ["Add", {"code": "1"}], {"symbol": "y"}, {"float": [0, "x", 0, 53]}, [], None, ["Pow", "2"]],
)
def test_trees_that_nobody_wrote_are_refused(tree):
    text = json.loads(fd.expand("gap", order=1, spacetime=Spacetime.sgd(4)).to_json())
    text["terms"] = {"a[a]": {"tree": tree}}
    with pytest.raises(fd.ArgumentError, match="is not a series written by"):
        Series.from_json(json.dumps(text))


def test_one_kind_of_series_is_not_the_other(tmp_path):
    plain = fd.expand("gap", order=1, spacetime=HERE)
    plain.save(tmp_path / "plain.json")
    fd.resum(plain).save(tmp_path / "resummed.json")
    with pytest.raises(fd.ArgumentError, match=r"plain\.json' is not a re-summed series.*'feyngd series 1'"):
        ResummedSeries.load(tmp_path / "plain.json")
    with pytest.raises(fd.ArgumentError, match=r"resummed\.json' is not a series"):
        Series.load(tmp_path / "resummed.json")
    with pytest.raises(FileNotFoundError):
        Series.load(tmp_path / "missing.json")


def test_a_failed_save_leaves_what_was_there(tmp_path):
    plain = fd.expand("gap", order=1, spacetime=HERE)
    plain.save(tmp_path / "gap.json")
    with pytest.raises(fd.ArgumentError, match=r"gamma.* cannot be written"):
        (plain * gamma(symbols("x"))).save(tmp_path / "gap.json")
    assert Series.load(tmp_path / "gap.json") == plain
    with pytest.raises(OSError, match="nowhere"):
        plain.save(tmp_path / "nowhere" / "gap.json")


@pytest.mark.parametrize("copied", [lambda x: pickle.loads(pickle.dumps(x)), copy.copy, copy.deepcopy])
def test_copies_are_equal(copied):
    plain = fd.expand("gap", order=2, spacetime=HERE)
    resummed = fd.resum(plain).at_minimum()
    used = fd.expand("gap", order=1, spacetime=HERE, resummed=True)
    assert len(dict(used)) == len(used)
    for thing in (plain, plain - plain / 2, resummed, used, HERE, *PLACES, Diagram.parse("a[a b[c c]]")):
        assert copied(thing) == thing
    for sizes in ({N: 1, B: 1, E: 1}, {N: 4, B: 3, E: 1}):
        with pytest.raises(fd.ArgumentError):
            copied(plain).subs(sizes)
