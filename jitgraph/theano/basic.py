"""`theano.tensor`: functions whose arguments or meaning differ from NumPy's, and so from ours."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

import jitgraph.tensor as jt
from jitgraph.errors import OptionError, ShapeError
from jitgraph.ir.ops import movement
from jitgraph.ir.values import Value
from jitgraph.theano.types import named_dtype
from jitgraph.theano.variables import Shape, as_tensor_variable, reshape, rounded, spoken

__all__ = ["reshape"]


def _tensors(given: Any) -> list[Any]:
    return [as_tensor_variable(g) for g in given]


def _axes(axis: Any) -> Any:
    """An axis, or a tuple of them; NumPy's integers and lists too."""
    if axis is None:
        return None
    if isinstance(axis, list | tuple | np.ndarray):
        return tuple(int(a) for a in axis)
    return int(axis.literal.array) if isinstance(axis, Value) and axis.literal else axis


# --- reductions --------------------------------------------------------------------------------
@spoken
def sum(input: Any, axis: Any = None, dtype: Any = None, keepdims: bool = False,
        acc_dtype: Any = None) -> Any:  # fmt: skip
    """The sum over axes."""
    return jt.sum(as_tensor_variable(input), _axes(axis), dtype or acc_dtype, keepdims)


@spoken
def prod(input: Any, axis: Any = None, dtype: Any = None, keepdims: bool = False,
         acc_dtype: Any = None, no_zeros_in_input: bool = False) -> Any:  # fmt: skip
    """The product over axes."""
    return jt.prod(as_tensor_variable(input), _axes(axis), dtype or acc_dtype, keepdims)


@spoken
def mean(input: Any, axis: Any = None, dtype: Any = None, op: bool = False,
         keepdims: bool = False, acc_dtype: Any = None) -> Any:  # fmt: skip
    """The mean over axes."""
    return jt.mean(as_tensor_variable(input), _axes(axis), dtype or acc_dtype, keepdims)


@spoken
def var(input: Any, axis: Any = None, ddof: int = 0, keepdims: bool = False,
        corrected: bool = False) -> Any:  # fmt: skip
    """The variance over axes."""
    return jt.var(as_tensor_variable(input), _axes(axis), None, keepdims, ddof)


@spoken
def std(input: Any, axis: Any = None, ddof: int = 0, keepdims: bool = False,
        corrected: bool = False) -> Any:  # fmt: skip
    """The standard deviation over axes."""
    return jt.std(as_tensor_variable(input), _axes(axis), None, keepdims, ddof)


@spoken
def max(x: Any, axis: Any = None, keepdims: bool = False) -> Any:
    """The largest element over axes."""
    return jt.max(as_tensor_variable(x), _axes(axis), keepdims)


@spoken
def min(x: Any, axis: Any = None, keepdims: bool = False) -> Any:
    """The smallest element over axes."""
    return jt.min(as_tensor_variable(x), _axes(axis), keepdims)


@spoken
def argmax(x: Any, axis: Any = None, keepdims: bool = False) -> Any:
    """Where the largest element is."""
    return jt.argmax(as_tensor_variable(x), _axes(axis), keepdims)


@spoken
def argmin(x: Any, axis: Any = None, keepdims: bool = False) -> Any:
    """Where the smallest element is."""
    return jt.argmin(as_tensor_variable(x), _axes(axis), keepdims)


@spoken
def max_and_argmax(a: Any, axis: Any = None, keepdims: bool = False) -> list[Any]:
    """The largest element over axes, and where it is."""
    a, axis = as_tensor_variable(a), _axes(axis)
    return [jt.max(a, axis, keepdims), jt.argmax(a, axis, keepdims)]


@spoken
def ptp(a: Any, axis: Any = None) -> Any:
    """The largest element less the smallest."""
    return jt.ptp(as_tensor_variable(a), _axes(axis))


