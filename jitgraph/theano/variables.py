"""Variables with the habits of Theano's: always true unless they are an ordering, compared with
`==` as the objects they are, with `.type`, `.tag`, `.owner` and `.broadcastable`."""

# mypy: disable-error-code="override"
# (Theano's methods have other arguments than NumPy's.)

from __future__ import annotations

import functools
import sys
from collections.abc import Callable, Iterator, Sequence
from types import SimpleNamespace
from typing import Any, NoReturn

import numpy as np

from jitgraph.config import config as jitgraph_config
from jitgraph.errors import TruthValueError
from jitgraph.ir.ops import movement
from jitgraph.ir.ops.marks import alias
from jitgraph.ir.types import Type, kind_of
from jitgraph.ir.values import Op, Value
from jitgraph.location import Location
from jitgraph.tensor import math, operands, reductions, shaping, sorting
from jitgraph.tensor.operands import as_tensor, refuse, speaking, typed
from jitgraph.tensor.shared import SharedVariable
from jitgraph.tensor.variable import Variable
from jitgraph.theano import testvalues, types
from jitgraph.theano.config import config
from jitgraph.theano.types import KINDS, NAMED, TensorType, named_dtype, type_as_seen

_ORDERINGS = frozenset({"less", "less_equal", "greater", "greater_equal"})


def spoken(function: Callable[..., Any]) -> Callable[..., Any]:
    """A function whose constants, and so whose results, have Theano's habits."""

    @functools.wraps(function)
    def call(*args: Any, **kwargs: Any) -> Any:
        with speaking(TensorVariable):
            return function(*args, **kwargs)

    return call


class Shape(tuple[Any, ...]):
    """The extents of a variable: a tuple of variables that is an integer vector where one is
    meant."""

    __slots__ = ()

    def vector(self) -> Any:
        """The extents as one variable."""
        if not self:
            return TensorVariable.of(np.zeros(0, np.int64))
        with speaking(TensorVariable):
            return as_tensor(list(self))

    def __getitem__(self, key: Any) -> Any:
        if isinstance(key, Value):
            return self.vector()[key]
        found = tuple.__getitem__(self, key)
        return Shape(found) if isinstance(key, slice) else found

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        return getattr(self.vector(), name)

    def __add__(self, other: Any) -> Any:
        return Shape((*self, *other)) if isinstance(other, tuple) else self.vector() + other

    def __radd__(self, other: Any) -> Any:
        return Shape((*other, *self)) if isinstance(other, tuple) else other + self.vector()

    def __mul__(self, other: Any) -> Any:
        return self.vector() * other

    __rmul__ = __mul__

    def __sub__(self, other: Any) -> Any:
        return self.vector() - other

    def __truediv__(self, other: Any) -> Any:
        return self.vector() / other

    def __floordiv__(self, other: Any) -> Any:
        return self.vector() // other


class Apply:
    """An op applied: `x.owner.op`, `x.owner.inputs`, `x.owner.outputs`."""

    def __init__(self, op: Any, inputs: Sequence[Any], outputs: Sequence[Any]) -> None:
        self.op, self.inputs, self.outputs = op, list(inputs), list(outputs)
        if getattr(op, "passes_on", False) and self.outputs[0].op is None:
            self.outputs[0].op = same_as(self.inputs[0]).op

    @classmethod
    def of(cls, value: Value) -> Apply:
        """What made an expression."""
        op = value.op
        assert op is not None
        known: Apply | None = getattr(value, "__dict__", {}).get("_owner")
        return known or cls(op.definition, op.args, [value])

    @property
    def out(self) -> Any:
        """The only output."""
        return self.outputs[0]

    def get_parents(self) -> list[Any]:
        """What it was applied to."""
        return list(self.inputs)

    @property
    def label(self) -> str:
        """What the op is called."""
        return str(getattr(self.op, "name", None) or self.op)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Apply) and self.out is other.out

    def __hash__(self) -> int:
        return hash(self.out)

    def __repr__(self) -> str:
        listed = ", ".join(v.describe() for v in self.inputs)
        return f"{self.label}({listed})"


