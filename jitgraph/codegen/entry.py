"""What a call of a compiled function does, from CPython's vectorcall to the program and back.

`@entry` is one function for all programs: it lies in the runtime library, and reads from a table
what a variant of a compiled function takes, and where its program is. The program is

    i64 @run(ptr values, ptr outs)

`values` holds for each parameter its data pointer and, by axis, extent and byte stride; `outs` is
an array of `PyObject *` that the program fills with new references to arrays, one per output. It
returns 0, or `PYTHON_ERROR` with a Python exception set, or the code of an error that the Python
callable `fail(code, *args)` explains.

Arguments are checked by looking straight into the ndarray structs. Where they do not fit, the next
variant of the function is tried; when there is none left, they go to the Python callable
`slow(*args, **kwargs)`. What a table holds, and the words of a callable after its head:

    table    `TABLE` words, then the records of the parameters, then pairs of offsets into `values`
             whose extents must be equal
    record   `RECORD` words, then for each axis `low` and `span`: extent - low <= span, unsigned
    callable the address of `@entry`, then table, slow, fail

A shared variable is two cells [current, spare]. The entry holds a reference to the current array
while the program runs; the program writes the new value to another array (`@take_spare`), and the
entry swaps the two once everything has succeeded. So an array is only ever overwritten when the
spare cell holds the one reference to it: no thread reads it, and the user does not have it.
Between threads updates are atomic but not transactional: of two concurrent calls, the one that
commits last wins.
"""

from collections.abc import Sequence

from jitgraph.codegen import pyobjects as py
from jitgraph.codegen.llvm import FunctionBuilder, Module
from jitgraph.codegen.numbers import emit_number
from jitgraph.codegen.signature import ParamSpec
from jitgraph.ir.order import C_CODE, CODED_AXES, FORTRAN_CODE, KINDS, ZERO, open_axes

PYTHON_ERROR = -1
# The Python call convention sets this bit of the argument count when args[-1] may be scribbled on.
_OFFSET_BIT = 1 << 63
#: The numbers of arguments, parameters, pairs, outputs and so on; `room` is the size of the frame
#: that the entry needs for this variant and all after it. `slots` has, by output, the cells of the
#: shared variable it belongs to. `result` tells what a call returns: the output of that index, a
#: list of all that have no slot, or None; `plain` says that it is the only output, and that there
#: are no shared variables.
TABLE = (
    "next",
    "arguments",
    "room",
    "parameters",
    "pairs",
    "run",
    "outputs",
    "shared",
    "updates",
    "slots",
    "result",
    "plain",
)
LIST, NOTHING = -1, -2
#: `slot` is where a shared variable's cells are, 0 for an argument. `types` are two type numbers,
#: `layout` the rank and the flags that an array must have, `order` how it lies in memory
#: (`ir.order`). The others are for numbers given for an array of rank 0: the NumPy scalar's type,
#: what else is taken (`numbers.KINDS`), and the range of integers.
RECORD = (
    "slot",
    "descr",
    "types",
    "layout",
    "order",
    "itemsize",
    "scalar",
    "kind",
    "low",
    "span",
)
#: The bytes for the value of a number, behind the data pointer of a parameter of rank 0.
NUMBER = 16
#: The flags of an array that decide whether it fits.
LAYOUT_FLAGS = py.ALIGNED | py.C_CONTIGUOUS


def value_offsets(params: Sequence[ParamSpec]) -> list[int]:
    """Where the data pointer of each parameter lies in `values`, and where `values` ends."""
    offsets = [0]
    for param in params:
        rank = len(param.dims)
        offsets.append(offsets[-1] + 8 + (16 * rank if rank else NUMBER))
    return offsets


def extent_offset(params: Sequence[ParamSpec], param: int, axis: int) -> int:
    """Where an extent lies in `values`; its stride follows."""
    return value_offsets(params)[param] + 8 + 16 * axis


