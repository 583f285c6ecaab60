"""CPython and NumPy objects as generated code sees them: where fields lie, and helper functions.

Generated code contains no address. Whatever differs from process to process (types, C functions,
descriptors) is read from the table `@api` of the runtime library (`codegen.library`), which
`jitgraph.runtime.pyapi` fills; so object code is the same in every process and can be kept in a
cache.

The offsets are those of 64-bit CPython with the GIL and of NumPy 2; `jitgraph.runtime.pyapi`
checks them against live objects before any generated code runs.
"""

# PyObject. From CPython 3.12 on, a reference count whose lower half is negative is immortal;
# such counts cannot occur earlier, so the same code serves every version.
REFCOUNT, TYPE = 0, 8
# Where PyFloatObject, PyComplexObject and NumPy's scalars keep their value, and PyListObject its
# items.
SCALAR_VALUE = 16
LIST_ITEMS = 24
# PyArrayObject_fields.
ARRAY_DATA, ARRAY_NDIM, ARRAY_DIMS, ARRAY_STRIDES = 16, 24, 32, 40
ARRAY_BASE, ARRAY_DESCR, ARRAY_FLAGS = 48, 56, 64
ARRAY_WEAKREFS, ARRAY_BUFFER, ARRAY_HANDLER, ARRAY_SIZE = 72, 80, 88, 96
# A compiled function's words after its head; see `codegen.entry`.
CALLABLE = 16
CALLABLE_FIELDS = ("entry", "table", "slow", "fail")
# PyArray_Descr.
DESCR_BYTEORDER, DESCR_TYPENUM = 26, 28

C_CONTIGUOUS, F_CONTIGUOUS, OWNDATA, ALIGNED, WRITEABLE = 0x1, 0x2, 0x4, 0x100, 0x400
FOREIGN_ORDER = ord(">")
#: How many type numbers there are: NumPy's own for the builtin dtypes, and one more.
TYPE_NUMBERS = 25
#: bfloat16's number here. NumPy gives it one at run time, by when it was imported.
BFLOAT16 = 24

#: The table `@api`; NumPy's descriptors follow, by type number.
API = (
    "PyArray_Type",
    "PyArray_New",
    "PyFloat_Type",
    "PyLong_Type",
    "PyComplex_Type",
    "Py_None",
    "Py_True",
    "Py_False",
    "_Py_Dealloc",
    "_PyObject_New",
    "PyMem_RawMalloc",
    "PyList_New",
    "PyList_SetItem",
    "PyLong_AsDouble",
    "PyLong_AsLongLongAndOverflow",
    "PyLong_FromLongLong",
    "PyErr_Occurred",
    "PyErr_Clear",
    "PyErr_CheckSignals",
    "PyGILState_Ensure",
    "PyGILState_Release",
    "PyEval_SaveThread",
    "PyEval_RestoreThread",
    "PyThread_get_thread_ident",
    "PyObject_Vectorcall",
    "PyTraceMalloc_Track",
    # NumPy's own memory handler, ours, and whether arrays may be made by hand.
    "default_handler",
    "pool_handler",
    "by_hand",
)
API_SIZE = len(API) + TYPE_NUMBERS


def link(where: int | str) -> str:
    """The operand that points at a cell of `@api`: a name, or an index."""
    index = API.index(where) if isinstance(where, str) else where
    return f"ptr getelementptr inbounds (i8, ptr @api, i64 {8 * index})"


# Reference counts are updated as 64 bits, because CPython reads them so right afterwards: a
# narrower store would stall that load.
_REFERENCES = f"""
define internal void @incref(ptr %object) nounwind alwaysinline {{
  %count = load i64, ptr %object
  %low = trunc i64 %count to i32
  %mortal = icmp sgt i32 %low, -1
  br i1 %mortal, label %count.it, label %done
count.it:
  %more = add i64 %count, 1
  store i64 %more, ptr %object
  br label %done
done:
  ret void
}}
define internal void @decref(ptr %object) nounwind noinline {{
  %count = load i64, ptr %object
  %low = trunc i64 %count to i32
  %mortal = icmp sgt i32 %low, -1
  br i1 %mortal, label %count.it, label %done
count.it:
  %fewer = add i64 %count, -1
  store i64 %fewer, ptr %object
  %dead = icmp eq i32 %low, 1
  br i1 %dead, label %free, label %done
free:
  %dealloc = load ptr, {link("_Py_Dealloc")}
  call void %dealloc(ptr %object)
  br label %done
done:
  ret void
}}
define internal void @xdecref(ptr %object) nounwind {{
  %null = icmp eq ptr %object, null
  br i1 %null, label %done, label %drop
drop:
  call void @decref(ptr %object)
  br label %done
done:
  ret void
}}"""

