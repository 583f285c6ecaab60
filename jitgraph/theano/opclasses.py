"""Classes of Theano's ops, as tables: `Eye(dtype)(n, m, k)` calls our function with the options of
the class; `isinstance(node.op, T.Dot)` is asked of the names of our ops."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from jitgraph.theano import basic, extra, linalg
from jitgraph.theano.variables import as_tensor_variable, reshape


class _Kind(type):
    """Membership is asked of an op's name."""

    names: frozenset[str]

    def __instancecheck__(cls, instance: Any) -> bool:
        return getattr(instance, "name", None) in cls.names


class OpClass(metaclass=_Kind):
    """A class of ops: the options go to the function along with the inputs of a call."""

    names: frozenset[str] = frozenset()
    options: tuple[str, ...] = ()
    function: Callable[..., Any]

    def __init__(self, *options: Any, **named: Any) -> None:
        given = named | dict(zip(type(self).options, options, strict=False))
        self._given = {k: v for k, v in given.items() if k in type(self).options}
        vars(self).update(given)

    def __call__(self, *inputs: Any, **unused: Any) -> Any:
        return type(self).function(*inputs, **self._given)


def _reshaped(x: Any, shape: Any, ndim: int, name: str | None = None) -> Any:
    return reshape(x, shape, ndim)


def _split(x: Any, axis: Any, splits: Any, len_splits: int) -> Any:
    return basic.split(x, splits, len_splits, int(as_tensor_variable(axis).data))


def _totalled(x: Any, axis: Any = None, mode: str = "add") -> Any:
    return (extra.cumsum if mode == "add" else extra.cumprod)(x, axis)


#: name -> the function, its options, the names of our ops of this kind.
_TABLE: dict[str, tuple[Callable[..., Any], str, str]] = {
    "Alloc": (basic.alloc, "", "broadcast_to"),
    "ARange": (basic.arange, "dtype", "iota"),
    "Argmax": (basic.argmax, "axis", "reduce_argmax"),
    "Dot": (basic.dot, "", "matmul"),
    "Eye": (basic.eye, "dtype", ""),
    "Flatten": (basic.flatten, "outdim", "reshape"),
    "Join": (basic.join, "", "concatenate"),
    "Max": (basic.max, "axis", "reduce_max"),
    "MaxAndArgmax": (basic.max_and_argmax, "axis", "reduce_argmax"),
    "Mean": (basic.mean, "axis", ""),
    "Min": (basic.min, "axis", "reduce_min"),
    "Reshape": (_reshaped, "ndim name", "reshape"),
    "ScalarFromTensor": (as_tensor_variable, "", ""),
    "Split": (_split, "len_splits", ""),
    "TensorFromScalar": (as_tensor_variable, "", ""),
    "AllocDiag": (linalg.alloc_diag, "offset", ""),
    "Det": (linalg.det, "", "det"),
    "Eig": (linalg.eig, "", "eig"),
    "Eigh": (linalg.eigh, "UPLO", "eigh"),
    "Eigvalsh": (linalg.eigvalsh, "lower", "eigvalsh"),
    "Expm": (linalg.expm, "", ""),
    "ExtractDiag": (linalg.extract_diag, "offset", ""),
    "MatrixInverse": (linalg.matrix_inverse, "", "inverse inverse_or_nan"),
    "MatrixPinv": (linalg.pinv, "", ""),
    "QRFull": (linalg.qr, "mode", "qr qr_complete"),
    "QRIncomplete": (linalg.qr, "mode", "qr"),
    "SVD": (linalg.svd, "full_matrices compute_uv", "svd svd_full svdvals"),
    "TensorInv": (linalg.tensorinv, "ind", ""),
    "TensorSolve": (linalg.tensorsolve, "axes", ""),
    "Bartlett": (extra.bartlett, "", ""),
    "BinCountOp": (extra.bincount, "minlength", ""),
    "CpuContiguous": (extra.cpu_contiguous, "", ""),
    "CumOp": (_totalled, "axis mode", "prefix_sum prefix_prod"),
    "CumprodOp": (extra.cumprod, "axis", "prefix_prod"),
    "CumsumOp": (extra.cumsum, "axis", "prefix_sum"),
    "DiffOp": (extra.diff, "n axis", ""),
    "FillDiagonal": (extra.fill_diagonal, "", ""),
    "FillDiagonalOffset": (extra.fill_diagonal_offset, "", ""),
    "RavelMultiIndex": (extra.ravel_multi_index, "mode order", ""),
    "RepeatOp": (basic.repeat, "axis", ""),
    "SearchsortedOp": (extra.searchsorted, "side", "search_left search_right"),
    "UnravelIndex": (extra.unravel_index, "order", ""),
    "SortOp": (basic.sort, "kind order", "sort"),
    "ArgSortOp": (basic.argsort, "kind order", "argsort argsort_stable"),
}

globals().update({
    name: _Kind(name, (OpClass,), {
        "__doc__": f"`{name}` of Theano's.", "__module__": __name__,
        "function": staticmethod(function), "options": tuple(options.split()),
        "names": frozenset(names.split()),
    })
    for name, (function, options, names) in _TABLE.items()
})  # fmt: skip
