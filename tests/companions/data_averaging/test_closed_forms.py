"""Heavy ball, epochs, conversion of gaps, mixtures of basins, spikes: numbers, brute force and refusals."""

import subprocess
import sys
from fractions import Fraction

import numpy as np
import pytest

import feyngd as fd
from feyngd.companions import data_averaging
from feyngd.companions.data_averaging import (
    convert_gap,
    delta_covariance,
    epochs,
    heavy_ball,
    local_losses,
    potential_variance,
    records_before_spike,
    sampling_shift,
    small_spread_factor,
)

H = np.array([[2.0, 0.3], [0.3, 1.0]])
D = np.array([[1.0, -0.4], [-0.4, 0.5]])
SETTING = {"learning_rate": 0.1, "B": 4, "momentum": 0.7}


def test_importing_costs_nothing():
    code = (
        "import sys; from feyngd.companions import data_averaging; dir(data_averaging); "
        "print([name for name in ('jax', 'scipy', 'sympy') if name in sys.modules])"
    )
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "[]\n"
    assert set(data_averaging.__all__) == set(dir(data_averaging))
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        _ = data_averaging.nothing


@pytest.mark.parametrize("form", ["pytorch", "sutskever"])
def test_heavy_ball_is_what_steps_do(form):
    """The covariance after very many steps of the recursion as PyTorch, or Sutskever, writes it."""
    rate, mu, size = SETTING["learning_rate"], SETTING["momentum"], 2
    gradient = np.hstack([H, np.zeros((size, size))])
    theta, v = np.eye(2 * size)[:size], np.eye(2 * size)[size:]
    pushed = np.hstack([gradient, np.eye(size)])
    theta, v = (np.hstack([part, np.zeros((size, size))]) for part in (theta, v))
    if form == "pytorch":
        new_v = mu * v + pushed
        new_theta = theta - rate * new_v
    else:
        new_v = mu * v - rate * pushed
        new_theta = theta + new_v
    step = np.vstack([new_theta, new_v])
    matrix, source = step[:, : 2 * size], step[:, 2 * size :]
    found = heavy_ball(H, D, form=form, **SETTING)
    assert found.drift == pytest.approx(matrix - np.eye(2 * size), abs=1e-14)
    assert found.diffusion == pytest.approx(source @ D @ source.T / SETTING["B"], abs=1e-14)
    covariance = np.zeros((4, 4))
    for _ in range(2000):
        covariance = matrix @ covariance @ matrix.T + found.diffusion
    assert found.stationary == pytest.approx(covariance, rel=1e-9, abs=1e-14)
    values, vectors = np.linalg.eigh(H)
    known = fd.stationary_noise(values, vectors.T @ D @ vectors, rate, batch_size=4, optimizer=fd.momentum(mu))
    assert vectors.T @ found.position @ vectors == pytest.approx(known.covariance, rel=1e-9, abs=1e-14)


def test_heavy_ball_along_one_mode():
    rate, batch, mu, h, noise = 0.1, 4, 0.7, 2.0, 3.0
    discrete, continuous = (heavy_ball(h, noise, time=time, **SETTING) for time in ("discrete", "continuous"))
    exact = rate * noise * (1 + mu) / (batch * h * (1 - mu) * (2 * (1 + mu) - rate * h))
    assert discrete.position[0, 0] == pytest.approx(exact, rel=1e-12)
    diffusion = rate * noise * (1 + rate * h) / (2 * batch * h * (1 - mu + rate * h))
    assert continuous.position[0, 0] == pytest.approx(diffusion, rel=1e-12)
    drift, spread = continuous.drift, continuous.stationary
    assert drift @ spread + spread @ drift.T + continuous.diffusion == pytest.approx(np.zeros((2, 2)), abs=1e-12)
    small = heavy_ball(h, noise, learning_rate=1e-6, B=1, momentum=mu)
    assert small.position[0, 0] == pytest.approx(small.effective_temperature * noise / (2 * h), rel=1e-5)
    sutskever = heavy_ball(h, noise, form="sutskever", **SETTING)
    assert sutskever.velocity[0, 0] == pytest.approx(rate**2 * discrete.velocity[0, 0])


