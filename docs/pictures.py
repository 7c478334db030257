"""Draw the pictures of the documentation into docs/images: `make pictures`, or with names as arguments those alone.

A test keeps the SVG pictures current. The PNG figures come from computations of up to a minute, some of them from the
one behind `make demo`.
"""

import re
import sys
import tempfile
from collections.abc import Callable
from fractions import Fraction
from functools import cache, partial
from io import BytesIO
from pathlib import Path
from typing import Any

from sympy import symbols

import feyngd as fd
from feyngd import cli
from feyngd.companions import escape
from feyngd.drawing import diagram_svg, diagrams_svg, spacetime_svg
from feyngd.landscapes import toys
from feyngd.svg import INK, Picture, document, element
from feyngd.svg.elements import text

IMAGES = Path(__file__).parent / "images"
PALETTE = ("#999999", "#E69F00", "#56B4E9", "#0072B2", "#CC79A7", "#009E73")


def pictures() -> dict[str, str]:
    """Return the SVG text of every picture by file name."""
    spacetime = fd.Spacetime.sgd(N=4, B=1, E=2, sampling="fixed")
    diagram = fd.Diagram.parse("[a b[a]]")
    embedding = {1: (1, 5), 2: (2, 6), 3: (1, 1)}
    batches = fd.Spacetime.sgd(N=6, B=2, E=2, sampling="fixed")
    tied = fd.Diagram.parse("a[a b[c]]")
    placed = {1: (2, 4), 2: (4, 2), 3: (1, 0)}
    return {
        "diagrams-order-2.svg": diagrams_svg(fd.diagrams(2), columns=4, tensors=True),
        "diagrams-order-3.svg": diagrams_svg(fd.diagrams(3), columns=6),
        "cells-order-2.svg": diagrams_svg(fd.cell_diagrams(2), columns=6, tensors=True),
        "two-roots-order-3.svg": diagrams_svg(_two_roots(), columns=3, tensors=True),
        "outlines.svg": _outlines(),
        "embedding.svg": spacetime_svg(spacetime, diagram, embedding),
        "embedding-root-tied.svg": spacetime_svg(batches, tied, placed),
        "series-terms.svg": _series_terms(),
        "propagator.svg": _propagator(),
        "at-a-minimum.svg": _at_a_minimum(),
        "limits.svg": _limits(),
        "vacuum-diagrams.svg": _vacuum_diagrams(),
    }


def _two_roots() -> list[fd.Forest]:
    """Return the diagrams that make the variance of the test loss, to order 3."""
    return list(fd.expand("test_loss_variance", order=3, spacetime=fd.Spacetime.sgd(8, E=2), basis="cumulant"))


def _outlines() -> str:
    pair, triple, two = (fd.Diagram.parse(text) for text in ("[a a]", "[a a a]", "[a a[b] b]"))
    return diagrams_svg([pair, fd.outline(pair), fd.outline(triple), fd.outline(two, [1])], columns=4)


def _series_terms() -> str:
    vanilla = fd.Spacetime.sgd(symbols("N", integer=True, positive=True))
    series = fd.expand("test_loss", order=2, spacetime=vanilla, basis="cumulant")
    powers = ("", " η", " η²")
    terms = [
        (D, [str(D), _plain(coefficient) + powers[D.order], str(fd.tensor_expression(D))])
        for D, coefficient in series.items()
        if coefficient
    ]
    return _sheet([("", terms)], "The terms of a series", width=140)


def _plain(coefficient: Any) -> str:
    """Write a coefficient as it stands in a formula."""
    return str(coefficient.factor()).replace("**2", "²").replace("*", " ").replace("-", "−")


def _at_a_minimum() -> str:
    terms = [
        ("[a a]", ["[a a]", "C_ij H_ij", "loss that noise sustains"]),
        ("[a a a]", ["[a a a]", "S_ijk J_ijk", "skewness of the noise"]),
        ("[a[b b]]", ["[a[b b]]", "C_jk J_ijk", "entropic drift"]),
    ]
    return _sheet([("", [(fd.Diagram.parse(D), lines) for D, lines in terms])], "Noise at a minimum", width=190)


