"""Matrix products by cuBLASLt, where the device has it.

The host's code describes the problem in a few words. The plan that was made for such a problem
(`codegen.gpu.plans`, `runtime.cublas`) is kept at the place of the call, so a call whose sizes are
those of the last one is a comparison and `cublasLtMatmul`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from jitgraph.codegen.gpu import record
from jitgraph.codegen.gpu.host import DEVICE_FAILED
from jitgraph.codegen.gpu.plans import (
    BIAS_POINTER,
    COMPUTE,
    COMPUTE_F64,
    MOST_ALIGNED,
    PLANNED,
    PROBLEM,
    WORDS,
)
from jitgraph.codegen.llvm import FunctionBuilder, Module
from jitgraph.ir.kernel import Load, Product, View
from jitgraph.ir.opdef import Size, same_size
from jitgraph.ir.types import DType
from jitgraph.ir.values import Value

if TYPE_CHECKING:
    from jitgraph.codegen.gpu.program import OnDevice

#: Multiplications from which on products of known sizes are worth the library's call.
WORTHWHILE = 1 << 22
#: The depth from which on it is worth while to read and write the product once more, where the
#: library cannot do what follows it.
_DEEP = 512


@dataclass(frozen=True, slots=True)
class _Matrix:
    """How the library sees a view: the size of each line, and from line to line and matrix to
    matrix, in bytes."""

    turned: bool
    line: Size
    batch: Size


@dataclass(frozen=True, slots=True)
class _Fit:
    """How a product is the library's."""

    left: _Matrix
    right: _Matrix
    out: _Matrix
    out_view: View
    bias: Load | None
    #: Whether another kernel has to do what follows the product.
    unfinished: bool


def emit_by_library(p: OnDevice, step: Product, name: str) -> bool:
    """Let the library compute a product; false if it cannot, or should not."""
    wanted = p.device.products
    if wanted == "own" or (fit := _fit(step)) is None:
        return False
    if wanted == "auto" and not _is_worthwhile(step, fit):
        return False
    _emit_call(p, step, fit)
    if fit.unfinished:
        assert step.epilogue is not None
        p.work_named(step.epilogue.kernel, p.device.fresh(name))
    return True


def _is_worthwhile(step: Product, fit: _Fit) -> bool:
    extents = (*step.batch, step.rows, step.columns, step.inner)
    known = [e for e in extents if isinstance(e, int)]
    if len(known) < len(extents):  # one call instead of kernels for several ranges of sizes
        return True
    deep = not fit.unfinished or known[-1] >= _DEEP
    return deep and int(np.prod(known, dtype=float)) >= WORTHWHILE


# --- what the library can do ---------------------------------------------------------------------
def _fit(step: Product) -> _Fit | None:
    if 1 in (step.rows, step.columns):
        return None
    sizes = step.rows, step.columns, step.inner
    found = _bias(step)
    out_view = step.out if found is None else found[1]
    bias = None if found is None else found[0]
    left = _matrix(step.left, step.batch, sizes[0], sizes[2])
    right = _matrix(step.right, step.batch, sizes[2], sizes[1])
    out = _matrix(out_view, step.batch, sizes[0], sizes[1])
    if left is None or right is None or out is None:
        return None
    return _Fit(left, right, out, out_view, bias, step.epilogue is not None and bias is None)


def _matrix(view: View, batch: Sequence[Size], rows: Size, columns: Size) -> _Matrix | None:
    """How the library can see a view, if it provably can."""
    item = view.buffer.dtype.itemsize
    down, across = view.strides[-2:]
    step = _one_stride(batch, view.strides[:-2])
    if step is None:
        return None
    if same_size(across, item) and _spans(down, columns, item):
        return _Matrix(False, down, step)
    if same_size(down, item) and _spans(across, rows, item):
        return _Matrix(True, across, step)
    return None


def _spans(stride: Size, extent: Size, item: int) -> bool:
    """Whether lines with so many elements provably do not overlap."""
    if isinstance(stride, int) and isinstance(extent, int):
        return stride >= item * extent and stride % item == 0
    (number, values), (known, wanted) = _factors(stride), _factors(extent)
    return number >= item * known and number % item == 0 and not wanted - values


def _one_stride(batch: Sequence[Size], strides: Sequence[Size]) -> Size | None:
    """The stride of all batch axes as one, if they provably are."""
    for k in range(len(batch) - 1):
        (n, values), (m, others) = _factors(batch[k + 1]), _factors(strides[k + 1])
        if _factors(strides[k]) != (n * m, values + others) and n * m:
            return None
        if not n * m and not same_size(strides[k], 0):
            return None
    return strides[-1] if strides else 0