@pytest.mark.parametrize(
    ("changed", "error", "message"),
    [
        ({"hessian": [[1, 2], [0, 1]]}, fd.ArgumentError, "The Hessian is symmetric"),
        ({"covariance": [[1.0]]}, fd.ArgumentError, r"shapes \(2, 2\) and \(1, 1\)"),
        ({"covariance": -D}, fd.ArgumentError, "no negative eigenvalue"),
        ({"hessian": np.diag([1.0, 0.0])}, fd.LandscapeError, "above 0 and below 2"),
        ({"hessian": np.diag([1.0, 34.1])}, fd.LandscapeError, "Add weight decay"),
        ({"momentum": 1}, fd.ArgumentError, "The momentum is one finite number at least 0 and below 1; got 1"),
        ({"form": "nesterov"}, fd.ArgumentError, "Known: 'pytorch', 'sutskever'"),
        ({"time": "late"}, fd.ArgumentError, "Known: 'discrete', 'continuous'"),
        ({"learning_rate": 0}, fd.ArgumentError, "positive and finite"),
    ],
)
def test_heavy_ball_refuses(changed, error, message):
    given = {"hessian": H, "covariance": D, **SETTING, **changed}
    with pytest.raises(error, match=message):
        heavy_ball(given.pop("hessian"), given.pop("covariance"), **given)


def test_epochs():
    temperatures = (1e-5, 4e-5, 1e-4, 2e-4, 1e-3)
    assert [epochs(T) for T in temperatures] == [1200, 600, 375, 300, 300]
    assert [epochs(T, rule="equal-time") for T in temperatures] == [6000, 1500, 600, 300, 60]
    assert epochs(0.01, reference=(0.1, 10), cap=2) == 20
    with pytest.raises(fd.ArgumentError, match="above 0; got 0"):
        epochs(0)
    with pytest.raises(fd.ArgumentError, match="Known: 'printed', 'equal-time'"):
        epochs(1e-4, rule="")
    with pytest.raises(fd.ArgumentError, match="The cap"):
        epochs(1e-4, cap=0.5)


def test_overlap_against_split_by_enumeration():
    """On every training set: independent test sets against what is left, for losses of any kind."""
    from itertools import combinations

    losses, pool, points = (3, 1, 4, 1, 5), 5, 2
    overlap = split = Fraction(0)
    sets = list(combinations(range(pool), points))
    for chosen in sets:
        fitted = [loss * (2 + (n in chosen)) - 7 * chosen[0] for n, loss in enumerate(losses)]
        train = Fraction(sum(fitted[n] for n in chosen), points)
        overlap += Fraction(sum(fitted), pool) - train
        split += Fraction(sum(fitted) - sum(fitted[n] for n in chosen), pool - points) - train
    assert overlap == Fraction(3, 5) * split
    there = convert_gap(float(split), N=points, M=pool, to="overlap")
    assert there.value == pytest.approx(float(overlap))
    back = convert_gap(fd.Estimate(there.value, 0.3, 9, "ensemble"), N=points, M=pool, to="split")
    assert (back.value, back.stderr) == pytest.approx((float(split), 0.5))
    assert convert_gap(-0.5, N=1, M=2, to="split").value == -1
    for changed, message in (({"N": 5}, "got N=5 and M=5"), ({"to": "iid"}, "Known: 'overlap', 'split'")):
        with pytest.raises(fd.ArgumentError, match=message):
            convert_gap(0.1, **{"N": 1, "M": 5, "to": "split", **changed})


BASINS = {
    "depths": (0.4, 0.5),
    "curvatures": (8, 1.5),
    "covariances": (0.05, 0.2),
    "biases": (-0.1, -0.2),
    "shifts": (0.05, 0.1),
}


