"""The schedule: a program as buffers, loop nests, matrix products and scalar code between them.

A kernel is what MLIR calls `linalg.generic`: an iteration domain, affine accesses (a byte offset
and a byte stride per iterator, 0 where the operand is broadcast), and a scalar body. Sizes,
offsets and strides are numbers or i64 values that the program computes before the kernel runs.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal, TypeAlias

from jitgraph.ir.opdef import Attrs, OpDef, Routine, Shape, Size, register, same_size
from jitgraph.ir.order import Order
from jitgraph.ir.types import I64, DType, Type
from jitgraph.ir.values import Literal as Constant
from jitgraph.ir.values import Value, topological
from jitgraph.location import Location


# --- ops that exist only below the graph -------------------------------------------------------
def _infer_stride(types: Sequence[Type], attrs: Attrs) -> Type:
    return Type(I64)


def _infer_element(types: Sequence[Type], attrs: Attrs) -> Type:
    return Type(types[0].dtype)


STRIDE = OpDef(
    name="stride",
    infer=_infer_stride,
    evaluate=lambda x, *, axis: x.strides[axis],
    shape=lambda source, args, attrs: (),
    doc="Bytes from one element of a parameter to the next along an axis.",
)
ELEMENT = OpDef(
    name="element",
    infer=_infer_element,
    evaluate=lambda x, *indices: x[indices],
    shape=lambda source, args, attrs: (),
    doc="One element of a buffer, at indices computed in a kernel's body.",
)
register(STRIDE)
register(ELEMENT)


# --- buffers and accesses ----------------------------------------------------------------------
BufferKind: TypeAlias = Literal["param", "result", "temporary", "grown", "constant"]


@dataclass(frozen=True, slots=True, eq=False)
class Buffer:
    """Memory for one array, numbered within its program. `extents` give its size where the
    program allocates it; what is `grown` is allocated by the loop that writes it, row by row.
    `name` is for people to read."""

    number: int
    name: str
    dtype: DType
    kind: BufferKind
    extents: Shape = ()
    constant: Constant | None = None

    def __str__(self) -> str:
        return self.name


@dataclass(frozen=True, slots=True)
class View:
    """Where in a buffer the elements of an array lie: a byte offset, a byte stride per axis."""

    buffer: Buffer
    offset: Size
    strides: tuple[Size, ...]


@dataclass(frozen=True, slots=True)
class Access:
    """A view driven by a kernel's iterators: one byte stride per iterator."""

    buffer: Buffer
    offset: Size
    strides: tuple[Size, ...]

    def same_as(self, other: Access) -> bool:
        return (
            self.buffer is other.buffer
            and same_size(self.offset, other.offset)
            and all(map(same_size, self.strides, other.strides))
        )


# --- kernels -----------------------------------------------------------------------------------
@dataclass(frozen=True, slots=True)
class Load:
    """A body leaf and where its value comes from at each point of the domain."""

    leaf: Value
    access: Access


@dataclass(frozen=True, slots=True)
class Source:
    """A whole array that `element` ops of the body read at computed indices."""

    handle: Value
    view: View


@dataclass(frozen=True, slots=True)
class Store:
    """A body value and where it goes.

    `combine` names the op that merges it with what is there: in a register, when the reduced
    iterators are the innermost ones, else in memory. `indices` add a computed offset (scatter).
    `places` make it argmax or argmin: how far the position moves with each iterator. The position
    of the extremum is then stored, in i64; where it combines in memory, another store of the kernel
    does so with the extremum (`Kernel.extremum`). `running` is the loop along which every point
    stores what is combined so far.
    """

    value: Value
    access: Access
    combine: str | None = None
    reduced: frozenset[int] = frozenset()
    in_register: bool = False
    indices: tuple[tuple[Value, Size], ...] = ()
    places: tuple[Size, ...] | None = None
    running: int | None = None


