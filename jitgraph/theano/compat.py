"""`theano.compat`: names that Python 2 and 3 had in different places."""

from __future__ import annotations

from collections import OrderedDict, defaultdict
from collections.abc import Callable, Iterable, Mapping
from functools import partial, reduce
from typing import Any

PY3 = True
izip, imap, ifilter = zip, map, filter
all, any = all, any

__all__ = [
    "PY3", "Callable", "Iterable", "Mapping", "OrderedDict", "all", "any", "cmp", "defaultdict",
    "exc_message", "ifilter", "imap", "izip", "partial", "reduce",
]  # fmt: skip


def cmp(a: Any, b: Any) -> int:
    """-1, 0 or 1."""
    return int(a > b) - int(a < b)


def exc_message(error: BaseException) -> Any:
    """What an exception says."""
    return error.args[0] if error.args else ""
