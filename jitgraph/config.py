"""Settings, as one object: `jitgraph.config.floatX = "float32"`.

Each setting is checked when it is assigned, and can be given in the environment as
`JITGRAPH_<NAME>`. `with config.override(floatX="float32"):` sets one for a while.
"""

from __future__ import annotations

import ctypes
import operator
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from jitgraph.cpus import usable_cpus
from jitgraph.errors import OptionError

#: How exact products are on a GPU.
PRECISIONS = ("exact", "tf32", "bf16", "f16")
#: Who computes matrix products there.
PRODUCTS = ("auto", "own", "cublas")
_CHOICES: dict[str, tuple[Any, ...]] = {
    "floatX": ("float64", "float32", "float16", "bfloat16"),
    "algebra": ("real", "ieee"),
    "on_unused_input": ("raise", "warn", "ignore"),
    "cache": (True, False),
    "precision": PRECISIONS,
    "products": PRODUCTS,
}
_SETTINGS = (*_CHOICES, "num_threads", "device")
_DEVICE = re.compile(r"cpu|simulated|cuda(:\d+)?")
_MOST_THREADS = 4096
#: Values as the environment gives them, where they are not the text itself.
_SPELLED = {"cache": {"1": True, "0": False}}


@dataclass(frozen=True, slots=True)
class Products:
    """How matrix products are computed on a GPU: the settings of these names."""

    precision: str = "exact"
    products: str = "own"


EXACT = Products()


class Config:
    """The settings of this process.

    floatX: dtype of `T.scalar()`, `T.vector()`, `T.matrix()` and friends.
    algebra: "real" lets rewrites treat variables as real numbers (each rewrite declares what it
        assumes); "ieee" keeps every bit, NaN and infinity.
    on_unused_input: what `function` does with an input that no output needs.
    num_threads: how many threads a call may use. OMP_NUM_THREADS, which most other numerical
        libraries obey, else the number of CPUs this process may use.
    cache: whether compiled code is kept on disk and found there (`python -m jitgraph.cache`).
    precision: of f32 products and convolutions on a GPU. "exact" has every bit of f32; otherwise
        tensor cores multiply operands rounded to 10 ("tf32", "f16") or 7 bits ("bf16"), and "f16"
        overflows from 65520 on. Sums are f32, and other devices exact, always.
    products: who computes matrix products on a GPU: "own", kernels of ours, into which what follows
        a product is fused; "cublas", cuBLASLt (`pip install nvidia-cublas`), all that it can;
        "auto", cuBLASLt if it is installed, large ones and such of unknown sizes.
    device: where functions compute that do not say it: "cpu", "cuda" (a GPU), "cuda:1" (the second
        one), or "simulated" (a GPU that the CPU pretends to be, for tests and for seeing).
    """

    floatX: str = "float64"  # noqa: N815  (Theano's spelling)
    algebra: str = "real"
    on_unused_input: str = "raise"
    cache: bool = True
    device: str = "cpu"
    precision: str = "exact"
    products: str = "auto"
    num_threads_cell: ctypes.c_int64

    def __init__(self) -> None:
        # Generated code reads the number where it is, so a change needs no announcement.
        object.__setattr__(self, "num_threads_cell", ctypes.c_int64(_default_threads()))
        for name in _SETTINGS:
            variable = f"JITGRAPH_{name.upper()}"
            if (text := os.environ.get(variable)) is not None:
                value: Any = _SPELLED.get(name, {}).get(text, text)
                if name == "num_threads" and text.strip().isdecimal():
                    value = int(text)
                try:
                    setattr(self, name, value)
                except OptionError as error:
                    raise OptionError(f"{variable}: {error.message}", hint=error.hint) from None

    def __setattr__(self, name: str, value: Any) -> None:
        if name not in _SETTINGS:
            raise OptionError(
                f"there is no setting {name!r}", hint=f"settings: {', '.join(_SETTINGS)}"
            )
        choices = _CHOICES.get(name)
        if choices is not None and value not in choices:
            raise OptionError(
                f"{name} cannot be {value!r}", hint=f"one of: {', '.join(map(repr, choices))}"
            )
        if name == "device" and not (isinstance(value, str) and _DEVICE.fullmatch(value)):
            raise OptionError(
                f"device cannot be {value!r}", hint='"cpu", "cuda", "cuda:1" and so on, "simulated"'
            )
        object.__setattr__(self, name, value)

    @property
    def num_threads(self) -> int:
        """How many threads a call may use."""
        return self.num_threads_cell.value

    @num_threads.setter
    def num_threads(self, value: int) -> None:
        try:
            number = 0 if isinstance(value, bool) else operator.index(value)
        except TypeError:
            number = 0
        if not 1 <= number <= _MOST_THREADS:
            raise OptionError(
                f"num_threads cannot be {value!r}", hint=f"an integer from 1 to {_MOST_THREADS}"
            )
        self.num_threads_cell.value = number

    @contextmanager
    def override(self, **settings: Any) -> Iterator[None]:
        """Change settings inside a `with` block."""
        before = {name: getattr(self, name, None) for name in settings}
        try:
            for name, value in settings.items():
                setattr(self, name, value)
            yield
        finally:
            for name, value in before.items():
                if value is not None:
                    object.__setattr__(self, name, value)

    def __repr__(self) -> str:
        return "\n".join(f"{name} = {getattr(self, name)!r}" for name in _SETTINGS)


def _default_threads() -> int:
    """OMP_NUM_THREADS (the first number, if it is a list for nested loops), else all CPUs."""
    asked = os.environ.get("OMP_NUM_THREADS", "").split(",")[0].strip()
    threads = int(asked) if asked.isdecimal() else 0
    return min(threads or usable_cpus(), _MOST_THREADS)


config = Config()