def _limits() -> str:
    T = symbols("T", integer=True, positive=True)
    sgd = fd.expand("test_loss", order=3, spacetime=fd.Spacetime.sgd(T), basis="cumulant")
    kept = {name: {D for D, c in series.items() if c} for name, series in (("ODE", fd.ode(3)), ("SDE", fd.sde(3)))}
    groups: dict[str, list[fd.Diagram]] = {"in gradient flow": [], "added by the SDE": [], "in SGD alone": []}
    ode, sde, alone = groups.values()
    for D in (D for D, c in sgd.items() if c and D.order == 3):
        (ode if D in kept["ODE"] else sde if D in kept["SDE"] else alone).append(D)
    rows = [(name, [(D, [str(D)]) for D in diagrams]) for name, diagrams in groups.items()]
    return _sheet(rows, "Diagrams of order 3 in continuous time", width=150)


def _vacuum_diagrams() -> str:
    """Draw the diagrams at the saddle of the double well of docs/escape.md."""
    well, _ = toys.double_well(0.1, 1.0)
    return escape.diagrams_at(well, 0.1010312579).svg()


def _sheet(rows: list[tuple[str, list[tuple[fd.Diagram, list[str]]]]], name: str, width: float) -> str:
    """Draw rows of diagrams, each row with a heading, each diagram with lines of text below it."""
    body, top = "", 0.0
    columns = max(len(row) for _, row in rows)
    for heading, row in rows:
        if heading:
            body += text(heading, 6, top + 16, 12, text_anchor="start", font_weight="bold")
            top += 22
        drawings = [diagram_svg(D) for D, _ in row]
        height = max(_size(drawing)[1] for drawing in drawings)
        for column, (drawing, (_, lines)) in enumerate(zip(drawings, row, strict=True)):
            middle = (column + 0.5) * width
            body += _inset(drawing, middle - _size(drawing)[0] / 2, top + (height - _size(drawing)[1]) / 2)
            for number, line in enumerate(lines):
                body += text(line, middle, top + height + 15 * (number + 1), 11, font_family="monospace")
        top += height + 15 * max(len(lines) for _, lines in row) + 12
    return document(Picture(body, 0.0, 0.0, columns * width, top), name)


def _propagator() -> str:
    """Draw the sum over chains of Hessians as one edge."""
    body, x, middle = "", 4.0, 34.0
    chains = [fd.Diagram.parse(notation) for notation in ("[a]", "[a[b]]", "[a[b[c]]]")]
    for number, chain in enumerate(chains):
        if number:
            body += text("+", x + 12, middle + 6, 18)
            x += 24
        drawing = diagram_svg(chain)
        body += _inset(drawing, x, middle - _size(drawing)[1] / 2)
        body += text(f"{'H' * number}", x + _size(drawing)[0] / 2, middle + 26, 11, font_family="monospace")
        x += _size(drawing)[0]
    body += text("+ … =", x + 30, middle + 6, 18)
    x += 60
    ends = ((x + 14, 3.8), (x + 104, 4.4))
    body += element("path", d=f"M{ends[0][0]} {middle}H{ends[1][0]}", stroke=INK, stroke_width=4)
    for place, radius in ends:
        body += element("circle", cx=place, cy=middle, r=radius, fill=INK)
    body += element("circle", cx=ends[1][0], cy=middle, r=7.5, fill="none", stroke=INK, stroke_width=1.5)
    body += text("η (1 − ηh)^(Δt − 1)", (ends[0][0] + ends[1][0]) / 2, middle + 26, 11, font_family="monospace")
    return document(Picture(body, 0.0, 0.0, ends[1][0] + 40, 70.0), "A propagator")


def _size(drawing: str) -> tuple[float, float]:
    """Return the width and height of an SVG document."""
    head = drawing[: drawing.index(">")]
    width, height = (float(re.search(rf' {side}="([\d.]+)"', head)[1]) for side in ("width", "height"))
    return width, height


def _inset(drawing: str, x: float, y: float) -> str:
    """Place an SVG document inside another."""
    return drawing.replace("<svg ", f'<svg x="{x:.2f}" y="{y:.2f}" ', 1)


def figures() -> dict[str, Callable[[], bytes]]:
    """Return, by file name, what draws each PNG figure."""
    return {
        "demo-series.png": partial(_of_demo, "series"),
        "demo-curves.png": partial(_of_demo, "curves"),
        "demo-advice.png": partial(_of_demo, "advice"),
        "kink.png": _kink,
        "sweep.png": _sweep,
        "gdc.png": _gdc,
        "stic.png": _stic,
        "oracle.png": _oracle,
        "shift-curvature.png": _shift_curvature,
        "data-averaging.png": _data_averaging,
        "limiting.png": _limiting,
        "escape.png": _escape,
    }