# Over tables of objects. `@commit` moves the new values `outs` into the cells `slots` (null for
# what is no update). Nothing is freed until all cells hold their new contents, since freeing may
# run Python code.
_TABLES = f"""
define internal void @hold_all(ptr %objects, i64 %count) nounwind noinline {{
entry:
  br label %each
each:
  %i = phi i64 [ 0, %entry ], [ %next, %each ]
  %next = add i64 %i, 1
  %cell = getelementptr ptr, ptr %objects, i64 %i
  %object = load ptr, ptr %cell
  call void @incref(ptr %object)
  %more = icmp slt i64 %next, %count
  br i1 %more, label %each, label %done
done:
  ret void
}}
define internal void @drop_all(ptr %objects, i64 %count) nounwind noinline {{
entry:
  %some = icmp sgt i64 %count, 0
  br i1 %some, label %each, label %done
each:
  %i = phi i64 [ 0, %entry ], [ %next, %each ]
  %next = add i64 %i, 1
  %cell = getelementptr ptr, ptr %objects, i64 %i
  %object = load ptr, ptr %cell
  call void @xdecref(ptr %object)
  %more = icmp slt i64 %next, %count
  br i1 %more, label %each, label %done
done:
  ret void
}}
define internal void @commit(ptr %outs, ptr %slots, i64 %count) nounwind noinline {{
entry:
  %none = load ptr, {link("Py_None")}
  br label %each
each:
  %i = phi i64 [ 0, %entry ], [ %next, %go.on ]
  %next = add i64 %i, 1
  %out = getelementptr ptr, ptr %outs, i64 %i
  %slot.p = getelementptr ptr, ptr %slots, i64 %i
  %slot = load ptr, ptr %slot.p
  %result = icmp eq ptr %slot, null
  br i1 %result, label %go.on, label %swap
swap:
  %new = load ptr, ptr %out
  %old = load ptr, ptr %slot
  %cell = getelementptr ptr, ptr %slot, i64 1
  %spare = load ptr, ptr %cell
  %empty = icmp eq ptr %spare, %none
  %kept = select i1 %empty, ptr %old, ptr %spare
  %replaced = select i1 %empty, ptr %none, ptr %old
  store ptr %new, ptr %slot
  store ptr %kept, ptr %cell
  br label %go.on
go.on:
  %dropped = phi ptr [ null, %each ], [ %replaced, %swap ]
  store ptr %dropped, ptr %out
  %more = icmp slt i64 %next, %count
  br i1 %more, label %each, label %free
free:
  call void @drop_all(ptr %outs, i64 %count)
  ret void
}}"""

# Whether a descriptor that is not NumPy's own is as good: unpickled arrays have copies, and one of
# the C types long and long long stands in for the other (`alias`).
_DESCRIPTORS = f"""
define internal i1 @descr_fits(ptr %descr, i32 %typenum, i32 %alias) nounwind noinline {{
  %num.p = getelementptr i8, ptr %descr, i64 {DESCR_TYPENUM}
  %num = load i32, ptr %num.p
  %order.p = getelementptr i8, ptr %descr, i64 {DESCR_BYTEORDER}
  %order = load i8, ptr %order.p
  %native = icmp ne i8 %order, {FOREIGN_ORDER}
  %is.num = icmp eq i32 %num, %typenum
  %is.alias = icmp eq i32 %num, %alias
  %known = or i1 %is.num, %is.alias
  %same = and i1 %known, %native
  ret i1 %same
}}"""

_THREADS = f"""
define ptr @release_gil() nounwind {{
  %save = load ptr, {link("PyEval_SaveThread")}
  %state = call ptr %save()
  ret ptr %state
}}
define void @acquire_gil(ptr %state) nounwind {{
  %restore = load ptr, {link("PyEval_RestoreThread")}
  call void %restore(ptr %state)
  ret void
}}
define i64 @this_thread() nounwind {{
  %number = load ptr, {link("PyThread_get_thread_ident")}
  %this = call i64 %number()
  ret i64 %this
}}
define i32 @signals() nounwind {{
  %ensure = load ptr, {link("PyGILState_Ensure")}
  %state = call i32 %ensure()
  %check = load ptr, {link("PyErr_CheckSignals")}
  %status = call i32 %check()
  %release = load ptr, {link("PyGILState_Release")}
  call void %release(i32 %state)
  ret i32 %status
}}"""


def helpers() -> str:
    """The table `@api` and what works on any object:

        void @incref(ptr object), @decref(ptr object), @xdecref(ptr object or NULL)
        void @hold_all(ptr objects, i64 count), @drop_all(ptr objects, i64 count)
        void @commit(ptr outs, ptr slots, i64 count)
        i1   @descr_fits(ptr descr, i32 typenum, i32 alias)
        i64  @this_thread()                 a number that no other thread has now
        ptr  @release_gil()
        void @acquire_gil(ptr state)        without the GIL
        i32  @signals()                     handles Ctrl-C, with or without the GIL: not 0, and a
                                            Python exception, where the program is to stop
    """
    table = f"@api = global [{API_SIZE} x ptr] zeroinitializer, align 8"
    return table + _REFERENCES + _TABLES + _DESCRIPTORS + _THREADS