def emit_run(module: Module, params: Sequence[ParamSpec]) -> None:
    """Add `@run`, which calls `@program` with what it wants of `values`."""
    f = FunctionBuilder(
        module, "run", ["ptr %values", "ptr %outs"], returns="i64", passes="quick"
    )
    arguments = []
    for param, start in zip(params, value_offsets(params), strict=False):
        axes = range(len(param.dims))
        fields = [("ptr", start), *(("i64", start + 8 + 16 * axis) for axis in axes)]
        fields += [("i64", start + 16 + 16 * axis) for axis in open_axes(param.order)]
        for type_, offset in fields:
            value = f.emit(f"load {type_}, ptr {f.offset('%values', offset)}")
            arguments.append(f"{type_} {value}")
    f.do(f"ret i64 {f.emit('call i64 @program(' + ', '.join([*arguments, 'ptr %outs']) + ')')}")


def emit_entry(module: Module) -> None:
    """Add `@entry`; the module has `pyobjects.helpers`."""
    module.declare("declare void @llvm.memcpy.p0.p0.i64(ptr, ptr, i64, i1)")
    emit_number(module, RECORD)
    module.define(_MEMORY_ORDER)
    module.define(_PARAMETER)
    _emit_explain(module)
    _emit_finish(module)
    _Entry(module).emit()


def _field(f: FunctionBuilder, fields: Sequence[str], pointer: str, name: str, type_: str) -> str:
    at = f.offset(pointer, 8 * fields.index(name))
    return f.emit(f"load {type_}, ptr {at}", name)


def _emit_explain(module: Module) -> None:
    """Have `fail` raise the error that the program reports."""
    f = FunctionBuilder(
        module,
        "explain",
        ["ptr %callable", "ptr %args", "i64 %count", "i64 %status"],
        returns="ptr",
        internal=True,
        attributes="noinline",
    )
    make = f.emit(f"load ptr, {py.link('PyLong_FromLongLong')}")
    number = f.emit(f"call ptr {make}(i64 %status)", "code")
    with f.if_then(f.emit(f"icmp eq ptr {number}, null")):
        f.do("ret ptr null")
    count = f.emit("add i64 %count, 1")
    report = f.emit(f"alloca ptr, i64 {count}", "report")
    f.do(f"store ptr {number}, ptr {report}")
    copied = f.emit("mul i64 %count, 8")
    rest = f.offset(report, 8)
    f.do(f"call void @llvm.memcpy.p0.p0.i64(ptr {rest}, ptr %args, i64 {copied}, i1 false)")
    fail = _callable_field(f, "fail")
    call = f.emit(f"load ptr, {py.link('PyObject_Vectorcall')}")
    answer = f.emit(f"call ptr {call}(ptr {fail}, ptr {report}, i64 {count}, ptr null)")
    f.do(f"call void @decref(ptr {number})")
    f.do(f"ret ptr {answer}")


def _callable_field(f: FunctionBuilder, name: str) -> str:
    at = f.offset("%callable", py.CALLABLE + 8 * py.CALLABLE_FIELDS.index(name))
    return f.emit(f"load ptr, ptr {at}", name)


def _emit_finish(module: Module) -> None:
    """What a call returns that is not just one array; updates, and the shared arrays it held."""
    f = FunctionBuilder(
        module,
        "finish",
        ["ptr %table", "ptr %outs"],
        returns="ptr",
        internal=True,
        attributes="noinline",
    )
    count = _field(f, TABLE, "%table", "outputs", "i64")
    shared = _field(f, TABLE, "%table", "shared", "i64")
    kind = _field(f, TABLE, "%table", "result", "i64")
    slots = _field(f, TABLE, "%table", "slots", "ptr")
    answer = f.emit("alloca ptr", "answer")
    one, several, nothing = f.label("one"), f.label("list"), f.label("nothing")
    filled, failed, answered = f.label("filled"), f.label("failed"), f.label("answered")
    f.do(f"switch i64 {kind}, label %{one} [ i64 {LIST}, label %{several} "
         f"i64 {NOTHING}, label %{nothing} ]")  # fmt: skip
    f.block(one)
    out = f.emit(f"load ptr, ptr {f.emit(f'getelementptr ptr, ptr %outs, i64 {kind}')}")
    f.do(f"store ptr {out}, ptr {answer}")
    f.branch(answered)
    f.block(nothing)
    none = f.emit(f"load ptr, {py.link('Py_None')}", "none")
    f.do(f"call void @incref(ptr {none})")
    f.do(f"store ptr {none}, ptr {answer}")
    f.branch(answered)
    f.block(several)
    updates = _field(f, TABLE, "%table", "updates", "i64")
    new = f.emit(f"load ptr, {py.link('PyList_New')}")
    made = f.emit(f"call ptr {new}(i64 {f.emit(f'sub i64 {count}, {updates}')})", "list")
    f.do(f"store ptr {made}, ptr {answer}")
    f.branch_if(f.emit(f"icmp eq ptr {made}, null"), failed, filled)
    f.block(failed)
    f.do(f"call void @drop_all(ptr %outs, i64 {f.emit(f'add i64 {count}, {shared}')})")
    f.do("ret ptr null")
    f.block(filled)
    f.do(f"call void @fill_list(ptr {made}, ptr %outs, ptr {slots}, i64 {count})")
    f.block(answered)
    f.do(f"call void @commit(ptr %outs, ptr {slots}, i64 {count})")
    held = f.emit(f"getelementptr ptr, ptr %outs, i64 {count}", "held")
    f.do(f"call void @drop_all(ptr {held}, i64 {shared})")
    f.do(f"ret ptr {f.emit(f'load ptr, ptr {answer}')}")
    _emit_fill_list(module)


