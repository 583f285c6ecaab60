"""The entry wrapper: a compiled program as a function that CPython calls directly.

`emit_entry` writes `@entry`, a function with the vectorcall signature. It checks the arguments
against what the program was compiled for, by looking straight into the ndarray structs, and calls

    i64 @program(for each parameter: ptr data, i64 extents..., i64 byte strides... ; ptr outs)

where the strides are there only for a parameter that need not be contiguous, and `outs` is an
array of `PyObject *` that the program fills with new references to arrays, one per output. The
program returns 0, or `PYTHON_ERROR` with a Python exception set, or the code of an error that the
Python callable `fail(code, *args)` explains. Arguments which do not fit go to the Python callable
`slow(*args, **kwargs)`.

A shared variable is two cells [current, spare]. The entry holds a reference to the current array
while the program runs; the program writes the new value to another array (`@take_spare`), and the
entry swaps the two once everything has succeeded. So an array is only ever overwritten when the
spare cell holds the one reference to it: no thread reads it, and the user does not have it.
Between threads updates are atomic but not transactional: of two concurrent calls, the one that
commits last wins.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from jitgraph.codegen import pyobjects as py
from jitgraph.codegen.llvm import FunctionBuilder, Module

PYTHON_ERROR = -1
# The Python call convention sets this bit of the argument count when args[-1] may be scribbled on.
_OFFSET_BIT = 1 << 63
# A program with more parameters than this, or with updates, gets an entry that LLVM does not
# optimise: a call costs some 15 ns more, but 50 updates compile in 45 ms instead of 600.
_SMALL = 4

Axis = tuple[int, int]


@dataclass(frozen=True)
class ParamSpec:
    """An array the program reads.

    `dims` are the extents, None where any will do; `not_one` tells which of those unknown extents
    must not be 1 in this variant. `contiguous` demands C order. `shared_slot` is the address of a
    shared variable's cells: such a parameter is read from there and is no call argument.
    """

    dtype: np.dtype[Any]
    dims: tuple[int | None, ...]
    not_one: tuple[bool, ...]
    contiguous: bool
    shared_slot: int | None = None

    def __post_init__(self) -> None:
        _singleton(self.dtype)
        if len(self.dims) != len(self.not_one):
            raise ValueError("dims and not_one must have one entry per axis")


@dataclass(frozen=True)
class OutputSpec:
    """An array the program makes: returned to the caller, or the new value of a shared variable
    whose cells are at `slot`."""

    kind: Literal["result", "update"]
    dtype: np.dtype[Any]
    rank: int
    slot: int | None = None

    def __post_init__(self) -> None:
        if (self.kind == "update") != (self.slot is not None):
            raise ValueError("an update needs a slot, and a result has none")


def program_parameters(params: Sequence[ParamSpec]) -> list[str]:
    """The LLVM parameters of `@program`, in order: `ptr %x0`, `i64 %x0.extent0`, ..., `i64
    %x0.stride0`, ..., `ptr %outs`."""
    parameters = []
    for i, param in enumerate(params):
        rank = len(param.dims)
        parameters.append(f"ptr %x{i}")
        parameters += [f"i64 %x{i}.extent{axis}" for axis in range(rank)]
        if not param.contiguous:
            parameters += [f"i64 %x{i}.stride{axis}" for axis in range(rank)]
    return [*parameters, "ptr %outs"]


def emit_entry(
    module: Module,
    params: Sequence[ParamSpec],
    outputs: Sequence[OutputSpec],
    *,
    equal_dims: Sequence[tuple[Axis, Axis]] = (),
    single: bool,
    nothing: bool = True,
) -> None:
    """Add `@entry`, the table `@links` and the helpers (`pyobjects.helpers`) to `module`.

    `equal_dims` are pairs of (parameter, axis) whose extents must be equal. With `single` a call
    returns its one result; otherwise the list of results, or None where there are none and
    `nothing` says that none were asked for. The text
    contains no addresses: once loaded, the table must be filled with the links of
    `pyobjects.API` followed by those of `entry_links`.
    """
    results = sum(output.kind == "result" for output in outputs)
    if single and results != 1:
        raise ValueError(f"single needs exactly one result, not {results}")
    links = _Links(len(params), len(outputs))
    module.declare(py.link_table(links.count))
    module.declare("declare void @llvm.memcpy.p0.p0.i64(ptr, ptr, i64, i1)")
    small = len(params) <= _SMALL and results == len(outputs)
    module.define(py.helpers(small=small))
    entry = _Entry(module, params, outputs, links, small)
    entry.nothing = nothing and not results
    entry.emit(equal_dims, single)


def entry_links(
    params: Sequence[ParamSpec], outputs: Sequence[OutputSpec], slow: int, fail: int
) -> list[int]:
    """What belongs in `@links` after the API, given the addresses of `slow` and `fail`."""
    values = [slow, fail]
    for param in params:
        values += [id(_singleton(param.dtype)), id(param.dtype.type), param.shared_slot or 0]
    return [*values, *(output.slot or 0 for output in outputs)]


def output_link(params: int, output: int) -> int:
    """The cell of `@links` that holds the slot of an output, in a program of so many parameters."""
    return _Links(params, output + 1).output_slot(output)


def _singleton(dtype: np.dtype[Any]) -> np.dtype[Any]:
    """NumPy's own descriptor object for a native builtin dtype (unpickled ones are copies)."""
    if not dtype.isnative or dtype.kind not in "biufc" or dtype.char in "gG":
        raise ValueError(f"compiled programs cannot take arrays of {dtype!r}")
    return np.dtype(dtype.char)


