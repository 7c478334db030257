"""Results in files: every kind comes back as it was, and what is no such file is refused."""

import copy
import json
import pickle
import subprocess
import sys
import warnings
from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import feyngd as fd
from feyngd.kinks import Kink
from feyngd.landscapes import Landscape
from feyngd.simulation import SimulatedCurve

KEY = jax.random.key(0)
DATA = (jax.random.normal(KEY, (12, 3)), jnp.linspace(-1, 1, 12))
PARAMS = {"weights": jnp.array([0.2, -0.1, 0.4])}
SPACETIME = fd.Spacetime.sgd(4, 2)


def loss(params, example):
    x, y = example
    return 0.5 * (jnp.tanh(x @ params["weights"]) - y) ** 2


@pytest.fixture(scope="module")
def landscape():
    return Landscape(loss, DATA)


@pytest.fixture(scope="module")
def values(landscape):
    spacetimes = SPACETIME, fd.Spacetime.sgd(4, 2, T=3, sampling="with-replacement")
    series = [fd.expand(q, order=2, spacetime=one) for q in ("test_loss", "gap") for one in spacetimes]
    wanted = sorted({diagram for one in series for diagram in one})
    return fd.evaluate(wanted, landscape, PARAMS, key=KEY)


@pytest.fixture(scope="module")
def anchored(landscape):
    options = {"steps": 4, "learning_rate": 0.1, "epoch_lengths": [2], "num_samples": 4, "truncation_samples": 2}
    return fd.anchor(landscape, PARAMS, **options, key=KEY)


@pytest.fixture(scope="module", params=["dense", "lanczos"])
def minimum(landscape, request):
    return fd.near_minimum(landscape, PARAMS, method=request.param, num_samples=3, key=KEY)


def through_file(result, tmp_path, *given):
    path = tmp_path / "kept"
    result.save(path)
    return type(result).load(path, *given)


def through_pickle(result, *_):
    return pickle.loads(pickle.dumps(result))


WAYS = [through_file, through_pickle, lambda result, *_: copy.deepcopy(result)]


@pytest.mark.parametrize("way", WAYS)
def test_values(values, landscape, way, tmp_path):
    back = way(values, tmp_path)
    assert dict(back) == dict(values)
    assert (back.basis, back.root, back.origin) == (values.basis, values.root, values.origin)
    prediction = fd.predict(landscape, PARAMS, SPACETIME, 0.01, order=2, values=back)
    assert prediction.mean == fd.predict(landscape, PARAMS, SPACETIME, 0.01, order=2, values=values).mean


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("quantity", ["test_loss", "gap"])
def test_predictions_and_simulations(values, landscape, way, quantity, tmp_path):
    prediction = fd.predict(landscape, PARAMS, SPACETIME, [0.01, 0.1], order=2, quantity=quantity, values=values)
    simulation = fd.simulate(landscape, PARAMS, SPACETIME, [0.01, 0.1], quantity=quantity, runs=3, key=KEY)
    for result in (prediction, simulation):
        back = way(result, tmp_path)
        assert json.dumps(back.to_dict()) == json.dumps(result.to_dict())
        assert back.spacetime == SPACETIME
        assert str(back) == str(result)


@pytest.mark.parametrize(
    "spacetime",
    [
        fd.Spacetime.gd(4, 3),
        fd.Spacetime.sgd(4, 2, T=3, sampling="with-replacement"),
        fd.Spacetime.from_batches([[0], [1, 2], [3, 3]], 4),
    ],
    ids=str,
)
def test_spacetimes_of_every_kind(values, landscape, spacetime, tmp_path):
    prediction = fd.predict(landscape, PARAMS, spacetime, 0.01, order=2, values=values)
    assert through_file(prediction, tmp_path).spacetime == spacetime


@pytest.mark.parametrize("way", WAYS)
def test_anchored(anchored, landscape, way, tmp_path):
    back = way(anchored, tmp_path, landscape, PARAMS)
    for quantity in ("test_loss", "train_loss", "gap"):
        expected = anchored.predict(N=4, B=2, E=2, quantity=quantity)
        again = back.predict(N=4, B=2, E=2, quantity=quantity)
        np.testing.assert_array_equal(again.mean, expected.mean)
        np.testing.assert_array_equal(again.truncation, expected.truncation)
        kept = through_file(expected, tmp_path)
        np.testing.assert_array_equal(kept.stderr, expected.stderr)
        assert list(kept.parts) == list(expected.parts)
    orders = {"N": 4, "B": 2, "E": 1, "order": 2, "num_samples": 2, "key": KEY}
    np.testing.assert_allclose(back.orders(**orders).mean, anchored.orders(**orders).mean, rtol=1e-6)