def _emit_fill_list(module: Module) -> None:
    """Put the outputs without a slot into the list."""
    f = FunctionBuilder(
        module,
        "fill_list",
        ["ptr %list", "ptr %outs", "ptr %slots", "i64 %count"],
        internal=True,
        attributes="noinline",
    )
    set_item = f.emit(f"load ptr, {py.link('PyList_SetItem')}")
    position = f.emit("alloca i64")
    f.do(f"store i64 0, ptr {position}")
    with f.loop(0, "%count") as i:
        slot = f.emit(f"load ptr, ptr {f.emit(f'getelementptr ptr, ptr %slots, i64 {i}')}")
        with f.if_then(f.emit(f"icmp eq ptr {slot}, null")):
            out = f.emit(f"load ptr, ptr {f.emit(f'getelementptr ptr, ptr %outs, i64 {i}')}")
            at = f.emit(f"load i64, ptr {position}")
            f.emit(f"call i32 {set_item}(ptr %list, i64 {at}, ptr {out})")
            f.do(f"store i64 {f.emit(f'add i64 {at}, 1')}, ptr {position}")
    f.do("ret void")


# The code of the order (`ir.order.order_code`) of an ndarray that is not in C order.
_MEMORY_ORDER = f"""
define internal i64 @memory_order(ptr %object, i64 %nd, i64 %itemsize) nounwind noinline {{
  %flags.p = getelementptr i8, ptr %object, i64 {py.ARRAY_FLAGS}
  %flags = load i32, ptr %flags.p
  %dense = and i32 %flags, {py.F_CONTIGUOUS}
  %is.dense = icmp ne i32 %dense, 0
  br i1 %is.dense, label %fortran, label %strided
fortran:
  ret i64 {FORTRAN_CODE}
strided:
  %dims.p = getelementptr i8, ptr %object, i64 {py.ARRAY_DIMS}
  %dims = load ptr, ptr %dims.p
  %steps.p = getelementptr i8, ptr %object, i64 {py.ARRAY_STRIDES}
  %steps = load ptr, ptr %steps.p
  %many = icmp sgt i64 %nd, {CODED_AXES}
  %axes = select i1 %many, i64 {CODED_AXES}, i64 %nd
  br label %axis
axis:
  %i = phi i64 [ 0, %strided ], [ %i.next, %axis ]
  %code = phi i64 [ 0, %strided ], [ %code.next, %axis ]
  %extent.p = getelementptr i64, ptr %dims, i64 %i
  %extent = load i64, ptr %extent.p
  %step.p = getelementptr i64, ptr %steps, i64 %i
  %step = load i64, ptr %step.p
  %is.unit = icmp eq i64 %step, %itemsize
  %moving = zext i1 %is.unit to i64
  %is.one = icmp eq i64 %extent, 1
  %stays = icmp eq i64 %step, 0
  %is.zero = or i1 %is.one, %stays
  %kind = select i1 %is.zero, i64 {KINDS.index(ZERO)}, i64 %moving
  %by = mul i64 %i, 2
  %digit = shl i64 %kind, %by
  %code.next = or i64 %code, %digit
  %i.next = add i64 %i, 1
  %more = icmp slt i64 %i.next, %axes
  br i1 %more, label %axis, label %done
done:
  ret i64 %code.next
}}"""