# --- dtypes and rounding -----------------------------------------------------------------------
@spoken
def cast(x: Any, dtype: Any) -> Any:
    """x in another dtype; "floatX" stands for that of the settings."""
    return jt.cast(x, named_dtype(dtype))


round = rounded


@spoken
def iround(a: Any, mode: Any = None) -> Any:
    """The nearest integers, as int64."""
    return jt.cast(rounded(a, mode), "int64")


@spoken
def clip(x: Any, min: Any, max: Any) -> Any:
    """x brought into min..max."""
    return jt.clip(x, min, max)


@spoken
def complex(real: Any, imag: Any) -> Any:
    """real + i·imag."""
    return as_tensor_variable(real) + 1j * as_tensor_variable(imag)


@spoken
def complex_from_polar(abs: Any, angle: Any) -> Any:
    """abs·exp(i·angle)."""
    return complex(abs * jt.cos(angle), abs * jt.sin(angle))


@spoken
def chi2sf(x: Any, k: Any) -> Any:
    """The survival function of the chi-square distribution."""
    return jt.special.gammaincc(k / 2.0, x / 2.0)


@spoken
def xlogx(x: Any) -> Any:
    """x·log(x), 0 at 0."""
    return jt.special.xlogy(x, x)


@spoken
def xlogy0(x: Any, y: Any) -> Any:
    """x·log(y), 0 where x is 0."""
    return jt.special.xlogy(x, y)


def largest(*args: Any) -> Any:
    """The largest of several, element by element."""
    return _folded(jt.maximum, args)


def smallest(*args: Any) -> Any:
    """The smallest of several, element by element."""
    return _folded(jt.minimum, args)


@spoken
def _folded(function: Any, args: Sequence[Any]) -> Any:
    made = as_tensor_variable(args[0])
    for arg in args[1:]:
        made = function(made, arg)
    return made


def mul(*args: Any) -> Any:
    """The product of several, element by element."""
    return _folded(jt.multiply, args)


def add(*args: Any) -> Any:
    """The sum of several, element by element."""
    return _folded(jt.add, args)


@spoken
def switch(cond: Any, ift: Any, iff: Any) -> Any:
    """ift where cond is not 0, iff elsewhere; two Python floats are of floatX."""
    if type(ift) is float and isinstance(iff, int | float):
        ift = as_tensor_variable(ift)
    elif type(iff) is float and isinstance(ift, int | float):
        iff = as_tensor_variable(iff)
    return jt.where(as_tensor_variable(cond), ift, iff)


where = switch


# --- making arrays -----------------------------------------------------------------------------
def _float(dtype: Any) -> Any:
    return named_dtype(dtype or "floatX")


@spoken
def zeros(shape: Any, dtype: Any = None) -> Any:
    """Zeros."""
    return jt.zeros(shape, _float(dtype))


@spoken
def ones(shape: Any, dtype: Any = None) -> Any:
    """Ones."""
    return jt.ones(shape, _float(dtype))


@spoken
def zeros_like(model: Any, dtype: Any = None, opt: bool = False) -> Any:
    """Zeros in the shape of another array."""
    return jt.zeros_like(model, dtype)


@spoken
def ones_like(model: Any, dtype: Any = None, opt: bool = False) -> Any:
    """Ones in the shape of another array."""
    return jt.ones_like(model, dtype)


@spoken
def fill(a: Any, b: Any) -> Any:
    """b in the shape of a."""
    b = as_tensor_variable(b)
    return jt.broadcast_to(b, as_tensor_variable(a).shape)


@spoken
def alloc(value: Any, *shape: Any) -> Any:
    """The value broadcast to a shape."""
    if len(shape) == 1 and isinstance(shape[0], list | tuple):
        shape = tuple(shape[0])
    return jt.broadcast_to(as_tensor_variable(value), list(shape))


@spoken
def eye(n: Any, m: Any = None, k: Any = 0, dtype: Any = None) -> Any:
    """Ones on a diagonal."""
    return jt.eye(n, m, k, dtype=_float(dtype))