def _alias(dtype: np.dtype[Any]) -> int:
    """The number of the other C type with the same representation (long and long long), or the
    dtype's own."""
    twins = (np.dtype(char) for char in "ilqILQ")
    same = [d.num for d in twins if d == dtype and d.num != dtype.num]
    return same[0] if same else dtype.num


class _Links:
    """Where each link of a program lies; the order is that of `entry_links`."""

    def __init__(self, params: int, outputs: int) -> None:
        self.slow = len(py.API)
        self.fail = self.slow + 1
        self._params = self.fail + 1
        self._outputs = self._params + 3 * params
        self.count = self._outputs + outputs

    def descr(self, param: int) -> int:
        return self._params + 3 * param

    def scalar(self, param: int) -> int:
        return self._params + 3 * param + 1

    def param_slot(self, param: int) -> int:
        return self._params + 3 * param + 2

    def output_slot(self, output: int) -> int:
        return self._outputs + output


@dataclass
class _Array:
    """The values that the program gets for one parameter, and the array to keep alive."""

    object: str
    data: str
    extents: list[str]
    strides: list[str]


class _Entry:
    """Writes the body of `@entry`, top to bottom."""

    def __init__(
        self,
        module: Module,
        params: Sequence[ParamSpec],
        outputs: Sequence[OutputSpec],
        links: _Links,
        small: bool,
    ) -> None:
        self.params = params
        self.outputs = outputs
        self.links = links
        self.arguments = [i for i, param in enumerate(params) if param.shared_slot is None]
        self.code = FunctionBuilder(
            module,
            "entry",
            ["ptr %callable", "ptr %args", "i64 %nargsf", "ptr %kwnames"],
            returns="ptr",
            attributes="" if small else "noinline optnone",
        )
        self.slow = self.code.label("slow")
        self.nothing = False
        self.shared = len(params) - len(self.arguments)
        self.held = self.code.emit(f"alloca [{self.shared} x ptr]", "held")

    def emit(self, equal_dims: Sequence[tuple[Axis, Axis]], single: bool) -> None:
        code = self.code
        outs = code.emit(f"alloca [{len(self.outputs)} x ptr]", "outs")
        report = code.emit(f"alloca [{len(self.arguments) + 1} x ptr]", "report")
        numbers = [code.emit("alloca i64", "number") for _ in self.params]
        self._check_count()
        arrays = [self._check(i, number) for i, number in enumerate(numbers)]
        self._require(
            *(
                code.emit(f"icmp eq i64 {arrays[p].extents[i]}, {arrays[q].extents[j]}")
                for (p, i), (q, j) in equal_dims
            )
        )
        self._hold([array.object for i, array in enumerate(arrays) if i not in self.arguments])
        status = self._run(arrays, outs)
        failed, done = code.label("failed"), code.label("done")
        failures = [(status, code.current)]
        code.branch_if(code.emit(f"icmp eq i64 {status}, 0"), done, failed)
        code.block(done)
        result = self._result(outs, single, failed, failures)
        if any(output.kind == "update" for output in self.outputs):
            slots, count = py.link(self.links.output_slot(0)), len(self.outputs)
            code.do(f"call void @commit(ptr {outs}, {slots}, i64 {count})")
        self._drop_all(self.held, self.shared)
        code.do(f"ret ptr {result}")
        code.block(failed)
        self._fail(code.phi("i64", failures, "status"), outs, report)
        self._go_slow()

    def _link(self, where: int | str) -> str:
        """Read a cell of the table, whose contents never change while the code runs."""
        constant = self.code.module.metadata("")
        return self.code.emit(f"load ptr, {py.link(where)}, !invariant.load {constant}", "link")

    def _load(self, type_: str, pointer: str, offset: int) -> str:
        return self.code.emit(f"load {type_}, ptr {self.code.offset(pointer, offset)}")

    def _require(self, *conditions: str) -> None:
        """Go on if all the conditions hold, else take the slow path."""
        if conditions:
            everything = conditions[0]
            for condition in conditions[1:]:
                everything = self.code.emit(f"and i1 {everything}, {condition}")
            going_on = self.code.label("ok")
            self.code.branch_if(everything, going_on, self.slow)
            self.code.block(going_on)

    def _check_count(self) -> None:
        code = self.code
        count = code.emit(f"and i64 %nargsf, {~_OFFSET_BIT & (2**64 - 1)}", "count")
        self._require(
            code.emit(f"icmp eq i64 {count}, {len(self.arguments)}"),
            code.emit("icmp eq ptr %kwnames, null"),
        )

    def _check(self, i: int, number: str) -> _Array:
        """Check parameter `i`; `number` is a cell for the value of a Python int."""
        code, param = self.code, self.params[i]
        if param.shared_slot is None:
            object_ = self._load("ptr", "%args", 8 * self.arguments.index(i))
        else:
            object_ = self._load("ptr", self._link(self.links.param_slot(i)), 0)
        wanted = py.ALIGNED | (py.C_CONTIGUOUS if param.contiguous else 0)
        fits = code.emit(
            f"call i1 @array_fits(ptr {object_}, ptr {self._link(self.links.descr(i))}, "
            f"i32 {param.dtype.num}, i32 {_alias(param.dtype)}, i32 {len(param.dims)}, "
            f"i32 {wanted})",
            "fits",
        )
        if param.dims or param.shared_slot is not None:
            self._require(fits)
            return self._read(param, object_)
        array, scalar = code.label("array"), code.label("scalar")
        code.branch_if(fits, array, scalar)
        code.block(array)
        data = [(self._load("ptr", object_, py.ARRAY_DATA), code.current)]
        merged = code.label("value")
        code.branch(merged)
        code.block(scalar)
        data += self._check_scalar(i, object_, number, merged)
        code.block(merged)
        return _Array(object_, code.phi("ptr", data, "data"), [], [])

    def _read(self, param: ParamSpec, object_: str) -> _Array:
        """Read data, extents and strides of an array of the right rank, and check the extents."""
        code, axes = self.code, range(len(param.dims))
        dims = self._load("ptr", object_, py.ARRAY_DIMS) if axes else ""
        extents = [self._load("i64", dims, 8 * axis) for axis in axes]
        conditions = []
        for extent, wanted, not_one in zip(extents, param.dims, param.not_one, strict=True):
            if wanted is not None:
                conditions.append(code.emit(f"icmp eq i64 {extent}, {wanted}"))
            elif not_one:
                conditions.append(code.emit(f"icmp ne i64 {extent}, 1"))
        self._require(*conditions)
        strides = []
        if axes and not param.contiguous:
            steps = self._load("ptr", object_, py.ARRAY_STRIDES)
            strides = [self._load("i64", steps, 8 * axis) for axis in axes]
        return _Array(object_, self._load("ptr", object_, py.ARRAY_DATA), extents, strides)

    def _check_scalar(
        self, i: int, object_: str, number: str, merged: str
    ) -> list[tuple[str, str]]:
        """Accept a NumPy scalar of the parameter's dtype, a float or an int; each way ends with a
        jump to `merged`. Returns their (data pointer, block)."""
        code, kind = self.code, self.params[i].dtype.str[1:]
        type_ = self._load("ptr", object_, py.TYPE)
        boxed = code.emit(f"icmp eq ptr {type_}, {self._link(self.links.scalar(i))}")
        if kind == "f8":
            is_float = code.emit(f"icmp eq ptr {type_}, {self._link('PyFloat_Type')}")
            boxed = code.emit(f"or i1 {boxed}, {is_float}")
        data, origin = code.offset(object_, py.SCALAR_VALUE), code.current
        if kind not in ("f8", "i8"):
            code.branch_if(boxed, merged, self.slow)
            return [(data, origin)]
        integer = code.label("int")
        code.branch_if(boxed, merged, integer)
        code.block(integer)
        self._require(code.emit(f"icmp eq ptr {type_}, {self._link('PyLong_Type')}"))
        convert = "int_to_f64" if kind == "f8" else "int_to_i64"
        self._require(code.emit(f"call i1 @{convert}(ptr {object_}, ptr {number})"))
        converted = code.current
        code.branch(merged)
        return [(data, origin), (number, converted)]

    def _hold(self, objects: Sequence[str]) -> None:
        """Take a reference to each shared array, for as long as the program reads it."""
        for position, object_ in enumerate(objects):
            self.code.do(f"store ptr {object_}, ptr {self.code.offset(self.held, 8 * position)}")
        if objects:
            self.code.do(f"call void @hold_all(ptr {self.held}, i64 {len(objects)})")

    def _drop_all(self, objects: str, count: int) -> None:
        if count:
            self.code.do(f"call void @drop_all(ptr {objects}, i64 {count})")

    def _run(self, arrays: Sequence[_Array], outs: str) -> str:
        """Call the program; returns its status."""
        code = self.code
        for k in range(len(self.outputs)):
            code.do(f"store ptr null, ptr {code.offset(outs, 8 * k)}")
        values = [
            operand
            for array in arrays
            for operand in (
                f"ptr {array.data}",
                *(f"i64 {value}" for value in (*array.extents, *array.strides)),
            )
        ]
        return code.emit(f"call i64 @program({', '.join([*values, f'ptr {outs}'])})", "status")

    def _result(self, outs: str, single: bool, failed: str, failures: list[tuple[str, str]]) -> str:
        """What the call returns; making a list of results may still fail."""
        code = self.code
        indices = [k for k, output in enumerate(self.outputs) if output.kind == "result"]
        results = [self._load("ptr", outs, 8 * k) for k in indices]
        if single:
            return results[0]
        if self.nothing:
            none = self._link("Py_None")
            code.do(f"call void @incref(ptr {none})")
            return none
        list_ = code.emit(f"call ptr {self._link('PyList_New')}(i64 {len(results)})", "list")
        failures.append((str(PYTHON_ERROR), code.current))
        filled = code.label("list")
        code.branch_if(code.emit(f"icmp ne ptr {list_}, null"), filled, failed)
        code.block(filled)
        set_item = self._link("PyList_SetItem")
        for position, result in enumerate(results):
            code.emit(f"call i32 {set_item}(ptr {list_}, i64 {position}, ptr {result})")
        return list_

    def _fail(self, status: str, outs: str, report: str) -> None:
        """Drop what the program made, and propagate its exception or have `fail` raise one."""
        code, count = self.code, len(self.arguments)
        self._drop_all(outs, len(self.outputs))
        self._drop_all(self.held, self.shared)
        explain, number_made, leave = code.label("explain"), code.label("made"), code.label("leave")
        code.branch_if(code.emit(f"icmp eq i64 {status}, {PYTHON_ERROR}"), leave, explain)
        code.block(explain)
        number = code.emit(f"call ptr {self._link('PyLong_FromLongLong')}(i64 {status})", "code")
        code.branch_if(code.emit(f"icmp eq ptr {number}, null"), leave, number_made)
        code.block(number_made)
        code.do(f"store ptr {number}, ptr {report}")
        copy = f"ptr {code.offset(report, 8)}, ptr %args, i64 {8 * count}, i1 false"
        code.do(f"call void @llvm.memcpy.p0.p0.i64({copy})")
        call, fail = self._link("PyObject_Vectorcall"), self._link(self.links.fail)
        answer = code.emit(f"call ptr {call}(ptr {fail}, ptr {report}, i64 {count + 1}, ptr null)")
        code.do(f"call void @decref(ptr {number})")
        code.do(f"ret ptr {answer}")
        code.block(leave)
        code.do("ret ptr null")

    def _go_slow(self) -> None:
        code = self.code
        code.block(self.slow)
        call, slow = self._link("PyObject_Vectorcall"), self._link(self.links.slow)
        operands = f"ptr {slow}, ptr %args, i64 %nargsf, ptr %kwnames"
        answer = code.emit(f"call ptr {call}({operands})")
        code.do(f"ret ptr {answer}")
