"""Address spaces of pointers in kernels: all but generic, for code that is not to look them up.

Generators write plain pointers. What a kernel gets is global memory, what it declares as shared is
shared memory; here their types say so, and those of all that is computed from them. Where one of
them meets a plain pointer, or leaves for a function, it is cast. Loads of what nobody writes say
that as well. (LLVM's own passes for this belong to an optimising compilation, which takes it
several times as long and leaves its successor, the assembler, fewer registers.)
"""

from __future__ import annotations

import re

_KERNEL = re.compile(r"^define ptx_kernel .*?^}", re.MULTILINE | re.DOTALL)
_HEAD = re.compile(r"^define ptx_kernel void @[\w.$]+\((.*?)\)(?= [\"#{])")
_PARAMETER = re.compile(r"ptr ([^,%]*)(%[\w.]+)")
_CAST = re.compile(r"^  (%[\w.]+) = addrspacecast ptr addrspace\(3\) (@[\w.$]+) to ptr$")
_BACK = re.compile(r"^  (%[\w.]+) = addrspacecast ptr (%[\w.]+) to ptr addrspace\((\d)\)$")
_USE = re.compile(r"ptr (%[\w.]+)")
_DEFINED = re.compile(r"^  (%[\w.]+) = (\w+)")
_NAME = re.compile(r"%[\w.]+")
#: Instructions whose pointer may be in any space.
_ANY = ("load", "getelementptr", "ptrtoint", "atomicrmw", "cmpxchg")
_INVARIANT = "!invariant.load"


def with_spaces(text: str) -> str:
    """The module with the address spaces of its kernels' pointers."""
    number = sum(line.startswith("!") for line in text.splitlines())
    mark = f", {_INVARIANT} !{number}"
    return _KERNEL.sub(lambda m: _kernel(m[0], mark), text) + f"!{number} = !{{}}\n"


def _kernel(text: str, mark: str) -> str:
    head, *lines = text.splitlines()
    #: The space of each pointer that has one, and whether nobody writes there.
    known: dict[str, tuple[int, bool]] = {}
    match = _HEAD.match(head)
    assert match is not None
    for attributes, name in _PARAMETER.findall(match[1]):
        known[name] = 1, "noalias" in attributes and "readonly" in attributes
    head = head[: match.start(1)] + _PARAMETER.sub(
        r"ptr addrspace(1) \1\2", match[1]) + head[match.end(1) :]  # fmt: skip
    written: list[str] = []
    needed: set[str] = set()
    for line in lines:
        if (cast := _CAST.match(line)) is not None:
            known[cast[1]] = 3, False
            written.append(f"  {cast[1]} = getelementptr i8, ptr addrspace(3) {cast[2]}, i64 0")
        elif (back := _BACK.match(line)) is not None and back[2] in known:
            space = known[back[2]][0]
            there = f"ptr addrspace({space}) {back[2]}"
            written.append(f"  {back[1]} = getelementptr i8, {there}, i64 0")
        elif "ptr " in line:
            written.append(_line(line, known, needed, mark))
        else:
            written.append(line)
    return "\n".join([head, *_with_casts(written, known, needed)])


def _line(line: str, known: dict[str, tuple[int, bool]], needed: set[str], mark: str) -> str:
    """A line that has pointers."""
    defined = _DEFINED.match(line)
    word = defined[2] if defined is not None else line.split(None, 1)[0]
    used = [name for name in _USE.findall(line) if name in known]
    if not used and word != "phi":
        return line
    stores_pointer = word == "store" and line.split()[1] == "ptr"
    if len(used) == 1 and (word in _ANY or (word == "store" and not stores_pointer)):
        space, constant = known[used[0]]
        typed = _USE.sub(
            lambda m: f"ptr addrspace({space}) {m[1]}" if m[1] in known else m[0], line
        )
        if word == "getelementptr":
            assert defined is not None
            known[defined[1]] = space, constant
        plain = word == "load" and not line.split()[3].startswith(("volatile", "atomic"))
        return typed + mark if plain and constant else typed

    def cast(match: re.Match[str]) -> str:
        if match[0] not in known or (defined is not None and match[0] == defined[1]):
            return match[0]
        needed.add(match[0])
        return f"{match[0]}.generic"

    return _NAME.sub(cast, line)


def _with_casts(
    lines: list[str], known: dict[str, tuple[int, bool]], needed: set[str]
) -> list[str]:
    """The lines with a plain twin of each pointer that needs one, behind it."""

    def twin(name: str) -> str:
        space = known[name][0]
        return f"  {name}.generic = addrspacecast ptr addrspace({space}) {name} to ptr"

    found: list[str] = []
    inside = set()
    for line in lines:
        found.append(line)
        defined = _DEFINED.match(line)
        if defined is not None and defined[1] in needed:
            found.append(twin(defined[1]))
            inside.add(defined[1])
    first = int(found[0].endswith(":"))
    return [*found[:first], *(twin(name) for name in sorted(needed - inside)), *found[first:]]
