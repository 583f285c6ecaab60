"""Strips: neighbours along a nest's innermost loop that one thread computes at once.

What an access meets as neighbours is moved by up to 16 bytes at a time where the host says that
this is aligned (the flag `wide`) and the strip is whole, else element by element. All loads of some
strips come before the rest, so that they are in flight together; the values are the same bits
either way.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, TypeAlias

from jitgraph.codegen.expansions import op_length, part_dtype
from jitgraph.codegen.innermost import is_zero
from jitgraph.codegen.nests import Nest, Scope
from jitgraph.codegen.registers import Register, memory_type, packed, store, unpacked
from jitgraph.ir.kernel import ELEMENT, Access, Buffer, Kernel, Store
from jitgraph.ir.types import DType
from jitgraph.ir.values import Value

if TYPE_CHECKING:
    from jitgraph.codegen.program import ProgramEmitter

#: Bytes that a thread can move with one instruction.
WIDEST = 16
#: Elements of a strip, and how much code all of its copies of the body, or of several, may be.
_LONGEST = 8
_STRIP_CODE, _CODE = 256, 96


#: What is in registers of a buffer: an element of each strip.
Held: TypeAlias = dict[Buffer, list[Register]]


@dataclass(slots=True)
class Place:
    """Where a strip is: its first index along each inner loop, its accesses, and which of its
    elements there are (None: all)."""

    indices: Mapping[int, str]
    pointers: list[str]
    there: list[str] | None = None
    scopes: list[Scope] = field(default_factory=list)


def is_near(access: Access) -> bool:
    """Whether elements of the innermost loop are neighbours."""
    stride = access.strides[-1] if access.strides else 0
    return isinstance(stride, int) and stride == access.buffer.dtype.itemsize


def width_of(kernel: Kernel) -> int:
    """How many elements a strip has."""
    stores = [s.access for s in kernel.stores if s.combine is None]
    near = [a for a in (*(load.access for load in kernel.loads), *stores) if is_near(a)]
    if not near:
        return 1
    width = min(WIDEST // min(a.buffer.dtype.itemsize for a in near), _LONGEST)
    return _fitting(kernel, max(width, 1), _STRIP_CODE)


def copies_of(kernel: Kernel, width: int, most: int) -> int:
    """How many strips a thread computes at once, of at most so many loads in flight."""
    moving = [x for x in kernel.loads if not all(map(is_zero, x.access.strides))]
    return _fitting(kernel, max(most // max(len(moving), 1), 1), _CODE // width)


def _fitting(kernel: Kernel, wanted: int, code: int) -> int:
    length = sum(map(op_length, kernel.body())) + len(kernel.loads)
    while wanted > 1 and wanted * length > code:
        wanted //= 2
    extent = kernel.extents[-1] if kernel.extents else 1
    while isinstance(extent, int) and wanted > 1 and wanted // 2 >= extent:
        wanted //= 2
    return wanted


class Strips:
    """Writes the body of a nest for strips of `width` elements."""

    def __init__(self, nest: Nest, width: int, held: Held | None = None) -> None:
        """`held` are buffers in registers, of strips of one element."""
        self.nest, self.f, self.width, self.held = nest, nest.f, width, {} if held is None else held
        kernel, first = nest.kernel, len(nest.kernel.loads)
        loads = [(k, item) for k, item in enumerate(kernel.loads)
                 if nest.level[item.leaf] > nest.depth]  # fmt: skip
        stores = [(k, item) for k, item in enumerate(kernel.stores, first) if item.combine is None]
        self.loads = [(k, x) for k, x in loads if x.access.buffer not in self.held]
        self.stores = [(k, s) for k, s in stores if s.access.buffer not in self.held]
        self.taken = [x for _, x in loads if x.access.buffer in self.held]
        self.kept = [s for _, s in stores if s.access.buffer in self.held]
        body = {a for v in nest.body if v.op is not None for a in v.op.args}
        #: Whether the body asks where it is.
        self.indexed = not body.isdisjoint(kernel.iterators) or not set(kernel.roots()).isdisjoint(
            kernel.iterators
        )
        #: Buffers that are written only if an i1 holds; one for all others, and one for loads.
        self.only: Mapping[Buffer, str] = {}
        self.writes: str | None = None
        self.reads: str | None = None
        #: Buffers that are aligned, with room for whole strips.
        self.padded: Collection[Buffer] = ()

    @property
    def any_wide(self) -> bool:
        """Whether any access can move several elements at once."""
        return self._any_near([*self.loads, *self.stores])

    def compute(self, places: Sequence[Place], wide: str | None) -> None:
        """The loads of all strips, then their bodies: `scopes` of the places has the registers of
        each element. `wide` is an i1."""
        loaded = self._loaded(places, wide if self._any_near(self.loads) else None)
        for number, (place, registers) in enumerate(zip(places, loaded, strict=True)):
            registers.update({x.leaf: [self.held[x.access.buffer][number]] for x in self.taken})
            place.scopes = [self._element(place, e, registers) for e in range(self.width)]
        for item in self.kept:
            self.held[item.access.buffer] = [place.scopes[0].outside.lower(item.value)
                                             for place in places]  # fmt: skip

    def write(self, places: Sequence[Place], wide: str | None) -> None:
        """The stores of all strips that combine nothing."""
        conditions = dict.fromkeys(self.only.get(item.access.buffer, self.writes)
                                   for _, item in self.stores)  # fmt: skip
        for condition in conditions:
            stores = [(k, item) for k, item in self.stores
                      if self.only.get(item.access.buffer, self.writes) == condition]  # fmt: skip
            if condition is None:
                self._write_either(places, stores, wide)
                continue
            with self.f.if_then(condition):
                self._write_either(places, stores, wide)

    def _write_either(
        self, places: Sequence[Place], stores: Sequence[tuple[int, Store]], wide: str | None
    ) -> None:
        self._write(places, [(k, s) for k, s in stores if self._is_padded(s.access)], True)
        stores = [(k, s) for k, s in stores if not self._is_padded(s.access)]
        if wide is None or not self._any_near(stores):
            self._write(places, stores, False)
            return
        near, apart, done = (self.f.label(n) for n in ("wide", "narrow", "stored"))
        self.f.branch_if(wide, near, apart)
        for label, together in ((near, True), (apart, False)):
            self.f.block(label)
            self._write(places, stores, together)
            self.f.branch(done)
        self.f.block(done)

    def _any_near(self, items: Sequence[tuple[int, object]]) -> bool:
        return self.width > 1 and any(is_near(self.nest.accesses[k]) for k, _ in items)

    # --- loads ----------------------------------------------------------------------------------
    def _loaded(
        self, places: Sequence[Place], wide: str | None
    ) -> list[dict[Value, list[Register]]]:
        """Of each strip, the elements of each load."""
        f, loads = self.f, [x for x in self.loads if not self._is_padded(x[1].access)]
        if self.reads is not None:
            raw = self._guarded(places, self.reads)
        elif wide is None or not self._any_near(loads):
            raw = [self._raw(place, k, False) for place in places for k, _ in loads]
        else:
            near, apart, done = (f.label(n) for n in ("wide", "narrow", "loaded"))
            f.branch_if(wide, near, apart)
            paths = []
            for label, together in ((near, True), (apart, False)):
                f.block(label)
                paths.append([self._raw(place, k, together)
                              for place in places for k, _ in loads])  # fmt: skip
                f.branch(done)
            f.block(done)
            types = [memory_type(part_dtype(item.leaf.dtype)) for _ in places
                     for _, item in loads]  # fmt: skip
            raw = [[f.phi(type_, [(a, near), (b, apart)]) for a, b in zip(x, y, strict=True)]
                   for type_, x, y in zip(types, *paths, strict=True)]  # fmt: skip
        rest = iter(raw)
        found = [{x.leaf: self._elements(next(rest), x.leaf.dtype) for _, x in loads}
                 for _ in places]  # fmt: skip
        for place, registers in zip(places, found, strict=True):
            for k, x in self.loads:
                if (k, x) not in loads:
                    whole = self._raw(place, k, True)
                    registers[x.leaf] = self._elements(whole, x.leaf.dtype)
        return found

    def _is_padded(self, access: Access) -> bool:
        return self.width > 1 and access.buffer in self.padded

    def _guarded(self, places: Sequence[Place], condition: str) -> list[list[str]]:
        """The elements of each strip and load where a condition holds, else anything."""
        f, before = self.f, self.f.current
        load, done = f.label("load"), f.label("loaded")
        f.branch_if(condition, load, done)
        f.block(load)
        raw = [self._raw(place, k, False) for place in places for k, _ in self.loads]
        f.branch(done)
        f.block(done)
        types = [memory_type(part_dtype(item.leaf.dtype)) for _ in places for _, item in self.loads]
        return [[f.phi(type_, [(r, load), ("zeroinitializer", before)]) for r in registers]
                for type_, registers in zip(types, raw, strict=True)]  # fmt: skip

    def _raw(self, place: Place, k: int, together: bool) -> list[str]:
        """The elements of a load as they are in memory, part by part."""
        f, access = self.f, self.nest.accesses[k]
        dtype, pointer, stride = access.buffer.dtype, place.pointers[k], access.strides[-1]
        type_, parts = memory_type(part_dtype(dtype)), 1 + (dtype.kind == "c")
        size = dtype.itemsize // parts
        if is_near(access) and together:
            found: list[str] = []
            for at, count in _pieces(self.width * parts, size):
                here = f.offset(pointer, at * size) if at else pointer
                vector = f"<{count} x {type_}>"
                word = f.emit(f"load {vector}, ptr {here}, align {count * size}")
                found += [f.emit(f"extractelement {vector} {word}, i64 {e}") for e in range(count)]
            return found
        elements = 1 if is_zero(stride) else self.width
        found = []
        for e in range(elements):
            one = self._moved(place, pointer, stride, e)
            found += [f.emit(f"load {type_}, ptr {f.offset(one, p * size) if p else one}")
                      for p in range(parts)]  # fmt: skip
        return found * (self.width // elements)

    def _moved(self, place: Place, pointer: str, stride: int | Value, e: int) -> str:
        """Where element `e` of a strip is; one that is not there is read as the first."""
        if not e or is_zero(stride):
            return pointer
        offset = (str(e * stride) if isinstance(stride, int)
                  else self.f.emit(f"mul i64 {self.nest.size(stride)}, {e}"))  # fmt: skip
        if place.there is not None:
            offset = self.f.select(place.there[e], "i64", offset, 0)
        return self.f.offset(pointer, offset)

    def _elements(self, raw: list[str], dtype: DType) -> list[Register]:
        if dtype.kind == "c":
            return list(zip(raw[::2], raw[1::2], strict=True))
        return [unpacked(self.f.emit, r, dtype) for r in raw]

    # --- the body -------------------------------------------------------------------------------
    def _element(self, place: Place, e: int, loaded: Mapping[Value, list[Register]]) -> Scope:
        nest, f = self.nest, self.f
        scope = nest.scope()
        for loop, index in place.indices.items() if self.indexed else ():
            last = loop == nest.rank - 1
            if last and e:
                index = f.emit(f"add i64 {index}, {e}")
                if place.there is not None:
                    index = f.select(place.there[e], "i64", index, place.indices[loop])
            scope.registers[nest.kernel.iterators[loop]] = index
        scope.registers.update({leaf: elements[e] for leaf, elements in loaded.items()})
        with nest.within(scope):
            for value in nest.body:
                if nest.level[value] > nest.depth:
                    if value.op is not None and value.op.definition is ELEMENT:
                        nest.registers[value] = nest.element(value)
                    nest.outside.lower(value)
        return scope

    # --- stores ---------------------------------------------------------------------------------
    def _write(
        self, places: Sequence[Place], stores: Sequence[tuple[int, Store]], together: bool
    ) -> None:
        for place in places:
            for k, item in stores:
                values = [scope.outside.lower(item.value) for scope in place.scopes]
                if together and is_near(item.access):
                    self._store_wide(values, place.pointers[k], item.access.buffer.dtype)
                else:
                    self._store_each(values, place, k, item)

    def _store_wide(self, values: list[Register], pointer: str, dtype: DType) -> None:
        f, parts = self.f, 1 + (dtype.kind == "c")
        type_, size = memory_type(part_dtype(dtype)), dtype.itemsize // parts
        flat = [part for value in values for part in
                ([packed(f.emit, value, dtype)] if isinstance(value, str) else value)]  # fmt: skip
        for at, count in _pieces(len(flat), size):
            vector, word = f"<{count} x {type_}>", "poison"
            for e, part in enumerate(flat[at : at + count]):
                word = f.emit(f"insertelement {vector} {word}, {type_} {part}, i64 {e}")
            here = f.offset(pointer, at * size) if at else pointer
            f.do(f"store {vector} {word}, ptr {here}, align {count * size}")

    def _store_each(self, values: list[Register], place: Place, k: int, item: Store) -> None:
        f, stride = self.f, item.access.strides[-1] if item.access.strides else 0
        pointer, dtype = place.pointers[k], item.access.buffer.dtype
        for e, value in enumerate(values):
            if place.there is None:
                store(f, value, self._moved(place, pointer, stride, e), dtype)
                continue
            with f.if_then(place.there[e]):
                offset = self.nest.along(pointer, stride, str(e)) if e else pointer
                store(f, value, offset, dtype)


def _pieces(count: int, size: int) -> list[tuple[int, int]]:
    """So many neighbours of this size in pieces of one instruction each: first, and how many."""
    most = max(WIDEST // size, 1)
    return [(at, min(most, count - at)) for at in range(0, count, most)]


def aligned(
    p: ProgramEmitter, accesses: Sequence[Access], width: int, own: Collection[Buffer] = ()
) -> str:
    """Host code for the flag `wide`: whether whole strips of these accesses are aligned. Buffers
    that are the kernel's own begin where they should."""
    f, flag = p.f, "true"
    if width == 1:
        return "false"
    for access in accesses:
        if not is_near(access):
            continue
        size = min(WIDEST, width * access.buffer.dtype.itemsize)
        bits = "0"
        if access.buffer not in own:
            bits = f.emit(f"ptrtoint ptr {p.pointer(access.buffer)} to i64")
        for step in (access.offset, *access.strides[:-1]):
            bits = f.emit(f"or i64 {bits}, {p.size(step)}")
        low = f.emit(f"and i64 {bits}, {size - 1}")
        flag = f.emit(f"and i1 {flag}, {f.emit(f'icmp eq i64 {low}, 0')}")
    return flag
