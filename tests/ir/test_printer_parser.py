"""Printing and parsing are exact inverses."""

from __future__ import annotations

from contextlib import suppress

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from jitgraph.errors import ParseError
from jitgraph.ir.function import Function, print_expression
from jitgraph.ir.opdef import OPS, OpDef, apply_op, constant
from jitgraph.ir.ops.arithmetic import greater
from jitgraph.ir.ops.exponential import exp, tanh
from jitgraph.ir.ops.indexing import slice_
from jitgraph.ir.ops.linear import matmul
from jitgraph.ir.ops.reduction import max_
from jitgraph.ir.parser import parse, parse_module
from jitgraph.ir.printer import format_attribute, print_function
from jitgraph.ir.types import DTYPES, parse_type
from jitgraph.ir.values import Value
from jitgraph.ir.verifier import verify
from jitgraph.location import Location
from tests.strategies import EVERY_DTYPE, Program, functions


def var(text: str, name: str | None = "x", location: Location | None = None) -> Value:
    return Value(parse_type(text), name=name, location=location)


def round_trip(fn: Function) -> Function:
    back = parse(str(fn))
    assert back == fn
    assert str(back) == str(fn)
    assert len(back.checks) == len(fn.checks)
    assert [p.type for p in back.params] == [p.type for p in fn.params]
    return back


@settings(max_examples=120, deadline=None)
@given(functions(dtypes=EVERY_DTYPE))
def test_any_program_round_trips(program: Program) -> None:
    fn = program.function
    back = round_trip(fn)
    verify(back)
    ours = [v.literal for v in fn.ops if v.literal is not None]
    assert [v.literal for v in back.ops if v.literal is not None] == ours
    order = {v: i for i, v in enumerate((*fn.params, *fn.ops))}
    order_back = {v: i for i, v in enumerate((*back.params, *back.ops))}
    assert [order[c] for c in fn.checks] == [order_back[c] for c in back.checks]
    placed = print_function(fn, locations=True)
    assert print_function(parse(placed), locations=True) == placed


# --- constants -----------------------------------------------------------------------------------
def constant_round_trips(array: np.ndarray) -> str:
    """Whether the bits come back; gives the text of the constant."""
    fn = Function([], [constant(array)])
    back = round_trip(fn)
    assert back.results[0].literal == fn.results[0].literal
    return str(fn).splitlines()[1].strip()


@settings(max_examples=100, deadline=None)
@given(st.sampled_from(EVERY_DTYPE), st.lists(st.integers(0, 4), max_size=3), st.data())
def test_constants_keep_their_bits(name: str, shape: list[int], data: st.DataObject) -> None:
    dtype = DTYPES[name]
    bits = st.binary(min_size=dtype.itemsize, max_size=dtype.itemsize)
    if name == "bool":
        bits = st.sampled_from([b"\0", b"\1"])
    count = int(np.prod(shape, dtype=int))
    raw = b"".join(data.draw(st.lists(bits, min_size=count, max_size=count)))
    constant_round_trips(np.frombuffer(raw, dtype).reshape(shape))


def test_every_half_precision_number_comes_back() -> None:
    every = np.arange(2**16, dtype=np.uint16).view(np.float16)
    for start in range(0, 2**16, 64 * 32):  # 32 at a time is the longest list
        constant_round_trips(every[start : start + 32])


