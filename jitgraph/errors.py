"""Every error a user of jitgraph can meet.

Each is also the built-in exception a NumPy user would expect (`ShapeError` is a `ValueError`), and
renders as: what is wrong, the user's own line, the operands with their types and origins, the mend.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from jitgraph.location import Location


@dataclass(frozen=True, slots=True)
class Operand:
    """One operand of the expression an error is about."""

    name: str
    type: str
    location: Location | None = None

    def __str__(self) -> str:
        origin = f"  from {self.location.short}" if self.location is not None else ""
        return f"{self.name}: {self.type}{origin}"


class JitgraphError(Exception):
    """Base of all jitgraph errors.

    `message` says what is wrong, `hint` what to do; `locate` adds the user's line and operands.
    """

    def __init__(self, message: str, *, hint: str = "", location: Location | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint
        self.location = location
        self.operands: tuple[Operand, ...] = ()
        self.steps: tuple[str, ...] = ()

    def locate(self, location: Location | None, operands: Iterable[Operand] = ()) -> JitgraphError:
        """Say where it happened, unless something closer to the cause has said so already."""
        if self.location is None:
            self.location = location
        if not self.operands:
            self.operands = tuple(operands)
        return self

    def within(self, steps: tuple[str, ...]) -> JitgraphError:
        """Say in which steps of which loops it happened, unless that has been said already."""
        if not self.steps:
            self.steps = steps
        return self

    def __str__(self) -> str:
        lines = [self.message]
        if self.location is not None:
            lines += ["  " + line for line in self.location.excerpt()]
        if self.operands:
            lines.append("  " + "      ".join(map(str, self.operands)))
        lines += ["  " + step for step in self.steps]
        if self.hint:
            lines.append(f"  {self.hint}")
        return "\n".join(lines)


class ShapeError(JitgraphError, ValueError):
    """Ranks or dimensions that do not fit."""


class DTypeError(JitgraphError, TypeError):
    """A dtype that an operation does not take, or a conversion that would lose information."""


class RangeError(DTypeError, OverflowError):
    """A Python integer that the dtype beside it does not hold. jitgraph never wraps one."""


class OutOfBoundsError(JitgraphError, IndexError):
    """An index outside its axis. jitgraph never clamps."""


class DomainError(JitgraphError, ValueError):
    """A value for which the operation has no meaning, such as an integer to a negative power."""


class LinAlgError(JitgraphError, np.linalg.LinAlgError):
    """A matrix without what is asked of it: singular, not positive definite, no convergence."""


class GradientError(JitgraphError, ValueError):
    """A gradient that does not exist: of a non-scalar, an integer, an unconnected variable."""


class DisconnectedError(GradientError):
    """The cost does not depend on the variable it is differentiated by."""


class BatchingError(JitgraphError, ValueError):
    """Something that cannot be computed for all elements of a `vmap` at once."""


class InputError(JitgraphError, TypeError):
    """Inputs of `function` or of a call: missing, extra, unused, given twice, not symbolic."""


class UpdateError(JitgraphError, TypeError):
    """An update of something that is no shared variable, or with another type."""


class TruthValueError(JitgraphError, TypeError):
    """A symbolic value used where Python needs True or False."""


class OptionError(JitgraphError, ValueError):
    """A setting or argument with an unknown value."""


class MissingPackageError(JitgraphError, ImportError):
    """Something that needs a package which is not installed."""


class DeviceError(JitgraphError, RuntimeError):
    """Something about a device other than the CPU: there is none, it failed, or an array lies on
    another one."""


class NoDeviceError(DeviceError):
    """A device that is not to be had: no driver, a driver too old, no package, no such device."""


class DriverError(DeviceError):
    """The driver of a device refused something, with its number and name for that. After one that
    is `sticky` the device does nothing more for this process."""

    def __init__(
        self, message: str, *, code: int, name: str = "", sticky: bool = False, hint: str = ""
    ) -> None:
        super().__init__(message, hint=hint)
        self.code, self.name, self.sticky = code, name, sticky


class DeviceMemoryError(DeviceError, MemoryError):
    """A device that has not so much memory left."""


class ParseError(JitgraphError, SyntaxError):
    """Text that is not a jitgraph function; the location points at the offending token."""

    def __init__(self, message: str, source: str, line: int, column: int) -> None:
        super().__init__(message)
        text = source.splitlines()[line - 1] if source else ""
        self.lineno, self.offset, self.text = line, column, text
        self.rendered = f"{message}\n  line {line}: {text}\n" + " " * (
            len(f"  line {line}: ") + column - 1
        ) + "^"

    def __str__(self) -> str:
        return self.rendered


class VerifyError(JitgraphError):
    """An IR function that breaks the rules of the IR: a defect of the pass that made it."""


class InternalError(JitgraphError, RuntimeError):
    """A defect of jitgraph itself. Please report it with the dump of the function."""