def test_local_losses():
    losses = local_losses((0.3, 0.7), **BASINS, train_depths=(0.35, 0.45), train_curvatures=(9, 1.2))
    assert losses == pytest.approx((0.64325, 0.6018), abs=1e-12)
    # In two dimensions, against the mean of the quadratic losses over points with these means and covariances.
    bend, spread = np.array([H, 2 * H]), np.array([D, D + H])
    b, s = np.array([[0.1, -0.2], [0.0, 0.3]]), np.array([[0.0, 0.1], [0.2, 0.0]])
    given = {"depths": [1, 2], "curvatures": bend, "covariances": spread, "biases": b, "shifts": s}
    found = local_losses([0.5, 0.5], **given)
    for away, loss in ((b + s, found[0]), (b, found[1])):
        expected = 0.0
        for k in range(2):
            root = np.linalg.cholesky(2 * spread[k])  # four points with exactly this covariance
            points = [away[k] + sign * column for column in root.T for sign in (-1, 1)]
            expected += 0.5 * np.mean([given["depths"][k] + point @ bend[k] @ point / 2 for point in points])
        assert loss == pytest.approx(expected)
    assert sampling_shift(0.5, bend[0], spread[0]) == pytest.approx(0.5 + np.trace(bend[0] @ spread[0]) / 2)


@pytest.mark.parametrize(
    ("weights", "changed", "message"),
    [
        ((0.3, 0.6), {}, "sum to 1; got"),
        ((1.2, -0.2), {}, "not negative"),
        ((0.5, 0.5), {"curvatures": [[[1, 2], [3, 4]]] * 2}, "The curvature of basin 0 is symmetric"),
        ((0.5, 0.5), {"depths": (1,)}, "2 basins of 1 parameters"),
        ((0.5, 0.5), {"biases": (1,)}, "got biases of shape"),
        ((0.5, 0.5), {"covariances": (1,)}, "of shape"),
    ],
)
def test_local_losses_refuse(weights, changed, message):
    with pytest.raises(fd.ArgumentError, match=message):
        local_losses(weights, **{**BASINS, **changed})


def test_variance_of_the_potential():
    moments = {"var_v": 0.09, "var_a": 0.25, "cov_va": 0.09}
    assert potential_variance(0.8, **moments) == pytest.approx(1.2625)
    assert small_spread_factor(0.8, **moments) ** 2 * 4 * 0.09 / 0.8**2 == pytest.approx(1.2625)
    v, a = np.random.default_rng(0).normal(size=(2, 50))
    spread = np.cov(v, a, ddof=0)
    found = potential_variance(0.3, var_v=spread[0, 0], var_a=spread[1, 1], cov_va=spread[0, 1])
    assert found == pytest.approx(np.var(2 / 0.3 * v + a))
    with pytest.raises(fd.ArgumentError, match="exceeds it"):
        potential_variance(1.0, var_v=1, var_a=1, cov_va=1.1)
    with pytest.raises(fd.ArgumentError, match="not negative"):
        potential_variance(1.0, var_v=-1, var_a=1, cov_va=0)
    with pytest.raises(fd.ArgumentError, match="divides by the variance of v"):
        small_spread_factor(1.0, var_v=0, var_a=1, cov_va=0)


def test_the_delta_method_is_exact_for_linear_functions():
    f, h = np.array([1.0, -2.0]), np.array([0.5, 3.0])
    points = np.random.default_rng(2).normal(size=(40, 2))
    found = delta_covariance(f, np.cov(points.T, ddof=0), h)
    assert found == pytest.approx(np.cov(points @ f, points @ h, ddof=0)[0, 1])
    assert delta_covariance(0.0, 2.0, 0.0) == 0  # Var(x²) at mean 0, which is not −σ⁴
    with pytest.raises(fd.ArgumentError, match="for each of the 2 variables"):
        delta_covariance([1.0], H, [1.0, 2.0])


def test_spikes_are_cut_where_the_order_of_trailing_means_began():
    rng = np.random.default_rng(1)
    calm = 1 / np.arange(1, 61)
    assert records_before_spike(calm) == 60
    assert records_before_spike(np.ones(30)) == 30
    trace = np.concatenate([calm, np.linspace(0.02, 0.6, 20)]) + 1e-4 * rng.normal(size=80)
    short, long = (np.array([trace[max(t - k, 0) : t].mean() if t else np.nan for t in range(81)]) for k in (7, 25))
    kept = records_before_spike(trace)
    assert 60 <= kept < 70
    assert all(short[t] > long[t] for t in range(kept + 1, 81))
    assert not short[kept] > long[kept]
    with pytest.raises(fd.ArgumentError, match="at least 25 finite losses"):
        records_before_spike(trace[:24])
    with pytest.raises(fd.ArgumentError, match="fewer records"):
        records_before_spike(trace, short=25)
