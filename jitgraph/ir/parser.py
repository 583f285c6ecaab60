"""Functions from their text: the exact inverse of the printer.

```
module    = function*
function  = "func" "@" name "(" [%name ":" type [loc] {"," ...}] ")" "->" types "{" line* "}"
line      = %name "=" op [%name {"," %name}] ["{" key "=" attribute {"," ...} "}"] ":" type [loc]
          | %name "=" "constant" literal ":" type
          | "check" %name
          | "return" [%name {"," %name}]                                      (the last one)
loc       = "loc" "(" string ":" line [":" column ":" column] ")"
literal   = element | "[" literal {"," literal} "]" | "splat" element | "dense" "<" hex string ">"
element   = number | "(" number "," number ")" | "true" | "false" | "inf" | "nan" | 0xbits
attribute = element | string | dtype | "none" | "[" [attribute {"," attribute}] "]" | function
```
Line breaks mean nothing; `//` starts a comment. Every op is inferred anew as it is read.
"""

from __future__ import annotations

import difflib
import json
import math
import re
from collections.abc import Callable, Iterable
from functools import lru_cache
from typing import Any, NoReturn, TypeAlias, TypeVar

import numpy as np

from jitgraph.errors import JitgraphError, ParseError
from jitgraph.ir import ops as _tables  # noqa: F401  (declares every op)
from jitgraph.ir.function import Function
from jitgraph.ir.opdef import OPS, OpDef, apply_op
from jitgraph.ir.types import DTYPES, Bundle, DType, Type, bfloat16, kind_of, parse_type
from jitgraph.ir.values import Literal, Value
from jitgraph.ir.verifier import MALFORMED, misfit
from jitgraph.location import Location

_SPACE = re.compile(r"(?:\s++|//[^\n]*+)*+")
_TOKEN = re.compile(
    _SPACE.pattern
    + r"""(?:
    (?P<value>%[\w.]+)
  | (?P<type>[A-Za-z]\w*\[[^\]\n]*\])
  | (?P<bits>0x[0-9a-fA-F]+)
  | (?P<number>-?(?:inf\b|nan\b|\d+(?:\.\d*)?(?:[eE][-+]?\d+)?))
  | (?P<word>[^\W\d][\w.]*)
  | (?P<string>"(?:[^"\\\n]|\\.)*")
  | (?P<mark>->|[@(){}\[\],=:<>])
  | (?P<end>\Z)
  )""",
    re.VERBOSE,
)
_parse_type = lru_cache(maxsize=4096)(parse_type)
_DESCRIBED = {"value": "a value such as %0", "type": "a type such as f64[n]"}



class _Bits(int):
    """The bits of a float, written as `0x7ff8000000000001`."""


T = TypeVar("T")
Real: TypeAlias = "float | int | _Bits"
#: Makes a constant's array, once its dtype and shape have been read.
_Build: TypeAlias = "Callable[[DType, tuple[int, ...]], np.ndarray[Any, Any]]"


def parse(text: str) -> Function:
    """The one function in `text`; raises ParseError at the offending place."""
    parser = _Parser(text)
    fn = parser.function()
    if parser.kind != "end":
        parser.expected("the end after one function")
    return fn


def parse_module(text: str) -> dict[str, Function]:
    """Every function in `text`, by name; raises ParseError at the offending place."""
    parser = _Parser(text)
    functions: dict[str, Function] = {}
    while parser.kind != "end":
        start = parser.start
        fn = parser.function()
        if fn.name in functions:
            parser.fail(f"the function @{fn.name} is there twice", start)
        functions[fn.name] = fn
    return functions


