"""`theano.tensor.nnet.ctc`: connectionist temporal classification."""

from __future__ import annotations

from typing import Any

import jitgraph.tensor as jt
from jitgraph.errors import ShapeError
from jitgraph.theano.scanning import scan
from jitgraph.theano.variables import as_tensor_variable, spoken

#: The logarithm of what cannot be. (Infinity would make NaN of gradients.)
_NEVER = -1e30


def ctc_available() -> bool:
    """Whether there is `ctc`: it needs no library here."""
    return True


@spoken
def ctc(activations: Any, labels: Any, input_lengths: Any) -> Any:
    """The cost of each sequence: -log of how likely its labels are.

    activations: (time, batch, classes), before the softmax; class 0 is the blank. labels: a matrix
    with a row for each sequence, whose end is filled up with -1. input_lengths: how many steps of
    each sequence count. A sequence too short for its labels has an infinite cost and no gradient.
    """
    x, rows, lengths = map(as_tensor_variable, (activations, labels, input_lengths))
    if (x.ndim, rows.ndim, lengths.ndim) != (3, 2, 1):
        raise ShapeError(f"ctc takes (time, batch, classes), (batch, labels) and (batch,), not "
                         f"{x.type}, {rows.type} and {lengths.type}")  # fmt: skip
    path = _with_blanks(jt.maximum(rows, 0))
    batch = jt.arange(x.shape[1])
    steps = jt.nnet.log_softmax(x)[:, batch.dimshuffle(0, "x"), path]
    places = jt.arange(path.shape[1]).dimshuffle("x", 0)
    # A blank between two different labels may be left out.
    may_skip = jt.logical_and(jt.equal(places % 2, 1), jt.not_equal(path, _shifted(path, 2, -1)))
    start = jt.where(places < 2, steps[0], _NEVER)

    def step(told: Any, time: Any, before: Any, may_skip: Any, lengths: Any) -> Any:
        skipped = jt.where(may_skip, _shifted(before, 2, _NEVER), _NEVER)
        after = _sum_of_logs(before, _shifted(before, 1, _NEVER), skipped) + told
        return jt.where((time < lengths).dimshuffle(0, "x"), after, before)

    sequences = [steps[1:], jt.arange(1, steps.shape[0])]
    each, _ = scan(step, sequences, [start], [may_skip, lengths])
    final = jt.concatenate([start.dimshuffle("x", 0, 1), each])[-1]
    last = 2 * jt.sum(jt.cast(rows >= 0, "int64"), 1)
    on_label = jt.where(last > 0, final[batch, jt.maximum(last - 1, 0)], _NEVER)
    total = _sum_of_logs(final[batch, last], on_label)
    return jt.where(total > _NEVER / 2, -total, jt.cast(float("inf"), x.dtype))


def _with_blanks(labels: Any) -> Any:
    """A blank before, between and behind the labels of each row."""
    width = 2 * labels.shape[1] + 1
    return jt.set_subtensor(jt.zeros([labels.shape[0], width], "int64")[:, 1::2],
                            jt.cast(labels, "int64"))  # fmt: skip


def _shifted(x: Any, by: int, fill: float) -> Any:
    """Columns moved to the right, filled up from the left."""
    return jt.concatenate([jt.full([x.shape[0], by], fill, x.dtype), x], 1)[:, :-by]


def _sum_of_logs(*terms: Any) -> Any:
    """log(exp(a) + exp(b) + ...)."""
    largest = terms[0]
    for term in terms[1:]:
        largest = jt.maximum(largest, term)
    largest = jt.consider_constant(largest)
    total = jt.exp(terms[0] - largest)
    for term in terms[1:]:
        total = total + jt.exp(term - largest)
    return largest + jt.log(total)
