"""Arrays for the results of a program, and for the new values of shared variables.

    ptr @new_array(i32 typenum, i32 nd, ptr dims)              a C-contiguous array, or NULL
    ptr @take_spare(ptr slot, i32 typenum, i32 nd, ptr dims)   the array for an update
    ptr @new_device_array(ptr record, i32 typenum, i32 nd, ptr dims)
    ptr @take_device_spare(ptr record, ptr slot, i32 typenum, i32 nd, ptr dims)

The latter two are headers of arrays in a device's memory (`gpu.memory`): where there is none to be
had, `error` in the device's record says so.

`typenum` is NumPy's for builtin dtypes, and an index of the table of descriptors for all.

A result is an ordinary array that owns its memory. `PyArray_New` takes three times as long to make
one as filling in the struct does, and knows nothing of the pool of large blocks; so where the
layout of arrays is known for sure (`by_hand`), they are made here: the object by `_PyObject_New`,
the extents by the allocator that NumPy frees them with, the data by NumPy's default handler's
`malloc` or, from `recycling.SMALLEST` bytes on, by the pool. Anything out of the ordinary (negative
extents, no elements, too many) is left to `PyArray_New`, which says what is wrong. Headers are
always made by hand.
"""

import numpy as np

from jitgraph.codegen import pyobjects as py
from jitgraph.codegen import recycling
from jitgraph.codegen.gpu import record
from jitgraph.codegen.llvm import FunctionBuilder, Module

_NUMPY_DOMAIN = 389047  # of tracemalloc
_LARGEST_EXTENT = 1 << 40
_OWN = py.OWNDATA | py.ALIGNED | py.WRITEABLE
_LINE = py.C_CONTIGUOUS | py.F_CONTIGUOUS
_PARAMETERS = ["i32 %typenum", "i32 %nd", "ptr %dims"]
_ARGUMENTS = ", ".join(_PARAMETERS)


def emit_arrays(module: Module) -> None:
    """Add all functions; the module has `pyobjects.helpers`, the pool and `gpu.memory`."""
    sizes = ["0"] * py.TYPE_NUMBERS
    for char in "?bBhHiIlLqQefdFD":
        dtype = np.dtype(char)
        sizes[dtype.num] = str(dtype.itemsize)
    sizes[py.BFLOAT16] = "2"
    items = ", ".join(f"i64 {size}" for size in sizes)
    module.declare(f"@item_sizes = internal constant [{py.TYPE_NUMBERS} x i64] [{items}]")
    module.define(_NUMBER)
    _emit_by_numpy(module)
    _emit_by_hand(module)
    _emit_new_array(module)
    _emit_new_device_array(module)
    module.define(_take_spare("take_spare", "", "new_array", "handler_is_known"))
    on_device = ("take_device_spare", "ptr %record, ", "new_device_array", "handler_is_of")
    module.define(_take_spare(*on_device))
    module.define(_HANDLERS)


def _emit_by_numpy(module: Module) -> None:
    f = FunctionBuilder(
        module, "array_by_numpy", _PARAMETERS, returns="ptr", internal=True, attributes="noinline"
    )
    type_ = f.emit(f"load ptr, {py.link('PyArray_Type')}")
    make = f.emit(f"load ptr, {py.link('PyArray_New')}")
    nothing = "ptr null, ptr null, i32 0, i32 0, ptr null"
    number = f.emit("call i32 @number_in_numpy(i32 %typenum)")
    made = f.emit(f"call ptr {make}(ptr {type_}, i32 %nd, ptr %dims, i32 {number}, {nothing})")
    f.do(f"ret ptr {made}")


def _emit_new_array(module: Module) -> None:
    """By hand, if nothing is out of the ordinary and there are elements."""
    f = FunctionBuilder(module, "new_array", _PARAMETERS, returns="ptr")
    size, bytes_, plain, flags = _measured(f)
    some = f.emit(f"icmp ne i64 {bytes_}, 0")
    with f.if_then(f.emit(f"and i1 {plain}, {some}")):
        sizes = f"i64 {bytes_}, i64 {size}, i32 {flags}"
        made = f.emit(f"call ptr @array_by_hand({_ARGUMENTS}, {sizes}, ptr null)")
        f.do(f"ret ptr {made}")
    f.do(f"ret ptr {f.emit(f'call ptr @array_by_numpy({_ARGUMENTS})')}")


