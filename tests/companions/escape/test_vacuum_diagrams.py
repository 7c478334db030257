"""The next order of an escape as vacuum diagrams: against contracted tensors, an exact mean time, and their picture."""

from xml.etree import ElementTree

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import sympy
from scipy import sparse
from scipy.sparse import linalg

import feyngd as fd
from feyngd.companions import escape as esc
from feyngd.errors import LandscapeError
from feyngd.landscapes import toys

KEY = jax.random.key(0)


def tilted(x, y):
    """Two wells that differ across as well, so that no third derivative is 0 by symmetry at either end."""
    return x**4 / 4 - x**2 / 2 + x / 10 + (1 + x / 2 + x**2 / 5) * y**2 / 2 + 3 * x**2 * y / 10


@pytest.fixture(scope="module")
def wells():
    landscape = fd.Landscape(lambda at, example: tilted(*at) + example * at[0], jnp.array([-1.0, 1.0]))
    return landscape, esc.find_path(landscape, jnp.array([-1.2, -0.64]), jnp.array([1.0, -0.18]), key=KEY).legs[0]


def contracted(point):
    """The five diagrams by SymPy's derivatives, as sums over all indices in the eigenbasis."""
    x, y = at = sympy.symbols("x y")
    place = dict(zip(at, map(float, point), strict=True))

    def tensor(order):
        entries = [
            float(sympy.diff(tilted(x, y), *[at[i] for i in index]).subs(place)) for index in np.ndindex(*(2,) * order)
        ]
        return np.reshape(entries, (2,) * order)

    values, vectors = np.linalg.eigh(tensor(2))
    third = np.einsum("abc,ai,bj,ck", tensor(3), vectors, vectors, vectors)
    fourth = np.einsum("abcd,ai,bj,ck,dl", tensor(4), vectors, vectors, vectors, vectors)
    h = np.abs(values)
    found = dict.fromkeys(("figure_eight", "dumbbell", "sunset", "unstable_dumbbell", "unstable_sunset"), 0.0)
    for i in range(2):
        for j in range(2):
            found["figure_eight"] += fourth[i, i, j, j] / (h[i] * h[j])
            found["unstable_dumbbell"] += third[i, i, 0] * third[0, j, j] / (h[i] * h[j] * h[0])
            found["unstable_sunset"] += third[i, j, 0] ** 2 / (h[i] * h[j] * (h[i] + h[j] + h[0]))
            for k in range(2):
                found["dumbbell"] += third[i, i, j] * third[j, k, k] / (h[i] * h[j] * h[k])
                found["sunset"] += third[i, j, k] ** 2 / (h[i] * h[j] * h[k])
    return found, values[0] < 0


def test_diagrams_are_contractions_of_derivatives(wells):
    landscape, leg = wells
    for point in (leg.minimum, leg.saddle):
        expected, is_saddle = contracted(point.params)
        found = esc.diagrams_at(landscape, point.params)
        for name, value in expected.items():
            is_plain = not name.startswith("unstable")
            assert getattr(found, name) == pytest.approx(value if is_saddle or is_plain else 0.0, rel=1e-10)
        assert found.total == pytest.approx(sum(found.terms.values()))
        assert len(found.terms) == (5 if is_saddle else 3)
        assert min(abs(value) for value in found.terms.values()) > 1e-3


def test_their_sums_are_the_next_order_of_escape_times(wells):
    """1 + D(c_a − c_b) is what order 2 multiplies the time of order 1 with; over the far side b is the same."""
    landscape, leg = wells
    for way in (leg, leg.reversed()):
        a, b = (esc.diagrams_at(landscape, point.params) for point in (way.minimum, way.saddle))
        diffusion = way.barrier / 12
        first, second = (
            esc.escape_time(landscape, way, esc.sgld(diffusion), 0.01, order=order).log_time[0] for order in (1, 2)
        )
        assert np.exp(second - first) == pytest.approx(1 + diffusion * (a.total - b.total), rel=1e-9)


