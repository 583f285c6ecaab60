"""Verification is re-inference: what an op claims must be what its definition infers."""

from __future__ import annotations

import inspect
from dataclasses import dataclass
from functools import cache
from typing import Any, NoReturn

import numpy as np

from jitgraph.errors import JitgraphError, VerifyError
from jitgraph.ir.elementwise import Elementwise
from jitgraph.ir.function import Function
from jitgraph.ir.opdef import OPS, Attrs, OpDef
from jitgraph.ir.printer import format_attribute, name_values, op_line
from jitgraph.ir.types import BOOL, DTYPE_NAMES, Type
from jitgraph.ir.values import Literal, Op, Value, topological

#: Lines of IR shown before and after the bad one.
CONTEXT = 3

#: What `infer` may raise when attributes are not of the kind it expects.
MALFORMED = (TypeError, ValueError, LookupError, AttributeError)


def verify(fn: Function) -> None:
    """Raise VerifyError, with the lines around the defect, unless `fn` is well formed."""
    ops = _Verifier(fn)
    ops.parameters()
    ops.body()
    ops.checks()


class _Verifier:
    """Walks its own order rather than `fn.ops`, which refuses free variables."""

    def __init__(self, fn: Function) -> None:
        self.fn = fn
        order = topological((*fn.checks, *fn.results), stop=frozenset(fn.params))
        params = set(fn.params)
        self.free = [v for v in order if v.op is None and v not in params]
        self.ops = [v for v in order if v.op is not None and v not in params]
        self.names = name_values(fn.params, self.ops)

    def parameters(self) -> None:
        if len(set(self.fn.params)) != len(self.fn.params):
            twice = next(p for p in self.fn.params if self.fn.params.count(p) > 1)
            self.fail(f"the parameter {self.names[twice]} is there twice")
        for leaf in self.free:
            user = next((i for i, v in enumerate(self.ops) if leaf in _op(v).args), None)
            self.fail(f"{leaf.describe()}: {leaf.type} is no parameter of the function", user)

    def body(self) -> None:
        defined = set(self.fn.params)
        for index, value in enumerate(self.ops):
            problem = _problem(value)
            if problem is None and not defined.issuperset(_op(value).args):
                late = next(a for a in _op(value).args if a not in defined)
                problem = f"{self.names[late]} is used before it is defined"
            if problem is not None:
                self.fail(problem, index)
            defined.add(value)

    def checks(self) -> None:
        for check in self.fn.checks:
            if check.type != Type(BOOL):
                index = self.ops.index(check) if check in self.ops else None
                self.fail(f"the check {self.names[check]} is {check.type}, not bool[]", index)

    def fail(self, problem: str, index: int | None = None) -> NoReturn:
        if index is None:
            raise VerifyError(f"@{self.fn.name}: {problem}")
        lines = [f"@{self.fn.name}: {problem}"]
        for i in range(max(index - CONTEXT, 0), min(index + CONTEXT + 1, len(self.ops))):
            mark = ">>" if i == index else "  "
            lines.append(f"  {mark} {op_line(self.ops[i], self.names)}")
        raise VerifyError("\n".join(lines), location=self.ops[index].location)


def _op(value: Value) -> Op:
    assert value.op is not None
    return value.op


def _problem(value: Value) -> str | None:
    """What is wrong with the op by itself, or None."""
    op = _op(value)
    if not op.definition.opaque and OPS.get(op.name) is not op.definition:
        return f"{op.name} is not the op registered under that name"
    problem = misfit(op.definition, len(op.args), op.attrs) or _unknown_attribute(op.attrs)
    if problem is not None:
        return problem
    try:
        inferred = op.definition.infer([a.type for a in op.args], op.attrs)
    except JitgraphError as error:
        return error.message
    except MALFORMED as error:
        return f"{op.name} cannot infer its type: {type(error).__name__}: {error}"
    for declared in (value.type, op.type):
        if declared != inferred:
            return f"{op.name} is declared {declared} but infers {inferred}"
    return None


def _unknown_attribute(attrs: Attrs) -> str | None:
    for name, attribute in attrs.items():
        if not _is_known(attribute):
            kind = type(attribute).__name__
            return f"the attribute {name} = {format_attribute(attribute)} is of kind {kind}"
    return None


def _is_known(attribute: Any) -> bool:
    """Whether the attribute is hashable, printable and parseable."""
    if isinstance(attribute, tuple):
        return all(map(_is_known, attribute))
    if isinstance(attribute, np.dtype):
        return attribute in DTYPE_NAMES
    if isinstance(attribute, Function):
        verify(attribute)
        return True
    return attribute is None or isinstance(attribute, bool | int | float | complex | str | Literal)


# --- what an op takes --------------------------------------------------------------------------
@dataclass(frozen=True, slots=True)
class Interface:
    """How many operands an op takes (`most` is None without limit) and its attributes' names."""

    least: int
    most: int | None
    attributes: frozenset[str]


@cache
def interface(definition: OpDef) -> Interface:
    """Read from the signature of `evaluate(*arrays, *, attributes)`, which is exact already."""
    parameters = list(inspect.signature(definition.evaluate).parameters.values())
    names = frozenset(p.name for p in parameters if p.kind is p.KEYWORD_ONLY)
    if isinstance(definition, Elementwise):
        return Interface(definition.arity, definition.arity, names)
    least = sum(p.kind is p.POSITIONAL_OR_KEYWORD for p in parameters)
    variadic = any(p.kind is p.VAR_POSITIONAL for p in parameters)
    return Interface(least, None if variadic else least, names)


def misfit(definition: OpDef, operands: int, attrs: Attrs) -> str | None:
    """How the number of operands or the attributes' names are not what the op takes, or None."""
    takes, name = interface(definition), definition.name
    if operands < takes.least or (takes.most is not None and operands > takes.most):
        or_more = " or more" if takes.most is None else ""
        plural = "" if takes.least == 1 and not or_more else "s"
        return f"{name} takes {takes.least}{or_more} operand{plural}, not {operands}"
    if attrs.keys() != takes.attributes:
        given = ", ".join(sorted(attrs)) or "none"
        wanted = ", ".join(sorted(takes.attributes)) or "no attributes"
        return f"{name} takes {wanted}, given {given}"
    return None