def same_as(x: Any) -> Any:
    """An expression that is x, if x is none itself."""
    return x if x.op is not None else shaping.reshape(x, x.shape)


#: Operators beside which a Python float is of floatX.
_ARITHMETIC = ("add", "sub", "mul", "truediv", "floordiv", "mod", "pow")


def _with_float_x(cls: type[Any]) -> type[Any]:
    """Class decorator: a Python float makes floatX of bool and small integers, as it did. (NumPy
    would make float64 of them.)"""

    def adapting(operator: Callable[[Any, Any], Any]) -> Callable[[Any, Any], Any]:
        @functools.wraps(operator)
        def method(self: Any, other: Any) -> Any:
            small = type(other) is float and self.type.dtype.itemsize < 4
            if small and self.type.dtype.kind in "biu":
                other = np.dtype(jitgraph_config.floatX).type(other)
            return operator(self, other)

        return method

    for name in _ARITHMETIC:
        for spelled in (f"__{name}__", f"__r{name}__"):
            setattr(cls, spelled, adapting(getattr(cls, spelled)))
    return cls


@_with_float_x
class Habits(Variable):
    """What Theano's variables do and ours do not, or do otherwise."""

    __slots__ = ()
    __hash__ = Value.__hash__

    def __init__(self, first: Any, *rest: Any) -> None:
        if len(rest) == 3 and isinstance(rest[2], str):  # a class of the program's calls with
            rest = (rest[0], rest[2])  # type, owner, index, name
        super().__init__(first, *rest)

    # --- truth and comparison -------------------------------------------------------------------
    def __bool__(self) -> bool:
        if self.op is not None and self.op.name in _ORDERINGS:
            refuse(TruthValueError(
                f"{self.describe()} compares variables: it is neither true nor false yet",
                hint="choose between values with T.switch(condition, a, b), or with "
                "theano.ifelse.ifelse",
            ), self)  # fmt: skip
        return True

    def __eq__(self, other: object) -> Any:
        return self is other

    def __ne__(self, other: object) -> Any:
        return self is not other

    # --- what it is -----------------------------------------------------------------------------
    @property
    def dtype(self) -> Any:
        """The name of the dtype, as Theano has it; within jitgraph the dtype itself."""
        inside = sys._getframe(1).f_globals.get("__name__", "").startswith("jitgraph.")
        return self.type.dtype if inside else self.type.dtype.name

    @property
    def broadcastable(self) -> tuple[bool, ...]:
        """Which axes are known to have extent 1."""
        return tuple(d == 1 for d in self.type.shape)

    @property
    def shape(self) -> Any:
        return Shape(
            TensorVariable.of(np.int64(d)) if isinstance(d, int) else d
            for d in movement.dims(self)
        )

    @property
    def size(self) -> Any:
        extents = movement.product(movement.dims(self))
        return TensorVariable.of(np.int64(extents)) if isinstance(extents, int) else extents

    @property
    def owner(self) -> Apply | None:
        """What made the variable; None for inputs, shared variables and constants."""
        if self.op is None or self.literal is not None:
            return None
        return Apply.of(self)

    @property
    def index(self) -> int | None:
        """Which output of its owner it is."""
        return None if self.owner is None else 0

    @property
    def tag(self) -> SimpleNamespace:
        """Notes, such as `tag.test_value`."""
        if "_tag" not in self.__dict__:
            known = {} if self.literal is None else {"test_value": self.literal.array}
            self.__dict__["_tag"] = SimpleNamespace(**known)
        return self.__dict__["_tag"]  # type: ignore[no-any-return]

    @property
    def data(self) -> Any:
        """The array of a constant."""
        if self.literal is None:
            raise AttributeError(f"{self.describe()} is no constant: it has no data")
        return self.literal.array

    value = data

    def clone(self) -> Any:
        """Another variable of the same type and name."""
        return TensorVariable(self.type, self.op, self.name, self.location)

    def get_scalar_constant_value(self) -> Any:
        """The number a constant scalar is; raises NotScalarConstantError."""
        return testvalues.scalar_constant(self)

    def get_test_value(self) -> Any:
        """The value computed from the test values of what it is made of."""
        return testvalues.of(self)

    def get_parents(self) -> list[Apply]:
        """What made it, as a list."""
        return [] if self.owner is None else [self.owner]

    def __str__(self) -> str:
        """The name, or what made it, as Theano has it; `printing.pp` shows an expression."""
        if self.name:
            return self.name
        if self.literal is not None:
            array = self.literal.array
            return f"TensorConstant{{{array}}}" if array.size == 1 else "TensorConstant"
        return f"{self.owner.label}.0" if self.owner is not None else f"<{self.type!r}>"

    __repr__ = __str__

    def __getitem__(self, key: Any) -> Any:
        if isinstance(key, list) and any(isinstance(k, slice) for k in key):
            key = tuple(key)
        return super().__getitem__(key)

    # --- methods whose arguments differ ---------------------------------------------------------
    def sum(self, axis: Any = None, dtype: Any = None, keepdims: bool = False,
            acc_dtype: Any = None) -> Any:  # fmt: skip
        return reductions.sum(self, axis, dtype or acc_dtype, keepdims)

    def prod(self, axis: Any = None, dtype: Any = None, keepdims: bool = False,
             acc_dtype: Any = None, no_zeros_in_input: bool = False) -> Any:  # fmt: skip
        return reductions.prod(self, axis, dtype or acc_dtype, keepdims)

    def mean(self, axis: Any = None, dtype: Any = None, keepdims: bool = False,
             acc_dtype: Any = None) -> Any:  # fmt: skip
        return reductions.mean(self, axis, dtype or acc_dtype, keepdims)

    def var(self, axis: Any = None, ddof: int = 0, keepdims: bool = False,
            corrected: bool = False) -> Any:  # fmt: skip
        return reductions.var(self, axis, None, keepdims, ddof)

    def std(self, axis: Any = None, ddof: int = 0, keepdims: bool = False,
            corrected: bool = False) -> Any:  # fmt: skip
        return reductions.std(self, axis, None, keepdims, ddof)

    def reshape(self, shape: Any, *rest: Any, ndim: int | None = None) -> Any:
        return reshape(self, (shape, *rest) if rest else shape, ndim)

    def dimshuffle(self, *pattern: Any) -> Any:
        listed = len(pattern) == 1 and isinstance(pattern[0], list | tuple)
        return shaping.dimshuffle(self, *(pattern[0] if listed else pattern))

    def nonzero(self, return_matrix: bool = False) -> Any:
        found = super().nonzero()
        return shaping.stack(found) if return_matrix else found

    def nonzero_values(self) -> Any:
        """The elements that are not zero, as a vector."""
        return self.flatten()[self.flatten().nonzero()]

    def sort(self, axis: int | None = -1, kind: str = "quicksort", order: Any = None) -> Any:
        """The elements in order."""
        return sorting.sort(self, axis)

    def argsort(self, axis: int | None = -1, kind: Any = "quicksort", order: Any = None) -> Any:
        return sorting.argsort(self, axis)

    def norm(self, L: Any, axis: Any = None, keepdims: bool = False) -> Any:  # noqa: N803
        """The L-norm of the elements along axes."""
        absolute = abs(self)
        if L == 0:
            return reductions.sum(math.FUNCTIONS["not_equal"](self, 0), axis, self.type.dtype)
        if np.isinf(L):
            return (reductions.max if L > 0 else reductions.min)(absolute, axis, keepdims)
        return reductions.sum(absolute**L, axis, None, keepdims) ** (1.0 / L)

    def zeros_like(self, dtype: Any = None) -> Any:
        """Zeros in this shape."""
        return shaping.zeros_like(self, dtype)

    def ones_like(self, dtype: Any = None) -> Any:
        """Ones in this shape."""
        return shaping.ones_like(self, dtype)

    def fill(self, value: Any) -> Any:
        """The value in this shape."""
        return shaping.full_like(self, value)

    def clip(self, a_min: Any = None, a_max: Any = None) -> Any:
        return math.clip(self, a_min, a_max)

    def astype(self, dtype: Any) -> Any:
        return super().astype(named_dtype(dtype))

    def copy(self, name: str | None = None) -> Any:
        made = self.clone() if self.op is not None else same_as(self)
        made.name = name
        return made

    def ptp(self, axis: Any = None) -> Any:
        """The largest element less the smallest."""
        return reductions.max(self, axis) - reductions.min(self, axis)

    def round(self, mode: Any = None) -> Any:
        return rounded(self, mode)

    def take(self, indices: Any, axis: Any = None, mode: str = "raise") -> Any:
        return super().take(indices, axis)

    def transfer(self, target: Any) -> Any:
        """Itself: there is one memory."""
        return self

    def __array__(self, dtype: Any = None, copy: Any = None) -> np.ndarray[Any, Any]:
        """The variable as an object, so that `np.prod` of several extents is their product."""
        made = np.empty((), object)
        made[()] = self
        return made

    def item(self, *position: Any) -> NoReturn:
        self._refuse("it has no number yet")

    def __len__(self) -> int:
        raise TypeError(f"{self.describe()} is symbolic and has no len(); use {self.name or 'x'}"
                        ".shape[0]")  # fmt: skip

    def __iter__(self) -> Iterator[Any]:
        length = self._leading("cannot be iterated over")
        if not isinstance(length, int):
            raise TypeError(f"{self.describe()} has a length that is not known yet: it cannot be "
                            "iterated over; use theano.scan")  # fmt: skip
        return (self[i] for i in range(length))