def _emit_new_device_array(module: Module) -> None:
    f = FunctionBuilder(module, "new_device_array", ["ptr %record", *_PARAMETERS], returns="ptr")
    size, bytes_, plain, flags = _measured(f)
    with f.if_then(plain):
        none = f.emit(f"icmp eq i64 {bytes_}, 0")
        flags = f.select(none, "i32", _OWN | _LINE, flags)
        sizes = f"i64 {bytes_}, i64 {size}, i32 {flags}"
        made = f.emit(f"call ptr @array_by_hand({_ARGUMENTS}, {sizes}, ptr %record)")
        f.do(f"ret ptr {made}")
    record.fail(f, "%record", record.OUT_OF_MEMORY)
    f.do("ret ptr null")


def _measured(f: FunctionBuilder) -> tuple[str, str, str, str]:
    """The bytes of an element and of all, whether the array may be made by hand, its flags."""
    by_hand = f.emit(f"load i64, {py.link('by_hand')}")
    item = f.emit("getelementptr i64, ptr @item_sizes, i32 %typenum")
    size = f.emit(f"load i64, ptr {item}")
    rank = f.emit("zext i32 %nd to i64", "rank")
    plain = f.emit(f"icmp ne i64 {by_hand}, 0")
    total = [("i64", size), ("i1", plain), ("i64", "0")]
    with f.loop(0, rank, accumulators=total) as axis:
        bytes_, plain, wide = axis.carried
        extent = f.emit(f"load i64, ptr {f.emit(f'getelementptr i64, ptr %dims, i64 {axis}')}")
        product = f.intrinsic(
            "{ i64, i1 }", "@llvm.umul.with.overflow.i64", f"i64 {bytes_}", f"i64 {extent}"
        )
        fine = f.emit(f"icmp ult i64 {extent}, {_LARGEST_EXTENT}")
        fits = f.emit(f"xor i1 {f.emit(f'extractvalue {{ i64, i1 }} {product}, 1')}, true")
        ok = f.emit(f"and i1 {plain}, {f.emit(f'and i1 {fine}, {fits}')}")
        longer = f.emit(f"zext i1 {f.emit(f'icmp ne i64 {extent}, 1')} to i64")
        axis.carry(
            f.emit(f"extractvalue {{ i64, i1 }} {product}, 0"),
            ok,
            f.emit(f"add i64 {wide}, {longer}"),
        )
    bytes_, plain, wide = axis.results
    line = f.emit(f"icmp ule i64 {wide}, 1")
    return size, bytes_, plain, f.select(line, "i32", _OWN | _LINE, _OWN | py.C_CONTIGUOUS)


def _emit_by_hand(module: Module) -> None:
    """In a device's memory if there is a record. Where memory is short, NumPy is asked, and will
    say so, or the record."""
    f = FunctionBuilder(
        module,
        "array_by_hand",
        [*_PARAMETERS, "i64 %size", "i64 %item", "i32 %flags", "ptr %record"],
        returns="ptr",
        internal=True,
    )
    new = f.emit(f"load ptr, {py.link('_PyObject_New')}")
    type_ = f.emit(f"load ptr, {py.link('PyArray_Type')}")
    array = f.emit(f"call ptr {new}(ptr {type_})", "array")
    with f.if_then(f.emit(f"icmp eq ptr {array}, null")):
        f.do("ret ptr null")
    rank = f.emit("zext i32 %nd to i64", "rank")
    data, handler = _data(f)
    extents = _extents(f, rank)
    descr = f.emit(f"getelementptr ptr, {py.link(len(py.API))}, i32 %typenum")
    descr = f.emit(f"load ptr, ptr {descr}", "descr")
    for object_ in (descr, handler):
        f.do(f"call void @incref(ptr {object_})")
    strides = f.emit(f"getelementptr i64, ptr {extents}, i64 {rank}", "strides")
    for offset, value in (
        (py.ARRAY_DATA, f"ptr {data}"),
        (py.ARRAY_NDIM, f"i64 {rank}"),
        (py.ARRAY_DIMS, f"ptr {extents}"),
        (py.ARRAY_STRIDES, f"ptr {strides}"),
        (py.ARRAY_BASE, "ptr null"),
        (py.ARRAY_DESCR, f"ptr {descr}"),
        (py.ARRAY_FLAGS, f"i64 {f.emit('zext i32 %flags to i64')}"),
        (py.ARRAY_WEAKREFS, "ptr null"),
        (py.ARRAY_BUFFER, "ptr null"),
        (py.ARRAY_HANDLER, f"ptr {handler}"),
    ):
        f.do(f"store {value}, ptr {f.offset(array, offset)}")
    no_data = f.emit(f"icmp eq ptr {data}, null")
    no_extents = f.emit(f"icmp eq ptr {extents}, null")
    missing = f.emit(f"and i1 {no_extents}, {f.emit(f'icmp ne i64 {rank}, 0')}")
    with f.if_then(f.emit(f"or i1 {no_data}, {missing}")):
        _give_up(f, array, no_data)
    with f.loop(0, rank, accumulators=[("i64", "%item")]) as i:
        axis = f.emit(f"sub i64 {f.emit(f'sub i64 {rank}, 1')}, {i}")
        extent = f.emit(f"load i64, ptr {f.emit(f'getelementptr i64, ptr %dims, i64 {axis}')}")
        f.do(f"store i64 {extent}, ptr {f.emit(f'getelementptr i64, ptr {extents}, i64 {axis}')}")
        stride = f.emit(f"getelementptr i64, ptr {strides}, i64 {axis}")
        f.do(f"store i64 {i.carried[0]}, ptr {stride}")
        i.carry(f.emit(f"mul i64 {i.carried[0]}, {f.maximum(extent, 1)}"))
    f.do(f"ret ptr {array}")