@dataclass(frozen=True, slots=True, eq=False)
class Kernel:
    """A loop nest over `extents`, outermost first, with a scalar body run at each point.

    `sequential` kernels write where others write or at computed places: they stay on their own.
    """

    extents: Shape
    iterators: tuple[Value, ...]
    loads: tuple[Load, ...]
    sources: tuple[Source, ...]
    stores: tuple[Store, ...]
    captured: tuple[Value, ...] = ()
    sequential: bool = False
    locations: tuple[Location, ...] = ()

    def leaves(self) -> set[Value]:
        """Everything the body takes from outside: iterators, loads, sources, captured scalars."""
        leaves = {load.leaf for load in self.loads} | {*self.iterators, *self.captured}
        return leaves | {s.handle for s in self.sources}

    def roots(self) -> list[Value]:
        """The body values that are stored, and the indices they are stored at."""
        roots: list[Value] = []
        for store in self.stores:
            roots += [store.value, *(i for i, _ in store.indices)]
        return roots

    def body(self) -> list[Value]:
        """The values computed at each point, arguments first, without the leaves."""
        leaves = self.leaves()
        return [v for v in topological(self.roots(), stop=leaves) if v not in leaves]

    def scalars(self) -> list[Value]:
        """Every program scalar the kernel needs: extents, offsets, strides, captured values, in an
        order that does not depend on where objects lie in memory."""
        sizes: list[Size] = list(self.extents)
        for load in self.loads:
            sizes += [load.access.offset, *load.access.strides]
        for source in self.sources:
            sizes += [source.view.offset, *source.view.strides]
        for store in self.stores:
            sizes += [store.access.offset, *store.access.strides]
            sizes += [stride for _, stride in store.indices]
            sizes += store.places or ()
        named = {s: None for s in sizes if isinstance(s, Value)}
        return list(named | dict.fromkeys(self.captured))

    def accesses(self) -> list[Access]:
        """Of the loads, then of the stores."""
        return [load.access for load in self.loads] + [store.access for store in self.stores]

    def extremum(self, place: Store) -> Store | None:
        """The store that combines in memory what this one combines the place of, also there."""
        if place.places is None or place.in_register:
            return None
        return next(
            s for s in self.stores
            if s.places is None and not s.in_register and s.value is place.value
            and (s.combine, s.reduced) == (place.combine, place.reduced)
        )  # fmt: skip

    def reads(self) -> set[Buffer]:
        read = {load.access.buffer for load in self.loads}
        read |= {source.view.buffer for source in self.sources}
        return read | {s.access.buffer for s in self.stores if s.combine and not s.in_register}

    def writes(self) -> set[Buffer]:
        return {store.access.buffer for store in self.stores}


@dataclass(frozen=True, slots=True, eq=False)
class Rows:
    """Kernels that run one after the other at each point of the `depth` outermost loops, which
    they share.

    `locals` are temporaries that only matter within one point: their extents, and the strides of
    the accesses to them, are those of one point (strides 0 along the shared loops); every thread
    has memory of its own for them.
    """

    depth: int
    kernels: tuple[Kernel, ...]
    locals: tuple[Buffer, ...]

    @property
    def shared(self) -> Shape:
        """The extents of the shared loops, outermost first."""
        return self.kernels[0].extents[: self.depth]

    @property
    def totals(self) -> set[Buffer]:
        """What the points of the shared loops accumulate into together: two points may not do so
        at the same time. Nothing else in the step touches these."""
        shared = frozenset(range(self.depth))
        stores = (s for k in self.kernels for s in k.stores)
        return {s.access.buffer for s in stores if s.reduced & shared}

    def scalars(self) -> list[Value]:
        named = {s: None for kernel in self.kernels for s in kernel.scalars()}
        sizes = {s: None for b in self.locals for s in b.extents if isinstance(s, Value)}
        return list(named | sizes)

    def reads(self) -> set[Buffer]:
        """What the kernels take from before this step."""
        read: set[Buffer] = set()
        written: set[Buffer] = set(self.locals)
        for kernel in self.kernels:
            read |= kernel.reads() - written
            written |= kernel.writes()
        return read

    def writes(self) -> set[Buffer]:
        return {b for k in self.kernels for b in k.writes()} - set(self.locals)


@dataclass(frozen=True, slots=True)
class Epilogue:
    """A kernel over the rows and columns of a matrix product (`turned`: over columns and rows),
    which runs on each part of the product when that is final and still in a cache.

    It reads of the product what it computes at the same point, and writes nothing that the product
    reads. Nobody else reads the product.
    """

    kernel: Kernel
    turned: bool


