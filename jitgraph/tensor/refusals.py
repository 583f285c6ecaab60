"""Which functions of NumPy do not compile, and why: the errors and docs/numpy.md both say so."""

from __future__ import annotations

_IN_PLACE = "arrays never change here: use x.at[...] or T.where, which give a new one"
_IO = "reads or writes files or text"
_DATES = "works on dates"
_STRINGS = "makes strings"
_MEMORY = "is about memory, which a symbolic array has not"
_PYTHON = "calls a Python function element by element"
_OBJECTS = "makes arrays from other objects"
_LENGTH = "the length of the result depends on the data"

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
    **dict.fromkeys(("apply_along_axis", "apply_over_axes", "frompyfunc", "fromiter"), _PYTHON),
    **dict.fromkeys(("asmatrix", "bmat"), _OBJECTS),
    "trim_zeros": _LENGTH,
    "packbits": "packs bits of bytes, which nobody has asked for yet",
    "unpackbits": "unpacks bits of bytes, which nobody has asked for yet",
    "real_if_close": "the dtype of the result depends on the data",
    "roots": "needs the eigenvalues of a matrix that the data makes; see T.linalg",
    "poly": "needs the eigenvalues of its argument; see T.linalg",
    "polyfit": "is numpy.linalg.lstsq of T.vander(x, n): write that",
    "polydiv": "the length of the result depends on the data",
    "histogramdd": "histogram2d and histogram are there",
    "mask_indices": "calls a Python function on an array",
    "min_scalar_type": "the dtype of the result depends on the data",
    "einsum_path": "T.einsum finds its path itself",
}  # fmt: skip
