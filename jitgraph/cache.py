"""`python -m jitgraph.cache`: the compiled code that is kept on disk.

    python -m jitgraph.cache            how much there is, and where
    python -m jitgraph.cache list       every entry, the least recently used first
    python -m jitgraph.cache verify     read every entry; the damaged ones are removed
    python -m jitgraph.cache clear      remove everything
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Sequence

from jitgraph.config import config
from jitgraph.store import LIMIT, File, Store, location, store


def main(argv: Sequence[str] | None = None) -> int:
    """The command. Returns the exit status: 0, or 1 where there is no cache or it was damaged."""
    parser = argparse.ArgumentParser(
        "python -m jitgraph.cache", description="Compiled code that is kept on disk."
    )
    parser.add_argument("action", nargs="?", choices=sorted(_ACTIONS), default="stats")
    action = _ACTIONS[parser.parse_args(argv).action]
    with config.override(cache=True):
        shelf = store()
    if shelf is None:
        print(f"there is no cache: {location() or 'no home directory'} cannot be used")
        return 1
    return action(shelf)


def _stats(shelf: Store) -> int:
    files = shelf.files()
    size = sum(file.size for file in files)
    print(f"directory  {location()}")
    print(f"in use     {'yes' if config.cache else 'no, it is switched off'}")
    print(f"entries    {len(files)}")
    print(f"size       {_bytes(size)} of at most {_bytes(LIMIT)}")
    if files:
        print(f"last used  {_ago(files[0])} to {_ago(files[-1])} ago")
    return 0


def _list(shelf: Store) -> int:
    for file in shelf.files():
        entry = shelf.load(file.key, using=False)
        what = "{kind} {name}".format_map(entry.header) if entry else "damaged"
        print(f"{file.key}  {_bytes(file.size):>9}  {_ago(file):>9}  {what}")
    return 0


def _verify(shelf: Store) -> int:
    files = shelf.files()
    damaged = [file for file in files if shelf.load(file.key, using=False) is None]
    for file in damaged:
        shelf.remove(file.key)
        print(f"{file.key}  removed: damaged, or of another version")
    print(f"{len(files) - len(damaged)} entries are sound")
    return 1 if damaged else 0


def _clear(shelf: Store) -> int:
    files = shelf.files()
    for file in files:
        shelf.remove(file.key)
    print(f"{len(files)} entries removed, {_bytes(sum(file.size for file in files))}")
    return 0


def _bytes(size: int) -> str:
    if size < 10_000:
        return f"{size} B"
    return f"{size / 1e3:.0f} kB" if size < 10_000_000 else f"{size / 1e6:.0f} MB"


def _ago(file: File) -> str:
    seconds = max(time.time() - file.used, 0)
    for unit, length in (("d", 86400), ("h", 3600), ("min", 60)):
        if seconds >= 2 * length:
            return f"{seconds / length:.0f} {unit}"
    return f"{seconds:.0f} s"


_ACTIONS = {"stats": _stats, "list": _list, "verify": _verify, "clear": _clear}

if __name__ == "__main__":
    sys.exit(main())
