"""Arrays on devices, as users hold them: what functions on a device return, and what they take.

A `DeviceArray` stays on its device; whatever needs its numbers on the host (`np.asarray`, `float`,
printing) waits for them and copies. Arrays of other libraries come in without a copy, by DLPack or
`__cuda_array_interface__`, and go out the same way.
"""

from __future__ import annotations

import contextlib
import html
import math
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any, NoReturn

import numpy as np

from jitgraph.errors import DeviceError, DTypeError, InputError
from jitgraph.ir.types import DTYPES, Type, is_bfloat16, is_supported
from jitgraph.location import caller_location

if TYPE_CHECKING:
    from jitgraph.runtime.device import Device, Header
    from jitgraph.runtime.dlpack import Imported

#: Larger arrays are not fetched for being printed.
_PRINTED_BYTES = 1 << 20
#: Kernels read so many bytes at once, from where an array starts.
_ALIGNMENT = 16
_HINT = (
    "compile what you compute with it: jitgraph.jit(device=...) or jitgraph.function(device=...);"
    " np.asarray(x) copies it to the host"
)


class DeviceArray:
    """An array in the memory of a device; it never changes.

    It has `shape`, `dtype` and so on, goes into compiled functions, and turns into a NumPy array by
    `np.asarray(x)` or `x.get()`. It may still be in the making: `block_until_ready` waits for it.
    """

    __slots__ = ("__weakref__", "_header", "device")
    __hash__ = None  # type: ignore[assignment]

    #: The device it is on.
    device: Device
    #: NumPy's object for it, whose data the host cannot read.
    _header: Header

    def __init__(self, header: Header, device: Device) -> None:
        self._header = header
        self.device = device

    # --- what it is ----------------------------------------------------------------------------
    @property
    def shape(self) -> tuple[int, ...]:
        """The extents."""
        shape: tuple[int, ...] = self._header.shape
        return shape

    @property
    def dtype(self) -> np.dtype[Any]:
        """The dtype of the elements."""
        dtype: np.dtype[Any] = self._header.dtype
        return dtype

    @property
    def ndim(self) -> int:
        """How many axes there are."""
        return self._header.ndim

    @property
    def size(self) -> int:
        """How many elements there are."""
        return self._header.size

    @property
    def itemsize(self) -> int:
        """The bytes of an element."""
        return self._header.itemsize

    @property
    def nbytes(self) -> int:
        """The bytes of all elements."""
        return self._header.nbytes

    @property
    def strides(self) -> tuple[int, ...]:
        """The bytes from one element to the next along each axis: always those of C order."""
        return self._header.strides

    # --- to the host ---------------------------------------------------------------------------
    def get(self) -> np.ndarray[Any, Any]:
        """A copy on the host."""
        return self.device.download(self._header)

    to_host = get

    def block_until_ready(self) -> DeviceArray:
        """Wait until it is computed; itself. Raises what went wrong on the device."""
        self.device.wait()
        return self

    def copy(self) -> DeviceArray:
        """A copy on the same device."""
        return DeviceArray(self.device.duplicate(self._header), self.device)

    __copy__ = copy

    def __deepcopy__(self, memo: dict[int, Any]) -> DeviceArray:
        return self.copy()

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray[Any, Any]:
        if copy is False:
            raise ValueError("an array on a device cannot be read on the host without a copy")
        array = self.get()
        return array if dtype is None else array.astype(dtype, copy=False)

    def item(self, *args: Any) -> Any:
        """The element as a Python number."""
        return self.get().item(*args)

    def tolist(self) -> Any:
        """The elements as nested lists of Python numbers."""
        return self.get().tolist()

    def __float__(self) -> float:
        return float(self.get())

    def __int__(self) -> int:
        return int(self.get())

    def __complex__(self) -> complex:
        return complex(self.get())

    def __index__(self) -> int:
        return self.get().__index__()

    def __bool__(self) -> bool:
        return bool(self.get())

    def __len__(self) -> int:
        return len(self._header)

    def __iter__(self) -> Iterator[Any]:
        return iter(self.get())

    def __repr__(self) -> str:
        where = f"dtype={self.dtype}, device={self.device.name!r}"
        if self.nbytes > _PRINTED_BYTES:
            return f"DeviceArray(shape={self.shape}, {where})"
        prefix = "DeviceArray("
        text = np.array2string(self.get(), separator=", ", prefix=prefix)
        shape = "" if self.size else f"shape={self.shape}, "
        return f"{prefix}{text}, {shape}{where})"

    def __str__(self) -> str:
        return repr(self) if self.nbytes > _PRINTED_BYTES else str(self.get())

    def __format__(self, form: str) -> str:
        return format(self.get(), form) if form else str(self)

    def _repr_html_(self) -> str:
        return f"<pre>{html.escape(repr(self))}</pre>"

    def __reduce__(self) -> tuple[Any, ...]:
        return device_put, (self.get(), self.device.name)

    # --- to other libraries --------------------------------------------------------------------
    @property
    def __cuda_array_interface__(self) -> dict[str, Any]:
        if not self.device.name.startswith("cuda") or is_bfloat16(self.dtype):
            raise AttributeError("__cuda_array_interface__")
        return {
            "version": 3,
            "shape": self.shape,
            "typestr": self.dtype.str,
            "data": (_address(self._header) if self.size else 0, False),
            "strides": None,
            "stream": self.device.stream,
        }

    def __dlpack_device__(self) -> tuple[int, int]:
        from jitgraph.runtime import dlpack

        kind, _, number = self.device.name.partition(":")
        return (dlpack.CUDA, int(number)) if kind == "cuda" else (dlpack.CPU, 0)

    def __dlpack__(
        self,
        *,
        stream: int | None = None,
        max_version: tuple[int, int] | None = None,
        dl_device: tuple[int, int] | None = None,
        copy: bool | None = None,
    ) -> object:
        """The simulated device's memory is nobody else's: a copy on the host goes out."""
        from jitgraph.runtime import dlpack

        there = self.__dlpack_device__()
        wanted = there if dl_device is None else tuple(dl_device)
        if wanted == (dlpack.CPU, 0):
            if copy is False:
                raise BufferError("an array on a device cannot be on the host without a copy")
            array, owner = self.get(), None
            return dlpack.exported(
                _address(array), self.shape, self.dtype, wanted, (array, owner), max_version
            )
        if wanted != there:
            raise BufferError(f"the array is on {self.device.name}")
        if stream != -1:
            from jitgraph.runtime.device import LEGACY_STREAM

            self.device.precede(LEGACY_STREAM if stream is None else stream)
        given = self.copy() if copy else self
        lent = _Lent(given)
        return dlpack.exported(
            _address(given._header), self.shape, self.dtype, wanted, lent, max_version
        )

    # --- what it does not do -------------------------------------------------------------------
    def __array_ufunc__(self, ufunc: Any, method: str, *inputs: Any, **kwargs: Any) -> Any:
        """One without axes, such as a loss, is the number it holds. With others only compiled
        functions compute."""
        out = kwargs.get("out", ())
        if not all(isinstance(x, _COMPUTED_WITH) for x in (*inputs, *out)):
            return NotImplemented
        arrays = [x for x in inputs if isinstance(x, DeviceArray) and x.ndim]
        for x in (*arrays, *(x for x in out if isinstance(x, DeviceArray))):
            x._refuse(f"np.{ufunc.__name__}" + (f".{method}" if method != "__call__" else ""))
        return getattr(ufunc, method)(*map(_as_number, inputs), **kwargs)

    def __getitem__(self, key: Any) -> NoReturn:
        self._refuse("indexing")

    def __setitem__(self, key: Any, value: Any) -> NoReturn:
        raise InputError(f"{self._described()} never changes", hint=_HINT,
                         location=caller_location())  # fmt: skip

    def __getattr__(self, name: str) -> NoReturn:
        message = f"{type(self).__name__!r} object has no attribute {name!r}"
        if not name.startswith("_") and hasattr(np.ndarray, name):
            message += f"\n  {_HINT}"
        raise AttributeError(message, name=name, obj=self)

    def _refuse(self, what: str) -> NoReturn:
        raise InputError(f"{what} does not work on {self._described()}", hint=_HINT,
                         location=caller_location())  # fmt: skip

    def _described(self) -> str:
        return f"an array of a device ({Type(self.dtype, self.shape)} on {self.device.name})"

    @classmethod
    def of(cls, value: Any) -> DeviceArray:
        """An array of another library on a device, without a copy; it keeps that alive. Raises
        DeviceError or DTypeError where that cannot be."""
        if type(value) is cls:
            return value
        if not hasattr(value, "__dlpack_device__"):
            return _by_interface(value)
        from jitgraph.runtime import devices, dlpack

        kind, number = value.__dlpack_device__()
        if kind not in (dlpack.CUDA, dlpack.CUDA_MANAGED):
            raise DeviceError(f"the {_described(value)} is on no device that jitgraph knows")
        device = devices.device(f"cuda:{number}")
        assert device is not None
        return _adopted(device, dlpack.imported(_asked(value, stream=device.stream)), value)


