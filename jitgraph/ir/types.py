"""Types: a dtype and a shape whose dimensions are known, named or unknown.

| dimension | printed | meaning |
|---|---|---|
| `784` | `784` | known |
| `Extent("n")` | `n` | unknown; every `n` of one function is the same number |
| `Extent("n", not_one=True)` | `n!` | the same, and not 1: it never broadcasts |
| `None` | `?` | unknown |
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np

from jitgraph.errors import DTypeError, ShapeError

DType: TypeAlias = "np.dtype[Any]"

#: Short names, as printed, of every dtype jitgraph computes with; `bf16` is among them from its
#: first use on.
DTYPE_NAMES: dict[DType, str] = {
    np.dtype(np.bool_): "bool",
    **{np.dtype(f"i{n // 8}"): f"i{n}" for n in (8, 16, 32, 64)},
    **{np.dtype(f"u{n // 8}"): f"u{n}" for n in (8, 16, 32, 64)},
    **{np.dtype(f"f{n // 8}"): f"f{n}" for n in (16, 32, 64)},
    **{np.dtype(f"c{n // 8}"): f"c{n}" for n in (64, 128)},
}
DTYPES: dict[str, DType] = {name: dtype for dtype, name in DTYPE_NAMES.items()}

BOOL, I64 = np.dtype(np.bool_), np.dtype(np.int64)
F32, F64 = np.dtype(np.float32), np.dtype(np.float64)
U64 = np.dtype(np.uint64)
_BFLOAT16 = ("bf16", "bfloat16")


def as_dtype(dtype: Any) -> DType:
    """The numpy dtype for a name, type or dtype; raises DTypeError if jitgraph lacks it."""
    named = named_dtype(dtype) if isinstance(dtype, str) else None
    try:
        found = (named or np.dtype(dtype)).newbyteorder("=")
    except TypeError:
        raise DTypeError(
            f"{dtype!r} is not a dtype", hint="one of: " + ", ".join(DTYPES)
        ) from None
    if not is_supported(found):
        raise DTypeError(f"dtype {found} is not supported", hint="one of: " + ", ".join(DTYPES))
    return found


def named_dtype(name: str) -> DType | None:
    """The dtype of a short name, or bfloat16."""
    return bfloat16() if name in _BFLOAT16 else DTYPES.get(name)


def is_supported(dtype: DType) -> bool:
    """Whether jitgraph computes with a dtype."""
    return dtype in DTYPE_NAMES or (is_bfloat16(dtype) and bfloat16() == dtype)


# --- bfloat16, and other halves ----------------------------------------------------------------
def bfloat16() -> DType:
    """The dtype of the package ml_dtypes, which is imported at its first use."""
    if (known := DTYPES.get(_BFLOAT16[0])) is not None:
        return known
    dtype = np.dtype(_ml_dtypes().bfloat16)
    DTYPE_NAMES[dtype] = _BFLOAT16[0]
    return DTYPES.setdefault(_BFLOAT16[0], dtype)


def _ml_dtypes() -> Any:
    try:
        import ml_dtypes
    except ImportError:
        raise DTypeError(
            "bfloat16 is a dtype of the package ml_dtypes, which is not installed",
            hint="pip install ml_dtypes, or jitgraph[bfloat16]",
        ) from None
    return ml_dtypes


def is_bfloat16(dtype: DType) -> bool:
    if dtype.kind != "V":
        return False
    return dtype.type.__name__ == _BFLOAT16[1] and dtype.type.__module__ == "ml_dtypes"


def kind_of(dtype: DType) -> str:
    """NumPy's letter for the kind of a dtype. To NumPy bfloat16 is a void; here it is a float."""
    return "f" if is_bfloat16(dtype) else dtype.kind


def is_half(dtype: DType) -> bool:
    """Whether elements are floats of 16 bits, which are computed in float32 and rounded after."""
    return dtype.itemsize == 2 and kind_of(dtype) == "f"