@pytest.mark.parametrize(
    ("array", "text"),
    [
        (np.float64(0.1), "0.1 : f64[]"),
        (np.float32(0.1), "0.1 : f32[]"),
        (np.float16(0.1), "0.1 : f16[]"),
        (np.float64(-0.0), "-0.0 : f64[]"),
        (np.float64(1e22), "1e+22 : f64[]"),
        (np.array([np.inf, -np.inf, np.nan]), "[inf, -inf, nan] : f64[3]"),
        (np.array(0x7FF8000000000001).view(np.float64), "0x7ff8000000000001 : f64[]"),
        (-np.array(np.nan, np.float32), "0xffc00000 : f32[]"),
        (np.complex128(complex(1, -2.5)), "(1.0,-2.5) : c128[]"),
        (np.complex64(complex(0.1, np.inf)), "(0.1,inf) : c64[]"),
        (np.array([True, False]), "[true, false] : bool[2]"),
        (np.arange(4.0).reshape(2, 2), "[[0.0, 1.0], [2.0, 3.0]] : f64[2, 2]"),
        (np.arange(4).reshape(1, 4, 1), "[[[0], [1], [2], [3]]] : i64[1, 4, 1]"),
        (np.array([[7]], np.uint8), "[[7]] : u8[1, 1]"),
        (np.zeros((3, 4)), "splat 0.0 : f64[3, 4]"),
        (np.full(99, -1, np.int8), "splat -1 : i8[99]"),
        (np.zeros((0, 3)), 'dense<""> : f64[0, 3]'),
        (np.array(2**64 - 1, np.uint64), "18446744073709551615 : u64[]"),
        (np.int8(-128), "-128 : i8[]"),
    ],
)
def test_constants_read_well(array: np.ndarray, text: str) -> None:
    assert constant_round_trips(np.asarray(array)) == f"%0 = constant {text}"


def test_long_constants_are_hex() -> None:
    text = constant_round_trips(np.arange(33, dtype=np.uint8))
    assert text == f'%0 = constant dense<"{bytes(range(33)).hex()}"> : u8[33]'


# --- attributes, names, places -------------------------------------------------------------------
ATTRIBUTES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text() | st.floats()
    | st.complex_numbers(allow_nan=False) | st.sampled_from(list(DTYPES.values())),
    lambda inner: st.lists(inner, max_size=3).map(tuple),
    max_leaves=6,
)  # fmt: skip


@settings(max_examples=150, deadline=None)
@given(ATTRIBUTES)
def test_any_attribute_round_trips(attribute: object) -> None:
    probe = OpDef(
        name="probe", infer=lambda types, attrs: parse_type("f64[]"), shape=lambda *_: (),
        evaluate=lambda *, given: np.float64(0),
    )  # fmt: skip
    OPS["probe"] = probe
    try:
        fn = Function([], [apply_op(probe, (), {"given": attribute}, None)])
        back = round_trip(fn).results[0].op
    finally:
        del OPS["probe"]
    assert back is not None
    assert type(back.attrs["given"]) is type(attribute)
    assert format_attribute(back.attrs["given"]) == format_attribute(attribute)


def test_parameter_names_become_valid_and_unique() -> None:
    params = [var("f64[]", n) for n in ("x", "x", None, "1 2", "arg2", "θ", "w.b", "x_1")]
    fn = Function(params, [params[0] + params[1]], name="<lambda>")
    text = str(fn)
    assert text.splitlines()[0] == (
        'func @"<lambda>"(%x: f64[], %x_1: f64[], %arg2: f64[], %_1_2: f64[], %arg2_1: f64[], '
        "%θ: f64[], %w.b: f64[], %x_1_1: f64[]) -> f64[] {"
    )
    assert round_trip(fn).name == "<lambda>"


