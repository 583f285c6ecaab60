"""What the left side of a rule means: for arrays, over the real numbers, and as an expression."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

import mpmath as mp
import numpy as np

from jitgraph.ir.elementwise import resolve
from jitgraph.ir.opdef import constant
from jitgraph.ir.types import DTYPES, Type
from jitgraph.ir.values import Value
from jitgraph.passes.rules.rule import Apply, Equation, Hole, Number, Pattern


def evaluate(pattern: Pattern, env: Mapping[str, Any], seen: list[np.ndarray]) -> Any:
    """The pattern on arrays, op by op as the interpreter would; `seen` collects every array."""
    if isinstance(pattern, Number):
        return pattern.value
    if isinstance(pattern, Hole):
        seen.append(np.asarray(env[pattern.name]))
        return env[pattern.name]
    assert isinstance(pattern, Apply)
    operands = [evaluate(a, env, seen) for a in pattern.args]
    loop = resolve(pattern.definition, tuple(map(_kind, operands)))
    arrays = [np.asarray(o).astype(d) for o, d in zip(operands, loop, strict=False)]
    result = pattern.definition.evaluate(*arrays)
    seen.append(result)
    return result


def _kind(operand: Any) -> Any:
    return type(operand) if type(operand) in (int, float) else np.asarray(operand).dtype


def build(pattern: Pattern, env: Mapping[str, Value]) -> Any:
    """The pattern as an expression of values (and Python numbers)."""
    if isinstance(pattern, Number):
        return pattern.value
    if isinstance(pattern, Hole):
        return env[pattern.name]
    assert isinstance(pattern, Apply)
    return pattern.definition(*(build(a, env) for a in pattern.args))


REAL: dict[str, Callable[..., Any]] = {
    "add": mp.fadd, "subtract": mp.fsub, "multiply": mp.fmul, "divide": mp.fdiv,
    "negative": mp.fneg, "square": lambda x: x * x, "power": mp.power, "sqrt": mp.sqrt,
    "cbrt": lambda x: mp.sign(x) * mp.cbrt(abs(x)), "absolute": abs,
    "exp": mp.exp, "exp2": lambda x: mp.power(2, x), "expm1": lambda x: mp.exp(x) - 1,
    "log": mp.log, "log2": lambda x: mp.log(x) / mp.log(2), "log1p": lambda x: mp.log(1 + x),
    "sin": mp.sin, "cos": mp.cos, "tan": mp.tan, "sinh": mp.sinh, "cosh": mp.cosh,
    "tanh": mp.tanh, "arcsin": mp.asin, "arccos": mp.acos, "arctan": mp.atan,
    "arcsinh": mp.asinh, "arccosh": mp.acosh, "arctanh": mp.atanh,
    "deg2rad": mp.radians, "rad2deg": mp.degrees,
    "sigmoid": lambda x: 1 / (1 + mp.exp(-x)), "softplus": lambda x: mp.log(1 + mp.exp(x)),
    "logaddexp": lambda x, y: mp.log(mp.exp(x) + mp.exp(y)),
}  # fmt: skip


def real_value(pattern: Pattern, env: Mapping[str, float]) -> Any:
    """The pattern over the real numbers; None where some part of it is not defined there."""
    if isinstance(pattern, Number):
        return mp.mpf(pattern.value)
    if isinstance(pattern, Hole):
        number = mp.mpf(float(env[pattern.name]))
        return number if mp.isfinite(number) else None
    assert isinstance(pattern, Apply)
    operands = [real_value(a, env) for a in pattern.args]
    if any(o is None for o in operands):
        return None
    try:
        result = REAL[pattern.definition.name](*operands)
    except (ZeroDivisionError, ValueError):
        return None
    return result if isinstance(result, mp.mpf) and mp.isfinite(result) else None


#: Ops with a real value that numbers of any size do not take out of mpmath's reach.
ALGEBRAIC = {"sqrt", "cbrt", "multiply", "square", "power", "absolute", "deg2rad", "rad2deg"}


def is_algebraic(pattern: Pattern) -> bool:
    if not isinstance(pattern, Apply):
        return True
    return pattern.definition.name in ALGEBRAIC and all(map(is_algebraic, pattern.args))


def conditions(pattern: Pattern) -> Iterator[str]:
    """The variables that stand for bools: those that `where` looks at."""
    if isinstance(pattern, Apply):
        if pattern.definition.name == "where":
            yield from pattern.args[0].holes()
        for arg in pattern.args:
            yield from conditions(arg)


def constants(rule: Equation) -> set[str]:
    return {h.name for h in _holes(rule.left) if h.constant}


def _holes(pattern: Pattern) -> Iterator[Hole]:
    if isinstance(pattern, Hole):
        yield pattern
    elif isinstance(pattern, Apply):
        for arg in pattern.args:
            yield from _holes(arg)


#: One dtype for each kind, to build expressions with.
USUAL = {"b": "bool", "i": "i32", "u": "u16", "f": "f64", "c": "c128"}


def expression(rule: Equation, kind: str, left: Apply) -> tuple[list[Value], Value]:
    """Parameters and the rule's left side over them, for operands of a dtype kind."""
    dtype = DTYPES[USUAL[kind]]
    names = dict.fromkeys(rule.variables, dtype.type(3))
    number = 3 if rule.when is None or rule.when(**names) else 4
    bools = set(conditions(left))
    env: dict[str, Value] = {}
    for name in rule.variables:
        if name in constants(rule):
            env[name] = constant(number, dtype)
        else:
            env[name] = Value(Type(DTYPES["bool"] if name in bools else dtype), name=name)
    return [v for v in env.values() if v.op is None], build(left, env)
