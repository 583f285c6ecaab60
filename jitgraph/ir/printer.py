"""The text of a function, in the manner of MLIR; `parser.parse` reads it back exactly.

```
func @f(%x: f64[n, 784], %w: f64[784, 10]) -> f64[n] {
  %0 = matmul %x, %w : f64[n, 10]
  %1 = reduce_max %0 {axes = [1]} : f64[n]  loc("train.py":12)
  return %1
}
```
The text is canonical (attributes sorted, values numbered in topological order), since it is also
what functions are compared, hashed and cached by.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from jitgraph.ir.types import DTYPE_NAMES, is_bfloat16, kind_of
from jitgraph.ir.values import Literal, Value
from jitgraph.location import Location

if TYPE_CHECKING:
    from jitgraph.ir.function import Function

#: Constants of more elements than this are written as the hex of their bytes.
LONGEST_LIST = 32

IDENTIFIER = re.compile(r"[^\W\d][\w.]*")


def print_function(fn: Function, *, locations: bool = False) -> str:
    """The function's text; with `locations`, every op and parameter says its source line."""
    names = name_values(fn.params, fn.ops)
    params = ", ".join(_parameter(p, names, locations) for p in fn.params)
    types = ", ".join(str(r.type) for r in fn.results)
    result = types if len(fn.results) == 1 else f"({types})"
    name = fn.name if IDENTIFIER.fullmatch(fn.name) else json.dumps(fn.name)
    lines = [f"func @{name}({params}) -> {result} {{"]
    lines += (f"  {line}" for line in _body(fn, names, locations))
    returned = ", ".join(names[r] for r in fn.results)
    return "\n".join([*lines, f"  return {returned}".rstrip(), "}"])


def _body(fn: Function, names: Mapping[Value, str], locations: bool) -> Iterator[str]:
    """Ops in order, and each check as soon as it and the checks before it are known."""
    defined = set(fn.params)
    checked = 0
    for value in (None, *fn.ops):
        if value is not None:
            yield op_line(value, names, locations=locations)
            defined.add(value)
        while checked < len(fn.checks) and fn.checks[checked] in defined:
            yield f"check {names[fn.checks[checked]]}"
            checked += 1


# --- names -------------------------------------------------------------------------------------
def name_values(params: Sequence[Value], ops: Sequence[Value]) -> dict[Value, str]:
    """`%x` for parameters, by the user's names made valid and unique, and `%0`, `%1`... for ops."""
    names: dict[Value, str] = {}
    taken: set[str] = set()
    for index, param in enumerate(dict.fromkeys(params)):
        base = _valid_name(param.name) if param.name else f"arg{index}"
        name, suffix = base, 0
        while name in taken:
            suffix += 1
            name = f"{base}_{suffix}"
        taken.add(name)
        names[param] = f"%{name}"
    names.update((value, f"%{index}") for index, value in enumerate(ops))
    return names


def _valid_name(name: str) -> str:
    name = re.sub(r"[^\w.]", "_", name)
    return name if IDENTIFIER.fullmatch(name) else f"_{name}"


def _parameter(param: Value, names: Mapping[Value, str], locations: bool) -> str:
    place = f" {format_location(param.location)}" if locations and param.location else ""
    return f"{names[param]}: {param.type}{place}"


# --- lines -------------------------------------------------------------------------------------
def op_line(value: Value, names: Mapping[Value, str], *, locations: bool = False) -> str:
    """`%1 = reduce_max %0 {axes = [1]} : f64[n]`, also for IR that does not verify."""
    op = value.op
    assert op is not None
    name = names.get(value, "%?")
    if value.literal is not None:
        return f"{name} = constant {format_literal(value.literal)} : {value.type}"
    line = f"{name} = {op.name}"
    if op.args:
        line += " " + ", ".join(names.get(a) or f"%?{a.describe()}" for a in op.args)
    if op.attrs:
        pairs = (f"{key} = {format_attribute(op.attrs[key])}" for key in sorted(op.attrs))
        line += f" {{{', '.join(pairs)}}}"
    place = f"  {format_location(op.location)}" if locations and op.location else ""
    return f"{line} : {value.type}{place}"


def format_location(location: Location) -> str:
    """`loc("train.py":12)`, or with columns `loc("train.py":12:4:9)`."""
    columns = "".join(f":{c}" for c in location.columns or ())
    return f"loc({json.dumps(location.file)}:{location.line}{columns})"


# --- attributes and constants ------------------------------------------------------------------
def format_attribute(attribute: Any) -> str:
    """An attribute as text; one of a kind the IR does not know (see the verifier) as `<repr>`."""
    match attribute:
        case None:
            return "none"
        case bool():
            return "true" if attribute else "false"
        case int():
            return str(int(attribute))
        case float() | complex():
            return _elements(np.asarray(attribute))[0]
        case str():
            return json.dumps(attribute)
        case np.dtype() if attribute in DTYPE_NAMES:
            return DTYPE_NAMES[attribute]
        case tuple():
            return f"[{', '.join(map(format_attribute, attribute))}]"
    if hasattr(attribute, "params"):  # a region
        return str(attribute).replace("\n", "\n  ")
    return f"<{attribute!r}>"


def format_literal(literal: Literal) -> str:
    """`3.0`, `[[1, 2], [3, 4]]`, `splat 1.0`, or `dense<"hex">` where a list would be too long."""
    array = literal.array
    if array.size > 1 and literal.splat is not None:
        return f"splat {_elements(array.reshape(-1)[:1])[0]}"
    if not 0 < array.size <= LONGEST_LIST:
        stored = array.astype(array.dtype.newbyteorder("<"), copy=False)
        return f'dense<"{stored.tobytes().hex()}">'
    items = _elements(array)
    for extent in array.shape[::-1]:
        rows = (items[i : i + extent] for i in range(0, len(items), extent))
        items = [f"[{', '.join(row)}]" for row in rows]
    return items[0]


def _elements(array: np.ndarray[Any, Any]) -> list[str]:
    """Every element in C order, such that reading it back gives the same bits."""
    flat = array.reshape(-1)
    match kind_of(array.dtype):
        case "b":
            return ["true" if x else "false" for x in flat]
        case "i" | "u":
            return [str(int(x)) for x in flat]
        case "c":
            parts = list(map(_format_float, flat.view(f"f{array.dtype.itemsize // 2}")))
            return [f"({a},{b})" for a, b in zip(parts[::2], parts[1::2], strict=True)]
    return list(map(_format_float, flat))


def _format_float(x: Any) -> str:
    """The shortest decimal that rounds to x; a NaN other than the usual one by its bits."""
    if np.isnan(x):
        usual = x.tobytes() == np.array(np.nan, x.dtype).tobytes()
        size = x.dtype.itemsize
        return "nan" if usual else f"0x{int(x.view(f'u{size}')):0{2 * size}x}"
    exact = repr(float(x))
    if x.dtype.itemsize == 8 or is_bfloat16(x.dtype) or np.isinf(x):
        return exact
    # Shortest for the narrow dtype; the parser goes through float64, which could round twice.
    short = repr(float(np.format_float_scientific(x)))
    return short if x.dtype.type(float(short)) == x else exact
