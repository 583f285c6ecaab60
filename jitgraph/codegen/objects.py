"""Object code that is kept on disk: what its keys are made of, and libraries made once.

Generated code contains no addresses, so the objects of one process serve every other process on
the same kind of processor, until jitgraph, Python or NumPy change.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType

from jitgraph.codegen.generator import generator
from jitgraph.codegen.llvm import Compiled, Passes, Unit, load_objects, object_code
from jitgraph.codegen.target import Target
from jitgraph.store import Entry, fingerprint, store


def code_key(target: Target, *parts: str) -> str:
    """The key of code generated from `parts` for `target`."""
    return fingerprint(generator(), repr(target), *parts)


def cached_library(
    name: str,
    build: Callable[[], str],
    target: Target,
    *,
    passes: Passes = "explicit",
    imports: Mapping[str, int] = MappingProxyType({}),
) -> Compiled:
    """The library `name`, whose text `build` makes, compiled or from the disk.

    `build` must give the same text whenever `name`, `target` and the source files are the same.
    """
    shelf = store()
    key = code_key(target, "library", name, passes)
    entry = shelf.load(key) if shelf is not None else None
    if entry is None:
        objects = (object_code(Unit(build(), passes), target),)
        entry = Entry({"kind": "library", "name": name}, objects)
        if shelf is not None:
            shelf.save(key, entry)
    return load_objects(entry.objects, imports=imports)