_COMPUTED_WITH = (DeviceArray, np.ndarray, np.generic, int, float, complex, list, tuple)


def _as_number(x: Any) -> Any:
    return x.get()[()] if isinstance(x, DeviceArray) else x


def _operator(ufunc: np.ufunc, reflected: bool) -> Any:
    def method(self: DeviceArray, *others: Any) -> Any:
        if not all(isinstance(x, _COMPUTED_WITH) for x in others):
            return NotImplemented
        return ufunc(*others, self) if reflected else ufunc(self, *others)

    return method


_BINARY = {
    "add": np.add, "sub": np.subtract, "mul": np.multiply, "truediv": np.true_divide,
    "floordiv": np.floor_divide, "mod": np.remainder, "pow": np.power, "matmul": np.matmul,
    "and": np.bitwise_and, "or": np.bitwise_or, "xor": np.bitwise_xor, "lshift": np.left_shift,
    "rshift": np.right_shift, "divmod": np.divmod,
}  # fmt: skip
_OTHERS = {
    "eq": np.equal, "ne": np.not_equal, "lt": np.less, "le": np.less_equal, "gt": np.greater,
    "ge": np.greater_equal, "neg": np.negative, "pos": np.positive, "abs": np.absolute,
    "invert": np.invert,
}  # fmt: skip
for _name, _ufunc in (_BINARY | _OTHERS).items():
    setattr(DeviceArray, f"__{_name}__", _operator(_ufunc, False))
    if _name in _BINARY:
        setattr(DeviceArray, f"__r{_name}__", _operator(_ufunc, True))


