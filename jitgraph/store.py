"""Files that outlive the process: compiled code, found again by a key.

An entry is a header (JSON) and objects (bytes), in one file named by its key and checked by a
checksum. Whatever goes wrong here (no home, no space, a damaged file, another process at the same
time) means that an entry is not found or not kept, and never an error: whoever asks can make the
entry anew.

The directory is `$JITGRAPH_CACHE_DIR`, else `$XDG_CACHE_HOME/jitgraph`, else `~/.cache/jitgraph`
(`~/Library/Caches/jitgraph` on macOS). What lies in it will be executed, so it must belong to the
user and be closed to everybody else; otherwise it is left alone, with a warning. It holds at most
`LIMIT` bytes: entries that nobody has used for longest go first.
"""

from __future__ import annotations

import contextlib
import json
import os
import stat
import struct
import sys
import time
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from hashlib import blake2b
from itertools import count, pairwise
from pathlib import Path
from typing import Any

from jitgraph.config import config

#: Bytes of entries that are kept.
LIMIT = 256 << 20
SUFFIX = ".jgc"

_MAGIC = b"jitgraph cache 1\n"
_CHECKSUM_BYTES = 32
_HEAD = struct.Struct("<I")  # the number of bytes of the header
# What a writer died over is removed after so many seconds.
_STALE = 3600
# A hit counts as a use at most this often (seconds): it costs a write.
_USE_INTERVAL = 600
# One write in so many looks whether there is too much, and then removes down to this part.
_CLEAN_ONE_IN = 64
_CLEAN_TO = 0.75

_names = count()


@dataclass(frozen=True, slots=True)
class Entry:
    """What is kept under one key."""

    header: dict[str, Any]
    objects: tuple[bytes, ...]


@dataclass(frozen=True, slots=True)
class File:
    """An entry as a file: its key, size in bytes, and when it was last used."""

    key: str
    size: int
    used: float


class Store:
    """The entries of one directory, which is opened once and checked by its open descriptor."""

    def __init__(self, directory: int) -> None:
        self._directory = directory

    def load(self, key: str, *, using: bool = True) -> Entry | None:
        """The entry, if there is an undamaged one; that counts as a use of it."""
        try:
            data, used = self._read(key + SUFFIX)
        except OSError:
            return None
        entry = _unpacked(key, data)
        if entry is not None and using and time.time() - used > _USE_INTERVAL:
            with contextlib.suppress(OSError):
                os.utime(key + SUFFIX, dir_fd=self._directory, follow_symlinks=False)
        return entry

    def save(self, key: str, entry: Entry) -> None:
        """Keep an entry, if that is possible. Readers see all of it or nothing."""
        temporary = f"{os.getpid()}.{next(_names)}.tmp"
        try:
            self._write(temporary, _packed(key, entry))
            os.replace(
                temporary, key + SUFFIX, src_dir_fd=self._directory, dst_dir_fd=self._directory
            )
        except OSError:
            self._remove(temporary)
        if int(key[:8], 16) % _CLEAN_ONE_IN == 0:
            self.clean()

    def files(self) -> list[File]:
        """The entries there are, least recently used first."""
        found = [
            File(name.removesuffix(SUFFIX), status.st_size, status.st_mtime)
            for name, status in self._scan()
            if name.endswith(SUFFIX)
        ]
        return sorted(found, key=lambda f: f.used)

    def clean(self, limit: int = LIMIT) -> None:
        """Remove the remains of writers that died and, beyond `limit` bytes, the oldest entries."""
        for name, status in self._scan():
            if name.endswith(".tmp") and time.time() - status.st_mtime > _STALE:
                self._remove(name)
        files = self.files()
        total = sum(file.size for file in files)
        if total > limit:
            for file in files:
                if total <= _CLEAN_TO * limit:
                    break
                self.remove(file.key)
                total -= file.size

    def remove(self, key: str) -> None:
        """Forget an entry."""
        self._remove(key + SUFFIX)

    def _scan(self) -> Iterator[tuple[str, os.stat_result]]:
        """Name and status of every regular file."""
        with contextlib.suppress(OSError), os.scandir(self._directory) as items:
            for item in items:
                # Another process may have removed it.
                with contextlib.suppress(OSError):
                    status = item.stat(follow_symlinks=False)
                    if stat.S_ISREG(status.st_mode):
                        yield item.name, status

    def _read(self, name: str) -> tuple[bytes, float]:
        # A pipe must not make us wait, nor a link lead us elsewhere.
        flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
        with open(os.open(name, flags, dir_fd=self._directory), "rb", buffering=0) as file:
            status = os.fstat(file.fileno())
            if not stat.S_ISREG(status.st_mode):
                raise OSError(f"{name} is no file")
            return file.read(), status.st_mtime

    def _write(self, name: str, data: bytes) -> None:
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
        with open(os.open(name, flags, 0o600, dir_fd=self._directory), "wb") as file:
            file.write(data)

    def _remove(self, name: str) -> None:
        with contextlib.suppress(OSError):
            os.unlink(name, dir_fd=self._directory)


