"""What generates the code: code that another generator left on the disk is not ours."""

from __future__ import annotations

import os
import sys
from functools import cache
from pathlib import Path

import llvmlite
import numpy as np

from jitgraph.store import fingerprint

_PACKAGE = Path(__file__).resolve().parent.parent


@cache
def generator() -> str:
    """A digest of all versions, and of our own source files by size and time, since they change
    between releases where somebody works on them."""
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
