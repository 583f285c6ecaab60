"""Where in the user's program a value was made.

Capturing a location must cost next to nothing, since every op does it: only the code object and
the instruction offset are kept, and lines and columns are worked out when somebody asks.
"""

from __future__ import annotations

import linecache
import os
import sys
from itertools import islice
from types import CodeType
from typing import Any

_PACKAGE = os.path.dirname(os.path.abspath(__file__)) + os.sep
_is_ours: dict[str, bool] = {}


class Location:
    """A place in a source file; `columns` is None where the source does not tell them."""

    __slots__ = ("_code", "_lasti", "_place")

    def __init__(self, file: str, line: int, columns: tuple[int, int] | None = None) -> None:
        self._place: tuple[str, int, tuple[int, int] | None] | None = (file, line, columns)
        self._code: CodeType | None = None
        self._lasti = 0

    @classmethod
    def _lazy(cls, code: CodeType, lasti: int) -> Location:
        self = cls.__new__(cls)
        self._code, self._lasti, self._place = code, lasti, None
        return self

    def _resolve(self) -> tuple[str, int, tuple[int, int] | None]:
        if self._place is None:
            assert self._code is not None
            found = next(islice(self._code.co_positions(), self._lasti // 2, None), None)
            line, end, start_col, end_col = found or (None, None, None, None)
            columns = None
            if line == end and start_col is not None and end_col is not None:
                columns = (start_col, end_col)
            line = line or self._code.co_firstlineno
            self._place = (self._code.co_filename, line, columns)
            self._code = None
        return self._place

    @property
    def file(self) -> str:
        return self._resolve()[0]

    @property
    def line(self) -> int:
        return self._resolve()[1]

    @property
    def columns(self) -> tuple[int, int] | None:
        return self._resolve()[2]

    @property
    def short(self) -> str:
        """`model.py:14`: the file's last name and the line."""
        return f"{os.path.basename(self.file)}:{self.line}"

    def excerpt(self) -> list[str]:
        """The source line with carets under the expression; only the place without a source."""
        text = linecache.getline(self.file, self.line).rstrip("\n")
        stripped = text.lstrip()
        if not stripped:
            return [self.short]
        head = f"{self.short}   "
        lines = [head + stripped]
        if self.columns is not None:
            # co_positions counts UTF-8 bytes; the caret line must count characters.
            raw = text.encode()
            start = len(raw[: self.columns[0]].decode(errors="replace"))
            end = len(raw[: self.columns[1]].decode(errors="replace"))
            indent = start - (len(text) - len(stripped))
            lines.append(" " * (len(head) + max(indent, 0)) + "^" * max(end - start, 1))
        return lines

    def __reduce__(self) -> tuple[Any, ...]:
        """Code objects do not pickle; the place does."""
        return Location, self._resolve()

    def __repr__(self) -> str:
        return f"Location({self.short})"


def _belongs_to_jitgraph(filename: str) -> bool:
    known = _is_ours.get(filename)
    if known is None:
        known = _is_ours[filename] = filename.startswith((_PACKAGE, "<frozen", "<__array_function"))
    return known


def caller_location() -> Location | None:
    """The innermost frame outside jitgraph: the line the user wrote."""
    frame = sys._getframe(1)
    while frame is not None:
        code = frame.f_code
        ours = _is_ours.get(code.co_filename)
        if not (_belongs_to_jitgraph(code.co_filename) if ours is None else ours):
            return Location._lazy(code, frame.f_lasti)
        frame = frame.f_back  # type: ignore[assignment]
    return None