def store() -> Store | None:
    """The store of this process, or None where it is switched off or cannot be."""
    if not config.cache:
        return None
    directory = location()
    return _opened(directory) if directory is not None else None


def location() -> Path | None:
    """The directory by the environment as it is now; None where there is no home either."""
    if given := os.environ.get("JITGRAPH_CACHE_DIR"):
        return Path(given).absolute()
    caches = os.environ.get("XDG_CACHE_HOME") or os.path.expanduser(
        "~/Library/Caches" if sys.platform == "darwin" else "~/.cache"
    )
    return Path(caches, "jitgraph") if os.path.isabs(caches) else None


def fingerprint(*parts: str | bytes) -> str:
    """A key for the parts, each told from its neighbours."""
    made = blake2b(digest_size=20)
    for part in parts:
        data = part.encode() if isinstance(part, str) else part
        made.update(_HEAD.pack(len(data)))
        made.update(data)
    return made.hexdigest()


@cache
def _opened(directory: Path) -> Store | None:
    if os.name != "posix":  # the checks below are those of POSIX
        return None
    try:
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    except OSError:
        return None
    status = os.fstat(descriptor)
    if status.st_uid == os.geteuid() and not status.st_mode & 0o077:
        return Store(descriptor)
    os.close(descriptor)
    warnings.warn(
        f"compiled code is not kept in {directory}: it must belong to you and be closed to others "
        f"(chmod 700); JITGRAPH_CACHE_DIR names another directory, JITGRAPH_CACHE=0 none",
        RuntimeWarning,
        stacklevel=2,
    )
    return None


# --- the format of a file ----------------------------------------------------------------------
def _packed(key: str, entry: Entry) -> bytes:
    """Magic, checksum of all that follows, length of the header, header, objects."""
    sizes = [len(o) for o in entry.objects]
    known = {"key": key, "sizes": sizes, "header": entry.header}
    text = json.dumps(known, sort_keys=True).encode()
    body = b"".join([_HEAD.pack(len(text)), text, *entry.objects])
    return _MAGIC + blake2b(body, digest_size=_CHECKSUM_BYTES).digest() + body


def _unpacked(key: str, data: bytes) -> Entry | None:
    """What `_packed` packed, or None for anything else."""
    start = len(_MAGIC) + _CHECKSUM_BYTES
    body = memoryview(data)[start:]
    checksum = blake2b(body, digest_size=_CHECKSUM_BYTES).digest()
    if len(data) < start or data[:start] != _MAGIC + checksum:
        return None
    # What has the right checksum was written by us.
    (length,) = _HEAD.unpack_from(body)
    known = json.loads(bytes(body[_HEAD.size : _HEAD.size + length]))
    if known["key"] != key:
        return None
    ends = [_HEAD.size + length]
    for size in known["sizes"]:
        ends.append(ends[-1] + size)
    return Entry(known["header"], tuple(bytes(body[a:b]) for a, b in pairwise(ends)))
