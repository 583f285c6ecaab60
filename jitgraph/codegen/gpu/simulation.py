"""Kernels for the simulated device: the text of a device's module, turned into host code.

It stays the very same IR. Only what a GPU gives it is replaced: intrinsics become functions of the
simulator (`simulator.intrinsics`), shared memory a place in the simulator's, and whatever touches
memory asks `sim_access` where. Every kernel gets a *thunk*, which takes its arguments from an array
of pointers to them, as the driver's launch does, and a descriptor, whose address is the kernel's
handle.
"""

from __future__ import annotations

import ctypes
import re
from collections.abc import Iterator, Sequence

from jitgraph.codegen.gpu.simulator import imports
from jitgraph.codegen.gpu.simulator.checks import ATOMIC, ORDERED, READ, WRITE
from jitgraph.codegen.gpu.simulator.intrinsics import AT_SITES, SYNCHRONISES, function_of
from jitgraph.codegen.gpu.simulator.state import DESCRIPTOR, SHARED_BYTES
from jitgraph.codegen.gpu.target import STATIC_SHARED
from jitgraph.codegen.llvm import Compiled, Unit, load_objects, object_code
from jitgraph.codegen.loader import CodegenError
from jitgraph.codegen.target import host

_INTRINSIC = re.compile(r"@(llvm\.nvvm\.[\w.]+)")
_SYMBOL = re.compile(r"@([\w.$]+)")
_HEAD = re.compile(r"define (?:[^@(]* )?(?:void|ptr|\S+) @([\w.$]+)\(")
_GLOBAL = re.compile(r"^@([\w.$]+) = (?!.*\balias\b)(.*?)\b(?:global|constant) (.*)$", re.MULTILINE)
_IN_NAMES = re.compile(r"[\w.$]")
_SPACE = re.compile(r" addrspace\(\d+\)")
#: What LLVM must not look through, in a register of a GPU's.
_OPAQUE = re.compile(r'asm "", "=\w,0"')
_CAST = re.compile(r"= addrspacecast ptr (.+?) to ptr")
_NESTED_CAST = re.compile(r"addrspacecast \(ptr ([^()]+|\w+ \(.*?\)) to ptr\)")
_LOAD = re.compile(r"\s+%[\w.$]+ = load (atomic )?(volatile )?(.*)$")
_STORE = re.compile(r"\s+store (atomic )?(volatile )?(.*)$")
_EXCHANGE = re.compile(
    r"\s+(?:%[\w.$]+ = )?(?:atomicrmw|cmpxchg)( volatile| weak)* (?:(?!ptr)\w+ )?(.*)$"
)
_ORDERED = re.compile(r" (acquire|release|acq_rel|seq_cst)\b")
_FENCE = re.compile(r"\s+fence ")
_ALIGN = re.compile(r", align (\d+)")
_BYTES = re.compile(r"\s+(?:tail )?call void @llvm\.(memcpy|memmove|memset)\.[\w.]+\((.*)\)")
_ALIGNMENT = 16
#: The bytes of scalar types.
_SCALARS = {"half": 2, "bfloat": 2, "float": 4, "double": 8, "ptr": 8}


def simulated_object(text: str, kernels: Sequence[str]) -> bytes:
    """Object code that runs the kernels of a device's module on the simulated device."""
    return object_code(simulated_unit(text, kernels), host())


def linked(image: bytes) -> Compiled:
    """Such code in this process."""
    return load_objects([image], imports=imports())


def handle(code: Compiled, kernel: str) -> int:
    """What `sim_launch` takes for a kernel of this code."""
    return code.address(f"{kernel}.descriptor")


def allow_shared(code: Compiled, kernel: str, dynamic: int) -> None:
    """Let blocks of a kernel have so much dynamic shared memory, as `cuFuncSetAttribute` does."""
    start = handle(code, kernel)
    words = (ctypes.c_int64 * len(DESCRIPTOR)).from_address(start)
    whole = words[DESCRIPTOR.index("shared")] + dynamic
    words[DESCRIPTOR.index("most")] = min(whole, SHARED_BYTES)