@spoken
def identity_like(x: Any) -> Any:
    """The identity matrix in the shape of another matrix."""
    x = as_tensor_variable(x)
    return jt.eye(x.shape[0], x.shape[1], dtype=x.dtype)


@spoken
def arange(start: Any, stop: Any = None, step: Any = 1, dtype: Any = None) -> Any:
    """Numbers from start up to stop."""
    return jt.arange(start, dtype=dtype) if stop is None else jt.arange(start, stop, step, dtype)


# --- joining and taking apart ------------------------------------------------------------------
@spoken
def concatenate(tensor_list: Any, axis: Any = 0) -> Any:
    """Arrays joined along an axis."""
    return jt.concatenate(_tensors(tensor_list), axis)


@spoken
def join(axis: Any, *tensors_list: Any) -> Any:
    """Arrays joined along an axis."""
    return jt.concatenate(_tensors(tensors_list), _axes(axis))


@spoken
def stack(*tensors: Any, axis: int = 0) -> Any:
    """Arrays joined along a new axis: a list of them and the axis, or the arrays themselves."""
    if tensors and isinstance(tensors[0], list | tuple) and not isinstance(tensors[0], Shape):
        return jt.stack(_tensors(tensors[0]), *(tensors[1:] or (axis,)))
    return jt.stack(_tensors(tensors), axis)


def stacklists(arg: Any) -> Any:
    """Nested lists of variables as one array."""
    if isinstance(arg, list | tuple):
        return stack([stacklists(a) for a in arg])
    return as_tensor_variable(arg)


def horizontal_stack(*args: Any) -> Any:
    """Matrices side by side."""
    return concatenate(args, axis=1)


def vertical_stack(*args: Any) -> Any:
    """Matrices below each other."""
    return concatenate(args, axis=0)


@spoken
def split(x: Any, splits_size: Any, n_splits: int, axis: int = 0) -> list[Any]:
    """Parts along an axis, of the sizes given."""
    x, parts, start = as_tensor_variable(x), [], as_tensor_variable(0)
    sizes = splits_size if isinstance(splits_size, list | tuple) else [
        splits_size[k] for k in range(n_splits)
    ]
    if len(sizes) != n_splits:
        raise ShapeError(f"{len(sizes)} sizes for {n_splits} parts")
    for size in sizes:
        key = (slice(None),) * (axis % x.ndim) + (slice(start, start + size),)
        parts.append(x[key])
        start = start + size
    return parts


@spoken
def tile(x: Any, reps: Any, ndim: int | None = None) -> Any:
    """x repeated side by side."""
    if isinstance(reps, Value) and reps.ndim == 1:
        known = movement.dim(reps, 0) if ndim is None else ndim
        if not isinstance(known, int):
            raise ShapeError("how many repeats there are is not known", hint="ndim=")
        reps = [as_tensor_variable(reps)[k] for k in range(known)]
    reps = reps if isinstance(reps, list | tuple | Value) else (reps,)
    if ndim is not None and isinstance(reps, list | tuple):
        reps = (*(1,) * (ndim - len(reps)), *reps)
    return jt.tile(as_tensor_variable(x), reps)


@spoken
def repeat(x: Any, repeats: Any, axis: int | None = None) -> Any:
    """Each element or part several times."""
    return jt.repeat(x, repeats, axis)


# --- shapes ------------------------------------------------------------------------------------
def shape(x: Any) -> Any:
    """The extents, as an integer vector."""
    return as_tensor_variable(x).shape


def shape_i(x: Any, i: int) -> Any:
    """One extent."""
    return as_tensor_variable(x).shape[i]


@spoken
def flatten(x: Any, ndim: int = 1, outdim: int | None = None) -> Any:
    """The trailing axes merged so that `ndim` are left."""
    return jt.flatten(as_tensor_variable(x), ndim if outdim is None else outdim)