def _data(f: FunctionBuilder) -> tuple[str, str]:
    """Memory for the elements, and the handler that will free it."""
    names = ("host", "small", "large", "tracked", "device", "data")
    host, small, large, tracked, device, done = map(f.label, names)
    f.branch_if(f.emit("icmp eq ptr %record, null"), host, device)
    f.block(host)
    f.branch_if(f.emit(f"icmp ult i64 %size, {recycling.SMALLEST}"), small, large)
    f.block(small)
    from_malloc = f.emit("call ptr @malloc(i64 %size)")
    default = f.emit(f"load ptr, {py.link('default_handler')}")
    f.branch(tracked)
    f.block(large)
    from_pool = f.emit("call ptr @pool_take(i64 %size)")
    ours = f.emit(f"load ptr, {py.link('pool_handler')}")
    f.branch(tracked)
    f.block(tracked)
    on_host = f.phi("ptr", [(from_malloc, small), (from_pool, large)], "data")
    handler = f.phi("ptr", [(default, small), (ours, large)], "handler")
    track = f.emit(f"load ptr, {py.link('PyTraceMalloc_Track')}")
    f.emit(f"call i32 {track}(i32 {_NUMPY_DOMAIN}, ptr {on_host}, i64 %size)")
    f.branch(done)
    f.block(device)
    on_device = f.emit("call ptr @device_malloc(ptr %record, i64 %size)")
    its = record.word(f, "%record", "handler")
    f.branch(done)
    f.block(done)
    data = f.phi("ptr", [(on_host, tracked), (on_device, device)], "data")
    return data, f.phi("ptr", [(handler, tracked), (its, device)], "handler")


def _extents(f: FunctionBuilder, rank: str) -> str:
    """Memory for extents and strides; arrays of rank 0 have none."""
    before, some, done = f.current, f.label("some"), f.label("extents")
    f.branch_if(f.emit(f"icmp eq i64 {rank}, 0"), done, some)
    f.block(some)
    allocate = f.emit(f"load ptr, {py.link('PyMem_RawMalloc')}")
    made = f.emit(f"call ptr {allocate}(i64 {f.emit(f'mul i64 {rank}, 16')})")
    f.block(done)
    return f.phi("ptr", [("null", before), (made, some)], "extents")


def _give_up(f: FunctionBuilder, array: str, no_data: str) -> None:
    """Free a half-made array, as one of rank 0, and return what NumPy makes of the request; or
    nothing, where it was for a device."""
    flags = f.select(no_data, "i64", 0, _OWN)
    f.do(f"store i64 0, ptr {f.offset(array, py.ARRAY_NDIM)}")
    f.do(f"store i64 {flags}, ptr {f.offset(array, py.ARRAY_FLAGS)}")
    f.do(f"call void @decref(ptr {array})")
    with f.if_then(f.emit("icmp ne ptr %record, null")):
        with f.if_then(f.emit(f"xor i1 {no_data}, true")):
            record.fail(f, "%record", record.OUT_OF_MEMORY)
        f.do("ret ptr null")
    f.do(f"ret ptr {f.emit(f'call ptr @array_by_numpy({_ARGUMENTS})')}")


# bfloat16 has another number in every process.
_NUMBER = f"""
define internal i32 @number_in_numpy(i32 %typenum) nounwind {{
  %descr.p = getelementptr ptr, {py.link(len(py.API))}, i32 %typenum
  %descr = load ptr, ptr %descr.p
  %number.p = getelementptr i8, ptr %descr, i64 {py.DESCR_TYPENUM}
  %number = load i32, ptr %number.p
  ret i32 %number
}}"""

