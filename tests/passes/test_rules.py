"""Every rule keeps its contract, needs it, and fires; all derived from the rule's declaration.

Equations are checked on all float16 values or all pairs of int8, and on grids of special values in
the other dtypes; those that stabilise, against the real numbers.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import cache
from typing import Any

import mpmath as mp
import numpy as np
import pytest

from jitgraph.ir.builder import Builder, rebuild
from jitgraph.ir.function import Function
from jitgraph.ir.types import DTYPES, finfo, kind_of
from jitgraph.passes.rules import THEMES, rules_for
from jitgraph.passes.rules.rule import Apply, Equation
from jitgraph.passes.stabilise import stabilised
from tests.passes.patterns import (
    conditions,
    constants,
    evaluate,
    expression,
    is_algebraic,
    real_value,
)

#: NumPy says nothing of comparisons with NaN; ml_dtypes does.
pytestmark = pytest.mark.filterwarnings("ignore:invalid value encountered:RuntimeWarning")

EQUATIONS = [r for rules in THEMES.values() for r in rules if isinstance(r, Equation)]
KIND_DTYPES = {
    "b": ("bool",), "i": ("i8", "i64"), "u": ("u8", "u32"), "c": ("c64",),
    "f": tuple(name for name in ("f16", "bf16", "f32", "f64") if name in DTYPES),
}  # fmt: skip
#: Rounding a reassociating rule may add: x**16 squares four times.
ULPS = 40


def named(rules: list[Equation]) -> Any:
    return pytest.mark.parametrize("rule", rules, ids=lambda r: r.name)


# --- samples -------------------------------------------------------------------------------------
@cache
def samples(name: str, variables: int) -> np.ndarray:
    """Values to try: all there are if those are few enough, else special and random ones."""
    dtype = DTYPES[name]
    rng = np.random.default_rng(variables)
    if dtype.kind == "b":
        return np.array([False, True])
    if dtype.kind == "c":
        parts = np.array([0.0, -0.0, 1.0, -1.5, np.inf, -np.inf, np.nan, 3e38], "f4")
        pairs = np.stack([np.repeat(parts, 8), np.tile(parts, 8)], axis=1)
        return pairs.view("c8").ravel()
    if dtype.kind in "iu":
        info = np.iinfo(dtype)
        if info.bits == 8 and variables <= 2:
            return np.arange(info.min, info.max + 1, dtype=dtype)
        edges = [info.min, info.min + 1, 0, 1, 2, 3, 7, info.max - 1, info.max]
        return np.concatenate([np.array(edges, dtype),
                               rng.integers(info.min, info.max, 12, dtype, endpoint=True)])
    if dtype.itemsize == 2 and variables == 1:
        return np.arange(1 << 16, dtype=np.uint16).view(dtype)
    random = {1: 4000, 2: 150}.get(variables, 8)
    bits = rng.integers(0, 1 << (8 * dtype.itemsize), random, f"u{dtype.itemsize}").view(dtype)
    return np.concatenate([special_floats(dtype), bits, rng.normal(0, 3, random).astype(dtype)])


def special_floats(dtype: np.dtype[Any]) -> np.ndarray:
    info = finfo(dtype)
    half = [0.0, 0.5, 1.0, 2.0, 3.0, 0.1, np.inf, info.max, info.tiny, info.smallest_subnormal]
    return np.array([*half, *(-x for x in half), np.nan], dtype)


def numbers(dtype: np.dtype[Any]) -> list[Any]:
    """Constants to try where a rule takes one."""
    given = [1, 2, 4, 3, 7, 16, 64] + ([] if dtype.kind == "u" else [-1, -2, -3])
    if kind_of(dtype) == "f":
        given += [0.5, -0.25, 0.1, 1e-4, 2.0**-14, 1e4, float(finfo(dtype).max)]
    return [dtype.type(g) for g in given]


def trials(rule: Equation, name: str) -> Iterator[dict[str, Any]]:
    """Values for the rule's variables, as arrays that hold every combination of samples."""
    dtype = DTYPES[name]
    fixed = constants(rule)
    free = [v for v in rule.variables if v not in fixed]
    bools = set(conditions(rule.left))
    axes = [samples("bool" if v in bools else name, len(free) - len(bools)) for v in free]
    env = {v: g.ravel() for v, g in zip(free, np.meshgrid(*axes, indexing="ij"), strict=True)}
    if not fixed:
        yield env
    for number in numbers(dtype) if fixed else ():
        trial = {**env, **dict.fromkeys(fixed, number)}
        if rule.when is None or rule.when(**trial):
            yield trial