class _Parser:
    """Recursive descent with one token of look-ahead: `kind`, `token` and where it starts."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.values: dict[str, Value] = {}
        self.kind, self.token, self.start, self.end = "", "", 0, 0
        self.advance()

    # --- tokens ---------------------------------------------------------------------------------
    def advance(self) -> str:
        """Step to the next token; gives the text of the one left behind."""
        left = self.token
        match = _TOKEN.match(self.text, self.end)
        if match is None:
            at = _SPACE.match(self.text, self.end).end()  # type: ignore[union-attr]
            self.fail(f"unexpected character {self.text[at]!r}", at)
        self.kind = match.lastgroup or "end"
        self.token = match[self.kind]
        self.start, self.end = match.span(self.kind)
        return left

    def fail(self, message: str, at: int | None = None) -> NoReturn:
        """Raise ParseError at an offset, by default that of the current token."""
        before = self.text[: self.start if at is None else at]
        if at is None and self.kind == "end":
            before = before.rstrip()
        lines = (before + "^").splitlines()
        raise ParseError(message, self.text, len(lines), len(lines[-1])) from None

    def expected(self, what: str) -> NoReturn:
        found = "the end" if self.kind == "end" else repr(self.token)
        self.fail(f"expected {what}, found {found}")

    def take(self, kind: str) -> str:
        if self.kind != kind:
            self.expected(_DESCRIBED.get(kind, f"a {kind}"))
        return self.advance()

    def skip(self, token: str) -> None:
        if self.token != token:
            self.expected(repr(token))
        self.advance()

    def accept(self, token: str) -> bool:
        """Step over the token if it is the current one."""
        if self.token != token or self.kind == "string":
            return False
        self.advance()
        return True

    def listed(self, item: Callable[[], T], closing: str) -> list[T]:
        """Items between commas up to the closing token, which is stepped over."""
        items: list[T] = []
        if self.accept(closing):
            return items
        while True:
            items.append(item())
            if self.accept(closing):
                return items
            if not self.accept(","):
                self.expected(f"',' or {closing!r}")

    # --- functions ------------------------------------------------------------------------------
    def function(self) -> Function:
        self.values = {}
        self.skip("func")
        self.skip("@")
        name = json.loads(self.advance()) if self.kind == "string" else self.take("word")
        self.skip("(")
        params = self.listed(self.parameter, ")")
        self.skip("->")
        declared_at = self.start
        declared = self.listed(self.type, ")") if self.accept("(") else [self.type()]
        self.skip("{")
        checks: list[Value] = []
        while not self.accept("return"):
            self.line(checks)
        results = self.listed(self.operand, "}")
        if [r.type for r in results] != declared:
            returned = ", ".join(str(r.type) for r in results)
            stated = ", ".join(map(str, declared))
            self.fail(f"the function declares ({stated}) but returns ({returned})", declared_at)
        return Function(params, results, checks=checks, name=name)

    def region(self) -> Function:
        """A function among the attributes of an op; it sees only its own values."""
        outer = self.values
        fn = self.function()
        self.values = outer
        return fn

    def parameter(self) -> Value:
        start = self.start
        name = self.take("value")
        self.skip(":")
        type_ = self.type()
        return self.define(name, start, Value(type_, name=name[1:], location=self.location()))

    def line(self, checks: list[Value]) -> None:
        if self.kind == "value":
            self.assignment()
        elif self.accept("check"):
            at = self.start
            checks.append(self.operand())
            if str(checks[-1].type) != "bool[]":
                self.fail(f"a check must be bool[], not {checks[-1].type}", at)
        else:
            self.expected("an op, 'check' or 'return'")

    def assignment(self) -> None:
        start = self.start
        name = self.advance()
        self.skip("=")
        op_start = self.start
        definition = self.definition()
        if definition.name == "constant":
            args: list[Value] = []
            attrs, declared = self.constant()
        else:
            args = self.operands() if self.kind == "value" else []
            attrs = dict(self.listed(self.attribute, "}")) if self.accept("{") else {}
            self.skip(":")
            declared = self.start, self.type()
        location = self.location()
        problem = misfit(definition, len(args), attrs)
        if problem is not None:
            self.fail(problem, op_start)
        try:
            value = apply_op(definition, tuple(args), attrs, location)
        except JitgraphError as error:
            self.fail(error.message, op_start)
        except MALFORMED as error:
            self.fail(f"{definition.name} does not take these attributes: {error}", op_start)
        if value.type != declared[1]:
            self.fail(f"declared {declared[1]}, but the op gives {value.type}", declared[0])
        self.define(name, start, value)

    def definition(self) -> OpDef:
        found = OPS.get(self.token)
        if found is None:
            if self.kind != "word":
                self.expected("an op")
            self.fail(f"unknown op {self.token!r}{_meant(self.token, OPS)}")
        self.advance()
        return found

    # --- values, types, places ------------------------------------------------------------------
    def define(self, name: str, start: int, value: Value) -> Value:
        if name in self.values:
            self.fail(f"{name} is defined twice", start)
        self.values[name] = value
        return value

    def operand(self) -> Value:
        value = self.values.get(self.token)
        if value is None:
            if self.kind != "value":
                self.expected(_DESCRIBED["value"])
            self.fail(f"{self.token} is not defined here{_meant(self.token, self.values)}")
        self.advance()
        return value

    def operands(self) -> list[Value]:
        values = [self.operand()]
        while self.accept(","):
            values.append(self.operand())
        return values

    def type(self) -> Type:
        if self.accept("("):
            return Bundle.of(self.listed(self.type, ")"))
        if self.kind != "type":
            self.expected(_DESCRIBED["type"])
        try:
            type_ = _parse_type(self.token)
        except JitgraphError as error:
            self.fail(f"{error.message} ({error.hint})")
        self.advance()
        return type_

    def location(self) -> Location | None:
        if not self.accept("loc"):
            return None
        self.skip("(")
        file = json.loads(self.take("string"))
        self.skip(":")
        numbers = [self.count()]
        while self.accept(":"):
            numbers.append(self.count())
        if len(numbers) not in (1, 3):
            self.expected("a line, or a line and two columns")
        self.skip(")")
        columns = (numbers[1], numbers[2]) if len(numbers) == 3 else None
        return Location(file, numbers[0], columns)

    def count(self) -> int:
        if not self.token.isdecimal():
            self.expected("a number")
        return int(self.advance())

    # --- attributes -----------------------------------------------------------------------------
    def attribute(self) -> tuple[str, Any]:
        name = self.take("word")
        self.skip("=")
        return name, self.attribute_value()

    def attribute_value(self) -> Any:
        if self.kind == "string":
            return json.loads(self.advance())
        if self.accept("["):
            return tuple(self.listed(self.attribute_value, "]"))
        if self.token == "func" and self.kind == "word":
            return self.region()
        if self.kind == "word":
            words = {"none": None, "true": True, "false": False, **DTYPES}
            if self.token == "bf16":
                words["bf16"] = bfloat16()
            if self.token not in words:
                self.expected("an attribute: a number, string, dtype, true, false, none or list")
            return words[self.advance()]
        if self.accept("("):
            return _array([self.pair()], np.dtype(np.complex128)).item()
        number = self.real()
        return _floats([number], np.dtype(np.float64)).item() if type(number) is _Bits else number

    def real(self) -> Real:
        """A number; an int only where written without a point, exponent, inf or nan."""
        if self.kind == "bits":
            return _Bits(self.advance(), 16)
        if self.kind != "number":
            self.expected("a number")
        digits = self.advance()
        return int(digits) if digits.lstrip("-").isdecimal() else float(digits)

    def constant(self) -> tuple[dict[str, Any], tuple[int, Type]]:
        """The attributes of a constant, and its declared type with the place of it."""
        start = self.start
        build = self.literal()
        self.skip(":")
        declared = self.start, self.type()
        if not declared[1].is_static:
            self.fail("the type of a constant must be known", declared[0])
        try:
            array = build(declared[1].dtype, tuple(map(int, declared[1].shape)))  # type: ignore[arg-type]
        except (ValueError, OverflowError) as error:
            self.fail(f"this is no {declared[1]}: {error}", start)
        return {"value": Literal(array)}, declared

    def literal(self) -> _Build:
        if self.accept("splat"):
            element = self.element()
            return lambda dtype, shape: np.full(shape, _array([element], dtype)[0], dtype)
        if self.accept("dense"):
            self.skip("<")
            digits = json.loads(self.take("string"))
            self.skip(">")
            return lambda dtype, shape: _from_hex(digits, dtype, shape)
        tree = self.tree()
        return lambda dtype, shape: _array(_flatten(tree, shape), dtype).reshape(shape)

    def tree(self) -> Any:
        return self.listed(self.tree, "]") if self.accept("[") else self.element()

    def element(self) -> Any:
        if self.token in ("true", "false"):
            return self.advance() == "true"
        return self.pair() if self.accept("(") else self.real()

    def pair(self) -> tuple[Real, Real]:
        parts = self.listed(self.real, ")")
        if len(parts) != 2:
            self.fail("a complex number has two parts, (real,imaginary)")
        return parts[0], parts[1]


def _meant(word: str, known: Iterable[str]) -> str:
    close = difflib.get_close_matches(word, known)
    return f"; did you mean {' or '.join(close)}?" if close else ""


# --- arrays ------------------------------------------------------------------------------------
def _flatten(tree: Any, shape: tuple[int, ...]) -> list[Any]:
    """The elements of nested lists, which must have exactly this shape; raises ValueError."""
    level = [tree]
    for extent in (*shape, None):
        if any((len(part) if isinstance(part, list) else None) != extent for part in level):
            raise ValueError(f"the lists do not have the shape {list(shape)}")
        level = [item for part in level for item in part] if extent is not None else level
    return level


def _from_hex(digits: str, dtype: DType, shape: tuple[int, ...]) -> np.ndarray[Any, Any]:
    data = bytes.fromhex(digits)
    needed = math.prod(shape) * dtype.itemsize
    if len(data) != needed:
        raise ValueError(f"{len(data)} bytes given, {needed} needed")
    return np.ndarray(shape, dtype.newbyteorder("<"), data).astype(dtype)


def _array(elements: list[Any], dtype: DType) -> np.ndarray[Any, Any]:
    """Elements as read, in one dimension; raises ValueError or OverflowError on a misfit."""
    kinds = {"b": (bool,), "i": (int,), "u": (int,), "f": (int, float, _Bits), "c": (tuple,)}
    wrong = next((e for e in elements if type(e) not in kinds[kind_of(dtype)]), None)
    if wrong is not None:
        raise ValueError(f"{wrong!r} is no element of it")
    if kind_of(dtype) == "f":
        return _floats(elements, dtype)
    if dtype.kind == "c":
        parts = [part for pair in elements for part in pair]
        return _floats(parts, np.dtype(f"f{dtype.itemsize // 2}")).view(dtype)
    return np.array(elements, dtype)


def _floats(reals: list[Real], dtype: DType) -> np.ndarray[Any, Any]:
    with np.errstate(over="ignore"):
        array = np.array([0.0 if type(r) is _Bits else r for r in reals], dtype)
    for index, real in enumerate(reals):
        if type(real) is _Bits:
            array.view(f"u{dtype.itemsize}")[index] = real
        elif np.isinf(array[index]) and not np.isinf(float(real)):
            raise ValueError(f"{real} is out of range")
    return array
