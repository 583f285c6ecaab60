"""CPython and NumPy objects as generated code sees them: where fields lie, and helper functions.

Generated code contains no address. Whatever differs from process to process (types, C functions,
dtypes, slots) is read from the table `@links`, which the runtime fills after loading the code; so
the object code of a program is the same in every process and can be kept in a cache.

The offsets are those of 64-bit CPython with the GIL and of NumPy 2; `jitgraph.runtime.pyapi`
checks them against live objects before any generated code runs.
"""

# PyObject. From CPython 3.12 on, a reference count whose lower half is negative is immortal;
# such counts cannot occur earlier, so the same code serves every version.
REFCOUNT, TYPE = 0, 8
# Where PyFloatObject and NumPy's scalars keep their value, and PyListObject its items.
SCALAR_VALUE = 16
LIST_ITEMS = 24
# PyArrayObject_fields.
ARRAY_DATA, ARRAY_NDIM, ARRAY_DIMS, ARRAY_STRIDES = 16, 24, 32, 40
ARRAY_BASE, ARRAY_DESCR, ARRAY_FLAGS = 48, 56, 64
# PyArray_Descr.
DESCR_BYTEORDER, DESCR_TYPENUM = 26, 28

C_CONTIGUOUS, OWNDATA, ALIGNED, WRITEABLE = 0x1, 0x4, 0x100, 0x400
_REUSABLE = C_CONTIGUOUS | OWNDATA | ALIGNED | WRITEABLE
_FOREIGN_ORDER = ord(">")

# The head of the table: the same for every program. A program's own links follow.
API = (
    "PyArray_Type",
    "PyArray_New",
    "PyFloat_Type",
    "PyLong_Type",
    "Py_None",
    "_Py_Dealloc",
    "PyList_New",
    "PyList_SetItem",
    "PyLong_AsDouble",
    "PyLong_AsLongLongAndOverflow",
    "PyLong_FromLongLong",
    "PyErr_Occurred",
    "PyErr_Clear",
    "PyEval_SaveThread",
    "PyEval_RestoreThread",
    "PyObject_Vectorcall",
)


def link(where: int | str) -> str:
    """The operand that points at a cell of `@links`: an `API` name, or an index."""
    index = API.index(where) if isinstance(where, str) else where
    return f"ptr getelementptr inbounds (i8, ptr @links, i64 {8 * index})"


def link_table(count: int) -> str:
    """The definition of `@links` with `count` cells."""
    return f"@links = dso_local global [{count} x ptr] zeroinitializer, align 8"