def test_the_text_of_a_program() -> None:
    place = Location("train.py", 3)
    x, w = var("f64[n, 784]", "x", place), var("f64[784, 10]", "w")
    with_place = apply_op(OPS["matmul"], (x, w), {}, Location("train.py", 12, (4, 9)))
    peak = max_(with_place, [1])
    row = slice_(with_place, [0, 1], [0, 2], [1, 3], [1, -1])
    ok = greater(max_(peak, [0]), 0.0)
    fn = Function([x, w], [peak, row], checks=[ok], name="f")
    assert str(fn) == (
        "func @f(%x: f64[n, 784], %w: f64[784, 10]) -> (f64[n], f64[1, 3]) {\n"
        "  %0 = matmul %x, %w : f64[n, 10]\n"
        "  %1 = reduce_max %0 {axes = [1]} : f64[n]\n"
        "  %2 = reduce_max %1 {axes = [0]} : f64[]\n"
        "  %3 = constant 0.0 : f64[]\n"
        "  %4 = greater %2, %3 : bool[]\n"
        "  check %4\n"
        "  %5 = slice %0 {axes = [0, 1], sizes = [1, 3], starts = [0, 2], steps = [1, -1]}"
        " : f64[1, 3]\n"
        "  return %1, %5\n"
        "}"
    )
    placed = print_function(fn, locations=True)
    assert '%x: f64[n, 784] loc("train.py":3), %w' in placed
    assert '%0 = matmul %x, %w : f64[n, 10]  loc("train.py":12:4:9)' in placed
    back = parse(placed)
    assert back.params[0].location is not None
    assert back.ops[0].location is not None
    assert back.ops[0].location.columns == (4, 9)


def test_the_order_of_checks_is_kept() -> None:
    a, b = var("bool[]", "a"), var("bool[]", "b")
    both = a & b
    later = both | a
    for checks in ([later, both], [both, later, both], [b, a], [later, b, later]):
        fn = Function([a, b], [a], checks=checks)
        back = round_trip(fn)
        position = {v: i for i, v in enumerate((*fn.params, *fn.ops))}
        position_back = {v: i for i, v in enumerate((*back.params, *back.ops))}
        assert [position_back[c] for c in back.checks] == [position[c] for c in checks]


def test_no_results_and_no_parameters() -> None:
    assert str(Function([], [])) == "func @main() -> () {\n  return\n}"
    round_trip(Function([], []))
    x = var("f64[]")
    round_trip(Function([x, var("f32[?]", None)], [x, x]))


def test_expressions_print_as_functions_of_their_leaves() -> None:
    x, y = var("f64[n]", "x"), var("f64[n]", "y")
    assert print_expression(x + y).startswith(
        "func @expression(%x: f64[n], %y: f64[n]) -> f64[n] {"
    )
    assert "(f64[n], f64[n])" in print_expression([exp(x), y])


def test_modules_comments_and_free_layout() -> None:
    text = """
    // a file of two
    func @f(%x: f64[n]) -> f64[n] { %y = exp %x : f64[n] return %y }  // the first

    func @g ( %a : i8[] )
      -> ()
    {
      return   // nothing
    }
    """
    module = parse_module(text)
    assert list(module) == ["f", "g"]
    assert "%0 = exp %x" in str(module["f"])
    assert parse_module("  // nothing\n") == {}


# --- errors --------------------------------------------------------------------------------------
HEAD = "func @f(%x: f64[3], %y: f64[4]) -> f64[3] {\n"


