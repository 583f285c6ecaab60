"""`python -m jitgraph.reference`: the table of ops, written from their declarations."""

from __future__ import annotations

import sys
from collections.abc import Iterator

import jitgraph.ir.kernel
import jitgraph.ir.ops  # noqa: F401  (declares the others)
from jitgraph.errors import DTypeError
from jitgraph.ir.elementwise import Elementwise, resolve
from jitgraph.ir.opdef import OPS, OpDef
from jitgraph.ir.ops.reduction import Reduction
from jitgraph.ir.types import DTYPES, is_bfloat16, kind_of

HEADER = """# The ops of the IR

Generated from the declarations in `jitgraph/ir/ops` by `python -m jitgraph.reference`. The dtypes
are those of the loops an op computes in; public functions cast their operands to the nearest one.
What takes f16 takes bf16 as well.

| op | kind | dtypes | gradient | meaning |
|---|---|---|---|---|
"""


def reference() -> str:
    """The Markdown page: one row per op, by name."""
    return HEADER + "\n".join(_row(OPS[name]) for name in sorted(OPS)) + "\n"


def _row(definition: OpDef) -> str:
    cells = (
        f"`{definition.name}`",
        _kind(definition),
        " ".join(_dtypes(definition)) or "any",
        "yes" if definition.gradient is not None else "",
        " ".join(definition.doc.split()).replace("|", "\\|"),
    )
    return f"| {' | '.join(cells)} |"


def _kind(definition: OpDef) -> str:
    if isinstance(definition, Elementwise):
        return f"elementwise, {definition.arity} operand{'s' * (definition.arity > 1)}"
    if isinstance(definition, Reduction):
        return "reduction"
    return "composite" if definition.decompose is not None else "structural"


def _dtypes(definition: OpDef) -> Iterator[str]:
    for name, dtype in DTYPES.items():
        if is_bfloat16(dtype):  # it is known only where ml_dtypes is installed
            continue
        if isinstance(definition, Elementwise):
            dtypes = (dtype,) * definition.arity
            if definition.name == "where":
                dtypes = (DTYPES["bool"], dtype, dtype)
            try:
                if resolve(definition, dtypes)[:-1] == dtypes:
                    yield name
            except DTypeError:
                continue
        elif isinstance(definition, Reduction) and kind_of(dtype) in definition.accepts:
            yield name


if __name__ == "__main__":
    sys.stdout.write(reference())