def simulated_unit(text: str, kernels: Sequence[str]) -> Unit:
    """The text of the host's module."""
    bodies = dict(_functions(text))
    reached = {kernel: _reachable(kernel, bodies) for kernel in kernels}
    shared, sizes = _shared(text, {k: set().union(*map(_symbols, r)) for k, r in reached.items()})
    constants = _constants(text)
    lines = [_without_spaces(line, shared) for line in text.splitlines()]
    lines = [one for k, line in enumerate(lines) for one in checked(line, k)]
    host_text = "\n".join(_translated(line, k + 1) for k, line in enumerate(lines))
    parts = [
        host_text.replace("define ptx_kernel ", "define "),
        "declare ptr @sim_access(ptr, i64, i64, i64)",
        "declare void @sim_fence()",
        f"@sim_shared_memory = external global [{SHARED_BYTES} x i8]",
        _table(constants),
    ]
    for kernel in kernels:
        waits = any(_waits(body) for body in reached[kernel])
        parts += [_thunk(kernel, bodies[kernel]),
                  _descriptor(kernel, sizes[kernel], waits, len(constants))]  # fmt: skip
    # Compiling for speed takes ten times as long, and running is mostly checks.
    return Unit("\n".join(parts) + "\n", "quick")


def _functions(text: str) -> Iterator[tuple[str, str]]:
    """The functions of a module, by name."""
    for part in re.split(r"^(?=define )", text, flags=re.MULTILINE)[1:]:
        head = _HEAD.match(part)
        if head is None:
            raise CodegenError(f"not a function: {part.splitlines()[0]}", text)
        end = part.find("\n}")
        yield head[1], part[: end if end >= 0 else part.index("\n")]


def _symbols(body: str) -> set[str]:
    return set(_SYMBOL.findall(body))


def _reachable(kernel: str, bodies: dict[str, str]) -> list[str]:
    """A function's text, and that of those it calls."""
    names, waiting = {kernel}, [kernel]
    while waiting:
        fresh = {s for s in _symbols(bodies[waiting.pop()]) if s in bodies} - names
        names |= fresh
        waiting += fresh
    return [bodies[name] for name in names]


def _waits(body: str) -> bool:
    return any(SYNCHRONISES.get(name, False) for name in _INTRINSIC.findall(body))


def _translated(line: str, site: int) -> str:
    """A line with functions for intrinsics; `site` is its number."""
    found = _INTRINSIC.search(line)
    if found is None:
        return line
    name, end = found[1], found.end() + 1
    if name not in SYNCHRONISES:
        raise CodegenError(f"the simulated device has no {name}", line)
    arguments = line[end:]
    if name in AT_SITES:
        first = "i64" if line.startswith("declare") else f"i64 {site}"
        arguments = f"{first}{'' if arguments.startswith(')') else ', '}{arguments}"
    return f"{line[: found.start()]}@{function_of(name)}({arguments}"