class _Lent:
    """A device array that another library has. It goes back to the pool only after what that has
    asked for on the default stream."""

    __slots__ = ("array",)

    def __init__(self, array: DeviceArray) -> None:
        self.array = array

    def __del__(self) -> None:
        from jitgraph.runtime.device import LEGACY_STREAM

        with contextlib.suppress(DeviceError):
            self.array.device.follow(LEGACY_STREAM)


def device_put(x: Any, device: str | Device | None = None) -> Any:
    """An array on a device (by default `jitgraph.config.device`): a DeviceArray, or a NumPy array
    where that is "cpu". What is there already is not copied."""
    from jitgraph.runtime import devices

    target = devices.device(device)
    if is_foreign(x):
        x = DeviceArray.of(x)
    if isinstance(x, DeviceArray):
        if x.device is target:
            return x
        x = x.get()
    array = np.asarray(x)
    if target is None:
        return array
    native = array.dtype.newbyteorder("=")
    if not is_supported(native):
        raise DTypeError(
            f"a device has no arrays of dtype {array.dtype}", hint="one of: " + ", ".join(DTYPES)
        )
    return DeviceArray(target.upload(array.astype(native, copy=False)), target)


def from_dlpack(x: Any, device: str | Device | None = None) -> Any:
    """The array of another library (torch, JAX, CuPy, ...): on a GPU without a copy, as a
    DeviceArray; one on the host as by `device_put`."""
    from jitgraph.runtime import dlpack

    if isinstance(x, DeviceArray) or is_foreign(x):
        found = DeviceArray.of(x)
        return found if device is None else device_put(found, device)
    if not hasattr(x, "__dlpack_device__"):
        raise InputError(
            f"a {type(x).__name__} is no array that libraries pass to each other",
            hint="it has neither __dlpack__ nor __cuda_array_interface__",
        )
    kind, _ = x.__dlpack_device__()
    if kind not in (dlpack.CPU, dlpack.CUDA_HOST):
        raise DeviceError(
            f"the {_described(x)} is on a device that jitgraph does not know (DLPack's type {kind})"
        )
    return device_put(_on_host(dlpack.imported(_asked(x))), device)