@pytest.mark.parametrize("way", WAYS)
def test_simulated_learning_curves(landscape, way, tmp_path):
    runs = [fd.simulate(landscape, PARAMS, fd.Spacetime.sgd(4, 2, E), 0.1, runs=3, key=KEY) for E in (1, 2)]
    curve = SimulatedCurve("test_loss", fd.Spacetime.sgd(4, 2, 2), runs)
    back = way(curve, tmp_path)
    np.testing.assert_array_equal(back.points, [2, 4])
    np.testing.assert_array_equal(back.mean, [simulation.mean[0] for simulation in runs])
    np.testing.assert_array_equal(back.stderr, [simulation.stderr[0] for simulation in runs])
    assert back.to_dict() == curve.to_dict()


READ = """
import sys
import feyngd as fd
name, path = sys.argv[1:]
print(repr(getattr(fd, name).load(path)))
"""


def test_results_are_read_where_nothing_but_their_class_was_imported(values, anchored, landscape, tmp_path):
    """A class is named in files without its module, and every class in the file is known to whoever reads it."""
    minimum = fd.near_minimum(landscape, PARAMS, num_samples=2, key=KEY)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", fd.TruncationWarning)
        near = minimum.predict(SPACETIME, 0.1)
    results = (
        values,
        fd.predict(landscape, PARAMS, SPACETIME, 0.01, order=2, values=values),
        fd.simulate(landscape, PARAMS, SPACETIME, 0.01, runs=2, key=KEY),
        replace(near, kinks=(Kink("relu", "model.py:1", 1, 2, 3),)),
        anchored.predict(N=4, B=2, E=2),
    )
    readers = []
    for result in results:
        path = tmp_path / type(result).__name__
        result.save(path)
        assert "feyngd." not in str(np.load(path)["description"])
        command = [sys.executable, "-c", READ, type(result).__name__, str(path)]
        readers.append(subprocess.Popen(command, stdout=subprocess.PIPE, text=True))
    for result, reader in zip(results, readers, strict=True):
        assert reader.communicate()[0].strip() == repr(result)


@pytest.mark.parametrize("way", WAYS)
def test_near_minimum(minimum, landscape, way, tmp_path):
    back = way(minimum, tmp_path, landscape, PARAMS)
    expected, again = (one.predict(fd.Spacetime.sgd(20), [0.05, 0.1]) for one in (minimum, back))
    np.testing.assert_allclose(again.mean, expected.mean, rtol=1e-6)
    np.testing.assert_allclose(again.truncation, expected.truncation, rtol=1e-4)
    kept = through_file(expected, tmp_path)
    np.testing.assert_array_equal(kept.mean, expected.mean)


def test_what_was_kept_belongs_to_its_loss_data_and_parameters(anchored, minimum, landscape, tmp_path):
    for result in (anchored, minimum):
        result.save(tmp_path / "kept")
        with pytest.raises(fd.ArgumentError, match="other parameters"):
            type(result).load(tmp_path / "kept", landscape, {"weights": jnp.ones(3)})
        with pytest.raises(fd.ArgumentError, match="another loss"):
            type(result).load(tmp_path / "kept", Landscape(lambda p, e: 2 * loss(p, e), DATA), PARAMS)
        with pytest.raises(fd.ArgumentError, match="other data"):
            type(result).load(tmp_path / "kept", Landscape(loss, jax.tree.map(lambda leaf: leaf[1:], DATA)), PARAMS)


def test_a_result_goes_on_with_the_loss_it_was_made_from():
    settings = {"scale": 1.0}
    landscape = Landscape(lambda params, example: settings["scale"] * loss(params, example), DATA)
    minimum = fd.near_minimum(landscape, PARAMS, num_samples=2, key=KEY)
    before = minimum.predict(SPACETIME, 0.1)
    settings["scale"] = 5.0
    np.testing.assert_array_equal(minimum.predict(SPACETIME, 0.1).mean, before.mean)
    with pytest.raises(fd.ArgumentError, match="another loss"):
        copy.deepcopy(minimum).predict(SPACETIME, 0.1)


@pytest.mark.parametrize("content", [b"", b"nonsense", b"PK\x03\x04broken", pickle.dumps({"a": 1})])
def test_files_of_other_kinds_are_refused(content, tmp_path):
    (tmp_path / "kept").write_bytes(content)
    with pytest.raises(fd.ArgumentError, match=r"Cannot read|is no file that save"):
        fd.Values.load(tmp_path / "kept")


def test_no_file_another_class_and_no_folder_are_refused(values, tmp_path):
    with pytest.raises(fd.ArgumentError, match="No such file"):
        fd.Values.load(tmp_path / "none")
    values.save(tmp_path / "kept")
    with pytest.raises(fd.ArgumentError, match=r"holds a Values, not a Prediction: use Values\.load"):
        fd.Prediction.load(tmp_path / "kept")
    with pytest.raises(fd.ArgumentError, match="No such file"):
        values.save(tmp_path / "none" / "kept")
    np.savez(
        tmp_path / "other.npz",
        description=np.array(json.dumps({"format": "feyngd result 1", "value": {"object": "Popen", "state": 1}})),
    )
    with pytest.raises(fd.ArgumentError, match="is no file that save"):
        fd.Values.load(tmp_path / "other.npz")
