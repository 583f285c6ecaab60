"""Which row nests become a part of the convolution before them."""

from __future__ import annotations

from typing import Any

import pytest

import jitgraph as jg
import jitgraph.tensor as T
from jitgraph.ir.kernel import Call, Kernel, Program, Rows
from jitgraph.ir.schedule_text import print_program
from tests.passes.test_epilogue import program


def calls(made: Program) -> list[Call]:
    return [s for s in made.work() if isinstance(s, Call)]


def images(name: str = "x") -> Any:
    return T.tensor(dtype="float64", shape=[None] * 4, name=name)


def convolved(x: Any) -> Any:
    return T.nnet.conv2d(x, images("w"), filter_flip=False)


def biased(y: Any) -> Any:
    return y + T.dvector("b")[:, None, None]


def pooled(y: Any) -> Any:
    return T.nnet.pool_2d(y, (2, 2), ignore_border=True)


POINT_BY_POINT = {
    "bias and activation": lambda y: T.tanh(biased(y)),
    "pool": lambda y: T.tanh(biased(pooled(y))),
    "activation, then pool": lambda y: pooled(T.tanh(biased(y))),
    "overlapping pool": lambda y: T.nnet.pool_2d(y, (3, 2), ignore_border=True, stride=(1, 2)),
    "other images": lambda y: y + images("z"),
    "sum over places": lambda y: T.tanh(y).sum(axis=(2, 3)),
    "softmax over columns": lambda y: T.softmax(y, axis=3),
    "half precision": lambda y: y.astype("float16"),
}


@pytest.mark.parametrize("name", POINT_BY_POINT)
def test_a_layer_is_one_step_with_one_image_at_a_time(name: str) -> None:
    made = program(POINT_BY_POINT[name](convolved(images())))
    (call,) = made.work()
    assert isinstance(call, Call)
    assert call.epilogue is not None
    out, image = call.outputs[0].buffer, call.epilogue.image
    assert image is not None
    assert image.extents == out.extents[1:]
    assert not made.slots
    assert call.writes() == {made.results[0]}
    assert not {out, image} & call.reads()
    assert set(call.epilogue.rows.scalars()) <= set(call.scalars())
    text = print_program(made)
    assert " then\n    image " in text
    assert "    rows for i0 < " in text


def test_a_result_that_others_read_stays() -> None:
    y = convolved(images())
    for made in (program(T.tanh(y), y[:, ::-1]), program(T.tanh(y), y.sum(axis=(0, 1)))):
        call = calls(made)[0]
        assert call.epilogue is None or call.epilogue.image is None
    kept = calls(program(T.tanh(y), T.nnet.conv2d(y, images("v"))))[0]
    assert kept.epilogue is not None
    assert kept.epilogue.image is None
    assert kept.outputs[0].buffer in kept.writes()


def test_what_only_passes_through_is_stored_by_the_epilogue() -> None:
    y = convolved(images())
    made = program(y, T.tanh(y))
    (call,) = made.work()
    assert isinstance(call, Call)
    assert call.writes() == set(made.results)


def test_a_gradient_goes_on_from_the_adjoint_of_images() -> None:
    """The adjoint of the second layer's inputs is there image by image; the sum for the bias is a
    total."""
    x, w, v, b = images(), images("w"), images("v"), T.dvector("b")
    hidden = T.tanh(T.nnet.conv2d(x, w, filter_flip=False) + b[:, None, None])
    cost = T.sum(T.nnet.conv2d(hidden, v, filter_flip=False) ** 2)
    made = program(*T.grad(cost, [w, b]))
    found = {call.routine.symbols[0]: call for call in calls(made)}
    epilogue = found["conv_by_input"].epilogue
    assert epilogue is not None
    assert epilogue.image is not None
    assert made.results[1] in epilogue.rows.totals
    assert found["conv_by_filters"].epilogue is None


NOT_IMAGE_BY_IMAGE = {
    "other order": lambda y: T.tanh(y)[::-1],
    "other channels": lambda y: y[:, ::-1] + 1,
    "channels turned": lambda y: y.transpose(1, 0, 2, 3) * 2,
    "some images": lambda y: y[1:] + 1,
    "softmax over channels": lambda y: T.softmax(y, axis=1),
    "running total over images": lambda y: T.cumsum(y, axis=0),
    "images chosen": lambda y: y[T.lvector("i")],
    "sum over images": lambda y: T.tanh(y).sum(axis=0),
}


@pytest.mark.parametrize("name", NOT_IMAGE_BY_IMAGE)
def test_other_kernels_wait_for_all_images(name: str) -> None:
    made = program(NOT_IMAGE_BY_IMAGE[name](convolved(images())))
    assert all(call.epilogue is None for call in calls(made))
    assert any(isinstance(s, Kernel | Rows) for s in made.work())


def test_a_batch_of_convolutions_has_none() -> None:
    five = [T.tensor(dtype="float64", shape=[None] * 5, name=n) for n in "xw"]
    conv = T.nnet.conv2d
    y = jg.vmap(lambda x, w: conv(x, w, filter_flip=False))(*five)
    assert all(call.epilogue is None for call in calls(program(T.tanh(y))))
