"""`Variable`: the array a user computes with before it exists."""

from __future__ import annotations

import html
from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING, Any, ClassVar, NoReturn

import numpy as np

from jitgraph.errors import DTypeError, InternalError, TruthValueError
from jitgraph.ir.function import print_expression
from jitgraph.ir.opdef import ArrayLike, Size
from jitgraph.ir.ops import arithmetic, movement
from jitgraph.ir.types import DTYPE_NAMES, is_supported
from jitgraph.ir.values import Value
from jitgraph.tensor import (
    arranging,
    counting,
    diagonals,
    dispatch,
    functions,
    indexing,
    linear,
    masks,
    math,
    reductions,
    shaping,
    sorting,
    writing,
)
from jitgraph.tensor.operands import Axis, refuse, typed, user_class

#: What `Variable.eval` calls: `(variable, givens) -> array`. Compiling lies above this package, and
#: imports point downward only, so `jitgraph.function` puts its evaluator here when imported.
EVALUATOR: Callable[[Variable, Mapping[Any, Any]], Any] | None = None
#: Called before a variable refuses to be a number: `jitgraph.tracing` puts here what makes a trace
#: start over with extents known, and does not return then.
FIX_EXTENTS: Callable[[Value], object] = id

_HOW_TO_COMPUTE = (
    "compute it with .eval({variable: value}) or jitgraph.function; under jit, name an argument in "
    "static_argnames to have its value, and loop with T.scan"
)
_HOW_TO_MEET_ARRAYS = (
    "np.stack joins variables, np.take(array, i, axis=0) or T.asarray(array)[i] indexes an array "
    "by a variable, T.asarray(array).at[i].set(v) is the array with a variable written into it; "
    + _HOW_TO_COMPUTE
)

_equal, _not_equal = math.FUNCTIONS["equal"], math.FUNCTIONS["not_equal"]
_power = math.FUNCTIONS["power"]