def _of_demo(name: str) -> bytes:
    """Return a figure that `feyngd demo` draws."""
    return _demo()[name]


@cache
def _demo() -> dict[str, bytes]:
    """Run `feyngd demo`, and return its figures by name."""
    with tempfile.TemporaryDirectory() as folder:
        if cli.main(["demo", "--out", folder]):
            raise SystemExit("feyngd demo has failed: see above.")
        return {path.stem: path.read_bytes() for path in Path(folder).glob("*.png")}


def _kink() -> bytes:
    """Draw a rectified loss and its quadratic model, which does not see the kink."""
    import jax
    import jax.numpy as jnp

    def loss(w, x):
        return 0.5 * (jax.nn.relu(x * w) - 1) ** 2

    point, line = jnp.array(0.6), jnp.linspace(-1, 1.6, 400)
    slope, curvature = jax.grad(loss)(point, 1.0), jax.grad(jax.grad(loss))(point, 1.0)
    model = loss(point, 1.0) + slope * (line - point) + curvature / 2 * (line - point) ** 2
    figure, axes = _axes()
    axes.plot(line, jax.vmap(loss, (0, None))(line, 1.0), color=PALETTE[3], lw=2, label="loss ½(relu(w) − 1)²")
    axes.plot(line, model, "--", color=PALETTE[1], lw=2, label="from derivatives at the dot")
    axes.plot(point, loss(point, 1.0), "o", color=PALETTE[1])
    axes.axvline(0, color=PALETTE[0], lw=1, ls=":")
    axes.annotate("kink of the ReLU", (0.04, 1.6), color="#555555")
    axes.set(xlabel="parameter w", ylabel="loss")
    axes.legend()
    return _png(figure)


def _sweep() -> bytes:
    """Draw predicted against simulated changes of the test loss, for every configuration of a sweep."""
    import numpy as np

    config = {
        "models": ["logistic"],
        "limit": 200,
        "N": [10, 20, 40],
        "B": [1, 2, 5],
        "E": [1, 2],
        "sampling": ["reshuffled"],
        "seeds": [0],
        "learning_rates": [0.001, 0.002, 0.004],
        "quantity": "test_loss",
        "order": 3,
        "runs": 1000,
        "replicates": 16,
        "check_dtype": False,
    }
    figure, axes = _axes()
    with tempfile.TemporaryDirectory() as folder:
        for outcome in fd.sweep(config, folder).outcomes:
            size = int(re.search(r"_B(\d+)_", outcome.file.name)[1])
            with np.load(outcome.file.with_suffix(".npz")) as arrays:
                rates, coefficients, samples = (arrays[k] for k in ("learning_rates", "coefficients", "samples"))
            mean = coefficients.mean(axis=0)
            predicted = (rates[:, None] ** np.arange(1, len(mean))) @ mean[1:]
            simulated, error = samples.mean(axis=1) - mean[0], samples.std(axis=1, ddof=1) / samples.shape[1] ** 0.5
            colour = {1: PALETTE[3], 2: PALETTE[5], 5: PALETTE[1]}[size]
            axes.errorbar(-predicted, -simulated, 2 * error, fmt="o", ms=4, color=colour, label=f"B = {size}")
    axes.set(xscale="log", yscale="log", xlabel="predicted decrease of the test loss", ylabel="simulated decrease")
    ends = axes.get_xlim()
    axes.plot(ends, ends, color=PALETTE[0], lw=1, zorder=0)
    named = dict(zip(*axes.get_legend_handles_labels()[::-1], strict=True))
    axes.legend(named.values(), named.keys())
    axes.set(xlim=ends)
    return _png(figure)