@spoken
def transpose(x: Any, axes: Any = None) -> Any:
    """The axes in another order."""
    return jt.transpose(as_tensor_variable(x), *([] if axes is None else [list(axes)]))


@spoken
def shape_padleft(t: Any, n_ones: int = 1) -> Any:
    """New axes in front."""
    return jt.shape_padleft(as_tensor_variable(t), n_ones)


@spoken
def shape_padright(t: Any, n_ones: int = 1) -> Any:
    """New axes at the end."""
    return jt.shape_padright(as_tensor_variable(t), n_ones)


@spoken
def shape_padaxis(t: Any, axis: int) -> Any:
    """A new axis at a place."""
    return jt.expand_dims(as_tensor_variable(t), axis)


@spoken
def addbroadcast(x: Any, *axes: int) -> Any:
    """x, whose extent along these axes must be 1."""
    x = as_tensor_variable(x)
    ones = {a % x.ndim for a in axes}
    return jt.reshape(x, [1 if a in ones else d for a, d in enumerate(movement.dims(x))])


def unbroadcast(x: Any, *axes: int) -> Any:
    """x itself: an axis broadcasts if its extent is 1, whatever its type says."""
    return as_tensor_variable(x)


def patternbroadcast(x: Any, broadcastable: Sequence[bool]) -> Any:
    """x, whose extents must be 1 where the pattern says so."""
    return addbroadcast(x, *(a for a, one in enumerate(broadcastable) if one))


@spoken
def specify_shape(x: Any, shape: Any) -> Any:
    """x, which must have this shape."""
    x = as_tensor_variable(x)
    for axis in range(x.ndim):
        wanted = shape[axis]
        if wanted is not None:  # the others stay, so that the number of elements tells this one
            x = jt.reshape(x, [wanted if a == axis else d for a, d in enumerate(movement.dims(x))])
    return x


# --- elements ----------------------------------------------------------------------------------
def nonzero(a: Any, return_matrix: bool = False) -> Any:
    """The indices of elements that are not zero."""
    return as_tensor_variable(a).nonzero(return_matrix)


def nonzero_values(a: Any) -> Any:
    """The elements that are not zero."""
    return as_tensor_variable(a).nonzero_values()


@spoken
def take(a: Any, indices: Any, axis: int | None = None, mode: str = "raise") -> Any:
    """Elements at indices."""
    a, indices = as_tensor_variable(a), as_tensor_variable(indices)
    if mode in ("clip", "wrap"):
        size = a.size if axis is None else a.shape[axis]
        indices = jt.clip(indices, 0, size - 1) if mode == "clip" else indices % size
    return jt.take(a, indices, axis)


@spoken
def set_subtensor(x: Any, y: Any, inplace: bool = False,
                  tolerate_inplace_aliasing: bool = False) -> Any:  # fmt: skip
    """The array that x is a part of, with y there."""
    return jt.set_subtensor(x, y)


@spoken
def inc_subtensor(x: Any, y: Any, inplace: bool = False, set_instead_of_inc: bool = False,
                  tolerate_inplace_aliasing: bool = False) -> Any:  # fmt: skip
    """The array that x is a part of, with y added there."""
    return (jt.set_subtensor if set_instead_of_inc else jt.inc_subtensor)(x, y)


@spoken
def sort(a: Any, axis: int | None = -1, kind: str = "quicksort", order: Any = None) -> Any:
    """The elements in order."""
    return jt.sort(a, axis)


@spoken
def argsort(a: Any, axis: int | None = -1, kind: str = "quicksort", order: Any = None) -> Any:
    """The indices that sort."""
    return jt.argsort(a, axis)


@spoken
def topk_and_argtopk(x: Any, kth: int, axis: int = -1, sorted: bool = True,
                     idx_dtype: str = "int64") -> list[Any]:  # fmt: skip
    """The k largest elements along an axis (the smallest if k is negative), and where they are."""
    x = as_tensor_variable(x)
    order = jt.argsort(x if kth < 0 else -x, axis)
    key = (slice(None),) * (axis % x.ndim) + (slice(0, abs(kth)),)
    places = order[key]
    return [jt.take_along_axis(x, places, axis), jt.cast(places, idx_dtype)]