@spoken
def rounded(x: Any, mode: str | None = None) -> Any:
    """To the nearest integer; halves to even, or away from zero if the mode says so."""
    value = as_tensor(x)
    if mode == "half_away_from_zero":
        f = math.FUNCTIONS
        return f["sign"](value) * f["floor"](abs(value) + 0.5)
    return math.round(value)


@spoken
def reshape(x: Any, newshape: Any, ndim: int | None = None) -> Any:
    """x under another shape, which may be an integer vector if `ndim` says how long it is."""
    if isinstance(newshape, Value) and newshape.ndim == 1 and ndim is not None:
        newshape = [typed(newshape)[k] for k in range(ndim)]
    return shaping.reshape(x, newshape)


class TensorVariable(Habits):
    """A symbolic array in a program of Theano's era."""

    def __new__(cls, type: Any = None, op: Op | None = None, *rest: Any, **more: Any) -> Any:
        if cls is TensorVariable and op is not None and op.definition.name == "constant":
            return TensorConstant(type, op, *rest)  # no variable, to `isinstance`
        return object.__new__(cls)

    def __init__(
        self,
        type: Type,
        op: Op | None = None,
        name: str | None = None,
        location: Location | None = None,
    ) -> None:
        super().__init__(type_as_seen(type), op, name, location)
        if op is not None and config.compute_test_value != "off":
            testvalues.compute(self)

    @classmethod
    def of(cls, array: Any) -> Any:
        """A constant."""
        with speaking(cls):
            return operands.constant(array)


