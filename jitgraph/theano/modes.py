"""Modes: how a function is compiled, and what watches over its calls."""

from __future__ import annotations

from typing import Any

from jitgraph.errors import InternalError, OptionError
from jitgraph.ir.types import kind_of
from jitgraph.theano.config import config

none = None
object_ = object


class Mode:
    """A way of compiling. Linkers and optimisers have no choice here: all programs are optimised
    and native."""

    #: "ieee" keeps every bit, NaN and infinity; None leaves it to `jitgraph.config`.
    algebra: str | None = None
    #: The `mode` of `jitgraph.function`.
    native: str | None = None

    def __init__(self, linker: Any = None, optimizer: Any = "default") -> None:
        self.linker, self.optimizer = linker, optimizer
        self.provided_optimizer = optimizer

    def including(self, *tags: str) -> Mode:
        """The mode itself: rewrites are not chosen by tags."""
        return self

    excluding = requiring = including

    def register(self, *optimizations: Any) -> Mode:
        """The mode itself."""
        return self

    def clone(self, **options: Any) -> Mode:
        """The mode itself."""
        return self

    def wrapped(self, function: Any) -> Any:
        """The function as the mode wants it called."""
        return function

    def __repr__(self) -> str:
        return f"{type(self).__name__}(linker={self.linker!r}, optimizer={self.optimizer!r})"


FAST_RUN = Mode("cvm", "fast_run")
FAST_COMPILE = Mode("py", "fast_compile")


class DebugMode(Mode):
    """Every call is also computed by the NumPy interpreter, and the results are compared."""

    algebra, native = "ieee", "checked"

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__()


class NanGuardMode(Mode):
    """A call that computes a NaN, an infinity or a large number anywhere raises AssertionError."""

    algebra = "ieee"

    def __init__(
        self, nan_is_error: bool | None = None, inf_is_error: bool | None = None,
        big_is_error: bool | None = None, optimizer: Any = "default", linker: Any = None,
    ) -> None:  # fmt: skip
        super().__init__(linker, optimizer)
        asked = {"nan": nan_is_error, "inf": inf_is_error, "big": big_is_error}
        self.errors = {what: getattr(config, f"nanguardmode.{what}_is_error") if given is None
                       else given for what, given in asked.items()}  # fmt: skip

    def wrapped(self, function: Any) -> Any:
        from jitgraph.theano.guards import Guarded

        return Guarded(function, self.errors)


class MonitorMode(Mode):
    """Every op of a call is shown to two functions: `(number, node, operands, results)`."""

    algebra = "ieee"

    def __init__(self, pre_func: Any = None, post_func: Any = None, optimizer: Any = "default",
                 linker: Any = None) -> None:  # fmt: skip
        super().__init__(linker, optimizer)
        self.pre_func, self.post_func = pre_func, post_func

    def wrapped(self, function: Any) -> Any:
        from jitgraph.theano.guards import Monitored

        return Monitored(function, self.pre_func, self.post_func)


def detect_nan(fgraph: Any, i: int, node: Any, fn: Any) -> None:
    """For `MonitorMode(post_func=detect_nan)`: print the first op that computes a NaN."""
    import numpy as np

    for storage in fn.outputs:
        array = storage[0]
        if kind_of(array.dtype) in "fc" and np.isnan(array).any():
            print("*** NaN detected ***")
            print(node)
            print("Inputs :", [storage[0] for storage in fn.inputs])
            print("Outputs:", [storage[0] for storage in fn.outputs])
            break


#: What DebugMode raises where native code and the interpreter differ.
DebugModeError = InvalidValueError = InternalError
predefined_modes: dict[str, Mode] = {
    "FAST_RUN": FAST_RUN, "FAST_COMPILE": FAST_COMPILE, "DebugMode": DebugMode(),
    "DEBUG_MODE": DebugMode(), "NanGuardMode": NanGuardMode(), "Mode": FAST_RUN,
    "ProfileMode": FAST_RUN, "PROFILE_MODE": FAST_RUN, "STABILIZE": FAST_RUN,
}  # fmt: skip
predefined_default = "FAST_RUN"


def register_mode(name: str, mode: Mode) -> None:
    """A mode by a name."""
    if name in predefined_modes:
        raise ValueError(f"there is a mode {name!r} already")
    predefined_modes[name] = mode


def get_mode(mode: Any) -> Mode:
    """A mode by its name, or that of the settings."""
    if mode is None:
        mode = config.mode
    if isinstance(mode, Mode):
        return mode
    if mode not in predefined_modes:
        listed = ", ".join(map(repr, predefined_modes))
        raise OptionError(f"mode cannot be {mode!r}", hint=f"one of: {listed}")
    return predefined_modes[mode]


def get_default_mode() -> Mode:
    """The mode of the settings."""
    return get_mode(None)


def ignored(*args: Any, **options: Any) -> Any:
    """A decorator or declaration without effect."""
    return args[0] if len(args) == 1 and callable(args[0]) and not options else ignored
