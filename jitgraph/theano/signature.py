"""What `theano.function` is told of inputs and outputs."""

from __future__ import annotations

from typing import Any

from jitgraph.tensor.shared import SharedVariable


class In:
    """An input with more to say than its type: a default value, an update of it, a name."""

    def __init__(
        self, variable: Any, name: str | None = None, value: Any = None, update: Any = None,
        mutable: bool | None = None, strict: bool = False, allow_downcast: bool | None = None,
        autoname: bool = True, implicit: bool | None = None, borrow: bool | None = None,
        shared: bool = False,
    ) -> None:  # fmt: skip
        self.variable, self.name, self.value, self.update = variable, name, value, update
        self.strict, self.allow_downcast = strict, allow_downcast
        self.mutable, self.borrow = bool(mutable), bool(borrow)
        self.implicit, self.shared = bool(implicit), shared
        if not shared and isinstance(value, SharedVariable):
            self.value = value.get_value()


def Param(  # noqa: N802  (Theano's name)
    variable: Any, default: Any = None, name: str | None = None, mutable: bool = False,
    strict: bool = False, allow_downcast: bool | None = None, implicit: bool | None = None,
    borrow: bool | None = None,
) -> In:  # fmt: skip
    """`In` under its older name."""
    return In(variable, name, default, None, mutable, strict, allow_downcast, True, implicit,
              borrow)  # fmt: skip


class Out:
    """An output; results are always the caller's own."""

    def __init__(self, variable: Any, borrow: bool = False) -> None:
        self.variable, self.borrow = variable, borrow