@pytest.mark.parametrize(
    ("text", "message", "line", "column"),
    [
        ("", "expected 'func', found the end", 1, 1),
        ("func f", "expected '@', found 'f'", 1, 6),
        ("func @f(%x f64[])", "expected ':', found 'f64[]'", 1, 12),
        ("func @f(%x: f99[]) -> f64[] {", "'f99' is not a dtype", 1, 13),
        ("func @f(%x: f64[-1]) -> f64[] {", "'-1' is not a dimension", 1, 13),
        ("func @f(%x: f64[], %x: f64[]) -> f64[] {", "%x is defined twice", 1, 20),
        (HEAD + "  %0 = epx %x : f64[3]\n", "unknown op 'epx'; did you mean exp", 2, 8),
        (HEAD + "  %0 = exp %z : f64[3]\n", "%z is not defined here", 2, 12),
        (HEAD + "  %0 = exp %x : f64[4]\n", "declared f64[4], but the op gives f64[3]", 2, 17),
        (HEAD + "  %0 = exp %x, %x : f64[3]\n", "exp takes 1 operand, not 2", 2, 8),
        (HEAD + "  %0 = add %x, %y : f64[3]\n", "cannot add f64[3] and f64[4] (dimension 0:", 2, 8),
        (HEAD + "  %0 = exp %x {a = 1} : f64[3]\n", "exp takes no attributes, given a", 2, 8),
        (HEAD + "  %0 = reduce_sum %x : f64[]\n", "reduce_sum takes axes, given none", 2, 8),
        (HEAD + "  %0 = reduce_sum %x {axes = none} : f64[]\n", "does not take these", 2, 8),
        (HEAD + "  %0 = reduce_sum %x {axes = [0} : f64[]\n", "expected ',' or ']'", 2, 32),
        (HEAD + "  %0 = reduce_sum %x {axes = maybe} : f64[]\n", "expected an attribute", 2, 30),
        (HEAD + "  %0 = constant 300 : i8[]\n", "this is no i8[]", 2, 17),
        (HEAD + "  %0 = constant 1e99 : f32[]\n", "1e+99 is out of range", 2, 17),
        (HEAD + "  %0 = constant [1, 2] : i8[3]\n", "do not have the shape [3]", 2, 17),
        (HEAD + "  %0 = constant [[1], 2] : i8[2]\n", "do not have the shape [2]", 2, 17),
        (HEAD + '  %0 = constant dense<"00"> : i16[1]\n', "1 bytes given, 2 needed", 2, 17),
        (HEAD + '  %0 = constant dense<"zz"> : i8[1]\n', "this is no i8[1]", 2, 17),
        (HEAD + "  %0 = constant true : f64[]\n", "True is no element of it", 2, 17),
        (HEAD + "  %0 = constant 1 : i8[n]\n", "type of a constant must be known", 2, 21),
        (HEAD + "  %0 = constant (1.0) : c64[]\n", "a complex number has two parts", 2, 23),
        (HEAD + "  check %x\n", "a check must be bool[], not f64[3]", 2, 9),
        (HEAD + "  $\n", "unexpected character '$'", 2, 3),
        (HEAD + "  return %x, %y\n}", "declares (f64[3]) but returns (f64[3], f64[4])", 1, 36),
        (HEAD + "  return %x\n} func", "expected the end after one function", 3, 3),
        (HEAD + "  return %x\n", "expected ',' or '}', found the end", 2, 12),
        (HEAD + "  what\n", "expected an op, 'check' or 'return', found 'what'", 2, 3),
    ],
)
def test_errors_point_at_the_place(text: str, message: str, line: int, column: int) -> None:
    with pytest.raises(ParseError) as caught:
        parse(text)
    error = caught.value
    assert message in str(error)
    assert (error.lineno, error.offset) == (line, column)
    shown = str(error).splitlines()
    assert shown[-1].index("^") == shown[-2].index(":") + 1 + column


def test_a_module_names_each_function_once() -> None:
    one = "func @f() -> () { return }\n"
    with pytest.raises(ParseError, match="@f is there twice"):
        parse_module(one + one)


@settings(max_examples=150, deadline=None)
@given(functions(max_steps=3), st.data())
def test_mangled_text_parses_or_raises_parse_error(program: Program, data: st.DataObject) -> None:
    text = str(program.function)
    start = data.draw(st.integers(0, len(text)))
    end = data.draw(st.integers(start, min(len(text), start + 5)))
    mangled = text[:start] + data.draw(st.text("%x0 ,:{}[]()=-.\n\"<", max_size=3)) + text[end:]
    with suppress(ParseError):
        parse(mangled)


# --- scale ---------------------------------------------------------------------------------------
def test_a_hundred_thousand_ops_in_a_row() -> None:
    x = y = var("f64[n]")
    for _ in range(100_000):
        y = tanh(y)
    fn = Function([x], [y])
    verify(fn)
    text = str(fn)
    assert text.count("\n") == 100_002
    assert str(parse(text)) == text


def test_matmul_of_extents_prints_names() -> None:
    assert str(matmul(var("f64[n, k]"), var("f64[k, m]")).type) == "f64[n, m]"