def mean_time(diffusion, leg, cells):
    """The mean time from the minimum to the far one of a walk on a grid that settles in e^{−l/D} exactly."""
    sides = np.linspace(-2.1, 1.1, cells), np.linspace(-2.2, 1.5, cells)
    x, y = np.meshgrid(*sides, indexing="ij")
    loss = tilted(x, y)
    number = np.arange(x.size).reshape(x.shape)
    rows, columns, rates = [], [], []
    for axis in (0, 1):
        step = sides[axis][1] - sides[axis][0]
        here, there = (np.take(number, np.arange(cells - 1) + shift, axis=axis).ravel() for shift in (0, 1))
        for one, other in ((here, there), (there, here)):
            rows.append(one)
            columns.append(other)
            rates.append(diffusion / step**2 * np.exp((loss.ravel()[one] - loss.ravel()[other]) / (2 * diffusion)))
    moves = sparse.csr_matrix((np.concatenate(rates), (np.concatenate(rows), np.concatenate(columns))))
    generator = moves - sparse.diags(np.asarray(moves.sum(axis=1)).ravel())
    start, end = (
        np.argmin((x.ravel() - point.params[0]) ** 2 + (y.ravel() - point.params[1]) ** 2)
        for point in (leg.minimum, leg.far)
    )
    near = (x.ravel() - leg.far.params[0]) ** 2 + (y.ravel() - leg.far.params[1]) ** 2 < 0.1**2
    near[end] = True
    kept = np.flatnonzero(~near)
    times = linalg.spsolve(-generator[kept][:, kept].tocsc(), np.ones(len(kept)))
    return times[np.searchsorted(kept, start)]


@pytest.mark.slow
def test_the_next_order_is_that_of_exact_mean_times(wells):
    """(T/T₁ − 1)/D of the diffusion itself, extrapolated to fine grids and to D = 0, is c_a − c_b."""
    landscape, leg = wells
    ratios, sizes = [], leg.barrier / np.array([24.0, 18.0, 12.0])
    for diffusion in sizes:
        plain = esc.escape_time(landscape, leg, esc.sgld(diffusion), 0.01, order=1).time[0]
        coarse, fine = (mean_time(diffusion, leg, cells) / plain for cells in (141, 281))
        ratios.append(((4 * fine - coarse) / 3 - 1) / diffusion)
    limit = np.polynomial.Polynomial.fit(sizes, ratios, 2)(0.0)
    a, b = (esc.diagrams_at(landscape, point.params) for point in (leg.minimum, leg.saddle))
    assert limit == pytest.approx(a.total - b.total, rel=0.03)


def test_a_picture_shows_every_diagram_with_its_value(wells):
    landscape, leg = wells
    for point, count in ((leg.minimum, 3), (leg.saddle, 5)):
        found = esc.diagrams_at(landscape, point.params)
        elements = list(ElementTree.fromstring(found._repr_svg_()).iter())
        assert sum(element.get("class") == "diagram" for element in elements) == count
        edges = [element.get("class") for element in elements if element.get("class", "").startswith("edge")]
        assert edges.count("edge marked") == (2 if count == 5 else 0)
        assert len(edges) == 2 + 3 * (count - 1)  # two loops; and three edges in each of the others
        written = " ".join(element.text for element in elements if element.text)
        assert all(f"= {value:.4g}".replace("-", "−") in written for value in found.terms.values())
        assert f"{found.total:.4g}".replace("-", "−") in written
        assert found.latex().endswith(f"= {found.total:.4g}")
        assert found.latex().count(r"\tfrac") == count
        assert found._repr_latex_().startswith("$")
        assert found.to_dict()["total"] == found.total


@pytest.mark.parametrize(
    ("landscape", "place", "match"),
    [
        (toys.double_well(0.1, 1.0)[0], -0.9, "gradient is 0"),
        (fd.Landscape(lambda at, x: at[0] ** 2 + 0 * at[1] + x * at[0], jnp.array([-1.0, 1.0])), [0.0, 0.0], "penalty"),
        (toys.quadratic(-np.eye(2))[0], [0.0, 0.0], "one negative curvature"),
        (toys.quadratic(np.eye(31))[0], np.zeros(31), "up to 30 parameters; got 31"),
    ],
    ids=["slope", "flat", "index 2", "many"],
)
def test_other_points_are_refused(landscape, place, match):
    with pytest.raises(LandscapeError, match=match):
        esc.diagrams_at(landscape, jnp.asarray(place, dtype=float))
