"""Predictions set against simulations: verdicts, tables, JSON and figures."""

import json
import warnings

import jax
import matplotlib.pyplot as plt
import numpy as np
import pytest

import feyngd as fd

SPACETIME = fd.Spacetime.sgd(8, 2, 2)
RATES = np.array([0.01, 0.02, 0.2])


def made_prediction(quantity="test_loss", spacetime=SPACETIME, rates=RATES):
    """2 − η + 4η²: converged below η = 0.05; at η = 0.01, 0.02 and 0.2 it is 1.9904, 1.9816 and 1.96."""
    return fd.Prediction(quantity, spacetime, rates, np.array([[2.0, -1.0, 3.99], [2.0, -1.0, 4.01]]))


def made_simulation(means, spread=1e-4, quantity="test_loss", spacetime=SPACETIME, rates=RATES):
    return fd.Simulation(quantity, spacetime, rates, np.asarray(means)[:, None] + spread * np.array([-1.0, 0.0, 1.0]))


def test_allowed_is_three_standard_errors_plus_truncation():
    prediction, simulation = made_prediction(), made_simulation([1.99, 1.97, 1.5])
    comparison = fd.compare(prediction, simulation)
    errors = np.hypot(0.01 * RATES**2, 1e-4 / 3**0.5)
    np.testing.assert_allclose(comparison.stderr, errors)
    np.testing.assert_allclose(comparison.allowed, 3 * errors + 4 * RATES**2)
    np.testing.assert_allclose(comparison.difference, [0.0004, 0.0116, 0.46], atol=1e-12)


def test_verdicts():
    comparison = fd.compare(made_prediction(), made_simulation([1.99, 1.97, 1.5]))
    assert comparison.prediction.converged.tolist() == [True, True, False]
    assert comparison.agrees.tolist() == [True, False, False]
    assert not comparison.passed
    rows = str(comparison).splitlines()[2:5]
    for row, rate, verdict in zip(rows, RATES, ("agrees", "DIFFERS", "not converged"), strict=True):
        assert row.split()[0] == f"{rate:.4g}"
        assert row.endswith(verdict)
    assert "simulation of 3 runs" in str(comparison)


def test_where_the_series_has_not_converged_nothing_is_asked():
    assert fd.compare(made_prediction(), made_simulation([1.9904, 1.9816, 1.5])).passed
    assert not fd.compare(made_prediction(), made_simulation([1.9, 1.9816, 1.96])).passed


@pytest.mark.parametrize(
    ("change", "word"),
    [
        ({"quantity": "gap"}, "quantity"),
        ({"spacetime": fd.Spacetime.sgd(8, 4, 2)}, "spacetime"),
        ({"rates": np.array([0.01, 0.02, 0.3])}, "learning rates"),
    ],
)
def test_only_like_is_compared_with_like(change, word):
    with pytest.raises(fd.ArgumentError, match=word):
        fd.compare(made_prediction(), made_simulation([1.0, 1.0, 1.0], **change))


def test_a_different_number_of_learning_rates():
    with pytest.raises(fd.ArgumentError, match="learning rates"):
        fd.compare(made_prediction(), made_simulation([1.0, 1.0], rates=RATES[:2]))


def test_where_nothing_has_converged_nothing_is_confirmed():
    prediction = made_prediction(rates=RATES[2:])
    found = fd.compare(prediction, made_simulation(prediction.mean, rates=RATES[2:]))
    assert found.agrees.all()
    assert found.verdict == "not converged"
    assert found.passed is False
    assert found.to_dict()["verdict"] == "not converged"


@pytest.mark.parametrize(("spread", "seen"), [(1e-4, [True, True]), (5e-4, [False, True]), (1e-2, [False, False])])
def test_whether_a_comparison_could_have_seen_the_last_order(spread, seen):
    """4η² is 4e-4 and 1.6e-3; three standard errors are 1.7e-4, 8.7e-4 and 1.7e-2."""
    rates = RATES[:2]
    prediction = made_prediction(rates=rates)
    without = fd.Prediction("test_loss", SPACETIME, rates, prediction.coefficients * np.array([1, 1, 0]))
    found = fd.compare(prediction, made_simulation(without.mean, spread, rates=rates))
    assert found.agrees.all()  # as all of the last order is allowed
    assert found.resolves.tolist() == seen
    assert found.to_dict()["resolves"] == seen
    for row, sees in zip(str(found).splitlines()[2:4], seen, strict=True):
        assert ("not seen" in row) is not sees


def test_a_last_order_lost_in_its_errors_is_not_seen():
    rows = np.array([[2.0, -1.0, 3.0], [2.0, -1.0, -2.0]])
    prediction = fd.Prediction("test_loss", SPACETIME, RATES, rows)
    assert not fd.compare(prediction, made_simulation(prediction.mean, 1e-9)).resolves.any()


def test_json():
    comparison = fd.compare(made_prediction(), made_simulation([1.99, 1.97, 1.5]))
    saved = json.loads(json.dumps(comparison.to_dict(), allow_nan=False))
    assert saved["agrees"] == [True, False, False]
    assert saved["passed"] is False
    assert saved["difference"] == pytest.approx([0.0004, 0.0116, 0.46])
    assert saved["allowed"] == pytest.approx(comparison.allowed.tolist())
    assert saved["prediction"]["order"] == 2
    assert saved["simulation"]["runs"] == 3


