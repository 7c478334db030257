"""Closed forms with schedules of a symbolic number of steps, against sums over steps."""

from fractions import Fraction as F

import pytest
import sympy as sp

import feyngd as fd
from feyngd.counting import kernel_count

N, B, E, T = sp.symbols("N B E T", integer=True, positive=True)
SCHEMES = [
    (fd.Spacetime.gd(N, T), {N: 3, T: 4}),
    (fd.Spacetime.sgd(N, B, T=T, sampling="with-replacement"), {N: 3, B: 2, T: 6}),
    (fd.Spacetime.sgd(N, B, 1), {N: 12, B: 2}),
    (fd.Spacetime.sgd(N, 1, 1, sampling="fixed"), {N: 4}),
]
EXACT = {
    "linear": lambda t, steps: 1 - t / steps,
    "pieces": lambda t, steps: sp.Piecewise((1, t < steps / 2), (sp.Rational(1, 10), True)),
    "warm-up": lambda t, steps: sp.Piecewise((t / 2, t < 2), ((steps - t) / (steps - 2), True)),
}


SHORT = {
    "late": lambda t, steps: sp.Piecewise((1, t < 3), (sp.Rational(1, 3), True)),
    "half": lambda t, steps: sp.Piecewise((1, t < steps / 2), (sp.Rational(1, 3), True)),
    "three": lambda t, steps: sp.Piecewise((1 + t, t < 2), (2, t < 2 * steps / 3), (1 - t / steps, True)),
    "cosine": lambda t, steps: (1 + sp.cos(sp.pi * t / steps)) / 2,
}


def over_steps(schedule, steps: sp.Expr) -> list[F]:
    values = [sp.sympify(schedule(sp.Integer(step), steps)) for step in range(int(steps))]
    return [F(int(value.p), int(value.q)) for value in values]


@pytest.mark.parametrize(("scheme", "sizes"), SCHEMES, ids=str)
@pytest.mark.parametrize("kind", EXACT)
def test_closed_forms_are_sums_over_steps(kind, scheme, sizes):
    sizes = {size: value for size, value in sizes.items() if size in scheme.symbols}
    symbolic = fd.schedule(lambda t: EXACT[kind](t, scheme.T))
    exact = fd.schedule(over_steps(EXACT[kind], scheme.T.subs(sizes)))
    for diagram in ("[]", "[a]", "[a b]", "[a a]", "[a[b]]", "[a[a]]", "[a b[a]]"):
        for basis in ("moment", "cumulant"):
            form = kernel_count(fd.Diagram.parse(diagram), scheme, symbolic, basis=basis)
            assert not form.has(sp.Sum)
            assert form.subs(sizes) == kernel_count(fd.Diagram.parse(diagram), scheme.subs(sizes), exact, basis=basis)


@pytest.mark.parametrize("steps", [2, 3])
def test_cosine_is_closed_too(steps):
    """With cosines that are rational, exactly; and for many steps to rounding."""
    scheme = SCHEMES[1][0]
    symbolic = fd.schedule(lambda t: (1 + sp.cos(sp.pi * t / T)) / 2)
    exact = fd.schedule(over_steps(lambda t, n: (1 + sp.cos(sp.pi * t / n)) / 2, sp.Integer(steps)))
    assert kernel_count(fd.Diagram.parse("[a]"), scheme, symbolic) == B * (T + 1) / 2
    for diagram in ("[a a]", "[a[b]]", "[a b[a]]"):
        form = kernel_count(fd.Diagram.parse(diagram), scheme, symbolic, basis="cumulant")
        sizes, many = {N: 3, B: 2, T: steps}, {N: 3, B: 2, T: 50}
        expected = kernel_count(fd.Diagram.parse(diagram), scheme.subs(sizes), exact, basis="cumulant")
        assert sp.nsimplify(sp.simplify(form.subs(sizes))) == expected
        falling = fd.schedule(lambda t: float((1 + sp.cos(sp.pi * t / 50)) / 2))
        long = kernel_count(fd.Diagram.parse(diagram), scheme.subs(many), falling, basis="cumulant")
        assert float(form.subs(many)) == pytest.approx(float(long), rel=1e-11)


@pytest.mark.parametrize("kind", SHORT)
def test_runs_may_be_shorter_than_pieces_and_waves(kind):
    """Pieces that end beyond the run or between two steps; one step in which a wave turns a whole round."""
    scheme, symbolic = SCHEMES[1][0], fd.schedule(lambda t: SHORT[kind](t, T))
    for diagram in map(fd.Diagram.parse, ("[a]", "[a a]", "[a[b]]")):
        form = kernel_count(diagram, scheme, symbolic)
        for steps in range(1, 7):
            sizes = {N: 3, B: 2, T: steps}
            values = [SHORT[kind](sp.Integer(step), sp.Integer(steps)) for step in range(steps)]
            exact = fd.schedule([float(value) for value in values])
            expected = float(kernel_count(diagram, scheme.subs(sizes), exact))
            assert float(form.subs(sizes).doit()) == pytest.approx(expected, rel=1e-12, abs=1e-12), (diagram, steps)


def test_other_schedules_are_iterated_sums():
    scheme, sizes = SCHEMES[1]
    form = kernel_count(fd.Diagram.parse("[a[b]]"), scheme, fd.schedule(lambda t: 1 / (t + 1)))
    assert form.has(sp.Sum)
    exact = fd.schedule(over_steps(lambda t, n: 1 / (t + 1), sp.Integer(6)))
    assert form.subs(sizes).doit() == kernel_count(fd.Diagram.parse("[a[b]]"), scheme.subs(sizes), exact)


@pytest.mark.parametrize(
    ("scheme", "optimizer", "message"),
    [
        (fd.Spacetime.sgd(N, B, E), fd.schedule(lambda t: t), "Give E=1"),
        (SCHEMES[0][0], fd.schedule(lambda t: t, fd.momentum(F(1, 2))), "SGD at its last iterate"),
        (SCHEMES[0][0], fd.schedule(lambda t: 0.5 * t), "are exact"),
        (SCHEMES[0][0], fd.schedule(lambda t: sp.Piecewise((1, t > 2), (2, True))), "conditions t < a"),
        (SCHEMES[0][0], fd.schedule(lambda t: [1, 2][t]), "takes a symbol"),
    ],
)
def test_what_has_no_form_is_refused(scheme, optimizer, message):
    with pytest.raises(fd.ArgumentError, match=message):
        fd.count_embeddings(fd.Diagram.parse("[a]"), scheme, optimizer=optimizer)
