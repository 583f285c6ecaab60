"""The tables from which the entry reads how a variant of a compiled function is called."""

import ctypes
from collections.abc import Sequence

import numpy as np

from jitgraph.codegen import pyobjects as py
from jitgraph.codegen.entry import (
    LIST,
    NOTHING,
    TABLE,
    extent_offset,
    value_offsets,
)
from jitgraph.codegen.llvm import Compiled
from jitgraph.codegen.numbers import KINDS
from jitgraph.codegen.signature import OutputSpec, ParamSpec, alias_number, singleton
from jitgraph.ir.order import C, order_code
from jitgraph.ir.types import is_bfloat16, kind_of
from jitgraph.runtime.pyapi import LIBRARY, know_bfloat16

#: The address of the function that calls go to.
ENTRY = LIBRARY.address("entry")
_ANY = 2**64 - 1
_POINTER = 8

Axis = tuple[int, int]
#: What a parameter takes that is for an array of rank 0: numbers of any type that convert, those
#: with a dtype only (NumPy's), or those without one only (Python's, of one type).
ANY_NUMBER, TYPED, PYTHON = "any", "typed", "python"
_NEVER = 2**32 - 1


class Variant:
    """A loaded program and its table.

    It borrows the cells of shared variables: whoever owns it must keep them alive as long.
    """

    def __init__(
        self,
        code: Compiled,
        params: Sequence[ParamSpec],
        outputs: Sequence[OutputSpec],
        *,
        equal_extents: Sequence[tuple[Axis, Axis]] = (),
        single: bool,
        nothing: bool = True,
        numbers: Sequence[str] = (),
    ) -> None:
        """`equal_extents` are pairs of (parameter, axis); `numbers` says for each argument which
        numbers it takes (any by default). With `single` a call returns its one
        result; otherwise the list of results, or None where there are none and `nothing` says
        that none were asked for."""
        results = [k for k, output in enumerate(outputs) if output.kind == "result"]
        if single and len(results) != 1:
            raise ValueError(f"single needs exactly one result, not {len(results)}")
        for output in outputs:
            if is_bfloat16(output.dtype):
                know_bfloat16(singleton(output.dtype))
        self._code = code
        shared = sum(param.shared_slot is not None for param in params)
        # A program without updates has no table of slots: it never looks at one.
        self._no_slots = (ctypes.c_void_p * len(outputs))()
        updates = any(output.slot is not None for output in outputs)
        slots = code.address("slots") if updates else ctypes.addressof(self._no_slots)
        for k, output in enumerate(outputs):
            ctypes.c_void_p.from_address(slots + _POINTER * k).value = output.slot
        offsets = [
            extent_offset(params, *axis) for pair in equal_extents for axis in pair
        ]
        takes = [*numbers, *[ANY_NUMBER] * (len(params) - len(numbers))]
        records = [w for p, n in zip(params, takes, strict=True) for w in _record(p, n)]
        fields = {
            "next": 0,
            "arguments": len(params) - shared,
            "room": _POINTER * (len(outputs) + shared) + value_offsets(params)[-1],
            "parameters": len(params),
            "pairs": len(equal_extents),
            "run": code.address("run"),
            "outputs": len(outputs),
            "shared": shared,
            "updates": len(outputs) - len(results),
            "slots": slots,
            "result": results[0] if single else NOTHING if nothing and not results else LIST,
            "plain": single and len(outputs) == 1 and not shared,
        }
        words = [*(int(fields[name]) for name in TABLE), *records, *offsets]
        self._words = (ctypes.c_uint64 * len(words))(*words)
        self.address = ctypes.addressof(self._words)

    @property
    def room(self) -> int:
        """How large a frame a call needs that tries this variant and those after it."""
        return self._words[TABLE.index("room")]

    def append(self, following: "Variant", chain: Sequence["Variant"]) -> None:
        """Let what this variant refuses, the last of the chain, go to the one `following`."""
        for variant in chain:
            where = TABLE.index("room")
            variant._words[where] = max(variant.room, following.room)
        self._words[TABLE.index("next")] = following.address


def _record(param: ParamSpec, numbers: str) -> list[int]:
    """The words of one parameter; see `codegen.entry.RECORD`."""
    dtype = singleton(param.dtype)
    flags = py.ALIGNED | (py.C_CONTIGUOUS if param.order == C else 0)
    scalar, kind, low, span = 0, "nothing", 0, 0
    if not param.dims and param.shared_slot is None:
        scalar, kind = id(dtype.type), _number_kind(dtype)
        if kind == "integer":
            limits = np.iinfo(dtype)
            # What is beyond an int64 is converted by the slow path.
            low, span = int(limits.min), min(int(limits.max), 2**63 - 1) - int(limits.min)
        if numbers == PYTHON:  # no array and no NumPy scalar fits
            flags, scalar = _NEVER, id(Variant)
            kind = {"f": "float", "c": "complex"}.get(kind_of(dtype), kind)
        elif numbers == TYPED and dtype.kind != "b":
            kind = "nothing"
    words = [
        param.shared_slot or 0,
        id(dtype),
        dtype.num | alias_number(dtype) << 32,
        len(param.dims) | flags << 32,
        order_code(param.order),
        dtype.itemsize,
        scalar,
        KINDS.index(kind),
        low % 2**64,
        span,
    ]
    for known, not_one in zip(param.dims, param.not_one, strict=True):
        # Unsigned, 1 - 2 is the greatest number of all.
        words += [known, 0] if known is not None else [2, _ANY - 1] if not_one else [0, _ANY]
    return words


def _number_kind(dtype: np.dtype) -> str:
    if dtype.kind in "iu":
        return "integer"
    return dtype.name if dtype.name in KINDS else "nothing"
