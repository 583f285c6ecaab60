"""Arithmetic with sizes, on the host or in a kernel: numbers where they are known."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeAlias

from jitgraph.codegen.llvm import FunctionBuilder

_Compute: TypeAlias = Callable[[int, int], int]


@dataclass(frozen=True, slots=True)
class Sizes:
    """Operations on i64 that are not negative: registers, or numbers as text."""

    f: FunctionBuilder

    def plus(self, a: str, b: str | int) -> str:
        return self._made("add", a, str(b), lambda x, y: x + y, neutral="0")

    def less(self, a: str, b: str | int) -> str:
        return self._made("sub", a, str(b), lambda x, y: x - y, neutral="0")

    def times(self, *factors: str | int) -> str:
        total = "1"
        for factor in map(str, factors):
            total = (factor if total == "1"
                     else self._made("mul", total, factor, lambda x, y: x * y, "1"))  # fmt: skip
        return total

    def over(self, a: str, b: str | int) -> str:
        """The quotient; 0 and 1 are alike as divisors."""
        if str(b).isdigit():
            return self._made("udiv", a, str(max(int(b), 1)), lambda x, y: x // y, "1")
        return self.f.emit(f"udiv i64 {a}, {self.most(str(b), 1)}")

    def parts(self, a: str, b: str | int) -> str:
        """How many parts of size b a has, the last one maybe smaller."""
        if str(b).isdigit():
            return self.over(self.plus(a, max(int(b), 1) - 1), b)
        return self.over(self.less(self.plus(a, b), "1"), b)

    def least(self, a: str, b: str | int) -> str:
        both = _numbers(a, str(b))
        return str(min(both)) if both else self.f.minimum(a, b)

    def most(self, a: str, b: str | int) -> str:
        both = _numbers(a, str(b))
        return str(max(both)) if both else self.f.maximum(a, b)

    def is_more(self, a: str, b: str | int) -> str:
        both = _numbers(a, str(b))
        if both:
            return "true" if both[0] > both[1] else "false"
        return self.f.emit(f"icmp sgt i64 {a}, {b}")

    def both(self, a: str, b: str) -> str:
        if "false" in (a, b):
            return "false"
        if a == "true":
            return b
        return a if b == "true" else self.f.emit(f"and i1 {a}, {b}")

    def choose(self, condition: str, then: str | int, otherwise: str | int) -> str:
        if condition in ("true", "false"):
            return str(then if condition == "true" else otherwise)
        return self.f.select(condition, "i64", then, otherwise)

    def opposite(self, condition: str) -> str:
        if condition in ("true", "false"):
            return "false" if condition == "true" else "true"
        return self.f.emit(f"xor i1 {condition}, true")

    def _made(self, op: str, a: str, b: str, compute: _Compute, neutral: str) -> str:
        both = _numbers(a, b)
        if both:
            return str(compute(*both))
        return a if b == neutral else self.f.emit(f"{op} i64 {a}, {b}")


def _numbers(*texts: str) -> list[int]:
    """The numbers, if all are."""
    known = [text.lstrip("-").isdigit() for text in texts]
    return [int(text) for text in texts] if all(known) else []