def _gdc() -> bytes:
    """Draw how far SGD ends from gradient descent and from GDC, for the two losses of the page on training."""
    import jax
    import jax.numpy as jnp
    import numpy as np

    from feyngd.training import gdc_gradient

    def loss(theta, sign):
        return theta**2 / 2 + sign * theta**3 / 3

    def after(rate, *steps):
        theta = jnp.array(1.0)
        for slope in steps:
            theta = theta - rate * slope(theta)
        return theta

    with jax.enable_x64(True):
        pair, rates = jnp.array([-1.0, 1.0]), np.logspace(-3, -0.7, 12)
        up, down, both = (jax.grad(lambda theta, s=s: loss(theta, s)) for s in (1.0, -1.0, 0.0))
        from_gd, from_gdc = [], []
        for rate in rates:
            by_sgd = (after(rate, up, down) + after(rate, down, up)) / 2
            penalized = [lambda theta, rate=rate: gdc_gradient(loss, theta, pair, learning_rate=rate)] * 2
            from_gd.append(abs(by_sgd - after(rate, both, both)))
            from_gdc.append(abs(by_sgd - after(rate, *penalized)))
    figure, axes = _axes()
    axes.loglog(rates, from_gd, "o-", color=PALETTE[1], ms=4, label="SGD − gradient descent, slope 2")
    axes.loglog(rates, from_gdc, "o-", color=PALETTE[3], ms=4, label="SGD − GDC, slope 3")
    axes.set(xlabel="learning rate η", ylabel="distance of the expected ends")
    axes.legend()
    return _png(figure)


def _stic() -> bytes:
    """Draw STIC against the number of steps, for the regression of the page on criteria."""
    import jax
    import jax.numpy as jnp
    import numpy as np

    from feyngd.training import aic, stic, tic

    x = jnp.linspace(-1, 1, 12)
    y = jnp.sin(3 * x) + 0.3 * jax.random.normal(jax.random.key(0), x.shape)

    def loss(theta, example):
        x, y = example
        return 0.5 * (theta @ x ** jnp.arange(6) - y) ** 2 / 0.3**2

    landscape, theta = fd.Landscape(loss, (x, y)), jnp.zeros(6)
    slope = jax.jit(jax.grad(landscape.mean_loss))
    for _ in range(300):
        theta = theta - 0.02 * slope(theta)
    steps = np.unique(np.logspace(0, 4.7, 40).astype(int))
    values = [float(stic(landscape, theta, learning_rate=0.02, steps=int(T)).value) for T in steps]
    figure, axes = _axes()
    axes.semilogx(steps, values, color=PALETTE[3], lw=2, label="STIC after T steps")
    axes.axhline(float(tic(landscape, theta).value), color=PALETTE[1], ls="--", label="TIC")
    axes.axhline(float(aic(landscape, theta).value), color=PALETTE[5], ls=":", lw=2, label="AIC")
    axes.set(xlabel="steps T", ylabel="estimated gap", ylim=(0, None))
    axes.legend(loc="lower right")
    return _png(figure)


def _oracle() -> bytes:
    """Draw the exact test loss of SGD on a polynomial landscape, and the error of the series by order."""
    import numpy as np

    landscape = fd.testing.PolynomialLandscape([{(2,): 1, (3,): Fraction(1, 3)}, {(2,): Fraction(1, 2), (1,): -1}])
    spacetime = fd.Spacetime.sgd(N=2, B=1)
    exact = [float(c) for c in fd.testing.exact_series("test_loss", landscape, [1], spacetime, order=12)]
    values = fd.testing.ExactValues(landscape, [1])
    rates = np.logspace(-2.5, -0.6, 30)
    truth = np.polynomial.polynomial.polyval(rates, exact)
    figure, axes = _axes()
    for order in (1, 2, 3):
        series = fd.expand("test_loss", order=order, spacetime=spacetime)
        coefficients = [float(c) for c in values.sum(series)]
        error = np.abs(np.polynomial.polynomial.polyval(rates, coefficients) - truth)
        axes.loglog(rates, error, color=PALETTE[order], lw=2, label=f"order {order}: slope {order + 1}")
    axes.set(xlabel="learning rate η", ylabel="|series − exact|")
    axes.legend()
    return _png(figure)


def _escape() -> bytes:
    """Draw a path over a barrier, and the mean number of steps to escape along it by several methods."""
    import jax
    import jax.numpy as jnp
    import numpy as np
    from matplotlib.figure import Figure

    from feyngd.companions import escape as esc

    skewed = jnp.array([0.5] * 160 + [-2.0] * 40)
    landscape = fd.Landscape(lambda theta, x: theta**4 / 4 - theta**2 / 2 + 0.1 * theta + x * theta, skewed)
    path = esc.find_path(landscape, -1.0, 0.9, key=jax.random.key(0))
    leg, rates = path.legs[0], np.array([0.07, 0.085, 0.11, 0.15])
    options = {"until": esc.Halfspace(leg.far.params, 1.0), "runs": 60, "max_steps": 10**5}
    runs = esc.simulate(landscape, leg.minimum.params, esc.sgd(1), rates, key=jax.random.key(1), **options)
    shown = esc.overview(landscape, leg, esc.sgd(1), rates, simulated=runs)
    figure = Figure(figsize=(10.4, 4.0), layout="constrained", dpi=150)
    left, right = figure.subplots(1, 2)
    path.plot(left)
    left.set_title("from one minimum over a saddle to the next", fontsize=10)
    shown.plot(right)
    right.set_title("skewed noise, B = 1: all cumulants, and variances alone", fontsize=10)
    return _png(figure)


