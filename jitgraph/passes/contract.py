"""Products and sums become one instruction, rounded once.

    %2 = multiply %0, %1; %3 = add %2, %4    =>    %3 = fma %0, %1, %4

It is decided here, where all targets have the same bodies, and not by flags that each back end
reads in its own way: so the CPU and every device give the same bits.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from jitgraph.ir.kernel import Call, Kernel, Product, Rows, Step
from jitgraph.ir.opdef import OPS, apply_op, constant
from jitgraph.ir.types import F32, F64
from jitgraph.ir.values import Value


def contract(steps: Sequence[Step]) -> list[Step]:
    """The steps with the bodies of their kernels contracted."""
    return [_step(step) for step in steps]


def _step(step: Step) -> Step:
    match step:
        case Kernel():
            return _kernel(step)
        case Rows():
            return _rows(step)
        case Product(epilogue=item) if item is not None:
            return replace(step, epilogue=replace(item, kernel=_kernel(item.kernel)))
        case Call(epilogue=item) if item is not None:
            return replace(step, epilogue=replace(item, rows=_rows(item.rows)))
    return step


def _rows(rows: Rows) -> Rows:
    return replace(rows, kernels=tuple(map(_kernel, rows.kernels)))


def _kernel(kernel: Kernel) -> Kernel:
    """The kernel over a new body, if there is anything to contract in it."""
    made: dict[Value, Value] = {}
    body = kernel.body()
    inside = set(body)
    for value in body:
        op = value.op
        assert op is not None
        args = tuple(made.get(a, a) for a in op.args)
        fused = _fused(value, inside, made)
        if fused is not None:
            made[value] = fused
        elif args != op.args:
            made[value] = apply_op(op.definition, args, op.attrs, value.location)
    if not made:
        return kernel
    stores = tuple(
        replace(
            s,
            value=made.get(s.value, s.value),
            indices=tuple((made.get(i, i), stride) for i, stride in s.indices),
        )
        for s in kernel.stores
    )
    return replace(kernel, stores=stores)


def _fused(value: Value, inside: set[Value], made: dict[Value, Value]) -> Value | None:
    """The sum or difference with the first product in it as one op."""
    op = value.op
    assert op is not None
    if op.name not in ("add", "subtract") or value.dtype not in (F32, F64):
        return None
    for place, factor in enumerate(op.args):
        if factor not in inside or not factor.is_op("multiply") or factor.op is None:
            continue
        a, b = (made.get(x, x) for x in factor.op.args)
        other = op.args[1 - place]
        other = made.get(other, other)
        if op.name == "subtract":
            a, other = (a, _negated(other)) if place == 0 else (_negated(a), other)
        return apply_op(OPS["fma"], (a, b, other), {}, value.location)
    return None


def _negated(value: Value) -> Value:
    if value.literal is not None:
        return constant(-value.literal.array)
    return apply_op(OPS["negative"], (value,), {}, value.location)