def devices() -> list[str]:
    """The names of the devices there are: "cpu", GPUs as "cuda:0" and so on, and "simulated"."""
    from jitgraph.runtime.devices import names

    return names()


def is_foreign(value: Any) -> bool:
    """Whether it is another library's array on a GPU."""
    if isinstance(value, np.ndarray | np.generic | DeviceArray | int | float | complex):
        return False
    if not hasattr(value, "__dlpack_device__"):
        try:
            return hasattr(value, "__cuda_array_interface__")
        except RuntimeError:  # it has, but will not say
            return True
    from jitgraph.runtime import dlpack

    return value.__dlpack_device__()[0] in (dlpack.CUDA, dlpack.CUDA_MANAGED)


def _asked(value: Any, **options: Any) -> object:
    """The capsule of another library's array."""
    try:
        try:
            return value.__dlpack__(max_version=(1, 0), **options)
        except TypeError:  # from before there were versions
            return value.__dlpack__(**options)
    except (BufferError, RuntimeError) as error:
        raise DeviceError(
            f"the {_described(value)} cannot be used as it is: {error}",
            hint="an array that takes part in torch's gradients is given as x.detach()",
        ) from error


def _adopted(device: Device, found: Imported, value: Any) -> DeviceArray:
    _check_contiguous(value, found.shape, found.strides, 1)
    return _at(device, found.address, found.shape, found.dtype, found.owner)


def _by_interface(value: Any) -> DeviceArray:
    from jitgraph.runtime import devices
    from jitgraph.runtime.device import LEGACY_STREAM

    try:
        said = value.__cuda_array_interface__
    except RuntimeError as error:  # torch's, where gradients are asked for
        raise DeviceError(
            f"the {_described(value)} cannot be used as it is: {error}", hint="give x.detach()"
        ) from error
    address, shape = said["data"][0] or 0, tuple(said["shape"])
    dtype = np.dtype(said["typestr"])
    if not dtype.isnative or not is_supported(dtype) or said.get("mask") is not None:
        raise DTypeError(
            f"the {_described(value)} has elements that jitgraph does not compute with: "
            f"{'masked ' if said.get('mask') is not None else ''}{said['typestr']}",
            hint="convert it before, to one of: " + ", ".join(DTYPES),
        )
    _check_contiguous(value, shape, said.get("strides"), dtype.itemsize)
    first = devices.device("cuda:0")
    assert first is not None
    place = first.whereabouts(address) if math.prod(shape) else first.name
    device = devices.device(place)
    if device is None:
        raise DeviceError(
            f"the {_described(value)} names memory of the host, not of a GPU, in its "
            "__cuda_array_interface__",
            hint="give it as a NumPy array: np.asarray(x)",
        )
    stream = said.get("stream", LEGACY_STREAM)
    if stream is not None:
        device.follow(stream)
    return _at(device, address, shape, dtype, value)


def _at(
    device: Device, address: int, shape: tuple[int, ...], dtype: np.dtype[Any], owner: object
) -> DeviceArray:
    header = device.adopt(address, shape, dtype, owner)
    if address % _ALIGNMENT:
        header = device.duplicate(header)
    return DeviceArray(header, device)


def _check_contiguous(
    value: Any, shape: Sequence[int], strides: Sequence[int] | None, step: int
) -> None:
    """Raise DeviceError unless the array lies in C order, where neighbours are `step` apart."""
    if strides is None or not math.prod(shape):
        return
    for extent, stride in zip(reversed(shape), reversed(strides), strict=True):
        if extent != 1 and stride != step:
            raise DeviceError(
                f"the {_described(value)} does not lie in C order, as arrays on a device must",
                hint="make it contiguous: x.contiguous() (torch), cupy.ascontiguousarray(x)",
            )
        step *= extent


def _on_host(found: Imported) -> np.ndarray[Any, Any]:
    """Another library's array on the host, as it lies there."""
    from jitgraph.runtime.device import Memory

    strides = found.strides and tuple(s * found.dtype.itemsize for s in found.strides)
    return Memory(found.address, found.shape, found.dtype, found.owner, strides).array()


def _described(value: Any) -> str:
    kind = type(value)
    return f"{kind.__module__.partition('.')[0]}.{kind.__qualname__}"


def _address(array: np.ndarray[Any, Any]) -> int:
    from jitgraph.runtime.device import address_of

    return address_of(array)