def _factors(size: Size) -> tuple[int, Counter[Value]]:
    """A size as a product of a number and values."""
    if isinstance(size, int):
        return size, Counter()
    if size.literal is not None:
        return int(size.literal.array), Counter()
    if size.op is not None and size.op.name == "multiply":
        (n, values), (m, others) = map(_factors, size.op.args)
        return n * m, values + others
    return 1, Counter([size])


def _bias(step: Product) -> tuple[Load, View] | None:
    """The vector that the epilogue adds to each row, and where it stores that, if this is all it
    does."""
    if step.epilogue is None or step.out.buffer.dtype != np.float32:
        return None
    kernel, turned = step.epilogue.kernel, step.epilogue.turned
    (stored,) = kernel.stores
    loads = {x.leaf: x for x in kernel.loads}
    op = stored.value.op
    if op is None or op.name != "add" or not all(a in loads for a in op.args):
        return None
    both = [loads[a] for a in op.args]
    vectors = [x for x in both if x.access.buffer is not step.out.buffer]
    if len(vectors) != 1 or stored.access.buffer.dtype != np.float32:
        return None
    order = -1 if turned else 1
    down, across = vectors[0].access.strides[::order]
    rows, columns = stored.access.strides[::order]
    if not (same_size(down, 0) and same_size(across, 4) and same_size(columns, 4)):
        return None
    if vectors[0].access.buffer.dtype != np.float32:
        return None
    return vectors[0], View(stored.access.buffer, stored.access.offset, (rows, columns))


# --- the call ------------------------------------------------------------------------------------
def _emit_call(p: OnDevice, step: Product, fit: _Fit) -> None:
    f, left, right, out = p.f, fit.left, fit.right, fit.out
    sizes = [p.size(s) for s in (step.rows, step.columns)]
    views = [step.left, step.right]
    if out.turned:  # out = (right' left')'
        sizes, views = sizes[::-1], views[::-1]
        left, right = (replace(m, turned=not m.turned) for m in (right, left))
    dtype = step.out.buffer.dtype
    shifts = [_lines(p, m, dtype) for m in (left, right, out)]
    pointers = [_start(p, view) for view in (*views, fit.out_view)]
    bias = "null"
    if fit.bias is not None:
        access = fit.bias.access
        bias = _start(p, View(access.buffer, access.offset, access.strides))
    words = [
        _compute(dtype, p.device.precision), p.product_of(step.batch), *sizes, p.size(step.inner),
        str(int(left.turned)), *shifts[0], str(int(right.turned)), *shifts[1], *shifts[2],
        str(int(fit.bias is not None)),
        f.emit("call i64 @this_thread()") if fit.bias is not None else "0",
        *(_alignment(f, pointer) for pointer in (*pointers, bias)),
    ]  # fmt: skip
    problem = f.record([f"i64 {word}" for word in words])
    emit_multiply(p.root.module)
    site = f"getelementptr inbounds (i8, ptr @plans, i64 {8 * p.device.library_calls})"
    p.device.library_calls += 1
    typed = ", ".join(f"ptr {x}" for x in (site, problem, *pointers, bias))
    code = f.emit(f"call i32 @device_multiply({typed})")
    p.require(f.emit(f"icmp eq i32 {code}, 0"), DEVICE_FAILED)


def _compute(dtype: DType, precision: str) -> str:
    return str(COMPUTE_F64 if dtype == np.float64 else COMPUTE[precision])