TensorVariable.expression_class = TensorVariable
types.VARIABLE = TensorVariable


class TensorSharedVariable(Habits, SharedVariable):
    """A variable with a value of its own."""

    expression_class = TensorVariable

    def __init__(self, value: np.ndarray[Any, Any], name: str | None) -> None:
        super().__init__(value, name)
        self.type = type_as_seen(self.type)

    @property
    def broadcastable(self) -> tuple[bool, ...]:
        """What the program said of it; where an extent is 1 it broadcasts anyhow."""
        said: tuple[bool, ...] | None = self.__dict__.get("_broadcastable")
        return said or (False,) * self.ndim

    def get_value(self, borrow: bool = False, return_internal_type: bool = False) -> Any:
        return super().get_value(borrow)

    def set_value(self, value: Any, borrow: bool = False) -> None:
        downcast, strict = self.__dict__.get("rules", (None, False))
        if strict and not (isinstance(value, np.ndarray) and value.dtype == self.type.dtype):
            raise TypeError(f"{self.describe()} holds arrays of {self.dtype} and is strict")
        if downcast or isinstance(value, float | int | np.generic):
            value = _adapted(value, self.type.dtype, downcast)
        super().set_value(value, borrow)

    @property
    def container(self) -> SimpleNamespace:
        """What holds the value."""
        return SimpleNamespace(value=self.get_value(borrow=True), type=self.type)

    def zero(self, borrow: bool = False) -> None:
        """Set all elements to 0."""
        self.set_value(np.zeros_like(self.get_value(borrow=True)), borrow=True)

    def clone(self) -> Any:
        """Another name of the same value."""
        return self


