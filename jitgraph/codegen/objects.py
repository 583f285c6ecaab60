"""Object code that is kept on disk: what its keys are made of, and libraries made once.

Generated code contains no addresses, so the objects of one process serve every other process on
the same kind of processor, until jitgraph, Python or NumPy change.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Mapping
from functools import cache
from pathlib import Path
from types import MappingProxyType

import llvmlite
import numpy as np

from jitgraph.codegen.llvm import Compiled, Passes, Unit, load_objects, object_code
from jitgraph.codegen.target import Target
from jitgraph.store import Entry, fingerprint, store

_PACKAGE = Path(__file__).resolve().parent.parent


def code_key(target: Target, *parts: str) -> str:
    """The key of code generated from `parts` for `target`."""
    return fingerprint(_generator(), repr(target), *parts)


@cache
def _generator() -> str:
    """What generates the code, and what the code knows about: versions, and our own source files
    by size and time, since they change between releases where somebody works on them."""
    versions = (sys.implementation.name, sys.version, np.__version__, llvmlite.__version__)
    # The file has our version, which counts even where an installer resets the times of files.
    release = (_PACKAGE / "__init__.py").read_bytes()
    return fingerprint(*versions, release, *sorted(_source_files(_PACKAGE)))


def _source_files(directory: str | Path) -> list[str]:
    found = []
    with os.scandir(directory) as items:
        for item in items:
            if item.name.endswith(".py"):
                status = item.stat()
                found.append(f"{item.path} {status.st_size} {status.st_mtime_ns}")
            elif item.is_dir() and item.name != "__pycache__":
                found += _source_files(item.path)
    return found


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
