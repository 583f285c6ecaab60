"""Object code into memory without LLVM, whose library takes longer to start than most programs run.

Our objects are plain: a few sections, calls of functions elsewhere, no unwinding, no constructors,
nothing thread-local. So a linker for them is a page: sections side by side in one mapping, code
and what it jumps through first (then made executable and read-only), data behind. `load` knows
x86-64 ELF; to anything else it answers None, and LLVM's linker is there to do it.
"""

from __future__ import annotations

import ctypes
import platform
import struct
import sys
import weakref
from collections.abc import Iterable, Mapping
from functools import cache
from mmap import MAP_ANONYMOUS, MAP_PRIVATE, PAGESIZE, PROT_EXEC, PROT_READ, PROT_WRITE
from typing import Any, NamedTuple

_MACHINE_X86_64 = 62
_HEADER = struct.Struct("<16sHHIQQQIHHHHHH")
_SECTION = struct.Struct("<IIQQQQIIQQ")
_SYMBOL = struct.Struct("<IBBHQQ")
_RELOCATION = struct.Struct("<QIIq")
# Kinds of sections and symbols.
_PROGBITS, _SYMBOLS, _RELOCATIONS, _NOBITS, _UNWIND = 1, 2, 4, 8, 0x70000001
_ALLOC, _EXECUTE, _TLS = 0x2, 0x4, 0x400
_UNDEFINED = 0
_LOCAL = 0
# Relocations: an address, a distance, the distance to a function, to a cell with the address.
_ABSOLUTE, _RELATIVE, _CALL = 1, 2, 4
_CELLS = (9, 41, 42)
# jmp *[rip + 2], and behind it the cell with the address.
_TRAMPOLINE = b"\xff\x25\x02\x00\x00\x00\x66\x90"
_TRAMPOLINE_BYTES = 16


class CodegenError(RuntimeError):
    """jitgraph generated what LLVM or the linker rejects: a bug in jitgraph. `ir` is the text."""

    def __init__(self, message: str, ir: str = "") -> None:
        super().__init__(message)
        self.ir = ir


class _UnknownError(Exception):
    """Something in an object that this loader does not know."""


class _Section(NamedTuple):
    name: int
    kind: int
    flags: int
    address: int
    offset: int
    size: int
    link: int
    info: int
    align: int
    entry: int


class _Symbol(NamedTuple):
    name: str
    is_local: bool
    section: int
    value: int


class Image:
    """Loaded code. It is unmapped when the object dies."""

    def __init__(self, content: bytearray, base: int, code_bytes: int, symbols: dict[str, int]):
        self._symbols = symbols
        ctypes.memmove(base, (ctypes.c_char * len(content)).from_buffer(content), len(content))
        if _libc().mprotect(base, code_bytes, PROT_READ | PROT_EXEC):
            raise _UnknownError("the system does not let us make code")
        # Not at exit: worker threads may still be parked inside generated code.
        weakref.finalize(self, _libc().munmap, base, len(content)).atexit = False

    def address(self, symbol: str) -> int:
        """Address of an external function or variable; CodegenError if there is none."""
        if symbol not in self._symbols:
            raise CodegenError(f"cannot link {symbol}: it is not defined")
        return self._symbols[symbol]


def load(objects: Iterable[bytes], imports: Mapping[str, int]) -> Image | None:
    """The objects as one program, or None where this loader cannot do it.

    Symbols are looked for among their own, then among `imports`, then in the process.
    """
    if sys.platform != "linux" or platform.machine() != "x86_64":
        return None
    try:
        return _Linker([_Object(data) for data in objects], imports).linked()
    except (_UnknownError, struct.error, IndexError):
        return None


class _Object:
    """The sections, symbols and relocations of one object file."""

    def __init__(self, data: bytes) -> None:
        self.data = data
        head = _HEADER.unpack_from(data)
        if head[0][:6] != b"\x7fELF\x02\x01" or head[1:3] != (1, _MACHINE_X86_64):
            raise _UnknownError("not an object file for x86-64")
        start, count = head[6], head[12]
        table = data[start : start + count * _SECTION.size]
        self.sections = [_Section(*fields) for fields in _SECTION.iter_unpack(table)]
        self.symbols: list[_Symbol] = []
        for section in self.sections:
            if section.kind == _SYMBOLS:
                names = self.sections[section.link].offset
                for name, info, _, place, value, _ in _SYMBOL.iter_unpack(self.content(section)):
                    start = names + name
                    text = data[start : data.index(0, start)].decode()
                    self.symbols.append(_Symbol(text, info >> 4 == _LOCAL, place, value))

    def content(self, section: _Section) -> bytes:
        return self.data[section.offset : section.offset + section.size]

    def loaded(self) -> Iterable[tuple[int, _Section]]:
        """The sections that belong in memory, with their numbers."""
        for number, section in enumerate(self.sections):
            if section.flags & _ALLOC and section.kind != _UNWIND:
                if section.kind not in (_PROGBITS, _NOBITS) or section.flags & _TLS:
                    raise _UnknownError(f"a section of kind {section.kind}")
                yield number, section

    def relocations(self) -> Iterable[tuple[int, int, _Symbol, int, int]]:
        """(number of the section to be changed, offset, symbol, kind, addend)"""
        for section in self.sections:
            if section.kind == _RELOCATIONS:
                for offset, kind, symbol, addend in _RELOCATION.iter_unpack(self.content(section)):
                    yield section.info, offset, self.symbols[symbol], kind, addend


