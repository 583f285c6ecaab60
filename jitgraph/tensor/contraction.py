"""Sums of products over named axes: `einsum` and `tensordot`, as transposes, matrix products and
reductions of pairs of operands."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from jitgraph.errors import OptionError, ShapeError
from jitgraph.ir.elementwise import cast
from jitgraph.ir.opdef import ArrayLike
from jitgraph.ir.ops import linear, movement, reduction
from jitgraph.ir.ops.arithmetic import multiply
from jitgraph.ir.ops.indexing import gather
from jitgraph.ir.types import BOOL, normalise_axis
from jitgraph.ir.values import Value
from jitgraph.tensor.operands import as_tensor, constant, promoted, public

#: The axes of an operand, each by a number that says which axes are one.
Labels = tuple[int, ...]
_LETTERS = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
#: Labels of the axes an ellipsis stands for, by their place from the end: -1, -2, ...
_GUESS = 16


@public
def einsum(*operands: Any, dtype: Any = None, optimize: Any = "greedy") -> Value:
    """Einstein's sum: `einsum("ij,jk->ik", a, b)`, or operands each followed by a list of axes.

    Three and more operands are joined two by two in the order of `np.einsum_path` (`optimize` is
    what that takes), where unknown extents count as 16. Raises ShapeError for subscripts that do
    not fit, OptionError for what are no subscripts.
    """
    inputs, output, values = _parsed(operands)
    values = promoted(values if dtype is None else [cast(v, dtype) for v in values])
    terms = [_prepared(v, labels) for v, labels in zip(values, inputs, strict=True)]
    terms = _without_broadcasts(terms)
    for pair in _path(terms, output, optimize):
        places = [k % len(terms) for k in pair]
        chosen = [terms[k] for k in places]
        terms = [t for k, t in enumerate(terms) if k not in places]
        left = {label for _, labels in terms for label in labels} | set(output)
        terms.append(_joined(chosen, left))
    (result, labels) = _reduced(*terms[0], set(output))
    missing = [label for label in output if label not in labels]
    if missing:
        raise ShapeError("einsum: the output names an axis that no operand has")
    return movement.transpose(result, [labels.index(label) for label in output])


# --- subscripts --------------------------------------------------------------------------------
def _parsed(operands: Sequence[Any]) -> tuple[list[Labels], Labels, list[Value]]:
    if not operands:
        raise OptionError("einsum needs subscripts and operands")
    if not isinstance(operands[0], str):
        return _from_lists(operands)
    text = operands[0].replace(" ", "")
    values: list[Value] = [as_tensor(o) for o in operands[1:]]
    left, arrow, right = text.partition("->")
    parts = left.split(",")
    if len(parts) != len(values):
        raise ShapeError(f"einsum: {len(parts)} subscripts for {len(values)} operands")
    inputs = [_labels(p, v.ndim) for p, v in zip(parts, values, strict=True)]
    dots = max((-min(i, default=0) for i in inputs), default=0)
    dots = max(dots, 0)
    return inputs, _labels(right, None, dots) if arrow else _implied(inputs, dots), values


def _labels(text: str, rank: int | None, dots: int = 0) -> Labels:
    """Letters as numbers from 0, an ellipsis as negative ones up to -1."""
    before, ellipsis, after = text.partition("...")
    named = before + after
    if not all(c in _LETTERS for c in named):
        raise OptionError(f"einsum: {text!r} are no subscripts", hint="letters and one ...")
    if rank is not None:
        dots = rank - len(named)
        if dots < 0 or (dots and not ellipsis):
            raise ShapeError(f"einsum: subscripts {text!r} do not fit {rank} dimensions")
    numbers = [_LETTERS.index(c) for c in named]
    middle = list(range(-dots, 0)) if ellipsis else []
    return (*numbers[: len(before)], *middle, *numbers[len(before) :])


def _implied(inputs: Sequence[Labels], dots: int) -> Labels:
    """What stands in the result if nobody says: the ellipsis, and labels that occur once."""
    every = [label for labels in inputs for label in labels if label >= 0]
    once = sorted((n for n in set(every) if every.count(n) == 1), key=lambda n: _LETTERS[n])
    return (*range(-dots, 0), *once)


def _from_lists(operands: Sequence[Any]) -> tuple[list[Labels], Labels, list[Value]]:
    values: list[Value] = [as_tensor(o) for o in operands[: len(operands) // 2 * 2 : 2]]
    lists = operands[1::2]
    inputs = [_listed(axes, v.ndim) for axes, v in zip(lists, values, strict=True)]
    dots = max([0, *(-min(i, default=0) for i in inputs)])
    if len(operands) % 2:
        return inputs, _listed(operands[-1], None, dots), values
    return inputs, _implied(inputs, dots), values


def _listed(axes: Sequence[Any], rank: int | None, dots: int = 0) -> Labels:
    text = "".join("..." if a is Ellipsis else _LETTERS[a] for a in axes)
    return _labels(text, rank, dots)


# --- single operands ---------------------------------------------------------------------------
Term = tuple[Value, Labels]


def _prepared(value: Value, labels: Labels) -> Term:
    """An operand with each label once: the diagonal where one was named twice."""
    for label in sorted(set(labels)):
        places = [k for k, n in enumerate(labels) if n == label]
        if len(places) > 1:
            rest = [k for k in range(value.ndim) if k not in places]
            turned = movement.transpose(value, [*places, *rest])
            counter = movement.iota(movement.dim(turned, 0), cls=type(constant(0)))
            value = gather(turned, [counter] * len(places))
            labels = (label, *(labels[k] for k in rest))
    return value, labels


def _without_broadcasts(terms: Sequence[Term]) -> list[Term]:
    """Axes known to be 1 dropped where another operand has more of the same label."""
    wide = {label for value, labels in terms
            for d, label in zip(value.type.shape, labels, strict=True) if d != 1}  # fmt: skip
    made = []
    for value, labels in terms:
        ones = [k for k, (d, label) in enumerate(zip(value.type.shape, labels, strict=True))
                if d == 1 and label in wide]  # fmt: skip
        kept = tuple(label for k, label in enumerate(labels) if k not in ones)
        made.append((movement.squeeze(value, ones), kept))
    return made


def _sum_over(value: Value, axes: Sequence[int]) -> Value:
    reduce = reduction.any_over if value.dtype == BOOL else reduction.sum_
    return reduce(value, axes) if axes else value


def _reduced(value: Value, labels: Labels, kept: set[int]) -> Term:
    """Summed over the labels nobody else asks for."""
    axes = [k for k, label in enumerate(labels) if label not in kept]
    return _sum_over(value, axes), tuple(label for label in labels if label in kept)


# --- pairs -------------------------------------------------------------------------------------
def _path(terms: Sequence[Term], output: Labels, optimize: Any) -> list[tuple[int, ...]]:
    if len(terms) < 3:
        return [tuple(range(len(terms)))]
    every = sorted({label for _, labels in terms for label in labels} | set(output))
    letter = {label: _LETTERS[k] for k, label in enumerate(every)}
    extents = {label: d for value, labels in terms
               for d, label in zip(value.type.shape, labels, strict=True)
               if isinstance(d, int)}  # fmt: skip
    dummies = [np.broadcast_to(0.0, [extents.get(label, _GUESS) for label in labels])
               for _, labels in terms]  # fmt: skip
    texts = ["".join(letter[n] for n in labels) for _, labels in terms]
    asked = f"{','.join(texts)}->{''.join(letter[n] for n in output if n in letter)}"
    found = np.einsum_path(asked, *dummies, optimize=optimize or "greedy")[0][1:]
    return [p for step in found for p in _two_by_two(step)]


def _two_by_two(step: tuple[int, ...]) -> list[tuple[int, ...]]:
    """A join of several operands as joins of two, of which the latest stands at the end."""
    first, *rest = sorted(step)
    joins: list[tuple[int, ...]] = [(first, *rest[:1])]
    for done, place in enumerate(rest[1:], start=2):
        joins.append((place - done, -1))
    return joins


def _joined(chosen: Sequence[Term], left: set[int]) -> Term:
    if len(chosen) == 1:
        return _reduced(*chosen[0], left)
    a, b = chosen
    a, b = _reduced(*a, left | set(b[1])), _reduced(*b, left | set(a[1]))
    shared = [label for label in a[1] if label in b[1]]
    return contracted(a, b, [n for n in shared if n not in left], [n for n in shared if n in left])


def contracted(a: Term, b: Term, summed: Sequence[int], batch: Sequence[int]) -> Term:
    """The product of two operands summed over some labels they share, side by side in others."""
    free = [[n for n in labels if n not in summed and n not in batch] for _, labels in (a, b)]
    if not summed or not (free[0] or free[1]):
        every = [*batch, *free[0], *free[1], *summed]
        y = multiply(_spread(a, every), _spread(b, every))
        axes = range(len(every) - len(summed), len(every))
        return _sum_over(y, axes), tuple(every[: len(every) - len(summed)])
    left, sizes_a = _folded(a, batch, free[0], summed)
    right, sizes_b = _folded(b, batch, summed, free[1])
    y = linear.matmul(left, right)
    lead = movement.dims(y)[: len(batch)]
    shape = (*lead, *sizes_a[: len(free[0])], *sizes_b[len(summed) :])
    return movement.reshape(y, shape), (*batch, *free[0], *free[1])


def _spread(term: Term, every: Sequence[int]) -> Value:
    """An operand with an axis for every label, in this order."""
    value, labels = term
    order = [labels.index(n) for n in every if n in labels]
    turned = movement.transpose(value, order)
    return movement.expand_dims(turned, [k for k, n in enumerate(every) if n not in labels])


def _folded(
    term: Term, batch: Sequence[int], rows: Sequence[int], columns: Sequence[int]
) -> tuple[Value, list[Any]]:
    """An operand as a batch of matrices, and the extents that were folded into them."""
    value, labels = term
    turned = movement.transpose(value, [labels.index(n) for n in (*batch, *rows, *columns)])
    sizes = movement.dims(turned)
    lead, rest = sizes[: len(batch)], list(sizes[len(batch) :])
    if len(rows) == len(columns) == 1:
        return turned, rest
    folded = [movement.product(part) for part in (rest[: len(rows)], rest[len(rows) :])]
    return movement.reshape(turned, (*lead, *folded)), rest


# --- tensordot ---------------------------------------------------------------------------------
@public
def tensordot(a: ArrayLike, b: ArrayLike, axes: Any = 2) -> Value:
    """The product summed over axes: the last `axes` of a with the first of b, or two lists."""
    first, second = promoted([as_tensor(a), as_tensor(b)])
    if isinstance(axes, int | np.integer):
        count = int(axes)
        if count > min(first.ndim, second.ndim):
            raise ShapeError(f"tensordot over {count} axes of {first.type} and {second.type}")
        pairs = [list(range(first.ndim - count, first.ndim)), list(range(count))]
    else:
        pairs = [list(p) if isinstance(p, list | tuple) else [p] for p in axes]
    of_a, of_b = ([normalise_axis(k, v.ndim) for k in given]
                  for given, v in zip(pairs, (first, second), strict=True))  # fmt: skip
    if len(of_a) != len(of_b):
        raise ShapeError(f"tensordot over {len(of_a)} axes of a and {len(of_b)} of b")
    return _over(first, of_a, second, of_b)


def _over(a: Value, of_a: Sequence[int], b: Value, of_b: Sequence[int]) -> Value:
    for i, j in zip(of_a, of_b, strict=True):
        m, n = a.type.shape[i], b.type.shape[j]
        if isinstance(m, int) and isinstance(n, int) and m != n:
            raise ShapeError(f"tensordot of {a.type} and {b.type}: {m} is not {n}")
    labels_a = tuple(range(a.ndim))
    partner = dict(zip(of_b, of_a, strict=True))
    labels_b = tuple(partner.get(k, a.ndim + k) for k in range(b.ndim))
    y, _ = contracted((a, labels_a), (b, labels_b), of_a, ())
    return y

