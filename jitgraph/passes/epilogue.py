"""What follows a matrix product point by point becomes its epilogue.

    t = x @ w                                     t = x @ w, and for each part of t, while that
    for i, j: y[i, j] = tanh(t[i, j] + b[j])  =>    is in a cache, the points i, j of the part:
                                                    y[i, j] = tanh(t[i, j] + b[j])

So memory is taken once less. The product is computed in the memory of what is made of it
(`passes.memory`); products that others read as well stay as they are.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace

from jitgraph.ir.kernel import (
    Access,
    Buffer,
    Check,
    Epilogue,
    Fetch,
    Kernel,
    Let,
    Product,
    Step,
    Store,
)
from jitgraph.ir.opdef import same_size
from jitgraph.passes.merge import Availability


def fuse_epilogues(steps: Sequence[Step]) -> list[Step]:
    """The steps with kernels moved into the products that they go on from."""
    users = Counter(b for step in steps for b in touched(step))
    products = {step.out.buffer for step in steps if isinstance(step, Product)}
    fused: list[Step] = []
    for step in steps:
        at = None
        if isinstance(step, Kernel) and not products.isdisjoint(step.reads()):
            at = _product_before(fused, step)
        product = None if at is None else fused[at]
        if (
            isinstance(step, Kernel) and isinstance(product, Product) and at is not None
            and product.out.buffer.kind == "temporary" and users[product.out.buffer] == 2
        ):  # fmt: skip
            turned = not _goes_along(step, product, turned=False)
            fused[at] = replace(product, epilogue=Epilogue(step, turned))
        else:
            fused.append(step)
    return fused


def touched(step: Step) -> set[Buffer]:
    """What a step reads or writes."""
    if isinstance(step, Fetch):
        return {step.buffer}
    return set() if isinstance(step, Let | Check) else step.reads() | step.writes()


def _product_before(steps: Sequence[Step], kernel: Kernel) -> int | None:
    """Where the latest product is that the kernel reads, if it can be its epilogue: nothing that
    the kernel depends on happens in between."""
    reads, available = kernel.reads(), Availability(kernel)
    for at in range(len(steps) - 1, -1, -1):
        step = steps[at]
        if isinstance(step, Product) and step.out.buffer in reads:
            return at if _suits(kernel, step) else None
        if not available.may_pass(step):
            return None
    return None


def _suits(kernel: Kernel, product: Product) -> bool:
    """Whether the kernel can do a part of the product's points while others are not there yet."""
    out = product.out.buffer
    if product.batch or product.epilogue is not None or kernel.sequential:
        return False
    if kernel.writes() & {out, *product.operands()}:
        return False
    return _is_alone(kernel, out) and all(map(_is_plain, kernel.stores)) and any(
        _goes_along(kernel, product, turned=turned) for turned in (False, True)
    )


def _is_alone(kernel: Kernel, out: Buffer) -> bool:
    """Whether the product is the only matrix that the kernel reads: of another one it would read
    short pieces of rows, which takes longer than whole rows afterwards."""
    others = (x.access for x in kernel.loads if x.access.buffer is not out)
    vectors = all(any(same_size(s, 0) for s in access.strides) for access in others)
    return vectors and len(kernel.stores) == 1 and not kernel.sources


def _is_plain(store: Store) -> bool:
    return store.combine is None and not store.indices and store.places is None


def _goes_along(kernel: Kernel, product: Product, *, turned: bool) -> bool:
    """Whether the kernel's loops are the rows and columns of the product (`turned`: columns and
    rows), and it reads the product only where they are."""
    order = -1 if turned else 1
    extents = (product.rows, product.columns)[::order]
    here = Access(product.out.buffer, product.out.offset, product.out.strides[::order])
    loads = [x.access for x in kernel.loads if x.access.buffer is here.buffer]
    return (
        len(kernel.extents) == 2
        and all(map(same_size, kernel.extents, extents))
        and all(here.same_as(access) for access in loads)
    )
