"""One function for one layout of its inputs: which unknown extents are 1, and which are not.

    f(x: f64[?, ?], b: f64[?]) with (20, 10), (10,) => f(x: f64[x.0!, x.1!], b: f64[b.0!])

An extent that is known not to be 1 never broadcasts, so gradients need not ask at run time which
axes to sum; a call with another pattern of ones gets a variant of its own.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import count

import numpy as np

from jitgraph.ir.function import Function
from jitgraph.ir.opdef import apply_op, constant
from jitgraph.ir.types import Dim, Extent, Type
from jitgraph.ir.values import Value

#: For each parameter the extent that each axis is compiled for: 1, or a few coordinates, or 0 for
#: any that is not 1 (only unknown extents are looked at).
Fixed = tuple[tuple[int, ...], ...]


def specialise(fn: Function, fixed: Fixed) -> Function:
    """`fn` for inputs whose unknown extents are 1 exactly where `fixed` says so, and elsewhere what
    it says."""
    names = _unique_names(fn)
    params = [
        Value(_specialised(p.type, names[k], extents), name=p.name, location=p.location)
        for k, (p, extents) in enumerate(zip(fn.params, fixed, strict=True))
    ]
    return with_params(fn, params)


def _unique_names(fn: Function) -> list[str]:
    """A name per parameter, under which its extents meet neither another's nor the user's own."""
    extents = (d.name for p in fn.params for d in p.type.shape if isinstance(d, Extent))
    taken = {name.partition(".")[0] for name in extents if "." in name}
    names: list[str] = []
    for k, param in enumerate(fn.params):
        name = param.name or ""
        if not name.isidentifier() or name in taken:
            name = next(n for n in (f"arg{i}" for i in count(k)) if n not in taken)
        taken.add(name)
        names.append(name)
    return names


def _specialised(type_: Type, name: str, extents: Sequence[int]) -> Type:
    def dim(axis: int, known: Dim) -> Dim:
        if isinstance(known, int):
            return known
        if extents[axis]:
            return int(extents[axis])
        own = known.name if known is not None else f"{name}.{axis}"
        return Extent(own, not_one=True)

    return type_.with_shape(dim(axis, known) for axis, known in enumerate(type_.shape))


def plain(fn: Function) -> Function:
    """`fn` over parameters of the same types that are ordinary values, as passes want them: the
    user's variables compare elementwise."""
    return with_params(fn, [Value(p.type, name=p.name, location=p.location) for p in fn.params])


def always_failing(fn: Function) -> Function:
    """A stand-in for a function whose shapes contradict each other in this layout: every call
    fails its one check, and the interpreter says what is wrong."""
    results = [constant(np.zeros((0,) * r.ndim, r.dtype)) for r in fn.results]
    return Function(fn.params, results, checks=[constant(np.False_)], name=fn.name)


def with_params(fn: Function, params: Sequence[Value]) -> Function:
    """`fn` over other parameters; types are inferred anew."""
    new: dict[Value, Value] = dict(zip(fn.params, params, strict=True))
    for value in fn.ops:
        op = value.op
        assert op is not None
        args = tuple(new[a] for a in op.args)
        new[value] = apply_op(op.definition, args, op.attrs, op.location)
    return Function(
        params, (new[r] for r in fn.results), checks=(new[c] for c in fn.checks), name=fn.name
    )
