"""Learning rates of one excess loss: the closed form of one direction, the definition for the rest."""

import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import feyngd as fd
from feyngd.companions import limiting as co

BASIN = co.Basin.from_matrices(np.diag([2.0, 0.1]), [[1.0, 0.2], [0.2, 0.3]], num_examples=512)


def test_one_direction_has_a_closed_form():
    """ηs(1 + β)/(2B(1 − β)(2(1 + β) − ηh)) = E, solved for η."""
    h, s, excess = 1.5, 2.0, 0.03
    found = co.Basin.from_matrices([[h]], [[s]]).equal_excess(excess, [1, 8, 1000], [0.0, 0.5, 0.95])
    B, beta = np.array([1, 8, 1000])[:, None], np.array([0.0, 0.5, 0.95])
    rate = 4 * B * excess * (1 - beta) * (1 + beta) / (s * (1 + beta) + 2 * B * excess * (1 - beta) * h)
    assert found.learning_rates == pytest.approx(rate, rel=1e-9)
    assert found.stderr is None
    assert found.mixing_examples == pytest.approx(B * found.mixing_steps)


@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"nesterov": True},
        {"sampling": "reshuffled"},
        {"sampling": "reshuffled", "drop_last": True, "nesterov": True},
        {"weight_decay": 0.2, "subspace": 1},
    ],
)
def test_every_cell_has_the_excess_loss(settings):
    batch = 24 if settings.get("drop_last") else 16
    found = BASIN.equal_excess(0.01, [batch, 64], [0.0, 0.9], tolerance=0.1, **settings)
    nesterov = settings.pop("nesterov", False)
    for i, j in np.ndindex(2, 2):
        optimizer = fd.momentum([0.0, 0.9][j], nesterov=nesterov)
        limit = BASIN.limit(found.learning_rates[i, j], [batch, 64][i], optimizer=optimizer, **settings)
        assert limit.excess_loss().value == pytest.approx(0.01, rel=1e-9)
        assert found.speed[i, j] == pytest.approx(limit.speed().value)
        assert found.mixing_steps[i, j] == limit.mixing_steps(0.1)


def test_a_table_says_where_there_is_none():
    """One batch of all examples has no noise, whatever its learning rate."""
    found = BASIN.equal_excess(0.01, [16, 512], 0.9, sampling="reshuffled")
    assert np.isnan(found.learning_rates[1, 0])
    assert str(found).splitlines()[-1].split() == ["B", "=", "512", "none"]
    assert json.loads(json.dumps(found.to_dict(), allow_nan=False))["learning_rates"][1] == [None]
    assert [line.get_label() for line in found.plot().get_lines()] == ["β = 0.9"]


def test_sampled_noise_gives_rates_with_errors():
    scales = jnp.linspace(0.2, 2.0, 12)
    noise = jnp.asarray(np.random.default_rng(0).normal(size=(40, 12)))
    landscape = fd.Landscape(lambda theta, x: jnp.sum(scales * theta**2) / 2 + theta @ x, noise - noise.mean(axis=0))
    sampled = co.basin(landscape, jnp.zeros(12), method="lanczos", num_samples=8, key=jax.random.key(0))
    found = sampled.equal_excess(0.02, [4], [0.5])
    stderr = sampled.limit(found.learning_rates[0, 0], 4, optimizer=fd.momentum(0.5)).excess_loss().stderr
    ends = [sampled.equal_excess(0.02 + sign * stderr, [4], [0.5]).learning_rates[0, 0] for sign in (-1, 1)]
    assert found.stderr[0, 0] == pytest.approx((ends[1] - ends[0]) / 2, rel=0.01)
    exact = co.basin(landscape, jnp.zeros(12), key=jax.random.key(0)).equal_excess(0.02, [4], [0.5])
    assert abs(found.learning_rates[0, 0] - exact.learning_rates[0, 0]) < 4 * found.stderr[0, 0]


@pytest.mark.parametrize(
    ("arguments", "options", "match"),
    [
        ((0.0, [1], [0.5]), {}, "excess_loss is one finite number above 0"),
        ((0.01, [1.5], [0.5]), {}, "A batch size is an integer"),
        ((0.01, [], [0.5]), {}, "at least one batch size"),
        ((0.01, [1], []), {}, "at least one batch size and one momentum"),
        ((0.01, [1], "fast"), {}, "momenta: give numbers"),
        ((0.01, [1], [1.0]), {}, "beta is the share"),
        ((0.01, [513], [0.5]), {}, "more than the 512 examples"),
        ((0.01, [5], [0.5]), {"sampling": "reshuffled"}, "drop_last=True"),
        ((0.01, [1], [0.5]), {"tolerance": 1.0}, "tolerance"),
        ((0.01, [1], [0.5]), {"weight_decay": -1.0}, "weight_decay"),
    ],
)
def test_what_a_table_refuses(arguments, options, match):
    with pytest.raises(fd.ArgumentError, match=match):
        BASIN.equal_excess(*arguments, **options)


def test_flat_noise_has_no_table():
    with pytest.raises(fd.LandscapeError, match="curvature > 0 where there is noise"):
        co.Basin.from_matrices(np.diag([1.0, 0.0]), np.eye(2)).equal_excess(0.01, [1], [0.5])
    with pytest.raises(fd.LandscapeError, match="curvature > 0 where there is noise"):
        co.Basin.from_matrices([[0.0]], [[1.0]]).equal_excess(0.01, [1], [0.5])