def computed_in(dtype: DType) -> DType:
    """What sums and the like of a dtype are accumulated in."""
    return F32 if is_half(dtype) else dtype


def finfo(dtype: DType) -> Any:
    """`np.finfo` of every float."""
    return _ml_dtypes().finfo(dtype) if is_bfloat16(dtype) else np.finfo(dtype)


def weak_kinds(kinds: Sequence[Any]) -> tuple[Any, ...]:
    """Dtypes and Python numbers (or their types) as NumPy is to be asked for what they have in
    common: it does not know how wide bfloat16 is, and takes a number beside it for a float32."""
    narrow = next((k for k in kinds if isinstance(k, np.dtype) and is_bfloat16(k)), None)
    if narrow is None:
        return tuple(kinds)
    return tuple(narrow if k is int or k is float or type(k) in (int, float) else k for k in kinds)


def result_type(kinds: Sequence[Any]) -> DType:
    """What dtypes and Python numbers promote to (NEP 50); raises DTypeError."""
    try:
        found = np.result_type(*weak_kinds(kinds))
    except TypeError:
        listed = " and ".join(DTYPE_NAMES.get(k) or repr(k) for k in kinds)
        raise DTypeError(f"{listed} have no common dtype", hint="cast one to another") from None
    return as_dtype(found)


def can_cast(have: DType, want: DType, casting: Any) -> bool:
    """`np.can_cast`; floats are of one kind, whatever package they come from."""
    if np.can_cast(have, want, casting):
        return True
    if casting != "same_kind" or not (is_bfloat16(have) or is_bfloat16(want)):
        return False
    return kind_of(want) == "f" and kind_of(have) in "biuf"


# --- types -------------------------------------------------------------------------------------
@dataclass(frozen=True, slots=True)
class Extent:
    """An unknown number of elements along an axis, known by name."""

    name: str
    not_one: bool = False

    def __str__(self) -> str:
        return self.name + "!" * self.not_one


Dim: TypeAlias = "int | Extent | None"


def dim_text(dim: Dim) -> str:
    return "?" if dim is None else str(dim)


@dataclass(frozen=True, slots=True)
class Type:
    """What an array is before it exists: `f64[n, 784]`."""

    dtype: DType
    shape: tuple[Dim, ...] = ()

    @property
    def rank(self) -> int:
        return len(self.shape)

    @property
    def is_float(self) -> bool:
        return kind_of(self.dtype) == "f"

    @property
    def is_continuous(self) -> bool:
        """Whether gradients flow through values of this type."""
        return kind_of(self.dtype) in "fc"

    @property
    def is_static(self) -> bool:
        return all(isinstance(d, int) for d in self.shape)

    def with_dtype(self, dtype: DType) -> Type:
        return Type(dtype, self.shape)

    def with_shape(self, shape: Iterable[Dim]) -> Type:
        return Type(self.dtype, tuple(shape))

    def accepts(self, other: Type) -> bool:
        """Whether every array of type `other` is an array of this type."""
        return (
            self.dtype == other.dtype
            and self.rank == other.rank
            and all(a is None or a == b for a, b in zip(self.shape, other.shape, strict=True))
        )

    def __str__(self) -> str:
        dims = ", ".join(map(dim_text, self.shape))
        return f"{DTYPE_NAMES[self.dtype]}[{dims}]"

    def __reduce__(self) -> tuple[Any, ...]:
        return _type, (DTYPE_NAMES[self.dtype], self.shape)


def _type(dtype: str, shape: tuple[Dim, ...]) -> Type:
    return Type(DTYPES[dtype], shape)


