"""`theano.tensor.nnet`, convolutions and batch normalisation apart."""

from __future__ import annotations

from typing import Any

import jitgraph.tensor as jt
from jitgraph.errors import ShapeError
from jitgraph.theano.extra import unique
from jitgraph.theano.variables import as_tensor_variable, spoken


@spoken
def sigmoid(x: Any) -> Any:
    """1 / (1 + exp(-x))."""
    return jt.nnet.sigmoid(x)


@spoken
def ultra_fast_sigmoid(x: Any) -> Any:
    """Lines between points near those of the sigmoid, as Theano drew them."""
    x = as_tensor_variable(x)
    half = 0.5 * x
    a = abs(half)
    z = jt.where(a < 1.7, 1.5 * a / (1 + a),
                 jt.where(a < 3, 0.935409070603099 + 0.0458812946797165 * (a - 1.7),
                          0.99505475368673))  # fmt: skip
    return jt.cast(0.5 * (jt.sign(half) * z + 1), x.dtype)


@spoken
def hard_sigmoid(x: Any) -> Any:
    """0.2·x + 0.5, brought into 0..1."""
    x = as_tensor_variable(x)
    return jt.clip(x * 0.2 + 0.5, 0.0, 1.0)


@spoken
def softplus(x: Any) -> Any:
    """log(1 + exp(x))."""
    return jt.nnet.softplus(x)


@spoken
def softsign(x: Any) -> Any:
    """x / (1 + |x|)."""
    x = as_tensor_variable(x)
    return x / (1.0 + abs(x))


@spoken
def relu(x: Any, alpha: Any = 0) -> Any:
    """max(x, 0), or x where positive and alpha·x elsewhere."""
    return jt.relu(x, alpha)


@spoken
def elu(x: Any, alpha: Any = 1) -> Any:
    """x where positive, alpha·(exp(x) - 1) elsewhere."""
    x = as_tensor_variable(x)
    return jt.where(x > 0, x, alpha * jt.expm1(jt.minimum(x, 0)))


@spoken
def selu(x: Any) -> Any:
    """The self-normalising `elu`."""
    return 1.0507009873554804934193349852946 * elu(x, 1.6732632423543772848170429916717)


# --- softmax -----------------------------------------------------------------------------------
def _rows(x: Any) -> Any:
    """A matrix; a vector is its only row."""
    x = as_tensor_variable(x)
    if x.ndim not in (1, 2):
        raise ShapeError(f"softmax takes a vector or a matrix, not {x.type}")
    return x.dimshuffle("x", 0) if x.ndim == 1 else x


@spoken
def softmax(c: Any) -> Any:
    """exp / sum(exp) of each row; that of a vector is a matrix of one row."""
    return jt.nnet.softmax(_rows(c), axis=1)


@spoken
def logsoftmax(c: Any) -> Any:
    """log(softmax(c)) without underflow."""
    return jt.nnet.log_softmax(_rows(c), axis=1)


def softmax_with_bias(x: Any, b: Any) -> Any:
    """softmax(x + b)."""
    return softmax(as_tensor_variable(x) + b)


def Softmax() -> Any:  # noqa: N802  (Theano's name)
    """The function itself."""
    return softmax


# --- cross-entropies ---------------------------------------------------------------------------
@spoken
def binary_crossentropy(output: Any, target: Any) -> Any:
    """-(target·log(output) + (1 - target)·log(1 - output))."""
    return jt.nnet.binary_crossentropy(output, target)


@spoken
def sigmoid_binary_crossentropy(output: Any, target: Any) -> Any:
    """`binary_crossentropy(sigmoid(output), target)` without overflow."""
    output = as_tensor_variable(output)
    return target * jt.nnet.softplus(-output) + (1 - target) * jt.nnet.softplus(output)


@spoken
def categorical_crossentropy(coding_dist: Any, true_dist: Any) -> Any:
    """The cross-entropy of each row; the truth is rows of probabilities or classes."""
    return jt.nnet.categorical_crossentropy(as_tensor_variable(coding_dist),
                                            as_tensor_variable(true_dist))  # fmt: skip


crossentropy_categorical_1hot = categorical_crossentropy


