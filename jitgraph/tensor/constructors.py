"""Variables without a value: the inputs of a program.

`vector`, `matrix`, ... have the dtype of `jitgraph.config.floatX`; a letter in front names another
(`T.dvector` float64, `T.lscalar` int64), and a plural makes several (`T.dscalars("x", "y")`). All
follow from `KINDS` and `LETTERS`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from jitgraph.config import config
from jitgraph.errors import DTypeError, ShapeError
from jitgraph.ir.types import Dim, Type, as_dtype, parse_dim
from jitgraph.location import caller_location
from jitgraph.tensor.operands import public
from jitgraph.tensor.variable import Variable

#: What is known of each kind's shape.
KINDS: dict[str, tuple[Dim, ...]] = {
    "scalar": (),
    "vector": (None,),
    "row": (1, None),
    "col": (None, 1),
    "matrix": (None, None),
    "tensor3": (None,) * 3,
    "tensor4": (None,) * 4,
    "tensor5": (None,) * 5,
}
#: Theano's letters of dtypes; no letter is floatX.
LETTERS = {
    "b": "int8", "w": "int16", "i": "int32", "l": "int64",
    "f": "float32", "d": "float64", "c": "complex64", "z": "complex128",
}  # fmt: skip
PLURALS = {"matrix": "matrices"}


def _dim(given: Any) -> Dim:
    if given is None:
        return None
    if isinstance(given, str):
        return parse_dim(given)
    if isinstance(given, bool):
        raise DTypeError(f"a dimension cannot be {given}", hint="1 broadcasts, None is unknown")
    try:
        size = int(given.__index__())
    except AttributeError:
        raise DTypeError(
            f"a dimension must be a number, a name or None, not {given!r}"
        ) from None
    if size < 0:
        raise ShapeError(f"a dimension cannot be negative: {size}")
    return size


def _variable(dtype: Any, shape: Sequence[Dim], name: Any) -> Variable:
    if name is not None and not isinstance(name, str):
        raise DTypeError(f"a name must be text, not {name!r}", hint="dtype= and shape= by keyword")
    return Variable(Type(as_dtype(dtype), tuple(shape)), None, name, caller_location())


def _of_kind(kind: str, dtype: Any, shape: Sequence[Any] | None, name: Any) -> Variable:
    known = KINDS[kind]
    if shape is None:
        return _variable(dtype, known, name)
    given = [_dim(d) for d in (shape if isinstance(shape, list | tuple) else (shape,))]
    if len(given) != len(known):
        raise ShapeError(f"a {kind} has {len(known)} dimensions, not the {len(given)} of {shape}")
    for axis, (must, have) in enumerate(zip(known, given, strict=True)):
        if must is not None and have not in (None, must):
            raise ShapeError(f"dimension {axis} of a {kind} is {must}, not {have}")
        given[axis] = have if must is None else must
    return _variable(dtype, given, name)


@public
def tensor(dtype: Any = None, shape: Sequence[Any] = (), name: str | None = None) -> Variable:
    """A variable of any rank.

    dtype: floatX by default. shape: one entry per dimension: a number; a name, which stands for
    the same number wherever it appears; or None. Raises DTypeError or ShapeError.
    """
    if not isinstance(shape, tuple | list):
        raise ShapeError(
            f"a shape must be a tuple, not {shape!r}", hint="such as (None, None) for a matrix"
        )
    return _variable(dtype or config.floatX, [_dim(d) for d in shape], name)


# --- the table's functions ---------------------------------------------------------------------
def _floating(kind: str) -> Callable[..., Variable]:
    def make(
        name: str | None = None, dtype: Any = None, shape: Sequence[Any] | None = None
    ) -> Variable:
        return _of_kind(kind, dtype or config.floatX, shape, name)

    make.__doc__ = f"""A {kind} of floatX, or of the dtype given.

    shape: what is known of it, one number, name or None per dimension."""
    return make


def _lettered(kind: str, dtype: str) -> Callable[..., Variable]:
    def make(name: str | None = None, shape: Sequence[Any] | None = None) -> Variable:
        return _of_kind(kind, dtype, shape, name)

    make.__doc__ = f"""A {kind} of {dtype}.

    shape: what is known of it, one number, name or None per dimension."""
    return make


def _several(single: Callable[..., Variable], kind: str) -> Callable[..., list[Variable]]:
    def make(*names: Any) -> list[Variable]:
        if len(names) == 1 and isinstance(names[0], int):
            names = (None,) * names[0]
        return [single(name) for name in names]

    make.__doc__ = f"""Several like `{kind}`: one per name, or as many as the number given."""
    return make


def _tables() -> dict[str, Callable[..., Any]]:
    made: dict[str, Callable[..., Any]] = {}
    for kind in KINDS:
        for letter, dtype in {"": None, **LETTERS}.items():
            single = _floating(kind) if dtype is None else _lettered(kind, dtype)
            several = _several(single, letter + kind)
            names = (letter + kind, letter + PLURALS.get(kind, kind + "s"))
            function: Any
            for name, function in zip(names, (single, several), strict=True):
                function.__name__ = function.__qualname__ = name
                made[name] = public(function)
    return made


#: Every constructor by its name: `scalar`, `dmatrix`, `fvectors`, ...
CONSTRUCTORS = _tables()