@dataclass(frozen=True, slots=True, eq=False)
class Product:
    """out[b, i, j] = sum over k of left[b, i, k] * right[b, k, j], for f32 and f64."""

    batch: Shape
    rows: Size
    columns: Size
    inner: Size
    left: View
    right: View
    out: View
    location: Location | None = None
    epilogue: Epilogue | None = None

    def scalars(self) -> list[Value]:
        sizes: list[Size] = [*self.batch, self.rows, self.columns, self.inner]
        for view in (self.left, self.right, self.out):
            sizes += [view.offset, *view.strides]
        named = {s: None for s in sizes if isinstance(s, Value)}
        after = self.epilogue.kernel.scalars() if self.epilogue is not None else []
        return list(named | dict.fromkeys(after))

    def operands(self) -> set[Buffer]:
        """What must stay as it is until the whole product is there."""
        return {self.left.buffer, self.right.buffer}

    def reads(self) -> set[Buffer]:
        after = self.epilogue.kernel.reads() if self.epilogue is not None else set()
        return self.operands() | (after - {self.out.buffer})

    def writes(self) -> set[Buffer]:
        after = self.epilogue.kernel.writes() if self.epilogue is not None else set()
        return {self.out.buffer} | after


@dataclass(frozen=True, slots=True)
class ImageEpilogue:
    """A row nest over the images and channels that a convolution makes (its first two loops), which
    runs on each image, or on some of its channels, when they are final and still in a cache.

    It touches of the result the image and channel of the point only, and writes nothing that the
    convolution reads. Where nobody else reads the result, that is never there as a whole: `image`
    is memory for one image.
    """

    rows: Rows
    image: Buffer | None


@dataclass(frozen=True, slots=True, eq=False)
class Call:
    """A native routine applied to arrays, for each point of a batch.

    `core` are the sizes that the routine's signature names, in the order in which it does; the
    strides of a view are those of the batch, then of the axes that the routine sees. `choice` is
    the number of the symbol to call; `attrs` are the op's.
    """

    routine: Routine
    batch: Shape
    core: Shape
    inputs: tuple[View, ...]
    outputs: tuple[View, ...]
    choice: Size = 0
    location: Location | None = None
    attrs: Attrs = field(default_factory=dict)
    epilogue: ImageEpilogue | None = None

    def scalars(self) -> list[Value]:
        sizes: list[Size] = [*self.batch, *self.core, self.choice]
        for view in (*self.inputs, *self.outputs):
            sizes += [view.offset, *view.strides]
        named = {s: None for s in sizes if isinstance(s, Value)}
        after = self.epilogue.rows.scalars() if self.epilogue is not None else []
        return list(named | dict.fromkeys(after))

    def reads(self) -> set[Buffer]:
        overwritten = self.outputs[:1] if self.routine.in_place else ()
        read = {view.buffer for view in (*self.inputs, *overwritten)}
        if self.epilogue is None:
            return read
        return read | (self.epilogue.rows.reads() - self._made() - {self.epilogue.image})

    def writes(self) -> set[Buffer]:
        if self.epilogue is None:
            return self._made()
        made = self._made() if self.epilogue.image is None else set()
        return made | self.epilogue.rows.writes()

    def _made(self) -> set[Buffer]:
        return {view.buffer for view in self.outputs}


@dataclass(frozen=True, slots=True, eq=False)
class Zero:
    """A whole buffer set to zero bytes."""

    buffer: Buffer

    def scalars(self) -> list[Value]:
        return [s for s in self.buffer.extents if isinstance(s, Value)]

    def reads(self) -> set[Buffer]:
        return set()

    def writes(self) -> set[Buffer]:
        return {self.buffer}


# --- control flow ------------------------------------------------------------------------------
@dataclass(frozen=True, slots=True)
class Argument:
    """What a region's parameter is given: elements in C order (with `row` bytes from the row of one
    step to the next, where it walks along a sequence), or a scalar of the program around it."""

    extents: Shape
    view: View | None = None
    scalar: Value | None = None
    row: Size = 0

    def scalars(self) -> list[Size]:
        sizes: list[Size] = [*self.extents, self.row]
        if self.view is not None:
            sizes += [self.view.offset, *self.view.strides]
        return sizes if self.scalar is None else [*sizes, self.scalar]


@dataclass(frozen=True, slots=True)
class State:
    """Two buffers that steps write in turn, such that the last one writes `final`; a scalar has
    one."""

    final: Buffer
    other: Buffer | None