# Whether `object` is exactly an ndarray as the record wants it, or a number that will do: its rank,
# or -1. Writes data pointer, extents and strides. A descriptor that is not NumPy's own may be as
# good; see `@descr_fits`.
_PARAMETER = f"""
define internal i64 @parameter(ptr %object, ptr %record, ptr %value) nounwind alwaysinline {{
  %layout.p = getelementptr i8, ptr %record, i64 {8 * RECORD.index("layout")}
  %rank = load i32, ptr %layout.p
  %nd = zext i32 %rank to i64
  %type.p = getelementptr i8, ptr %object, i64 {py.TYPE}
  %type = load ptr, ptr %type.p
  %ndarray = load ptr, {py.link("PyArray_Type")}
  %is.array = icmp eq ptr %type, %ndarray
  br i1 %is.array, label %look, label %other
look:
  %descr.p = getelementptr i8, ptr %object, i64 {py.ARRAY_DESCR}
  %descr = load ptr, ptr %descr.p
  %wanted.p = getelementptr i8, ptr %record, i64 {8 * RECORD.index("descr")}
  %wanted = load ptr, ptr %wanted.p
  %is.singleton = icmp eq ptr %descr, %wanted
  br i1 %is.singleton, label %layout, label %foreign
foreign:
  %num.p = getelementptr i8, ptr %record, i64 {8 * RECORD.index("types")}
  %num = load i32, ptr %num.p
  %alias.p = getelementptr i8, ptr %num.p, i64 4
  %alias = load i32, ptr %alias.p
  %same = call i1 @descr_fits(ptr %descr, i32 %num, i32 %alias)
  br i1 %same, label %layout, label %bad
layout:
  %nd.p = getelementptr i8, ptr %object, i64 {py.ARRAY_NDIM}
  %has.rank = load i32, ptr %nd.p
  %same.rank = icmp eq i32 %has.rank, %rank
  %flags.p = getelementptr i8, ptr %object, i64 {py.ARRAY_FLAGS}
  %flags = load i32, ptr %flags.p
  %kept = and i32 %flags, {LAYOUT_FLAGS}
  %asked.p = getelementptr i8, ptr %layout.p, i64 4
  %asked = load i32, ptr %asked.p
  %same.flags = icmp eq i32 %kept, %asked
  %fits = and i1 %same.rank, %same.flags
  br i1 %fits, label %order, label %bad
order:
  %order.p = getelementptr i8, ptr %record, i64 {8 * RECORD.index("order")}
  %wanted.order = load i64, ptr %order.p
  %in.c.order = icmp eq i64 %wanted.order, {C_CODE}
  br i1 %in.c.order, label %read, label %strides
strides:
  %itemsize.p = getelementptr i8, ptr %record, i64 {8 * RECORD.index("itemsize")}
  %itemsize = load i64, ptr %itemsize.p
  %has.order = call i64 @memory_order(ptr %object, i64 %nd, i64 %itemsize)
  %same.order = icmp eq i64 %has.order, %wanted.order
  br i1 %same.order, label %read, label %bad
read:
  %data.p = getelementptr i8, ptr %object, i64 {py.ARRAY_DATA}
  %data = load ptr, ptr %data.p
  store ptr %data, ptr %value
  %dims.p = getelementptr i8, ptr %object, i64 {py.ARRAY_DIMS}
  %dims = load ptr, ptr %dims.p
  %steps.p = getelementptr i8, ptr %object, i64 {py.ARRAY_STRIDES}
  %steps = load ptr, ptr %steps.p
  %bounds = getelementptr i8, ptr %record, i64 {8 * len(RECORD)}
  br label %axis
axis:
  %i = phi i64 [ 0, %read ], [ %i.next, %inside ]
  %more = icmp slt i64 %i, %nd
  br i1 %more, label %extent, label %good
extent:
  %extent.p = getelementptr i64, ptr %dims, i64 %i
  %extent.v = load i64, ptr %extent.p
  %bound = getelementptr {{ i64, i64 }}, ptr %bounds, i64 %i
  %low = load i64, ptr %bound
  %span.p = getelementptr i64, ptr %bound, i64 1
  %span = load i64, ptr %span.p
  %above = sub i64 %extent.v, %low
  %ok = icmp ule i64 %above, %span
  br i1 %ok, label %inside, label %bad
inside:
  %step.p = getelementptr i64, ptr %steps, i64 %i
  %step = load i64, ptr %step.p
  %pair = getelementptr {{ i64, i64 }}, ptr %value, i64 %i
  %to.extent = getelementptr i64, ptr %pair, i64 1
  store i64 %extent.v, ptr %to.extent
  %to.stride = getelementptr i64, ptr %pair, i64 2
  store i64 %step, ptr %to.stride
  %i.next = add i64 %i, 1
  br label %axis
other:
  %scalar.p = getelementptr i8, ptr %record, i64 {8 * RECORD.index("scalar")}
  %scalar = load ptr, ptr %scalar.p
  %no.numbers = icmp eq ptr %scalar, null
  br i1 %no.numbers, label %bad, label %number
number:
  %cell = getelementptr i8, ptr %value, i64 8
  %found = call ptr @number(ptr %object, ptr %record, ptr %cell)
  store ptr %found, ptr %value
  %none = icmp eq ptr %found, null
  br i1 %none, label %bad, label %good
good:
  ret i64 %nd
bad:
  ret i64 -1
}}"""


