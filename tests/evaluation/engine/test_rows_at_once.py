"""How many rows go through a pass together, and which costs a plan counts with."""

import jax
import numpy as np
import pytest

import feyngd as fd
from feyngd.evaluation.engine._passes import Pass
from feyngd.evaluation.engine._rows_at_once import cost_model, gradients_together, row_size, rows_together
from feyngd.evaluation.planning import ARITHMETIC_BOUND, MEMORY_BOUND, Mean, Vector
from feyngd.landscapes import convnet, cross_entropy, tanh_mlp

EXAMPLE = (jax.ShapeDtypeStruct((8, 8), np.float32), jax.ShapeDtypeStruct((), np.int32))


def made(model):
    return cross_entropy(model), model.init(jax.random.key(0))


MLP, CONVNET = tanh_mlp((8, 8), 10, (40,)), convnet((8, 8), 10, channels=4)


@pytest.mark.parametrize("room", [1, 7, 100, 1797])
@pytest.mark.parametrize("model", [MLP, CONVNET], ids=["mlp", "convnet"])
def test_the_last_chunk_is_nearly_full(model, room):
    loss, params = made(model)
    gradient, squared = Vector(0), fd.plan(fd.Diagram.parse("[a a]"))
    for job in (
        Pass((Mean(gradient),), (), (), (), (), (0,)),
        Pass((), (), squared.paired, (), (), squared.positions),
        Pass((), (), (), ((gradient, gradient),), (), (0,)),
    ):
        size = rows_together(job, loss, params, EXAMPLE, room)
        assert 1 <= size <= room
        chunks = -(-room // size)
        assert chunks * size - room < chunks


def test_gradients_of_dense_layers_are_counted_by_their_factors():
    loss, params = made(tanh_mlp((8, 8), 10, (256,)))
    assert row_size(loss, params, EXAMPLE) < 0.1 * sum(leaf.size for leaf in jax.tree.leaves(params))


def test_convolutions_take_arithmetic_and_dense_layers_memory():
    assert cost_model(*made(CONVNET), EXAMPLE) is ARITHMETIC_BOUND
    assert cost_model(lambda theta, x: (theta * x[0][0, 0]).sum(), np.ones(1000, np.float32), EXAMPLE) is MEMORY_BOUND


def test_large_gradients_go_alone():
    huge = jax.ShapeDtypeStruct((2**27,), np.float32)
    assert gradients_together([huge], 1000) == 1
    assert gradients_together([np.ones(10, np.float32)], 1000) == 64
    assert gradients_together([np.ones(10, np.float32)], 5) == 5
