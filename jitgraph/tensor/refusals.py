"""Which functions of NumPy do not compile, and why: the errors and docs/numpy.md both say so."""

from __future__ import annotations

_IN_PLACE = "arrays never change here: use x.at[...] or T.where, which give a new one"
_IO = "reads or writes files or text"
_DATES = "works on dates"
_STRINGS = "makes strings"
_MEMORY = "is about memory, which a symbolic array has not"
_PYTHON = "calls a Python function element by element"
_OBJECTS = "makes arrays from other objects"
_SETTINGS = "settings or information of NumPy itself"
_DTYPES = "about dtypes, not arrays: NumPy's own takes `x.dtype`"

#: By name: what a call with a symbolic array is answered, and the page's reason.
REFUSED: dict[str, str] = {
    **dict.fromkeys(("copyto", "fill_diagonal", "place", "put", "putmask",
                     "put_along_axis"), _IN_PLACE),
    **dict.fromkeys(("fromfile", "fromregex", "fromstring", "frombuffer", "genfromtxt", "load",
                     "loadtxt", "save", "savetxt", "savez", "savez_compressed"), _IO),
    **dict.fromkeys(("busday_count", "busday_offset", "datetime_as_string", "datetime_data",
                     "is_busday", "isnat"), _DATES),
    **dict.fromkeys(("array2string", "array_repr", "array_str", "base_repr", "binary_repr",
                     "format_float_positional", "format_float_scientific"), _STRINGS),
    **dict.fromkeys(("may_share_memory", "shares_memory", "nested_iters", "require",
                     "from_dlpack"), _MEMORY),
    **dict.fromkeys(("frompyfunc", "fromiter"), _PYTHON),
    **dict.fromkeys(("asmatrix", "bmat"), _OBJECTS),
    "real_if_close": "the dtype of the result depends on the data",
    "min_scalar_type": "the dtype of the result depends on the data",
    "einsum_path": "T.einsum finds its path itself",
}  # fmt: skip

#: Functions that have no array to compile: NumPy's own serve as they are.
OUTSIDE: dict[str, str] = {
    **dict.fromkeys(("get_include", "get_printoptions", "getbufsize", "geterr", "geterrcall",
                     "info", "printoptions", "set_printoptions", "setbufsize", "seterr",
                     "seterrcall", "show_config", "show_runtime"), _SETTINGS),
    **dict.fromkeys(("isdtype", "issubdtype", "mintypecode", "promote_types", "typename"), _DTYPES),
    "broadcast_shapes": "takes shapes, not arrays",
    "mask_indices": "takes a number, not arrays",
    "isfortran": _MEMORY,
    "isscalar": "takes any object",
    "iterable": "takes any object",
    "asarray_chkfinite": "raises by what the data are",
}  # fmt: skip

#: Methods and attributes of arrays that variables lack.
METHODS: dict[str, str] = {
    **dict.fromkeys(("base", "byteswap", "ctypes", "data", "device", "flags", "getfield",
                     "itemsize", "nbytes", "setfield", "setflags", "strides", "to_device",
                     "view"), _MEMORY),
    **dict.fromkeys(("dump", "dumps", "tobytes", "tofile"), _IO),
    **dict.fromkeys(("fill", "put", "resize"), _IN_PLACE),
    **dict.fromkeys(("item", "tolist"), "there is no number yet: .eval() computes it"),
    "flat": "x.ravel() is there",
    "sort": _IN_PLACE.replace("x.at[...] or T.where", "T.sort"),
    "partition": _IN_PLACE.replace("x.at[...] or T.where", "T.partition"),
}  # fmt: skip