def topk(x: Any, kth: int, axis: int = -1, sorted: bool = True) -> Any:
    """The k largest elements along an axis."""
    return topk_and_argtopk(x, kth, axis, sorted)[0]


def argtopk(x: Any, kth: int, axis: int = -1, sorted: bool = True,
            idx_dtype: str = "int64") -> Any:  # fmt: skip
    """Where the k largest elements along an axis are."""
    return topk_and_argtopk(x, kth, axis, sorted, idx_dtype)[1]


# --- products ----------------------------------------------------------------------------------
@spoken
def dot(a: Any, b: Any) -> Any:
    """The product of vectors, matrices or more."""
    return jt.dot(as_tensor_variable(a), as_tensor_variable(b))


@spoken
def tensordot(a: Any, b: Any, axes: Any = 2) -> Any:
    """The product summed over axes."""
    if not isinstance(axes, int | np.integer):
        axes = np.asarray(axes).tolist()
    return jt.tensordot(as_tensor_variable(a), as_tensor_variable(b), axes)


@spoken
def batched_dot(a: Any, b: Any) -> Any:
    """The product of each a[k] and b[k]."""
    return jt.batched_dot(as_tensor_variable(a), as_tensor_variable(b))


@spoken
def batched_tensordot(x: Any, y: Any, axes: Any = 2) -> Any:
    """`tensordot` of each x[k] and y[k]; axes count the first one."""
    x, y = as_tensor_variable(x), as_tensor_variable(y)
    if isinstance(axes, int):
        pairs = [list(range(x.ndim - axes, x.ndim)), list(range(1, axes + 1))]
    else:
        pairs = [list(a) if isinstance(a, list | tuple) else [a] for a in axes]
    letters = iter("bcdefghijklmnopqrstuvwxyz")
    left = ["a", *(next(letters) for _ in range(x.ndim - 1))]
    right = ["a", *(next(letters) for _ in range(y.ndim - 1))]
    for p, q in zip(*pairs, strict=True):
        right[q] = left[p]
    out = ["a", *(c for k, c in enumerate(left) if k and k not in pairs[0]),
           *(c for k, c in enumerate(right) if k and k not in pairs[1])]  # fmt: skip
    return jt.einsum(f"{''.join(left)},{''.join(right)}->{''.join(out)}", x, y)


# --- what variables are ------------------------------------------------------------------------
def get_vector_length(v: Any) -> int:
    """The length of a vector, where it is known; raises ValueError."""
    if isinstance(v, list | tuple):
        return len(v)
    length = as_tensor_variable(v).type.shape[0]
    if not isinstance(length, int):
        raise ValueError(f"the length of {v.describe()} is not known")
    return length


def default(x: Any, value: Any) -> Any:
    """x, or the value if x is None."""
    return value if x is None else x


def tensor_copy(x: Any) -> Any:
    """x: variables never change."""
    return as_tensor_variable(x)


def scalar_from_tensor(x: Any) -> Any:
    """x: a scalar is an array of rank 0."""
    return as_tensor_variable(x)


tensor_from_scalar = scalar_from_tensor


class DimShuffle:
    """`DimShuffle(input_broadcastable, new_order)(x)` is `x.dimshuffle(new_order)`."""

    def __init__(self, input_broadcastable: Any, new_order: Any, inplace: bool = True) -> None:
        self.input_broadcastable, self.new_order = tuple(input_broadcastable), tuple(new_order)

    def __call__(self, x: Any) -> Any:
        x = as_tensor_variable(x)
        if x.ndim != len(self.input_broadcastable):
            raise OptionError(f"the pattern is of {len(self.input_broadcastable)} axes, not of the "
                              f"{x.ndim} of {x.describe()}")  # fmt: skip
        return x.dimshuffle(*self.new_order)