# Reference counts are updated as 64 bits, because CPython reads them so right afterwards: a
# narrower store would stall that load.
_REFERENCES = f"""
define internal void @incref(ptr %object) nounwind {{
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
define internal void @decref(ptr %object) nounwind {{
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

# Over tables of objects, out of line and unoptimised: a training step may have a hundred parameters
# to update, and code for each of them would take LLVM longer than the program itself. `@commit`
# moves the new values `outs` into the cells `slots` (null for what is no update). Nothing is freed
# until all cells hold their new contents, since freeing may run Python code.
_TABLES = f"""
define internal void @hold_all(ptr %objects, i64 %count) nounwind noinline optnone {{
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
define internal void @drop_all(ptr %objects, i64 %count) nounwind noinline optnone {{
entry:
  br label %each
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
define internal void @commit(ptr %outs, ptr %slots, i64 %count) nounwind noinline optnone {{
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

_ARRAYS = f"""
define internal ptr @array_data(ptr %object) nounwind {{
  %cell = getelementptr i8, ptr %object, i64 {ARRAY_DATA}
  %data = load ptr, ptr %cell
  ret ptr %data
}}
define internal ptr @new_array(i32 %typenum, i32 %nd, ptr %dims) nounwind {{
  %type = load ptr, {link("PyArray_Type")}
  %make = load ptr, {link("PyArray_New")}
  %array = call ptr %make(ptr %type, i32 %nd, ptr %dims, i32 %typenum, ptr null, ptr null,
                          i32 0, i32 0, ptr null)
  ret ptr %array
}}
define internal i1 @descr_fits(ptr %descr, i32 %typenum, i32 %alias) nounwind noinline optnone {{
  %num.p = getelementptr i8, ptr %descr, i64 {DESCR_TYPENUM}
  %num = load i32, ptr %num.p
  %order.p = getelementptr i8, ptr %descr, i64 {DESCR_BYTEORDER}
  %order = load i8, ptr %order.p
  %native = icmp ne i8 %order, {_FOREIGN_ORDER}
  %is.num = icmp eq i32 %num, %typenum
  %is.alias = icmp eq i32 %num, %alias
  %known = or i1 %is.num, %is.alias
  %same = and i1 %known, %native
  ret i1 %same
}}"""

# Whether `object` is exactly an ndarray with these properties. `singleton` is NumPy's descriptor
# of the dtype; arrays that were unpickled have a copy of it. `alias` is a second type number that
# is as good.
_ARRAY_FITS = f"""
define internal i1 @array_fits(ptr %object, ptr %singleton, i32 %typenum, i32 %alias, i32 %nd,
                               i32 %wanted) nounwind INLINING {{
  %type.p = getelementptr i8, ptr %object, i64 {TYPE}
  %type = load ptr, ptr %type.p
  %ndarray = load ptr, {link("PyArray_Type")}
  %is.array = icmp eq ptr %type, %ndarray
  br i1 %is.array, label %look, label %bad
look:
  %descr.p = getelementptr i8, ptr %object, i64 {ARRAY_DESCR}
  %descr = load ptr, ptr %descr.p
  %is.singleton = icmp eq ptr %descr, %singleton
  br i1 %is.singleton, label %layout, label %other
other:
  %same = call i1 @descr_fits(ptr %descr, i32 %typenum, i32 %alias)
  br i1 %same, label %layout, label %bad
layout:
  %rank.p = getelementptr i8, ptr %object, i64 {ARRAY_NDIM}
  %rank = load i32, ptr %rank.p
  %same.rank = icmp eq i32 %rank, %nd
  %flags.p = getelementptr i8, ptr %object, i64 {ARRAY_FLAGS}
  %flags = load i32, ptr %flags.p
  %kept = and i32 %flags, %wanted
  %same.flags = icmp eq i32 %kept, %wanted
  %ok = and i1 %same.rank, %same.flags
  ret i1 %ok
bad:
  ret i1 false
}}"""

# A spare is overwritten only if nobody else can see it: one reference, its own memory, no base.
_TAKE_SPARE = f"""
define internal ptr @take_spare(ptr %slot, i32 %typenum, i32 %nd, ptr %dims)
    nounwind noinline optnone {{
  %cell = getelementptr i8, ptr %slot, i64 8
  %spare = load ptr, ptr %cell
  %none = load ptr, {link("Py_None")}
  call void @incref(ptr %none)
  store ptr %none, ptr %cell
  %type.p = getelementptr i8, ptr %spare, i64 {TYPE}
  %type = load ptr, ptr %type.p
  %ndarray = load ptr, {link("PyArray_Type")}
  %is.array = icmp eq ptr %type, %ndarray
  br i1 %is.array, label %layout, label %drop
layout:
  %count.p = getelementptr i8, ptr %spare, i64 {REFCOUNT}
  %count = load i32, ptr %count.p
  %unique = icmp eq i32 %count, 1
  %base.p = getelementptr i8, ptr %spare, i64 {ARRAY_BASE}
  %base = load ptr, ptr %base.p
  %no.base = icmp eq ptr %base, null
  %flags.p = getelementptr i8, ptr %spare, i64 {ARRAY_FLAGS}
  %flags = load i32, ptr %flags.p
  %kept = and i32 %flags, {_REUSABLE}
  %reusable = icmp eq i32 %kept, {_REUSABLE}
  %rank.p = getelementptr i8, ptr %spare, i64 {ARRAY_NDIM}
  %rank = load i32, ptr %rank.p
  %same.rank = icmp eq i32 %rank, %nd
  %descr.p = getelementptr i8, ptr %spare, i64 {ARRAY_DESCR}
  %descr = load ptr, ptr %descr.p
  %same.descr = call i1 @descr_fits(ptr %descr, i32 %typenum, i32 %typenum)
  %ok.1 = and i1 %unique, %no.base
  %ok.2 = and i1 %reusable, %same.rank
  %ok.3 = and i1 %ok.1, %ok.2
  %ok = and i1 %ok.3, %same.descr
  %extents.p = getelementptr i8, ptr %spare, i64 {ARRAY_DIMS}
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
  %new = call ptr @new_array(i32 %typenum, i32 %nd, ptr %dims)
  ret ptr %new
}}"""

_NUMBERS = f"""
define internal i1 @int_to_f64(ptr %object, ptr %cell) nounwind noinline optnone {{
  %convert = load ptr, {link("PyLong_AsDouble")}
  %value = call double %convert(ptr %object)
  store double %value, ptr %cell
  %suspect = fcmp oeq double %value, -1.0
  br i1 %suspect, label %check, label %good
check:
  %occurred = load ptr, {link("PyErr_Occurred")}
  %error = call ptr %occurred()
  %fine = icmp eq ptr %error, null
  br i1 %fine, label %good, label %bad
bad:
  %clear = load ptr, {link("PyErr_Clear")}
  call void %clear()
  ret i1 false
good:
  ret i1 true
}}
define internal i1 @int_to_i64(ptr %object, ptr %cell) nounwind noinline optnone {{
  %overflow = alloca i32
  %convert = load ptr, {link("PyLong_AsLongLongAndOverflow")}
  %value = call i64 %convert(ptr %object, ptr %overflow)
  store i64 %value, ptr %cell
  %sign = load i32, ptr %overflow
  %fits = icmp eq i32 %sign, 0
  ret i1 %fits
}}"""

_THREADS = f"""
define internal ptr @release_gil() nounwind {{
  %save = load ptr, {link("PyEval_SaveThread")}
  %state = call ptr %save()
  ret ptr %state
}}
define internal void @acquire_gil(ptr %state) nounwind {{
  %restore = load ptr, {link("PyEval_RestoreThread")}
  call void %restore(ptr %state)
  ret void
}}"""


def helpers(*, small: bool) -> str:
    """The helper functions; those a program may call, all but two with the GIL held:

        ptr  @new_array(i32 typenum, i32 nd, ptr dims)              a C-contiguous array, or NULL
        ptr  @take_spare(ptr slot, i32 typenum, i32 nd, ptr dims)   the array for an update
        void @incref(ptr object), @decref(ptr object), @xdecref(ptr object or NULL)
        ptr  @release_gil()
        ptr  @array_data(ptr object)        without the GIL
        void @acquire_gil(ptr state)        without the GIL

    In a `small` program the argument checks are inlined.
    """
    fits = _ARRAY_FITS.replace("INLINING", "alwaysinline" if small else "noinline")
    return _REFERENCES + _TABLES + _ARRAYS + fits + _TAKE_SPARE + _NUMBERS + _THREADS