# --- divergence -------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def diverged():
    """A quartic on which η = 40 sends SGD to infinity within a few steps, and η = 0.01 does not."""
    landscape = fd.Landscape(lambda theta, x: (theta - x) ** 4, np.array([-1.0, 0.0, 1.0]))
    spacetime, key = fd.Spacetime.sgd(6, 1, 2), jax.random.key(2)
    with pytest.warns(fd.TruncationWarning):
        prediction = fd.predict(landscape, 1.5, spacetime, [1e-4, 40.0], order=2, key=key)
    return fd.compare(prediction, fd.simulate(landscape, 1.5, spacetime, [1e-4, 40.0], runs=50, key=key))


def test_a_diverged_simulation_is_shown(diverged):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        text, agrees = str(diverged), diverged.agrees.tolist()
    assert agrees == [True, False]
    good, bad = text.splitlines()[2:4]
    assert "nan" in bad or "inf" in bad
    assert "nan" not in good
    assert not bad.endswith(" agrees")
    assert "nan" in str(diverged.simulation) or "inf" in str(diverged.simulation)


def test_a_diverged_simulation_in_json(diverged):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        saved = json.loads(json.dumps(diverged.to_dict(), allow_nan=False))
    assert saved["simulation"]["mean"][0] is not None
    assert saved["simulation"]["mean"][1] is None
    assert saved["difference"][1] is None
    assert saved["agrees"] == [True, False]


@pytest.mark.parametrize("result", [np.nan, np.inf])
def test_one_diverged_run_among_many_is_not_averaged_away(result):
    samples = np.full((1, 100), 1.5)
    samples[0, 17] = result
    simulation = fd.Simulation("test_loss", SPACETIME, np.array([0.01]), samples)
    comparison = fd.compare(made_prediction(rates=np.array([0.01])), simulation)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        text, saved = str(comparison), comparison.to_dict()
    assert not np.isfinite(simulation.mean[0])
    assert not comparison.passed
    assert text.splitlines()[2].endswith("DIFFERS, SGD diverged")
    assert saved["simulation"]["mean"] == saved["simulation"]["stderr"] == [None]


# --- figures ------------------------------------------------------------------------------------------------------


@pytest.fixture
def figure():
    plt.switch_backend("Agg")
    made, axes = plt.subplots()
    yield axes
    plt.close(made)


def dashed(axes):
    return [line for line in axes.get_lines() if line.is_dashed() and len(line.get_xdata())]


def test_figure_of_a_comparison_that_has_not_converged(figure, tmp_path):
    comparison = fd.compare(made_prediction(), made_simulation([1.99, 1.97, 1.5]))
    axes = comparison.plot(figure)
    assert axes is figure
    assert "learning rate" in axes.get_xlabel()
    assert "test loss" in axes.get_ylabel()
    assert axes.get_title()
    entries = [text.get_text() for text in axes.get_legend().get_texts()]
    assert {"order 1", "order 2", "3 runs of SGD", "not converged"} <= set(entries)
    starts = sorted(min(line.get_xdata()) for line in dashed(axes))
    assert starts == pytest.approx([0, 0.05], abs=0.002)  # order 1 alone cannot show that it has converged
    assert len(axes.patches) == 1
    file = tmp_path / "comparison.png"
    axes.figure.savefig(file)
    assert file.read_bytes().startswith(b"\x89PNG")


def test_figure_of_a_comparison_that_has_converged(figure):
    rates = RATES[:2]
    comparison = fd.compare(made_prediction(rates=rates), made_simulation([1.99, 1.97], rates=rates))
    comparison.plot(figure)
    full = [line for line in figure.get_lines() if line.get_label() == "order 2"]
    assert len(full) == 1
    assert max(full[0].get_xdata()) > rates.max()
    assert len(figure.patches) == 0


def test_figure_of_a_prediction(figure):
    axes = made_prediction(quantity="gap").plot(figure)
    assert "gap" in axes.get_ylabel()
    assert {line.get_label() for line in axes.get_lines()} >= {"order 1", "order 2"}


def test_figure_of_a_diverged_simulation(figure, tmp_path, diverged):
    axes = diverged.plot(figure)
    assert np.all(np.isfinite(axes.get_ylim()))
    axes.figure.savefig(tmp_path / "diverged.svg")
    assert (tmp_path / "diverged.svg").stat().st_size > 0


def test_figure_and_table_of_order_0(figure):
    prediction = fd.Prediction("test_loss", SPACETIME, RATES, np.array([[2.0]]))
    comparison = fd.compare(prediction, made_simulation([1.9, 1.9, 1.9]))
    assert str(comparison).count("not converged") == len(RATES)
    assert comparison.plot(figure).get_xlabel()


# --- end to end -------------------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_logistic_regression_on_digits():
    """A real model and real images: at small learning rates the series says what SGD does."""
    landscape, params = fd.landscapes.digits_landscape("logistic", limit=200, key=jax.random.key(0))
    rates = [0.0025, 0.005]
    for_values, for_runs = jax.random.split(jax.random.key(5))
    with warnings.catch_warnings():
        warnings.simplefilter("error", fd.TruncationWarning)
        prediction = fd.predict(landscape, params, SPACETIME, rates, order=2, key=for_values)
    simulation = fd.simulate(landscape, params, SPACETIME, rates, runs=1000, chunk_size=25, key=for_runs)
    comparison = fd.compare(prediction, simulation)
    assert comparison.agrees.all(), str(comparison)
    assert comparison.passed
    drop = landscape.mean_loss(params) - simulation.mean
    assert np.all(comparison.allowed < 0.2 * drop)  # the agreement means something