@dataclass(frozen=True, slots=True, eq=False)
class Loop:
    """A body run `steps` times, or until its condition fails before a step.

    `arguments` are those of the body's parameters, None for the number of the step. The first ones
    after it are carried: `state` tells where steps write them; scalars are carried in registers and
    reach their buffer at the end. Then come `rows` rows of sequences
    and what is captured; the condition's parameters are the same without the rows. Outputs have a
    row a step, and are grown where a condition decides how many there are; `done` receives the
    number of steps, if anybody wants it.
    """

    steps: Size
    reverse: bool
    body: Program
    condition: Program | None
    arguments: tuple[Argument | None, ...]
    state: tuple[State, ...]
    rows: int
    outputs: tuple[Buffer, ...]
    done: Buffer | None

    def regions(self) -> tuple[Program, ...]:
        return (self.body,) if self.condition is None else (self.condition, self.body)

    def scalars(self) -> list[Value]:
        sizes: list[Size] = [self.steps]
        for argument in self.arguments:
            sizes += [] if argument is None else argument.scalars()
        for buffer in self.writes():
            sizes += buffer.extents[buffer.kind == "grown" :]
        return list({s: None for s in sizes if isinstance(s, Value)})

    def reads(self) -> set[Buffer]:
        return {a.view.buffer for a in self.arguments if a is not None and a.view is not None}

    def writes(self) -> set[Buffer]:
        written = {b for s in self.state for b in (s.final, s.other) if b is not None}
        written |= {*self.outputs}
        return written if self.done is None else written | {self.done}


@dataclass(frozen=True, slots=True, eq=False)
class Branch:
    """One of two regions, both given the same arguments, writes the results."""

    condition: Value
    then: Program
    otherwise: Program
    arguments: tuple[Argument, ...]
    results: tuple[Buffer, ...]

    def regions(self) -> tuple[Program, ...]:
        return self.then, self.otherwise

    def scalars(self) -> list[Value]:
        sizes: list[Size] = [self.condition]
        for argument in self.arguments:
            sizes += argument.scalars()
        for buffer in self.results:
            sizes += buffer.extents
        return list({s: None for s in sizes if isinstance(s, Value)})

    def reads(self) -> set[Buffer]:
        return {a.view.buffer for a in self.arguments if a.view is not None}

    def writes(self) -> set[Buffer]:
        return set(self.results)


# --- scalar code between kernels ---------------------------------------------------------------
@dataclass(frozen=True, slots=True, eq=False)
class Let:
    """A rank-0 op computed in a register of the program."""

    value: Value


@dataclass(frozen=True, slots=True, eq=False)
class Fetch:
    """A rank-0 value read from the buffer that holds it."""

    value: Value
    buffer: Buffer


@dataclass(frozen=True, slots=True, eq=False)
class Yield:
    """The scalars a region gives back in registers, by the position of the result."""

    values: tuple[tuple[int, Value], ...]

    def scalars(self) -> list[Value]:
        return [value for _, value in self.values]

    def reads(self) -> set[Buffer]:
        return set()

    def writes(self) -> set[Buffer]:
        return set()


@dataclass(frozen=True, slots=True, eq=False)
class Check:
    """A condition without which the call fails and the interpreter explains why."""

    condition: Value


Work: TypeAlias = "Kernel | Rows | Product | Call | Zero | Loop | Branch"
Step: TypeAlias = "Work | Let | Fetch | Check | Yield"


@dataclass(frozen=True, slots=True)
class Slot:
    """A stretch of memory of `size` bytes, shared by temporaries whose lives do not overlap. Most
    lie in one arena; a `late` one, whose size only a kernel can tell, is allocated by itself.
    `factors` are what the size is the product of."""

    name: str
    size: Size
    factors: tuple[Size, ...]
    late: bool = False


@dataclass(frozen=True, slots=True, eq=False)
class Program:
    """What one native function does. `orders[i]` tells how parameter i lies in memory.

    `prologue` steps depend on no kernel: they compute sizes and make the checks that can be made
    before memory is allocated. After memory planning `placement` gives temporaries their slots,
    and `inherited` those that live in the memory of a result until it is written.
    """

    name: str
    params: tuple[Value, ...]
    orders: tuple[Order, ...]
    param_buffers: tuple[Buffer, ...]
    steps: tuple[Step, ...]
    results: tuple[Buffer, ...]
    prologue: int = 0
    slots: tuple[Slot, ...] = ()
    placement: dict[Buffer, int] = field(default_factory=dict)
    inherited: dict[Buffer, Buffer] = field(default_factory=dict)

    def work(self) -> list[Work]:
        return [s for s in self.steps if not isinstance(s, Let | Fetch | Check | Yield)]

    def with_steps(self, steps: Sequence[Step], **changes: Any) -> Program:
        return replace(self, steps=tuple(steps), **changes)