def _data_averaging() -> bytes:
    """Draw losses and gap of the page on data averaging against the temperature, with real runs over them."""
    import jax
    import jax.numpy as jnp
    import numpy as np
    from matplotlib.figure import Figure

    from feyngd.companions.data_averaging import ensemble, steady_state

    landscape = fd.Landscape(lambda theta, m: jnp.log1p(jnp.exp(-m * theta)), jnp.array([2.0, 1.0, 0.5, -1.0]))
    ridge = {"weight_decay": 1.0, "noise": 1.0}
    state = steady_state(landscape, jnp.array(0.0), 12, domain=(-7.5, 7.5), panels=110, **ridge)
    temperatures = np.geomspace(0.05, 0.8, 20)
    exact = [state.averages(T) for T in temperatures]
    runs = []
    for T in (rates := np.geomspace(0.05, 0.8, 7)):
        space = fd.Spacetime.sgd(N=12, B=1, T=int(12 / T), sampling="with-replacement")
        options = {"datasets": 20_000, "records": 2, "chunk_size": 5000, "key": jax.random.key(0)}
        runs.append(ensemble(landscape, jnp.array(0.0), space, float(T), **ridge, **options))
    figure = Figure(figsize=(9.6, 3.3), layout="constrained", dpi=140)
    left, right = figure.subplots(1, 2)
    for name, color in (("train", PALETTE[2]), ("test", PALETTE[3])):
        left.semilogx(temperatures, [getattr(each, name).value for each in exact], color=color, lw=2, label=name)
        levels = [each.level(f"{name}_loss", tail=0) for each in runs]
        left.errorbar(
            rates, [each.value for each in levels], [2 * each.stderr for each in levels], fmt="o", ms=4, color=color
        )
    right.semilogx(temperatures, [each.gap.value for each in exact], color=PALETTE[3], lw=2, label="exact steady state")
    curves = [
        (lambda T: state.bound(T, baseline=0.0).value, PALETTE[0], "--", "bound (7), baseline at 0"),
        (lambda T: state.linear_gap(T).value, PALETTE[5], "-", "first order"),
        (lambda T: state.lognormal(T, 0.0).gap if T > 0.3 else np.nan, PALETTE[1], ":", "log-normal, as printed"),
    ]
    for curve, color, style, label in curves:
        right.semilogx(temperatures, [curve(T) for T in temperatures], color=color, ls=style, label=label)
    gaps = [each.level("gap", tail=0) for each in runs]
    right.errorbar(
        rates, [each.value for each in gaps], [2 * each.stderr for each in gaps], fmt="o", ms=4, color=PALETTE[3],
        label="real runs, λ = T",
    )  # fmt: skip
    for axes, what in ((left, "mean loss"), (right, "gap")):
        axes.spines[["top", "right"]].set_visible(False)
        axes.set(xlabel="temperature T = λ/B", ylabel=what)
        axes.set_xticks(ticks := [0.05, 0.1, 0.2, 0.4, 0.8], map(str, ticks))
        axes.minorticks_off()
        axes.legend()
    right.set_ylim(0, None)
    return _png(figure)


def _axes():
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7.2, 3.3), layout="constrained", dpi=140)
    axes = figure.subplots()
    axes.spines[["top", "right"]].set_visible(False)
    return figure, axes