class _Linker:
    def __init__(self, objects: list[_Object], imports: Mapping[str, int]) -> None:
        self.objects = objects
        self.imports = imports
        #: Where sections lie: (number of the object, number of the section) => offset.
        self.places: dict[tuple[int, int], int] = {}
        #: Trampolines, with their cells, by symbol.
        self.trampolines: dict[str, int] = {}
        #: Where the symbols lie that objects define for others.
        self.defined: dict[str, int] = {}
        self.size = 0

    def linked(self) -> Image:
        self._lay_out(executable=True)
        self._place_trampolines()
        code_bytes = self._align(PAGESIZE)
        self._lay_out(executable=False)
        self._define()
        content = bytearray(self._align(PAGESIZE))
        base = _libc().mmap(
            None, len(content), PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0
        )
        if base == ctypes.c_void_p(-1).value:
            raise _UnknownError("no memory")
        try:
            self._fill(content, base)
            symbols = {name: base + place for name, place in self.defined.items()}
            return Image(content, base, code_bytes, symbols)
        except BaseException:
            _libc().munmap(base, len(content))
            raise

    def _align(self, to: int) -> int:
        self.size = -(-self.size // to) * to
        return self.size

    def _lay_out(self, *, executable: bool) -> None:
        for k, object_ in enumerate(self.objects):
            for number, section in object_.loaded():
                if bool(section.flags & _EXECUTE) == executable:
                    self.places[k, number] = self._align(max(section.align, 1))
                    self.size += section.size

    def _place_trampolines(self) -> None:
        """One for every symbol that comes from elsewhere or whose address is read from a cell."""
        self._align(_TRAMPOLINE_BYTES)
        own = {s.name for o in self.objects for s in o.symbols if s.section != _UNDEFINED}
        for object_ in self.objects:
            for _, _, symbol, kind, _ in object_.relocations():
                if kind in _CELLS and symbol.is_local:
                    raise _UnknownError("a cell for a name that others may have too")
                wanted = kind in _CELLS or (not symbol.is_local and symbol.name not in own)
                if wanted and symbol.name not in self.trampolines:
                    self.trampolines[symbol.name] = self.size
                    self.size += _TRAMPOLINE_BYTES

    def _define(self) -> None:
        for k, object_ in enumerate(self.objects):
            for symbol in object_.symbols:
                if not symbol.is_local and symbol.section != _UNDEFINED:
                    if symbol.name in self.defined:
                        raise _UnknownError(f"{symbol.name} is defined twice")
                    self.defined[symbol.name] = self._offset(k, symbol)

    def _offset(self, k: int, symbol: _Symbol) -> int:
        place = self.places.get((k, symbol.section))
        if place is None:
            raise _UnknownError(f"{symbol.name} is in no section that is loaded")
        return place + symbol.value

    def _fill(self, content: bytearray, base: int) -> None:
        for (k, number), place in self.places.items():
            section = self.objects[k].sections[number]
            if section.kind == _PROGBITS:
                content[place : place + section.size] = self.objects[k].content(section)
        for name, place in self.trampolines.items():
            struct.pack_into("<8sQ", content, place, _TRAMPOLINE, self._address(base, name))
        for k, object_ in enumerate(self.objects):
            for number, offset, symbol, kind, addend in object_.relocations():
                if (k, number) not in self.places:
                    continue
                place = self.places[k, number] + offset
                target = self._target(base, k, symbol, kind) + addend
                if kind == _ABSOLUTE:
                    struct.pack_into("<Q", content, place, target)
                else:
                    struct.pack_into("<i", content, place, target - base - place)

    def _target(self, base: int, k: int, symbol: _Symbol, kind: int) -> int:
        """The address that a relocation points at."""
        if kind in _CELLS:
            return base + self.trampolines[symbol.name] + len(_TRAMPOLINE)
        if kind not in (_ABSOLUTE, _RELATIVE, _CALL):
            raise _UnknownError(f"a relocation of kind {kind}")
        if symbol.section != _UNDEFINED:
            return base + self._offset(k, symbol)
        if kind == _CALL and symbol.name not in self.defined:
            return base + self.trampolines[symbol.name]
        return self._address(base, symbol.name)

    def _address(self, base: int, name: str) -> int:
        if name in self.defined:
            return base + self.defined[name]
        return self.imports.get(name) or _process_address(name)


@cache
def _libc() -> Any:
    libc = ctypes.CDLL(None)
    libc.mmap.restype = ctypes.c_void_p
    libc.mmap.argtypes = (
        ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int, ctypes.c_int, ctypes.c_int, ctypes.c_long,
    )  # fmt: skip
    libc.mprotect.argtypes = (ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int)
    libc.munmap.argtypes = (ctypes.c_void_p, ctypes.c_size_t)
    return libc


def _process_address(name: str) -> int:
    try:
        function = getattr(ctypes.CDLL(None), name)
    except AttributeError:
        raise _UnknownError(f"nobody defines {name}") from None
    return ctypes.cast(function, ctypes.c_void_p).value or 0
