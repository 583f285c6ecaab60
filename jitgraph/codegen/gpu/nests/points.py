"""A thread for each point of the loops that nothing is combined over.

    for i, j: y[i, j] = f(x[i, j])            thread (i, j): y[i, j] = f(x[i, j])
    for i, k: s[i] += x[i, k]                 thread (i): for k: s[i] += x[i, k]

The loops over which a kernel combines, runs a total or writes to computed places go on inside the
thread, in order. So this serves every kernel, and those best that combine nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from jitgraph.codegen.gpu import module as gpu
from jitgraph.codegen.gpu.arguments import Arguments
from jitgraph.codegen.llvm import FunctionBuilder
from jitgraph.codegen.nests import Nest
from jitgraph.ir.kernel import Access, Kernel, Store
from jitgraph.ir.opdef import Size

#: Blocks of a grid, for each multiprocessor; more work makes threads go round.
_ROUNDS = 32


def serial_loops(kernel: Kernel) -> frozenset[int]:
    """The loops whose rounds must follow each other."""
    loops: set[int] = set()
    for store in kernel.stores:
        loops |= store.reduced
        if store.running is not None:
            loops.add(store.running)
        if store.indices and store.combine is None and store.reduced:
            # Of several writes to one place the last one counts.
            loops |= set(range(len(kernel.extents)))
    return frozenset(loops)


def parallel_first(kernel: Kernel) -> tuple[Kernel, int]:
    """The kernel with the loops that may go on at once outermost, and how many these are."""
    serial = serial_loops(kernel)
    order = [k for k in range(len(kernel.extents)) if k not in serial]
    depth = len(order)
    return permuted(kernel, [*order, *sorted(serial)]), depth


def with_stores(kernel: Kernel, stores: Sequence[Store]) -> Kernel:
    """The part of a kernel that some of its stores need."""
    part = replace(kernel, stores=tuple(stores))
    used = {a for v in part.body() if v.op is not None for a in v.op.args} | {*part.roots()}
    return replace(part, loads=tuple(x for x in kernel.loads if x.leaf in used))


def permuted(kernel: Kernel, order: list[int]) -> Kernel:
    """The kernel with its loops in this order. What is combined over innermost loops only is
    combined in registers."""
    place = {old: new for new, old in enumerate(order)}

    def turned(access: Access) -> Access:
        return replace(access, strides=tuple(access.strides[k] for k in order))

    stores = []
    for store in kernel.stores:
        moved = replace(
            store,
            access=turned(store.access),
            reduced=frozenset(place[k] for k in store.reduced),
            places=None if store.places is None else tuple(store.places[k] for k in order),
            running=None if store.running is None else place[store.running],
        )
        stores.append(replace(moved, in_register=_in_register(moved, len(order))))
    return replace(
        kernel,
        extents=tuple(kernel.extents[k] for k in order),
        iterators=tuple(kernel.iterators[k] for k in order),
        loads=tuple(replace(load, access=turned(load.access)) for load in kernel.loads),
        stores=tuple(stores),
    )


def _in_register(store: Store, rank: int) -> bool:
    if store.running is not None:
        return store.running == rank - 1
    inner = frozenset(range(rank - len(store.reduced), rank))
    stays = all(_is_zero(store.access.strides[k]) for k in inner)
    return store.combine is not None and not store.indices and store.reduced == inner and stays


def _is_zero(stride: Size) -> bool:
    return isinstance(stride, int) and stride == 0


def emit_points(arguments: Arguments, kernel: Kernel) -> bool:
    """Run a kernel by a thread for each point."""
    kernel, depth = parallel_first(kernel)
    p = arguments.emitter
    extents = kernel.extents[:depth]
    total = p.product_of(extents)
    f = arguments.begin()
    start = f.emit(f"add i64 {f.emit(f'mul i64 {gpu.block(f)}, {gpu.threads(f)}')}, "
                   f"{gpu.thread(f)}")  # fmt: skip
    step = f.emit(f"mul i64 {gpu.blocks(f)}, {gpu.threads(f)}")
    nest = Nest(arguments.context(kernel), kernel, depth)
    sizes = [nest.size(e) for e in extents]
    count = "1"
    for size in sizes:
        count = f.emit(f"mul i64 {count}, {size}")
    with f.loop(start, count, step, name="point") as point:
        run_at(nest, split_index(f, str(point), sizes))
    f.do("ret void")
    blocks = p.f.emit(f"udiv i64 {p.plus(total, str(gpu.THREADS - 1))}, {gpu.THREADS}")
    arguments.launch(f, p.f.minimum(blocks, arguments.most_blocks(_ROUNDS)), gpu.THREADS)
    return True


def split_index(f: FunctionBuilder, index: str, extents: list[str]) -> list[str]:
    """The index of each loop, from the number of a point in C order. Devices divide numbers of 64
    bits slowly, and so only where there are such."""
    if len(extents) < 2:
        return [index] if extents else []
    largest = index
    for extent in extents[1:]:
        largest = f.emit(f"or i64 {largest}, {extent}")
    small, large, done = (f.label(n) for n in ("small", "large", "split"))
    f.branch_if(f.emit(f"icmp ult i64 {largest}, {1 << 32}"), small, large)
    f.block(small)
    narrow = [f.emit(f"trunc i64 {x} to i32") for x in (index, *extents[1:])]
    short = [f.emit(f"zext i32 {x} to i64") for x in _digits(f, "i32", narrow[0], narrow[1:])]
    f.branch(done)
    f.block(large)
    long = _digits(f, "i64", index, extents[1:])
    f.branch(done)
    f.block(done)
    return [f.phi("i64", [(a, small), (b, large)]) for a, b in zip(short, long, strict=True)]


def _digits(f: FunctionBuilder, type_: str, number: str, radices: list[str]) -> list[str]:
    """The digits of a number, all but the first of them below their radix."""
    found: list[str] = []
    for radix in reversed(radices):
        quotient = f.emit(f"udiv {type_} {number}, {radix}")
        back = f.emit(f"mul {type_} {quotient}, {radix}")
        found.append(f.emit(f"sub {type_} {number}, {back}"))
        number = quotient
    return [number, *reversed(found)]


def run_at(nest: Nest, indices: list[str]) -> None:
    """All that a kernel does at one point of its outer loops."""
    pointers = nest.start()
    for loop, index in enumerate(indices):
        nest.registers[nest.kernel.iterators[loop]] = index
        pointers = [nest.along(p, a.strides[loop], index)
                    for p, a in zip(pointers, nest.accesses, strict=True)]  # fmt: skip
    nest.inside(len(indices), pointers, {})