@spoken
def crossentropy_softmax_argmax_1hot_with_bias(x: Any, b: Any, y_idx: Any) -> list[Any]:
    """The cross-entropy of softmax(x + b) with the classes y_idx, the softmax, and its argmax."""
    shifted = _rows(as_tensor_variable(x) + b)
    classes = as_tensor_variable(y_idx)
    logs = jt.nnet.log_softmax(shifted, axis=1)
    places = jt.arange(classes.shape[0])
    return [-logs[places, classes], jt.nnet.softmax(shifted, axis=1), jt.argmax(shifted, axis=1)]


def crossentropy_softmax_1hot_with_bias(x: Any, b: Any, y_idx: Any) -> list[Any]:
    """The cross-entropy and the softmax."""
    return list(crossentropy_softmax_argmax_1hot_with_bias(x, b, y_idx)[:2])


def crossentropy_softmax_1hot(x: Any, y_idx: Any) -> list[Any]:
    """The cross-entropy and the softmax, without a bias."""
    return crossentropy_softmax_1hot_with_bias(x, 0, y_idx)


@spoken
def crossentropy_softmax_max_and_argmax_1hot_with_bias(x: Any, b: Any, y_idx: Any) -> list[Any]:
    """The cross-entropy, the softmax, its largest elements and where they are."""
    loss, rows, places = crossentropy_softmax_argmax_1hot_with_bias(x, b, y_idx)
    return [loss, rows, jt.max(rows, axis=1), places]


def crossentropy_softmax_max_and_argmax_1hot(x: Any, y_idx: Any) -> list[Any]:
    """The same without a bias."""
    return list(crossentropy_softmax_max_and_argmax_1hot_with_bias(x, 0, y_idx))


# --- others ------------------------------------------------------------------------------------
@spoken
def h_softmax(
    x: Any, batch_size: Any, n_outputs: Any, n_classes: Any, n_outputs_per_class: Any,
    W1: Any, b1: Any, W2: Any, b2: Any, target: Any = None,  # noqa: N803  (Theano's names)
) -> Any:  # fmt: skip
    """The softmax of two levels: first a class of outputs, then an output of the class. With
    targets their probabilities, else those of all outputs."""
    x, W1, b1, W2, b2 = map(as_tensor_variable, (x, W1, b1, W2, b2))  # noqa: N806
    classes = jt.nnet.softmax(x @ W1 + b1, axis=1)
    if target is None:
        every = jt.einsum("nd,cdk->nck", x, W2) + b2
        inside = jt.nnet.softmax(every, axis=2)
        joint = (classes.dimshuffle(0, 1, "x") * inside).reshape((x.shape[0], -1))
        return joint[:, :n_outputs]
    target = as_tensor_variable(target).flatten()
    chosen, place = target // n_outputs_per_class, target % n_outputs_per_class
    rows = jt.arange(x.shape[0])
    inside = jt.nnet.softmax(jt.einsum("nd,ndk->nk", x, W2[chosen]) + b2[chosen], axis=1)
    return classes[rows, chosen] * inside[rows, place]


@spoken
def confusion_matrix(actual: Any, pred: Any) -> list[Any]:
    """How often each class was taken for each other, and the order of the classes."""
    actual, pred = as_tensor_variable(actual), as_tensor_variable(pred)
    if actual.ndim != 1 or pred.ndim != 1:
        raise ShapeError(f"classes are vectors, not {actual.type} and {pred.type}")
    order = unique(jt.concatenate([actual, pred]))
    rows = jt.cast(jt.equal(actual.dimshuffle(0, "x"), order.dimshuffle("x", 0)), "int64")
    columns = jt.cast(jt.equal(pred.dimshuffle(0, "x"), order.dimshuffle("x", 0)), "int64")
    return [jt.dot(rows.T, columns), order]


@spoken
def prepend_scalar_to_each_row(val: Any, mat: Any) -> Any:
    """A column of one number, then the matrix."""
    mat = as_tensor_variable(mat)
    column = jt.full((mat.shape[0], 1), jt.cast(as_tensor_variable(val), mat.dtype))
    return jt.concatenate([column, mat], axis=1)


def prepend_0_to_each_row(mat: Any) -> Any:
    """A column of zeros, then the matrix."""
    return prepend_scalar_to_each_row(0, mat)


def prepend_1_to_each_row(mat: Any) -> Any:
    """A column of ones, then the matrix."""
    return prepend_scalar_to_each_row(1, mat)