def _shift_curvature() -> bytes:
    """Draw a loss with three basins, their weights and the expected losses against the temperature."""
    import numpy as np
    from matplotlib.figure import Figure

    from feyngd.companions.shift_curvature import FIGURES, basins, temperature_sweep

    diffusion = basins(**FIGURES["three basins"])
    sweep = temperature_sweep(diffusion, np.geomspace(0.003, 0.1, 24), box=[(-30, 30)])
    figure = Figure(figsize=(10.5, 3.2), layout="constrained", dpi=140)
    left, middle, right = figure.subplots(1, 3)
    theta = np.linspace(-2.2, 2.2, 800)[:, None]
    left.plot(theta[:, 0], diffusion.at("loss", theta), color=PALETTE[2], lw=2, label="train loss U")
    left.plot(theta[:, 0], diffusion.at("test_loss", theta), color=PALETTE[3], lw=2, label="test loss V")
    for k, (color, name) in enumerate(zip(PALETTE[4:0:-2] + PALETTE[5:], ("left", "middle", "right"), strict=True)):
        middle.semilogx(sweep.temperatures, sweep.weights[:, k], color=color, lw=2, label=f"{name} basin")
        middle.semilogx(sweep.temperatures, sweep.laplace_weights[:, k], "--", color="black", lw=1)
    sweep.plot(right)
    left.set(xlabel="θ", ylabel="loss", ylim=(-0.43, 0.17))  # with room for the legend
    middle.plot([], [], "--", color="black", lw=1, label="Laplace's weights")
    middle.set(xlabel="temperature T = η/B", ylabel="probability")
    for axes in (left, middle, right):
        axes.spines[["top", "right"]].set_visible(False)
        axes.legend()
    return _png(figure)


def _limiting() -> bytes:
    """Draw displacement, variances and spectra of SGD with momentum around a minimum of many curvatures."""
    import numpy as np
    from matplotlib.figure import Figure

    from feyngd.companions.limiting import Basin

    h = np.geomspace(2.0, 0.003, 60)
    basin = Basin.from_matrices(np.diag(h), np.diag(h), num_examples=1024)
    settings = {"optimizer": fd.momentum(0.9)}
    white = basin.limit(0.1, 16, **settings)
    epochs = basin.limit(0.1, 16, sampling="reshuffled", **settings)
    figure = Figure(figsize=(11.0, 3.4), layout="constrained", dpi=140)
    left, middle, right = figure.subplots(1, 3)
    k = np.unique(np.geomspace(1, 3000, 120).astype(int))
    left.loglog(k, white.displacement(k).mean, color=PALETTE[3], lw=2, label="with replacement")
    left.loglog(k, epochs.displacement(k).mean, color=PALETTE[1], lw=2, label="reshuffled")
    # The paper's sum of velocities at whole steps, with the velocities' autocovariance of its equation.
    equation = basin.limit(0.1, 16, time="continuous", **settings)
    each = 0.1**2 * equation.response.lagged(h, h, np.arange(k[-1]))[..., 1, 1] @ h
    summed = [each[0] * n + 2 * (n - np.arange(1, n)) @ each[1:n] for n in k]
    left.loglog(k, summed, ":", color="black", lw=1.5, label="sampled velocities, (13)")
    left.set(xlabel="steps k", ylabel=r"$E|\theta_k - \theta_0|^2$ (params²)")
    count = len(h)
    for limit, color, name in ((white, PALETTE[3], "with replacement"), (epochs, PALETTE[1], "reshuffled")):
        middle.loglog(h, np.diag(limit.covariance())[:count], color=color, lw=2, label=name)
    middle.axvline(0.1 / (0.1 * 64), color=PALETTE[0], lw=1, ls=":")
    middle.text(0.1 / (0.1 * 64), 0.03, " one epoch", transform=middle.get_xaxis_transform(), color=PALETTE[0])
    middle.set(xlabel="curvature h", ylabel="Var θ along it (params²)", ylim=(1e-3, 0.1))
    middle.yaxis.set_minor_formatter("")
    frequencies = np.geomspace(1e-3, np.pi, 400)
    spectra = white.spectrum(frequencies)
    for i, color in ((0, PALETTE[3]), (45, PALETTE[5])):
        right.loglog(frequencies, spectra[:, i], color=color, lw=2, label=f"h = {h[i]:.2g}, {white.modes.regime[i]}")
    right.set(xlabel="frequency (radians a step)", ylabel="spectrum of steps")
    for axes in (left, middle, right):
        axes.spines[["top", "right"]].set_visible(False)
        axes.legend()
    return _png(figure)


def _png(figure) -> bytes:
    for legend in filter(None, (axes.get_legend() for axes in figure.axes)):
        legend.set_frame_on(False)
    content = BytesIO()
    figure.savefig(content, format="png", metadata={"Software": None})
    return content.getvalue()


if __name__ == "__main__":
    wanted = sys.argv[1:]
    for name, svg in pictures().items():
        if not wanted or name in wanted:
            (IMAGES / name).write_text(svg, encoding="utf-8")
    for name, draw in figures().items():
        if not wanted or name in wanted:
            (IMAGES / name).write_bytes(draw())