def _shared(text: str, used: dict[str, set[str]]) -> tuple[dict[str, int], dict[str, int]]:
    """Where each variable in shared memory lies, and how much each kernel has. Kernels share the
    place, but not two variables of one kernel; one without a size, for which the launch asks, is
    the last."""
    variables = {
        name: layout(read_type(rest)[0])[0]
        for name, linkage, rest in _GLOBAL.findall(text)
        if "addrspace(3)" in linkage
    }
    places: dict[str, int] = {}
    sizes = dict.fromkeys(used, 0)
    for name, size in sorted(variables.items(), key=lambda variable: variable[1] == 0):
        owners = [kernel for kernel in used if name in used[kernel]]
        start = max((sizes[kernel] for kernel in owners), default=0)
        places[name] = -(-start // _ALIGNMENT) * _ALIGNMENT
        for kernel in owners:
            sizes[kernel] = places[name] + size
    return places, sizes


def _constants(text: str) -> dict[str, int]:
    """The other variables of a module, which kernels may read, and their sizes."""
    return {
        name: layout(read_type(_SPACE.sub("", rest))[0])[0]
        for name, linkage, rest in _GLOBAL.findall(text)
        if "addrspace(3)" not in linkage
    }


def _without_spaces(line: str, shared: dict[str, int]) -> str:
    """A line where all memory is in one address space, registers are the host's and fences are
    the simulator's."""
    if line.startswith(("target ", "source_filename")):
        return ""
    if line.startswith("attributes "):
        return re.sub(r'"[^"]*"(="[^"]*")?', "", line)
    found = _SYMBOL.match(line)
    if found and found[1] in shared:
        return ""
    if shared and "@" in line:
        line = _SYMBOL.sub(lambda symbol: _place(symbol, shared), line)
    if _FENCE.match(line):
        return "  call void @sim_fence()"
    if "asm" in line:
        line = _OPAQUE.sub('asm "", "=r,0"', line)
    if "addrspace" in line:
        line = _SPACE.sub("", line)
        line = _CAST.sub(r"= getelementptr i8, ptr \1, i64 0", line)
        line = _NESTED_CAST.sub(r"\1", line)
    return line


def _place(symbol: re.Match[str], shared: dict[str, int]) -> str:
    if symbol[1] not in shared:
        return symbol[0]
    return f"getelementptr (i8, ptr @sim_shared_memory, i64 {shared[symbol[1]]})"


def checked(line: str, number: int) -> Iterator[str]:
    """A line, and before it the checks of the memory it touches, which say where that is."""
    for k, access in enumerate(accesses(line) if "ptr " in line else ()):
        pointer, size, alignment, kind = access
        place = f"%sim.{number}.{k}"
        arguments = f"ptr {pointer}, i64 {size}, i64 {alignment}, i64 {kind}"
        yield f"  {place} = call ptr @sim_access({arguments})"
        # Of equal operands a store's pointer and a copy's source are the last, others the first.
        starts = list(_occurrences(line, pointer))
        copies = kind == READ and "@llvm.mem" in line
        start = starts[-1 if copies or line.lstrip().startswith("store") else 0]
        line = line[:start] + place + line[start + len(pointer) :]
    yield line


def _occurrences(line: str, name: str) -> Iterator[int]:
    """Where a name stands in a line, and not the beginning of another."""
    start = line.find(name)
    while start >= 0:
        end = start + len(name)
        if not _IN_NAMES.match(line, end):
            yield start
        start = line.find(name, end)


def accesses(line: str) -> Iterator[tuple[str, int | str, int, int]]:
    """(pointer, size, alignment, kind) of each access of an instruction."""
    if found := _LOAD.match(line):
        type_, rest = read_type(found[3])
        kind = READ | (ATOMIC if found[1] or found[2] else 0)
        yield _access(type_, _separated(rest)[1], rest, kind)
    elif found := _STORE.match(line):
        type_, rest = read_type(found[3])
        kind = WRITE | (ATOMIC if found[1] or found[2] else 0)
        yield _access(type_, _separated(rest)[1], rest, kind)
    elif found := _EXCHANGE.match(line):
        pointer, value = _separated(found[2])[:2]
        type_ = read_type(value)[0]
        ordered = ORDERED if _ORDERED.search(line) else 0
        yield _access(type_, pointer, found[2], READ | WRITE | ATOMIC | ordered)
    elif found := _BYTES.match(line):
        target, source, size, _ = _separated(found[2])
        length = size.removeprefix("i64 ")
        if found[1] != "memset":
            yield _last_word(source), length, 1, READ
        yield _last_word(target), length, 1, WRITE


def _access(type_: str, operand: str, rest: str, kind: int) -> tuple[str, int, int, int]:
    """Of the operand, `ptr X` and perhaps an ordering, only X is the pointer."""
    pointer = operand.removeprefix("ptr ")
    end = pointer.rindex(")") + 1 if "(" in pointer else len(pointer.split(" ", 1)[0])
    pointer = pointer[:end]
    size, natural = layout(type_)
    declared = _ALIGN.search(rest)
    return pointer, size, int(declared[1]) if declared else natural, kind


def _last_word(operand: str) -> str:
    """The value of an operand with a type and attributes."""
    return operand if operand.endswith(")") else operand.rsplit(" ", 1)[1]


def _separated(text: str) -> list[str]:
    """A list's items; commas within brackets are none of its own."""
    items, depth, start = [], 0, 0
    for k, character in enumerate(text):
        if character in "([{<":
            depth += 1
        elif character in ")]}>":
            depth -= 1
        elif character == "," and not depth:
            items.append(text[start:k].strip())
            start = k + 1
    return [*items, text[start:].strip()]


def read_type(text: str) -> tuple[str, str]:
    """The type a text begins with, and the rest."""
    if text[0] not in "<[{":
        end = re.match(r"[\w.%]+", text)
        assert end is not None, text
        return end[0], text[end.end() :]
    depth = 0
    for k, character in enumerate(text):
        depth += (character in "<[{") - (character in ">]}")
        if not depth:
            return text[: k + 1], text[k + 1 :]
    raise CodegenError(f"not a type: {text}")


def layout(type_: str) -> tuple[int, int]:
    """The size and the alignment of a type in bytes."""
    if type_ in _SCALARS:
        return _SCALARS[type_], _SCALARS[type_]
    if number := re.fullmatch(r"i(\d+)", type_):
        size = 1 << max(int(number[1]) + 7 >> 3, 1).bit_length() - 1
        size = size if 8 * size >= int(number[1]) else 2 * size
        return size, size
    if many := re.fullmatch(r"([<\[])(\d+) x (.*)[>\]]", type_):
        size, alignment = layout(many[3])
        if many[1] == "[":
            return size * int(many[2]), alignment
        bits = 1 if many[3] == "i1" else 8 * size
        size = int(many[2]) * bits + 7 >> 3
        return size, 1 << (size - 1).bit_length()
    if type_.startswith("{"):
        end, most = 0, 1
        for member in _separated(type_[1:-1]):
            size, alignment = layout(member)
            end = -(-end // alignment) * alignment + size
            most = max(most, alignment)
        return -(-end // most) * most, most
    raise CodegenError(f"the simulated device does not know how large {type_} is")


def _thunk(kernel: str, body: str) -> str:
    head = body[: body.index("\n")]
    start = head.index(f"@{kernel}(") + len(kernel) + 2
    end = _closing(head, start)
    types = [read_type(_SPACE.sub("", p))[0] for p in _separated(head[start:end]) if p]
    lines = [f"define internal void @{kernel}.thunk(ptr %parameters) {{"]
    for k, type_ in enumerate(types):
        lines += [
            f"  %cell.{k} = getelementptr ptr, ptr %parameters, i64 {k}",
            f"  %place.{k} = load ptr, ptr %cell.{k}",
            f"  %value.{k} = load {type_}, ptr %place.{k}, align 1",
        ]
    arguments = ", ".join(f"{type_} %value.{k}" for k, type_ in enumerate(types))
    return "\n".join([*lines, f"  call void @{kernel}({arguments})", "  ret void", "}"])


def _closing(text: str, start: int) -> int:
    depth = 1
    for k in range(start, len(text)):
        depth += (text[k] == "(") - (text[k] == ")")
        if not depth:
            return k
    raise CodegenError(f"not a function: {text}")


def _table(constants: dict[str, int]) -> str:
    rows = ", ".join(
        f"{{ ptr, i64 }} {{ ptr @{name}, i64 {size} }}" for name, size in constants.items()
    )
    return f"@constants = internal global [{len(constants)} x {{ ptr, i64 }}] [{rows}]"


def _descriptor(kernel: str, shared: int, waits: bool, constants: int) -> str:
    name = f'@{kernel}.name = internal constant [{len(kernel) + 1} x i8] c"{kernel}\\00"'
    words = [f"ptr @{kernel}.thunk", f"i64 {shared}", f"i64 {int(waits)}", f"ptr @{kernel}.name",
             "ptr @constants", f"i64 {constants}", f"i64 {STATIC_SHARED}"]  # fmt: skip
    types = ", ".join(word.split()[0] for word in words)
    return f"{name}\n@{kernel}.descriptor = global {{ {types} }} {{ {', '.join(words)} }}"
