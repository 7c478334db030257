"""The fit of (a/T + b) exp(−T/c): exact data, its intervals against chi2 itself, rivals, coverage, refusals."""

import numpy as np
import pytest
from scipy import optimize, stats

import feyngd as fd
from feyngd.companions.data_averaging import collapse_test, fit_gap_law

T = np.geomspace(0.01, 1, 8)
TRUE = {"a": 0.002, "b": 0.1, "c": 0.8}


def law(a, b, c):
    return (a / T + b) * np.exp(-T / c)


def chi2(parameters, y, error):
    a, b, k = parameters
    return float(np.sum(((y - (a / T + b) * np.exp(-k * T)) / error) ** 2))


@pytest.mark.parametrize("values", [(0.002, 0.1, 0.8), (-0.002, 0.1, 3.0), (0.001, -0.2, 0.05)])
def test_exact_data_give_their_law(values):
    found = fit_gap_law(T, law(*values), np.full(8, 1e-3), form="law")
    assert [found.a, found.b, found.c] == pytest.approx(values, rel=1e-5)
    assert found.predict(T[3]).value == pytest.approx(law(*values)[3], rel=1e-6)
    assert found.predict(T[3]).kind == "fit"
    assert "fit of" in str(found)


def test_intervals_are_where_the_least_chi2_has_risen_by_a_quantile():
    error = 0.01
    y = law(**TRUE) + error * np.random.default_rng(3).normal(size=8)
    found = fit_gap_law(T, y, np.full(8, error), form="law", confidence=0.9)
    place = np.array([found.a, found.b, 1 / found.c])
    assert chi2(place, y, error) == pytest.approx(found.chi2)
    for index, name in enumerate(("a", "b", "c")):
        for end in found.intervals[name]:
            fixed = 1 / end if name == "c" else end
            others = np.delete(place, index)
            best = optimize.minimize(
                lambda rest, index=index, fixed=fixed: chi2(np.insert(rest, index, fixed), y, error),
                others,
                method="Nelder-Mead",
                options={"xatol": 1e-9, "fatol": 1e-9, "maxiter": 4000, "maxfev": 4000},
            )
            assert best.fun - found.chi2 == pytest.approx(stats.chi2.ppf(0.9, 1), abs=2e-3)


def test_rivals_and_open_ends():
    flat = fit_gap_law(T, np.full(8, 0.3), np.full(8, 0.01))
    assert (flat.form, flat.a, flat.c) == ("constant", 0, np.inf)
    assert set(flat.rivals) == {"constant", "inverse", "law"}
    assert flat.intervals["b"][1] - 0.3 == pytest.approx(1.959964 * 0.01 / np.sqrt(8), rel=1e-5)
    rising = fit_gap_law(T, 0.01 / T - 0.2, np.full(8, 0.01))
    assert rising.form == "inverse"
    assert [rising.a, rising.b] == pytest.approx([0.01, -0.2])
    no_decay = fit_gap_law(T, 0.01 / T + 0.2, np.full(8, 0.05), form="law")
    assert no_decay.intervals["c"][1] == np.inf
    noise = fit_gap_law(T, np.zeros(8), np.ones(8), form="law")  # every decay rate fits nothing equally well
    assert noise.intervals["c"][0] == 0
    assert noise.intervals["a"] == (-np.inf, np.inf)


@pytest.mark.slow
def test_coverage():
    rng, sets = np.random.default_rng(0), 300
    inside = dict.fromkeys(TRUE, 0)
    for _ in range(sets):
        y = law(**TRUE) + 0.01 * rng.normal(size=8)
        found = fit_gap_law(T, y, np.full(8, 0.01), form="law")
        for name, value in TRUE.items():
            low, high = found.intervals[name]
            inside[name] += low <= value <= high
    for name, count in inside.items():
        assert stats.binomtest(count, sets, 0.95).pvalue > 0.01, name


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"temperatures": [0.1, 0.2, 0.3] * 2}, "at least 4 different temperatures"),
        ({"temperatures": [0.1, 0.2, 0.3, 0.4, 0.5, -1]}, "number 5 is -1"),
        ({"gaps": [0, 1, 2, 3, np.nan, 5]}, "Gaps are finite; number 4 is nan"),
        ({"stderrs": [1, 1, 1, 0, 1, 1]}, "Standard errors are positive"),
        ({"stderrs": [1, 1]}, "lists of one length"),
        ({"form": "quadratic"}, "Unknown form 'quadratic'. Known: 'auto'"),
        ({"confidence": 1}, "The confidence is one finite number above 0 and below 1"),
    ],
)
def test_refusals(changed, message):
    given = {"temperatures": T[:6], "gaps": np.ones(6), "stderrs": np.ones(6), **changed}
    with pytest.raises(fd.ArgumentError, match=message):
        fit_gap_law(given.pop("temperatures"), given.pop("gaps"), given.pop("stderrs"), **given)


def test_four_points_name_their_form():
    with pytest.raises(fd.ArgumentError, match="at least 5 points; got 4"):
        fit_gap_law(T[:4], np.ones(4), np.ones(4))
    assert fit_gap_law(T[:4], np.ones(4), np.ones(4), form="inverse").dof == 2
    with pytest.raises(fd.ArgumentError, match="temperature"):
        fit_gap_law(T, np.ones(8), np.ones(8)).predict(T)


def test_collapse_is_rejected_as_often_as_it_says_and_the_worst_cell_named():
    rng, temperatures = np.random.default_rng(5), [0.1, 0.2, 0.1, 0.4, 0.2, 0.1]
    errors = rng.uniform(0.5, 2, size=6)

    def tested(values):
        return collapse_test(temperatures, [fd.Estimate(v, e, 99, "") for v, e in zip(values, errors, strict=True)])

    found = [tested(np.array(temperatures) * 7 + errors * rng.normal(size=6)) for _ in range(400)]
    assert {each.dof for each in found} == {3}
    assert stats.kstest([each.pvalue for each in found], "uniform").pvalue > 0.01
    moved = tested(np.array([0, 0, 0, 0, 30, 0]))
    assert moved.pvalue < 1e-6
    assert moved.worst in (1, 4)
    with pytest.raises(fd.ArgumentError, match="No two cells share"):
        collapse_test([0.1, 0.2], [fd.Estimate(1.0, 0.1, 9, "")] * 2)
    with pytest.raises(fd.ArgumentError, match="level 0 has none"):
        collapse_test([0.1, 0.1], [fd.Estimate(1.0, None, 0, "")] * 2)
    with pytest.raises(fd.ArgumentError, match="positive temperature"):
        collapse_test([0.1], [fd.Estimate(1.0, 0.1, 9, "")] * 2)
