"""The verifier accepts what is well formed and shows what is not, with the lines around it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings

from jitgraph.errors import VerifyError
from jitgraph.ir.function import Function
from jitgraph.ir.opdef import OPS, OpDef
from jitgraph.ir.ops.exponential import exp, tanh
from jitgraph.ir.types import parse_type
from jitgraph.ir.values import Op, Value
from jitgraph.ir.verifier import interface, verify
from jitgraph.location import Location
from tests.strategies import EVERY_DTYPE, Program, functions


def var(text: str, name: str = "x") -> Value:
    return Value(parse_type(text), name=name)


def raw(name: str, args: tuple[Value, ...], type_: str, **attrs: Any) -> Value:
    """An op as a defective pass might make it: nothing is checked."""
    place = Location("pass.py", 7)
    return Value(parse_type(type_), Op(OPS[name], args, attrs, parse_type(type_), place))


@settings(max_examples=60, deadline=None)
@given(functions(dtypes=EVERY_DTYPE))
def test_what_the_public_functions_build_verifies(program: Program) -> None:
    verify(program.function)


def disagreeing() -> Value:
    value = raw("exp", (X,), "f64[3]")
    assert value.op is not None
    value.op.type = parse_type("f64[4]")
    return value


def foreign() -> Value:
    made = OpDef(name="exp", infer=OPS["exp"].infer, evaluate=np.exp, shape=OPS["exp"].shape)
    return Value(X.type, Op(made, (X,), {}, X.type, None))


X = var("f64[3]")
DEFECTS: dict[str, Callable[[], Value]] = {
    "exp is declared f64[4] but infers f64[3]": lambda: raw("exp", (X,), "f64[4]"),
    "exp is declared f32[3] but infers f64[3]": lambda: raw("exp", (X,), "f32[3]"),
    "exp is declared f64[4] but infers": disagreeing,
    "exp takes 1 operand, not 2": lambda: raw("exp", (X, X), "f64[3]"),
    "exp takes 1 operand, not 0": lambda: raw("exp", (), "f64[3]"),
    "gather takes 1 or more operands, not 0": lambda: raw("gather", (), "f64[3]"),
    "exp takes no attributes, given fast": lambda: raw("exp", (X,), "f64[3]", fast=True),
    "dim takes axis, given none": lambda: raw("dim", (X,), "i64[]"),
    "f64[3] has no axis 2": lambda: raw("dim", (X,), "i64[]", axis=2),
    "transpose cannot infer its type: TypeError":
        lambda: raw("transpose", (X,), "f64[3]", perm=None),
    "the attribute perm = <[0]> is of kind list":
        lambda: raw("transpose", (X,), "f64[3]", perm=[0]),
    "the attribute axis = <np.int64(0)> is of kind int64":
        lambda: raw("dim", (X,), "i64[]", axis=np.int64(0)),
    "exp is not the op registered under that name": foreign,
}  # fmt: skip


@pytest.mark.parametrize("message", DEFECTS)
def test_a_defective_op_is_found(message: str) -> None:
    bad = DEFECTS[message]()
    with pytest.raises(VerifyError) as caught:
        verify(Function([X], [bad], name="f"))
    assert caught.value.message.startswith(f"@f: {message}")
    assert "\n  >> %0 = " in caught.value.message


def test_the_bad_line_is_shown_among_its_neighbours() -> None:
    y = X
    for _ in range(5):
        y = tanh(y)
    y = raw("exp", (y,), "f64[4]")
    for _ in range(5):
        y = tanh(y)
    with pytest.raises(VerifyError) as caught:
        verify(Function([X], [y], name="f"))
    assert str(caught.value).splitlines() == [
        "@f: exp is declared f64[4] but infers f64[3]",
        "     %2 = tanh %1 : f64[3]",
        "     %3 = tanh %2 : f64[3]",
        "     %4 = tanh %3 : f64[3]",
        "  >> %5 = exp %4 : f64[4]",
        "     %6 = tanh %5 : f64[4]",
        "     %7 = tanh %6 : f64[4]",
        "     %8 = tanh %7 : f64[4]",
        "  pass.py:7",
    ]


def test_a_free_variable_is_named_where_it_is_used() -> None:
    with pytest.raises(VerifyError, match=r"y: f64\[3\] is no (.|\n)*>> %1 = add %0, %\?y"):
        verify(Function([X], [exp(X) + var("f64[3]", "y")]))
    with pytest.raises(VerifyError, match=r"y: f64\[3\] is no parameter"):
        verify(Function([X], [var("f64[3]", "y")]))


def test_a_parameter_may_not_be_there_twice() -> None:
    with pytest.raises(VerifyError, match="the parameter %x is there twice"):
        verify(Function([X, X], [X]))


def test_a_check_must_be_a_bool_scalar() -> None:
    with pytest.raises(VerifyError, match=r"the check %0 is f64\[3\], not bool\[\]"):
        verify(Function([X], [], checks=[exp(X)]))
    with pytest.raises(VerifyError, match=r"the check %x is f64\[3\], not bool\[\]"):
        verify(Function([X], [], checks=[X]))


def test_a_cycle_is_found() -> None:
    a = raw("exp", (X,), "f64[3]")
    b = raw("exp", (a,), "f64[3]")
    assert a.op is not None
    a.op.args = (b,)
    with pytest.raises(VerifyError, match="is used before it is defined"):
        verify(Function([X], [b]))


def test_a_parameter_may_stand_for_an_expression() -> None:
    y = exp(X)
    verify(Function([y], [tanh(y)]))


@pytest.mark.parametrize("definition", OPS.values(), ids=list(OPS))
def test_every_op_tells_its_operands_and_attributes(definition: OpDef) -> None:
    takes = interface(definition)
    assert takes.most is None or takes.least <= takes.most