def _adapted(value: Any, dtype: np.dtype[Any], downcast: bool | None) -> Any:
    array = np.asarray(value)
    lossless = not array.ndim and bool(array.astype(dtype) == array)
    adapts = downcast or lossless or (type(value) is float and kind_of(dtype) == "f")
    return array.astype(dtype) if adapts else value


class _ConstantKind(type):
    """Whether something is a constant is asked of the graph."""

    def __instancecheck__(cls, instance: Any) -> bool:
        return isinstance(instance, Value) and instance.literal is not None


class TensorConstant(Habits, metaclass=_ConstantKind):
    """A constant; what is made of it are variables."""

    expression_class = TensorVariable

    def __init__(self, type: Type, *rest: Any) -> None:
        super().__init__(type_as_seen(type), *rest)


# --- making variables --------------------------------------------------------------------------
def as_tensor_variable(x: Any, name: str | None = None, ndim: int | None = None) -> Any:
    """x as a variable; Python's floats become floatX, its integers the smallest that hold them."""
    if isinstance(x, Shape):
        made = x.vector()
    elif type(x) is float:
        made = TensorVariable.of(np.dtype(jitgraph_config.floatX).type(x))
    elif type(x) is int and abs(x) < 2**31:
        kinds = (k for k in (np.int8, np.int16, np.int32) if np.iinfo(k).max >= abs(x))
        made = TensorVariable.of(next(kinds)(x))
    elif isinstance(x, Apply):
        made = x.out
    else:
        with speaking(TensorVariable):
            made = as_tensor(x)
            if not isinstance(made, Habits):  # a variable of jitgraph's own
                same = alias(made)
                made = TensorVariable(same.type, same.op, made.name, made.location)
    if ndim is not None and made.ndim != ndim:
        if made.ndim > ndim:
            raise ValueError(f"{made.describe()} has {made.ndim} dimensions, more than {ndim}")
        made = shaping.shape_padleft(made, ndim - made.ndim)
    if name is not None and made.name is None:
        made.name = name
    return made


def constant(x: Any, name: str | None = None, ndim: int | None = None, dtype: Any = None) -> Any:
    """A constant."""
    given = x if dtype is None else np.asarray(x, named_dtype(dtype))
    return as_tensor_variable(given, name, ndim)


def tensor(dtype: Any = None, broadcastable: Any = (), name: str | None = None) -> Any:
    """A variable of any type."""
    return TensorType(dtype or jitgraph_config.floatX, broadcastable)(name)


def _of_float(kind: str) -> Callable[..., Any]:
    def make(name: str | None = None, dtype: Any = None) -> Any:
        made = type_as_seen(TensorType(dtype or jitgraph_config.floatX, KINDS[kind]))
        return made(name)

    make.__name__ = make.__qualname__ = kind
    make.__doc__ = f"A {kind} of floatX, or of the dtype given."
    return make


def _several(single: Callable[..., Any], kind: str) -> Callable[..., Any]:
    def make(*names: Any) -> Any:
        if len(names) == 1 and isinstance(names[0], int):
            return [single() for _ in range(names[0])]
        if len(names) == 1:
            names = tuple(names[0])  # a text is a name for each letter
        return single(*names) if len(names) == 1 else [single(name) for name in names]

    make.__name__ = make.__qualname__ = kind
    make.__doc__ = (f"Several like `{kind}`: one per name, or as many as the number given; one "
                    "name alone makes a single one.")  # fmt: skip
    return make


def _constructors() -> dict[str, Any]:
    single: dict[str, Any] = {kind: _of_float(kind) for kind in KINDS} | NAMED
    plural = {
        (name[:-1] + "ces" if name.endswith("matrix") else name + "s"): _several(make, name)
        for name, make in single.items()
    }
    return single | plural


#: `scalar`, `dmatrix`, `fvectors`, ...
CONSTRUCTORS = _constructors()