@user_class
class Variable(Value):
    """A symbolic array: arithmetic, comparison, indexing and the methods of NumPy arrays build
    expressions, which `jitgraph.function` compiles.

    `type` has its dtype and what is known of its shape. All errors are `jitgraph.errors` and name
    the line of the user's program.
    """

    __slots__ = ("evaluators", "indexed")
    transient: ClassVar[tuple[str, ...]] = ("evaluators",)
    #: Results of ops over this class and its subclasses are of this class.
    expression_class: ClassVar[type[Variable]]
    #: What `eval` has compiled for this expression, by the variables given; unset until it has.
    evaluators: dict[Any, Any]
    #: What was indexed, and by what, to make this; unset for other expressions.
    indexed: tuple[Variable, Any]
    __hash__ = Value.__hash__

    if TYPE_CHECKING:  # the operators of `ir.operators`, as type checkers should see them
        def __add__(self, other: ArrayLike) -> Variable: ...
        def __radd__(self, other: ArrayLike) -> Variable: ...
        def __sub__(self, other: ArrayLike) -> Variable: ...
        def __rsub__(self, other: ArrayLike) -> Variable: ...
        def __mul__(self, other: ArrayLike) -> Variable: ...
        def __rmul__(self, other: ArrayLike) -> Variable: ...
        def __truediv__(self, other: ArrayLike) -> Variable: ...
        def __rtruediv__(self, other: ArrayLike) -> Variable: ...
        def __floordiv__(self, other: ArrayLike) -> Variable: ...
        def __rfloordiv__(self, other: ArrayLike) -> Variable: ...
        def __mod__(self, other: ArrayLike) -> Variable: ...
        def __rmod__(self, other: ArrayLike) -> Variable: ...
        def __and__(self, other: ArrayLike) -> Variable: ...
        def __rand__(self, other: ArrayLike) -> Variable: ...
        def __or__(self, other: ArrayLike) -> Variable: ...
        def __ror__(self, other: ArrayLike) -> Variable: ...
        def __xor__(self, other: ArrayLike) -> Variable: ...
        def __rxor__(self, other: ArrayLike) -> Variable: ...
        def __lshift__(self, other: ArrayLike) -> Variable: ...
        def __rlshift__(self, other: ArrayLike) -> Variable: ...
        def __rshift__(self, other: ArrayLike) -> Variable: ...
        def __rrshift__(self, other: ArrayLike) -> Variable: ...
        def __lt__(self, other: ArrayLike) -> Variable: ...
        def __le__(self, other: ArrayLike) -> Variable: ...
        def __gt__(self, other: ArrayLike) -> Variable: ...
        def __ge__(self, other: ArrayLike) -> Variable: ...
        def __neg__(self) -> Variable: ...
        def __pos__(self) -> Variable: ...
        def __abs__(self) -> Variable: ...
        def __invert__(self) -> Variable: ...

    # --- NumPy's functions: see `tensor.dispatch` ------------------------------------------------
    def __array_ufunc__(self, ufunc: Any, method: str, *inputs: Any, **options: Any) -> Any:
        """`np.exp(x)` and `array + x` build what `T.exp(x)` and `x + array` do."""
        return dispatch.call_ufunc(self, ufunc, method, inputs, options)

    def __array_function__(self, function: Any, types: Any, args: Any, kwargs: Any) -> Any:
        return dispatch.call_function(self, function, args, kwargs)

    # --- what it is -----------------------------------------------------------------------------
    @property
    def shape(self) -> tuple[int | Variable, ...]:
        """Extents: integers where known, else int64 scalar variables."""
        return tuple(map(_size, movement.dims(self)))

    @property
    def size(self) -> int | Variable:
        """The number of elements."""
        return _size(movement.product(movement.dims(self)))

    @property
    def T(self) -> Variable:  # noqa: N802  (NumPy's name)
        """The axes in reverse order."""
        return shaping.transpose(self)

    def eval(self, givens: Mapping[Any, Any] | None = None) -> Any:
        """The value as a NumPy array, given arrays (or lists, numbers) for the variables, or
        expressions, it is made of: `(x + y).eval({x: 1, y: [2, 3]})`. For a look at a result, not
        for speed."""
        if EVALUATOR is None:
            raise InternalError("nothing can evaluate yet", hint="import jitgraph")
        return EVALUATOR(self, givens or {})

    # --- comparison, and what a symbol cannot be ------------------------------------------------
    def __eq__(self, other: object) -> Any:
        return _equal(self, other) if _is_array(other) else NotImplemented

    def __ne__(self, other: object) -> Any:
        return _not_equal(self, other) if _is_array(other) else NotImplemented

    def __bool__(self) -> bool:
        FIX_EXTENTS(self)
        refuse(
            TruthValueError(
                f"{self.describe()} ({self.type}) is symbolic: it is neither true nor false yet",
                hint="choose between values with T.where(condition, a, b), or run one of two "
                "functions with T.cond(condition, f, g)",
            ),
            self,
        )

    def _refuse(self, what: str, hint: str = _HOW_TO_COMPUTE) -> NoReturn:
        FIX_EXTENTS(self)
        refuse(DTypeError(f"{self.describe()} ({self.type}) is symbolic: {what}", hint=hint), self)

    def __float__(self) -> float:
        self._refuse("it has no number yet")

    def __int__(self) -> int:
        self._refuse("it has no number yet")

    def __complex__(self) -> complex:
        self._refuse("it has no number yet")

    def __index__(self) -> int:
        self._refuse("it has no number yet")

    def __array__(self, dtype: Any = None, copy: Any = None) -> np.ndarray[Any, Any]:
        self._refuse("it is no NumPy array yet", _HOW_TO_MEET_ARRAYS)

    def __len__(self) -> int:
        length = self._leading("has no length")
        if not isinstance(length, int):
            FIX_EXTENTS(typed(movement.dim(self, 0)))
            self._refuse("its length is not known yet")
        return length

    def __iter__(self) -> Iterator[Variable]:
        length = self._leading("cannot be iterated over")
        if not isinstance(length, int):
            FIX_EXTENTS(typed(movement.dim(self, 0)))
            refuse(
                DTypeError(
                    f"cannot iterate over {self.describe()} ({self.type}): its length is not known",
                    hint="give the shape when the variable is made, such as shape=(3, None), or "
                    "compute all rows at once with jitgraph.vmap",
                ),
                self,
            )
        return (indexing.getitem(self, i) for i in range(length))

    def _leading(self, without: str) -> Any:
        if not self.ndim:
            refuse(DTypeError(f"{self.describe()} is a scalar ({self.type}): it {without}"), self)
        return self.type.shape[0]

    # --- products, indexing ---------------------------------------------------------------------
    def __matmul__(self, other: ArrayLike) -> Variable:
        return linear.matmul(self, other)

    def __rmatmul__(self, other: ArrayLike) -> Variable:
        return linear.matmul(other, self)

    def __pow__(self, other: ArrayLike) -> Variable:
        return _power(self, other)

    def __rpow__(self, other: ArrayLike) -> Variable:
        return _power(other, self)

    def __divmod__(self, other: ArrayLike) -> tuple[Variable, Variable]:
        return self // other, self % other

    def __round__(self, decimals: int = 0) -> Variable:
        return math.round(self, decimals)

    def dot(self, other: ArrayLike) -> Variable:
        """`T.dot(self, other)`."""
        return linear.dot(self, other)

    def __getitem__(self, key: Any) -> Variable:
        made = indexing.getitem(self, key)
        if made is not self:
            made.indexed = (self, key)
        return made

    @property
    def at(self) -> writing.At:
        """`x.at[key].set(v)` is x with `x[key]` replaced; also `add`, `multiply`, `min`, `max`."""
        return writing.At(self)

    def take(self, indices: ArrayLike, axis: int | None = None) -> Variable:
        """Elements at integer indices along an axis, or of the flattened array."""
        return indexing.take(self, indices, axis)

    def argsort(self, axis: int | None = -1, kind: str | None = None) -> Variable:
        """The indices that sort along an axis."""
        return sorting.argsort(self, axis, kind)

    def argpartition(
        self, kth: Any, axis: int | None = -1, kind: str = "introselect"
    ) -> Variable:
        """The indices that partition along an axis."""
        return sorting.argpartition(self, kth, axis, kind)

    def nonzero(self) -> tuple[Variable, ...]:
        """The indices of the elements that are not zero, one vector for each axis."""
        return masks.nonzero(self)

    def compress(self, condition: ArrayLike, axis: int | None = None) -> Variable:
        """The parts along an axis where the condition is true."""
        return masks.compress(condition, self, axis)

    # --- reductions: see `tensor.reductions` ----------------------------------------------------
    def sum(
        self, axis: Axis = None, dtype: Any = None, keepdims: bool = False,
        *, initial: ArrayLike = None, where: ArrayLike = True,
    ) -> Variable:  # fmt: skip
        """The sum of elements over axes."""
        return reductions.sum(self, axis, dtype, keepdims, initial=initial, where=where)

    def prod(
        self, axis: Axis = None, dtype: Any = None, keepdims: bool = False,
        *, initial: ArrayLike = None, where: ArrayLike = True,
    ) -> Variable:  # fmt: skip
        """The product of elements over axes."""
        return reductions.prod(self, axis, dtype, keepdims, initial=initial, where=where)

    def mean(
        self, axis: Axis = None, dtype: Any = None, keepdims: bool = False,
        *, where: ArrayLike = True,
    ) -> Variable:  # fmt: skip
        """The arithmetic mean over axes."""
        return reductions.mean(self, axis, dtype, keepdims, where=where)

    def var(
        self, axis: Axis = None, dtype: Any = None, keepdims: bool = False, ddof: int = 0
    ) -> Variable:
        """The variance over axes."""
        return reductions.var(self, axis, dtype, keepdims, ddof)

    def std(
        self, axis: Axis = None, dtype: Any = None, keepdims: bool = False, ddof: int = 0
    ) -> Variable:
        """The standard deviation over axes."""
        return reductions.std(self, axis, dtype, keepdims, ddof)

    def min(
        self, axis: Axis = None, keepdims: bool = False,
        *, initial: ArrayLike = None, where: ArrayLike = True,
    ) -> Variable:  # fmt: skip
        """The smallest element over axes."""
        return reductions.min(self, axis, keepdims, initial=initial, where=where)

    def max(
        self, axis: Axis = None, keepdims: bool = False,
        *, initial: ArrayLike = None, where: ArrayLike = True,
    ) -> Variable:  # fmt: skip
        """The largest element over axes."""
        return reductions.max(self, axis, keepdims, initial=initial, where=where)

    def cumsum(self, axis: int | None = None, dtype: Any = None) -> Variable:
        """The sum of all elements up to each along an axis."""
        return reductions.cumsum(self, axis, dtype)

    def cumprod(self, axis: int | None = None, dtype: Any = None) -> Variable:
        """The product of all elements up to each along an axis."""
        return reductions.cumprod(self, axis, dtype)

    def argmin(self, axis: Axis = None, keepdims: bool = False) -> Variable:
        """Position of the smallest element."""
        return reductions.argmin(self, axis, keepdims)

    def argmax(self, axis: Axis = None, keepdims: bool = False) -> Variable:
        """Position of the largest element."""
        return reductions.argmax(self, axis, keepdims)

    def any(
        self, axis: Axis = None, keepdims: bool = False, *, where: ArrayLike = True
    ) -> Variable:
        """Whether an element is true."""
        return reductions.any(self, axis, keepdims, where=where)

    def all(
        self, axis: Axis = None, keepdims: bool = False, *, where: ArrayLike = True
    ) -> Variable:
        """Whether every element is true."""
        return reductions.all(self, axis, keepdims, where=where)

    # --- shape: see `tensor.shaping` ------------------------------------------------------------
    def reshape(self, *shape: Any) -> Variable:
        """The elements under another shape; one size may be -1."""
        return shaping.reshape(self, *shape)

    def flatten(self, ndim: int = 1) -> Variable:
        """The trailing axes merged so that `ndim` are left."""
        return shaping.flatten(self, ndim)

    def ravel(self) -> Variable:
        """All elements as a vector."""
        return shaping.ravel(self)

    def transpose(self, *axes: Any) -> Variable:
        """The axes in another order, reversed by default."""
        return shaping.transpose(self, *axes)

    def dimshuffle(self, *pattern: Any) -> Variable:
        """The axes in the order of the pattern, with a new one for every "x"."""
        return shaping.dimshuffle(self, *pattern)

    def swapaxes(self, axis1: int, axis2: int) -> Variable:
        """Two axes exchanged."""
        return shaping.swapaxes(self, axis1, axis2)

    def squeeze(self, axis: Axis = None) -> Variable:
        """Without axes of extent 1."""
        return shaping.squeeze(self, axis)

    def repeat(self, repeats: ArrayLike, axis: int | None = None) -> Variable:
        """`T.repeat(self, repeats, axis)`."""
        return arranging.repeat(self, repeats, axis)

    def diagonal(self, offset: int = 0, axis1: int = 0, axis2: int = 1) -> Variable:
        """The elements on a diagonal of two axes, as the last axis."""
        return diagonals.diagonal(self, offset, axis1, axis2)

    def trace(
        self, offset: int = 0, axis1: int = 0, axis2: int = 1, dtype: Any = None
    ) -> Variable:
        """The sum along a diagonal."""
        return diagonals.trace(self, offset, axis1, axis2, dtype)

    def searchsorted(self, v: ArrayLike, side: str = "left", sorter: Any = None) -> Variable:
        """`T.searchsorted(self, v)`."""
        return counting.searchsorted(self, v, side, sorter)

    @property
    def mT(self) -> Variable:  # noqa: N802  (NumPy's name)
        """The last two axes exchanged."""
        return arranging.matrix_transpose(self)

    # --- elementwise ----------------------------------------------------------------------------
    def astype(self, dtype: Any) -> Variable:
        """The same numbers in another dtype."""
        return math.cast(self, dtype)

    def clip(self, lo: ArrayLike = None, hi: ArrayLike = None) -> Variable:
        """Brought into lo..hi; None leaves a side open."""
        return math.clip(self, lo, hi)

    def round(self, decimals: int = 0) -> Variable:
        """Rounded to a number of decimals, halves to even."""
        return math.round(self, decimals)

    def conj(self) -> Variable:
        """The complex conjugate."""
        return typed(arithmetic.conjugate(self) if self.dtype.kind == "c" else self)

    conjugate = conj

    @property
    def real(self) -> Variable:
        """The real part."""
        return functions.real(self)

    @property
    def imag(self) -> Variable:
        """The imaginary part, 0 for real numbers."""
        return functions.imag(self)

    def copy(self) -> Variable:
        """Itself: a variable never changes."""
        return self

    def choose(self, choices: Any, mode: str = "raise") -> Variable:
        """`T.choose(self, choices)`."""
        return functions.choose(self, choices, mode)

    def item(self, *position: Any) -> NoReturn:
        """Refused: the number is not there yet."""
        self._refuse("it has no number yet")

    def tolist(self) -> NoReturn:
        """Refused: the numbers are not there yet."""
        self._refuse("it has no numbers yet")

    def fill(self, value: Any) -> NoReturn:
        """Refused: `T.full_like` makes a new array."""
        self._refuse("it cannot change (T.full_like(x, value) is new)")

    def put(self, indices: Any, values: Any) -> NoReturn:
        """Refused: `x.at[indices].set(values)` makes a new array."""
        self._refuse("it cannot change (x.at[indices].set(values) is new)")

    def __setitem__(self, key: Any, value: Any) -> NoReturn:
        self._refuse("it cannot change (x.at[key].set(value) is new)")

    # --- display --------------------------------------------------------------------------------
    def __repr__(self) -> str:
        return f"{self.describe()}: {self.type}"

    def __str__(self) -> str:
        """The whole expression as a function of the variables it is made of."""
        return print_expression(self)

    def _repr_html_(self) -> str:
        rows = {
            "name": self.name or "", "dtype": DTYPE_NAMES[self.dtype], "type": str(self.type),
            "made at": self.location.short if self.location else "",
        }  # fmt: skip
        cells = "".join(
            f"<tr><th>{key}</th><td>{html.escape(text)}</td></tr>"
            for key, text in rows.items()
            if text
        )
        return f"<table>{cells}</table><pre>{html.escape(str(self))}</pre>"

    def _repr_mimebundle_(self, include: Any = None, exclude: Any = None) -> dict[str, str]:
        return {"text/plain": repr(self), "text/html": self._repr_html_()}


Variable.expression_class = Variable


def _size(size: Size) -> int | Variable:
    return typed(size) if isinstance(size, Value) else size


def _is_array(other: object) -> bool:
    """Whether `==` with other has NumPy's meaning, rather than that of Python objects."""
    if isinstance(other, np.ndarray | np.generic):
        return is_supported(other.dtype)
    return isinstance(other, Value | int | float | complex | list | tuple)