# Whether memory is where an array of this function is to be: the host's (whose allocator NumPy
# may have been given by others), or a device's.
_HANDLERS = f"""
define internal i1 @handler_is_known(ptr %handler) nounwind {{
  %default = load ptr, {py.link("default_handler")}
  %pool = load ptr, {py.link("pool_handler")}
  %is.default = icmp eq ptr %handler, %default
  %is.pool = icmp eq ptr %handler, %pool
  %known = or i1 %is.default, %is.pool
  ret i1 %known
}}
define internal i1 @handler_is_of(ptr %record, ptr %handler) nounwind {{
  %own.p = getelementptr i8, ptr %record, i64 {record.offset("handler")}
  %own = load ptr, ptr %own.p
  %same = icmp eq ptr %handler, %own
  ret i1 %same
}}"""

# A spare is overwritten only if nobody else can see it: one reference, no weak
# ones, its own memory, and that where the new array would be.
_REUSABLE = py.C_CONTIGUOUS | _OWN


def _take_spare(name: str, record_argument: str, new: str, in_place: str) -> str:
    """The text of a function that takes the array out of a slot if it may be written over, else
    drops it and makes one by `new`."""
    return f"""
define ptr @{name}({record_argument}ptr %slot, i32 %typenum, i32 %nd, ptr %dims) nounwind {{
  %cell = getelementptr i8, ptr %slot, i64 8
  %spare = load ptr, ptr %cell
  %none = load ptr, {py.link("Py_None")}
  call void @incref(ptr %none)
  store ptr %none, ptr %cell
  %type.p = getelementptr i8, ptr %spare, i64 {py.TYPE}
  %type = load ptr, ptr %type.p
  %ndarray = load ptr, {py.link("PyArray_Type")}
  %is.array = icmp eq ptr %type, %ndarray
  br i1 %is.array, label %layout, label %drop
layout:
  %count.p = getelementptr i8, ptr %spare, i64 {py.REFCOUNT}
  %count = load i32, ptr %count.p
  %unique = icmp eq i32 %count, 1
  %base.p = getelementptr i8, ptr %spare, i64 {py.ARRAY_BASE}
  %base = load ptr, ptr %base.p
  %no.base = icmp eq ptr %base, null
  %weak.p = getelementptr i8, ptr %spare, i64 {py.ARRAY_WEAKREFS}
  %weak = load ptr, ptr %weak.p
  %no.weak = icmp eq ptr %weak, null
  %flags.p = getelementptr i8, ptr %spare, i64 {py.ARRAY_FLAGS}
  %flags = load i32, ptr %flags.p
  %kept = and i32 %flags, {_REUSABLE}
  %reusable = icmp eq i32 %kept, {_REUSABLE}
  %rank.p = getelementptr i8, ptr %spare, i64 {py.ARRAY_NDIM}
  %rank = load i32, ptr %rank.p
  %same.rank = icmp eq i32 %rank, %nd
  %descr.p = getelementptr i8, ptr %spare, i64 {py.ARRAY_DESCR}
  %descr = load ptr, ptr %descr.p
  %number = call i32 @number_in_numpy(i32 %typenum)
  %same.descr = call i1 @descr_fits(ptr %descr, i32 %number, i32 %number)
  %ok.0 = and i1 %unique, %no.base
  %ok.1 = and i1 %ok.0, %no.weak
  %ok.2 = and i1 %reusable, %same.rank
  %ok.3 = and i1 %ok.1, %ok.2
  %ok.4 = and i1 %ok.3, %same.descr
  %handler.p = getelementptr i8, ptr %spare, i64 {py.ARRAY_HANDLER}
  %handler = load ptr, ptr %handler.p
  %in.place = call i1 @{in_place}({record_argument}ptr %handler)
  %ok = and i1 %ok.4, %in.place
  %extents.p = getelementptr i8, ptr %spare, i64 {py.ARRAY_DIMS}
  %extents = load ptr, ptr %extents.p
  br i1 %ok, label %axes, label %drop
axes:
  %axis = phi i32 [ 0, %layout ], [ %axis.next, %compare ]
  %more = icmp slt i32 %axis, %nd
  br i1 %more, label %compare, label %reuse
compare:
  %axis.next = add i32 %axis, 1
  %have.p = getelementptr i64, ptr %extents, i32 %axis
  %have = load i64, ptr %have.p
  %want.p = getelementptr i64, ptr %dims, i32 %axis
  %want = load i64, ptr %want.p
  %same = icmp eq i64 %have, %want
  br i1 %same, label %axes, label %drop
reuse:
  ret ptr %spare
drop:
  call void @decref(ptr %spare)
  %new = call ptr @{new}({record_argument}i32 %typenum, i32 %nd, ptr %dims)
  ret ptr %new
}}"""