class Sides:
    """Both sides of a rule for one trial."""

    def __init__(self, rule: Equation, env: Mapping[str, Any]) -> None:
        seen: list[np.ndarray] = []
        with np.errstate(all="ignore"):
            self.left = np.asarray(evaluate(rule.left, env, seen))
            right = np.asarray(rule.rewrite(**env)).astype(self.left.dtype)
        self.right = np.broadcast_to(right, self.left.shape)
        self.finite = np.ones(self.left.shape, bool)
        for array in seen:
            self.finite = self.finite & np.isfinite(array)

    @property
    def same_bits(self) -> np.ndarray:
        """Where both are equal, NaN to NaN and zero to zero of the same sign."""
        if self.left.dtype.kind == "c":
            return same_bits(self.left.real, self.right.real) & same_bits(
                self.left.imag, self.right.imag
            )
        return same_bits(self.left, self.right)


def same_bits(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    if kind_of(a.dtype) != "f":
        return np.asarray(a == b)
    return ((a == b) & (np.signbit(a) == np.signbit(b))) | (np.isnan(a) & np.isnan(b))


def all_sides(rule: Equation) -> Iterator[tuple[str, dict[str, Any], Sides]]:
    for kind in rule.dtypes:
        for name in KIND_DTYPES[kind]:
            for env in trials(rule, name):
                yield name, env, Sides(rule, env)


def complaint(rule: Equation, name: str, env: Mapping[str, Any], sides: Sides, bad: Any) -> str:
    where = int(np.argmax(bad))
    given = {k: np.asarray(v).reshape(-1)[where if np.ndim(v) else 0] for k, v in env.items()}
    return (f"{rule} in {name} at {given}: {sides.left.reshape(-1)[where]!r} is not "
            f"{sides.right.reshape(-1)[where]!r} ({int(np.sum(bad))} cases)")  # fmt: skip


# --- exact, finite, reassociating ----------------------------------------------------------------
@named([r for r in EQUATIONS if r.promise.exact])
def test_exact_rules_keep_every_bit(rule: Equation) -> None:
    for name, env, sides in all_sides(rule):
        bad = ~sides.same_bits
        assert not bad.any(), complaint(rule, name, env, sides, bad)


@named([r for r in EQUATIONS if r.promise.assumes and not r.promise.stabilises])
def test_assuming_rules_hold_where_all_is_finite_and_only_there(rule: Equation) -> None:
    needed = False
    for name, env, sides in all_sides(rule):
        if not rule.promise.reassociates:
            bad = sides.finite & (sides.left != sides.right)
            assert not bad.any(), complaint(rule, name, env, sides, bad)
        needed |= bool((~sides.same_bits & ~(sides.finite & (sides.left != 0))).any())
    assert needed, f"{rule} need not assume anything"


@named([r for r in EQUATIONS if r.promise.reassociates])
def test_reassociating_rules_differ_by_rounding_only(rule: Equation) -> None:
    needed = False
    for name, env, sides in all_sides(rule):
        info = finfo(sides.left.dtype)
        moderate = sides.finite & (np.abs(sides.left) < info.max / 4)
        with np.errstate(all="ignore"):
            distance = np.abs(sides.left.astype("f8") - sides.right.astype("f8"))
            allowed = ULPS * float(info.eps) * np.abs(sides.left.astype("f8")) + float(info.tiny)
        bad = moderate & ~(distance <= allowed)
        if not rule.promise.assumes:
            operands = [np.isfinite(env[v]) for v in rule.variables if v not in constants(rule)]
            bad |= ~np.logical_and.reduce(operands) & ~sides.same_bits
        assert not bad.any(), complaint(rule, name, env, sides, bad)
        needed |= bool((moderate & (sides.left != sides.right)).any())
    assert needed, f"{rule} never rounds differently"


# --- stabilising ---------------------------------------------------------------------------------
STABILISING = [r for r in EQUATIONS if r.promise.stabilises]


def probes(rule: Equation, dtype: np.dtype[Any]) -> list[np.ndarray]:
    """Numbers of all sizes, for which the real value is worked out with many digits."""
    variables = len(rule.variables)
    count = 60 if variables == 1 else 8
    sizes = 10.0 ** np.linspace(-9, 2.3 if dtype.itemsize == 8 else 1.9, count)
    if is_algebraic(rule.left):
        sizes = np.concatenate([sizes, 10.0 ** (np.array([-0.9, -0.6, 0.6, 0.9])
                                                * np.log10(finfo(dtype).max))])
    line = np.concatenate([sizes, -sizes, [0.0, 0.5, 1.0, -1.0, np.inf, -np.inf, np.nan]])
    return [g.ravel() for g in np.meshgrid(*[line.astype(dtype)] * variables)]


def error(result: Any, truth: Any, dtype: np.dtype[Any]) -> float:
    """The distance from the truth in units of its last place."""
    if not np.isfinite(result):
        return float("inf")
    info = finfo(dtype)
    exponent = max(mp.frexp(truth)[1], info.minexp) if truth else info.minexp
    return float(abs(mp.mpf(float(result)) - truth) / mp.ldexp(1, exponent - info.nmant - 1))


@named(STABILISING)
@pytest.mark.parametrize("name", ["f32", "f64"])
def test_stabilising_rules_come_closer_to_the_truth(rule: Equation, name: str) -> None:
    dtype = DTYPES[name]
    env = dict(zip(rule.variables, probes(rule, dtype), strict=True))
    sides = Sides(rule, env)
    better, needed, tiny = False, False, 8 * finfo(dtype).eps
    with mp.workdps(230):
        for i, (left, right) in enumerate(zip(sides.left, sides.right, strict=True)):
            point = {k: v[i] for k, v in env.items()}
            truth = real_value(rule.left, point)
            if truth is None:
                same = np.isclose(left, right, rtol=tiny, atol=tiny, equal_nan=True)
                assert same or rule.promise.assumes, (point, left, right)
                needed |= not same
            elif abs(truth) < float(finfo(dtype).max):
                before, after = error(left, truth, dtype), error(right, truth, dtype)
                assert after <= max(before, 4), (point, left, right)
                better |= after < before
    assert better, f"{rule} brings nothing nearer"
    assert needed == bool(rule.promise.assumes), f"{rule}: the assumption is not as declared"


# --- firing --------------------------------------------------------------------------------------
@named([r for r in EQUATIONS if r.stage != "early"])
def test_rules_fire(rule: Equation) -> None:
    """Among all the others: none is shadowed by another."""
    level = "primitive" if rule.stage == "late" else "graph"
    for kind in rule.dtypes:
        for left in rule.variants:
            fired = rewritten(rule, kind, left, "real", level)
            assert rule.name in fired, f"{rule} did not fire for {left} ({kind}): {fired}"


def rewritten(rule: Equation, kind: str, left: Apply, algebra: str, level: str) -> list[str]:
    params, value = expression(rule, kind, left)
    fired: list[str] = []
    builder = Builder(params, rules_for(algebra, level), lambda r: fired.append(r.rule))
    rebuild(Function(params, [value]), builder)
    return fired


@named([r for r in EQUATIONS if not r.promise.exact])
def test_only_exact_rules_fire_under_ieee(rule: Equation) -> None:
    for kind in rule.dtypes:
        for level in ("graph", "primitive"):
            assert rule.name not in rewritten(rule, kind, rule.left, "ieee", level)


@named(STABILISING)
def test_stabilising_rules_fire_before_differentiation(rule: Equation) -> None:
    _, value = expression(rule, "f", rule.left)
    after = stabilised([value], set())[0]
    assert after is not value
    assert str(rule.right) != str(rule.left)


def test_names_are_unique() -> None:
    names = [r.name for rules in THEMES.values() for r in rules]
    assert len(names) == len(set(names))