def _lines(p: OnDevice, matrix: _Matrix, dtype: DType) -> list[str]:
    """The distances of lines and of matrices, in elements."""
    item = dtype.itemsize
    found = []
    for size in (matrix.line, matrix.batch):
        text = p.size(size)
        found.append(str(size // item) if isinstance(size, int)
                     else p.f.emit(f"sdiv exact i64 {text}, {item}"))  # fmt: skip
    return found


def _start(p: OnDevice, view: View) -> str:
    pointer = p.pointer(view.buffer)
    return pointer if same_size(view.offset, 0) else p.f.offset(pointer, p.size(view.offset))


def _alignment(f: FunctionBuilder, pointer: str) -> str:
    """The greatest power of two that divides an address, up to `MOST_ALIGNED`."""
    if pointer == "null":
        return str(MOST_ALIGNED)
    address = f.emit(f"ptrtoint ptr {pointer} to i64")
    bounded = f.emit(f"or i64 {address}, {MOST_ALIGNED}")
    return f.emit(f"and i64 {bounded}, {f.emit(f'sub i64 0, {bounded}')}")


def emit_multiply(module: Module) -> None:
    """Add `i32 @device_multiply(ptr site, ptr problem, ptr left, ptr right, ptr out, ptr bias)`: 0,
    or what the record's `error` is then. `site` is where the last plan is kept."""
    if not module.once("device_multiply"):
        return
    pointers = ["ptr %site", "ptr %problem", "ptr %left", "ptr %right", "ptr %out", "ptr %bias"]
    f = FunctionBuilder(
        module, "device_multiply", pointers, returns="i32", internal=True, passes="quick"
    )
    sizes = [f.emit(f"load i64, ptr {f.offset('%problem', 8 * k)}") for k in range(1, 4)]
    for size in sizes:
        with f.if_then(f.emit(f"icmp eq i64 {size}, 0")):
            f.do("ret i32 0")
    plan = _plan(f)
    at = dict(zip(PLANNED, range(len(PROBLEM), len(WORDS)), strict=True))

    def planned(name: str, type_: str = "ptr") -> str:
        return f.emit(f"load {type_}, ptr {f.offset(plan, 8 * at[name])}", name)

    zeros = planned("zeros")
    given = f.emit(f"icmp eq ptr {zeros}, null")
    left, right = (f.select(given, "ptr", x, zeros) for x in ("%left", "%right"))
    biased = f.emit("icmp ne ptr %bias, null")
    with f.if_then(biased):
        cell = f.reserve("ptr", "bias")
        f.do(f"store ptr %bias, ptr {cell}")
        function = record.word(f, "@device", "describe")
        f.emit(f"call i32 {function}(ptr {planned('operation')}, i32 {BIAS_POINTER}, ptr {cell}, "
               "i64 8)")  # fmt: skip
    typed = [
        f"ptr {planned('handle')}", f"ptr {planned('operation')}", f"ptr {planned('one')}",
        f"ptr {right}", f"ptr {planned('right_layout')}",
        f"ptr {left}", f"ptr {planned('left_layout')}", f"ptr {planned('nought')}",
        "ptr %out", f"ptr {planned('out_layout')}", "ptr %out", f"ptr {planned('out_layout')}",
        f"ptr {planned('algorithm')}", f"ptr {planned('workspace')}",
        f"i64 {planned('workspace_bytes', 'i64')}", f"ptr {record.word(f, '@device', 'stream')}",
    ]  # fmt: skip
    function = record.word(f, "@device", "multiply")
    code = f.emit(f"call i32 {function}({', '.join(typed)})")
    with f.if_then(f.emit(f"icmp ne i32 {code}, 0")):
        told = f.emit(f"add i32 {code}, {record.LIBRARY}")
        record.fail(f, "@device", told)
        f.do(f"ret i32 {told}")
    f.do("ret i32 0")


def _plan(f: FunctionBuilder) -> str:
    """The plan at the site if it is that of the problem, else one to be asked for."""
    cell = f.reserve("ptr", "plan")
    last = f.emit("load atomic ptr, ptr %site acquire, align 8", "last")
    f.do(f"store ptr {last}, ptr {cell}")
    new, known = f.label("new"), f.label("known")
    for k in range(len(PROBLEM)):
        if not k:
            f.branch_if(f.emit(f"icmp eq ptr {last}, null"), new, going := f.label("word"))
            f.block(going)
        words = [f.emit(f"load i64, ptr {f.offset(x, 8 * k)}") for x in (last, "%problem")]
        same = f.emit(f"icmp eq i64 {words[0]}, {words[1]}")
        going = known if k == len(PROBLEM) - 1 else f.label("word")
        f.branch_if(same, going, new)
        if going != known:
            f.block(going)
    f.block(new)
    made = f.emit(f"call ptr {record.word(f, '@device', 'plan')}(ptr %problem)", "made")
    with f.if_then(f.emit(f"icmp eq ptr {made}, null")):
        f.do(f"ret i32 {record.LIBRARY}")
    f.do(f"store atomic ptr {made}, ptr %site release, align 8")
    f.do(f"store ptr {made}, ptr {cell}")
    f.block(known)
    return f.emit(f"load ptr, ptr {cell}")