class _Entry:
    """Writes `@entry`: a loop over the variants, in it one over the parameters, then the call."""

    def __init__(self, module: Module) -> None:
        self.f = FunctionBuilder(
            module,
            "entry",
            ["ptr %callable", "ptr %args", "i64 %nargsf", "ptr %kwnames"],
            returns="ptr",
        )
        self.slow, self.refused = self.f.label("slow"), self.f.label("refused")
        #: Where we are among the records, the values, the arguments and the arrays to be held.
        self.cursors = [self.f.emit("alloca ptr", "cursor") for _ in range(4)]

    def emit(self) -> None:
        f = self.f
        first = _callable_field(f, "table")
        mask = ~_OFFSET_BIT & (2**64 - 1)
        self.count = f.emit(f"and i64 %nargsf, {mask}", "count")
        arguments = _field(f, TABLE, first, "arguments", "i64")
        self.require(f.emit(f"icmp eq i64 {self.count}, {arguments}"), self.slow)
        self.require(f.emit("icmp eq ptr %kwnames, null"), self.slow)
        room = _field(f, TABLE, first, "room", "i64")
        self.outs = f.emit(f"alloca i8, i64 {room}, align 16", "outs")
        start, attempt = f.current, f.label("attempt")
        f.block(attempt)
        self.table = f.fresh("table")
        following = f.fresh("next")
        f.do(f"{self.table} = phi ptr [ {first}, %{start} ], [ {following}, %{self.refused} ]")
        self._attempt()
        f.block(self.refused)
        f.do(f"{following} = load ptr, ptr {self.table}")
        f.branch_if(f.emit(f"icmp eq ptr {following}, null"), self.slow, attempt)
        self._go_slow()

    def require(self, condition: str, otherwise: str) -> None:
        going_on = self.f.label("ok")
        self.f.branch_if(condition, going_on, otherwise)
        self.f.block(going_on)

    def _table(self, name: str, type_: str = "i64") -> str:
        return _field(self.f, TABLE, self.table, name, type_)

    def _attempt(self) -> None:
        """Check everything against one variant, and run it."""
        f = self.f
        outputs, shared = self._table("outputs"), self._table("shared")
        held = f.emit(f"getelementptr ptr, ptr {self.outs}, i64 {outputs}", "held")
        values = f.emit(f"getelementptr ptr, ptr {held}, i64 {shared}", "values")
        self._parameters(held, values)
        self._equal_extents(values)
        with f.loop(0, outputs) as k:
            f.do(f"store ptr null, ptr {f.emit(f'getelementptr ptr, ptr {self.outs}, i64 {k}')}")
        with f.if_then(f.emit(f"icmp ne i64 {shared}, 0")):
            f.do(f"call void @hold_all(ptr {held}, i64 {shared})")
        run = self._table("run", "ptr")
        status = f.emit(f"call i64 {run}(ptr {values}, ptr {self.outs})", "status")
        with f.if_then(f.emit(f"icmp ne i64 {status}, 0")):
            self._fail(status, outputs, shared)
        with f.if_then(f.emit(f"icmp eq i64 {self._table('plain')}, 0")):
            arguments = f"ptr {self.table}, ptr {self.outs}"
            f.do(f"ret ptr {f.emit(f'call ptr @finish({arguments})')}")
        f.do(f"ret ptr {f.emit(f'load ptr, ptr {self.outs}')}")

    def _fail(self, status: str, outputs: str, shared: str) -> None:
        f = self.f
        made = f.emit(f"add i64 {outputs}, {shared}")
        f.do(f"call void @drop_all(ptr {self.outs}, i64 {made})")
        with f.if_then(f.emit(f"icmp eq i64 {status}, {PYTHON_ERROR}")):
            f.do("ret ptr null")
        arguments = f"ptr %callable, ptr %args, i64 {self.count}, i64 {status}"
        f.do(f"ret ptr {f.emit(f'call ptr @explain({arguments})')}")

    def _parameters(self, held: str, values: str) -> None:
        """Check the parameters, record by record, and write their `values`."""
        f = self.f
        first = f.offset(self.table, 8 * len(TABLE))
        for cell, start in zip(self.cursors, (first, values, "%args", held), strict=True):
            f.do(f"store ptr {start}, ptr {cell}")
        with f.loop(0, self._table("parameters")):
            record, value, arg, keep = (f.emit(f"load ptr, ptr {c}") for c in self.cursors)
            slot = _field(f, RECORD, record, "slot", "ptr")
            given, shared, object_ = f.label("given"), f.label("shared"), f.label("object")
            f.branch_if(f.emit(f"icmp eq ptr {slot}, null"), given, shared)
            f.block(given)
            argument = f.emit(f"load ptr, ptr {arg}", "argument")
            f.do(f"store ptr {f.offset(arg, 8)}, ptr {self.cursors[2]}")
            f.branch(object_)
            f.block(shared)
            current = f.emit(f"load ptr, ptr {slot}", "current")
            f.do(f"store ptr {current}, ptr {keep}")
            f.do(f"store ptr {f.offset(keep, 8)}, ptr {self.cursors[3]}")
            f.block(object_)
            object_ = f.phi("ptr", [(argument, given), (current, shared)], "object")
            rank = f.emit(f"call i64 @parameter(ptr {object_}, ptr {record}, ptr {value})", "rank")
            self.require(f.emit(f"icmp sge i64 {rank}, 0"), self.refused)
            axes = f.emit(f"mul i64 {rank}, 16")
            after = f.offset(f.offset(record, 8 * len(RECORD)), axes)
            f.do(f"store ptr {after}, ptr {self.cursors[0]}")
            axes = f.intrinsic("i64", "@llvm.umax.i64", f"i64 {axes}", f"i64 {NUMBER}")
            f.do(f"store ptr {f.offset(f.offset(value, 8), axes)}, ptr {self.cursors[1]}")

    def _equal_extents(self, values: str) -> None:
        """The pairs of offsets in `values` follow the last record."""
        f = self.f
        pairs = f.emit(f"load ptr, ptr {self.cursors[0]}", "pairs")
        with f.loop(0, self._table("pairs")) as i:
            pair = f.offset(pairs, f.emit(f"mul i64 {i}, 16"))
            a, b = (f.emit(f"load i64, ptr {f.offset(pair, o)}") for o in (0, 8))
            a, b = (f.emit(f"load i64, ptr {f.offset(values, o)}") for o in (a, b))
            self.require(f.emit(f"icmp eq i64 {a}, {b}"), self.refused)

    def _go_slow(self) -> None:
        f = self.f
        f.block(self.slow)
        call = f.emit(f"load ptr, {py.link('PyObject_Vectorcall')}")
        operands = f"ptr {_callable_field(f, 'slow')}, ptr %args, i64 %nargsf, ptr %kwnames"
        f.do(f"ret ptr {f.emit(f'call ptr {call}({operands})')}")