@dataclass(frozen=True, slots=True)
class Bundle(Type):
    """What an op with several results gives: one type each. Only `item` ops take it apart."""

    items: tuple[Type, ...] = ()

    @staticmethod
    def of(items: Iterable[Type]) -> Bundle:
        return Bundle(np.dtype(np.void), (), tuple(items))

    @property
    def is_continuous(self) -> bool:
        return any(item.is_continuous for item in self.items)

    def __str__(self) -> str:
        return f"({', '.join(map(str, self.items))})"

    def __reduce__(self) -> tuple[Any, ...]:
        return Bundle.of, (self.items,)


def type_of(array: np.ndarray[Any, Any] | np.generic) -> Type:
    """The fully known type of an array that exists."""
    return Type(as_dtype(array.dtype), tuple(array.shape))


_TYPE = re.compile(r"\s*(\w+)\s*\[([^\]]*)\]\s*")
_DIM = re.compile(r"(\d+)|(\?)|([A-Za-z_][\w.]*)(!?)")


def parse_dim(text: str) -> Dim:
    match = _DIM.fullmatch(text.strip())
    if match is None:
        raise ShapeError(f"{text.strip()!r} is not a dimension", hint="a number, a name or ?")
    number, unknown, name, bang = match.groups()
    if number:
        return int(number)
    return None if unknown else Extent(name, bool(bang))


def parse_type(text: str) -> Type:
    """The type that prints as `text`; raises DTypeError or ShapeError."""
    match = _TYPE.fullmatch(text)
    if match is None:
        raise ShapeError(f"{text!r} is not a type", hint="write f64[n, 784], i32[] or bool[?]")
    if (dtype := named_dtype(match[1])) is None:
        raise DTypeError(f"{match[1]!r} is not a dtype", hint="one of: " + ", ".join(DTYPES))
    dims = match[2].strip()
    return Type(dtype, tuple(map(parse_dim, dims.split(",") if dims else ())))


def broadcast_dim(a: Dim, b: Dim) -> Dim | ShapeError:
    """What is known of the broadcast of two dimensions; an unknown one may turn out to be 1."""
    if a == b or b == 1:
        return a
    if a == 1:
        return b
    if isinstance(a, int):
        return ShapeError(f"{a} is not {b} and neither is 1") if isinstance(b, int) else a
    if isinstance(b, int) or (isinstance(b, Extent) and b.not_one):
        return b
    return a if isinstance(a, Extent) and a.not_one else None


def broadcast_shapes(shapes: Sequence[Sequence[Dim]]) -> tuple[Dim, ...]:
    """NumPy broadcasting over known and unknown dimensions; raises ShapeError if impossible."""
    ranked = [shape for shape in shapes if shape]
    first = ranked[0] if ranked else ()
    if all(shape == first for shape in ranked):
        return tuple(first)
    rank = max(map(len, ranked))
    result: list[Dim] = []
    for axis in range(rank):
        dim: Dim = 1
        for shape in ranked:
            if (offset := axis - rank + len(shape)) >= 0:
                met = broadcast_dim(dim, shape[offset])
                if isinstance(met, ShapeError):
                    raise ShapeError(f"dimension {axis}: {met.message}")
                dim = met
        result.append(dim)
    return tuple(result)


def normalise_axis(axis: Any, rank: int) -> int:
    """An axis counted from the front; raises ShapeError outside -rank..rank-1."""
    try:
        index = axis.__index__()
    except AttributeError:
        raise DTypeError(f"an axis must be an integer, not {axis!r}") from None
    if not -rank <= index < rank:
        raise ShapeError(f"axis {index} is out of bounds for {rank} dimensions")
    return int(index % rank)


def normalise_axes(axis: Any, rank: int) -> tuple[int, ...]:
    """Sorted axes from NumPy's `axis=None | int | tuple`; raises ShapeError on a repeated one."""
    if axis is None:
        return tuple(range(rank))
    given = axis if isinstance(axis, tuple | list) else (axis,)
    axes = [normalise_axis(a, rank) for a in given]
    if len(set(axes)) != len(axes):
        raise ShapeError(f"axis {axis} names a dimension twice")
    return tuple(sorted(axes))
