"""A call, or several, of every function of NumPy that compiles, as NumPy users write it.

The calls are evaluated three times: on arrays with NumPy, on variables with NumPy's functions, and
on variables with those of `jitgraph.tensor` under the name `np`. `|` separates calls.
"""

from __future__ import annotations

import numpy as np

_rng = np.random.default_rng(7)


def _normal(*shape: int) -> np.ndarray:
    return _rng.normal(size=shape)


A = _normal(3, 4)
#: Whatever the calls mention, by name.
ARRAYS: dict[str, np.ndarray] = {
    "a": A, "b": _normal(4, 5), "c": A + 1j * _normal(3, 4), "t": _normal(2, 3, 4),
    "q": _normal(4, 4), "u": _normal(5), "v": _normal(5), "s": np.sort(_normal(6)),
    "w": _rng.uniform(0.5, 2, (3, 4)), "p": _normal(5, 3), "r": _normal(5, 3),
    "n": np.where(_rng.random((3, 4)) < 0.3, np.nan, A),
    "x": np.array([0.0, -0.0, np.inf, -np.inf, np.nan, 1e-310, 5e-324, 1e300, 2.5, -2.5, 0.3]),
    "i": _rng.integers(0, 4, (3, 4)), "k": _rng.integers(-9, 9, 7), "m": A > 0,
    "j": np.array([0, 2, 2, 1, 6]), "h": _rng.integers(0, 120, 7).astype(np.int8),
}  # fmt: skip

CALLS: dict[str, str] = {
    # arrays in another shape
    "reshape": "np.reshape(a, (4, 3)) | np.reshape(a, -1)", "ravel": "np.ravel(a)",
    "transpose": "np.transpose(a) | np.transpose(t, (2, 0, 1))",
    "permute_dims": "np.permute_dims(t, (1, 0, 2))", "swapaxes": "np.swapaxes(t, 0, -1)",
    "moveaxis": "np.moveaxis(t, 0, 2)", "rollaxis": "np.rollaxis(t, 2, 1)",
    "matrix_transpose": "np.matrix_transpose(t)", "squeeze": "np.squeeze(a[None])",
    "expand_dims": "np.expand_dims(a, (0, 2))", "atleast_1d": "np.atleast_1d(a[0, 0])",
    "atleast_2d": "np.atleast_2d(u, a)", "atleast_3d": "np.atleast_3d(u)",
    "broadcast_to": "np.broadcast_to(u, (2, 5))",
    "broadcast_arrays": "np.broadcast_arrays(a, a[:1])", "shape": "np.shape(a)[1]",
    "size": "np.size(a) | np.size(a, 0)", "ndim": "np.ndim(a)",
    "resize": "np.resize(a, (5, 4))", "copy": "np.copy(a)", "asarray": "np.asarray(1.5) * a",
    "array": "np.array([1, 2, 3]) * i[:, :3]", "asanyarray": "np.asanyarray(2) * a",
    "ascontiguousarray": "np.ascontiguousarray([2.0]) * a",
    "asfortranarray": "np.asfortranarray([2.0]) * a", "astype": "np.astype(a, 'float32')",
    # joined and cut
    "concatenate": "np.concatenate([a, a], axis=1) | np.concatenate((a, i), axis=None)",
    "concat": "np.concat([a, a])", "stack": "np.stack([a, a], axis=1)",
    "vstack": "np.vstack([u, v])", "row_stack": "np.vstack([u, v])",
    "hstack": "np.hstack([u, v])", "dstack": "np.dstack([a, a])",
    "column_stack": "np.column_stack([u, v])", "block": "np.block([[a, a], [a, a]])",
    "split": "np.split(a, 2, axis=1) | np.split(a, [1], axis=0)",
    "array_split": "np.array_split(s, 4) | np.array_split(a, [1, 3], axis=1)",
    "hsplit": "np.hsplit(a, 2)", "vsplit": "np.vsplit(a, [1])", "dsplit": "np.dsplit(t, 2)",
    "append": "np.append(a, [1, 2]) | np.append(a, a, axis=1)",
    "unstack": "np.unstack(a, axis=1)",
    "delete": "np.delete(a, [0, 2], axis=1) | np.delete(a, 1) | np.delete(u, -1)",
    "insert": "np.insert(a, 1, 5.0, axis=0) | np.insert(a, 2, [1.0, 2, 3], axis=1)",
    # in other places
    "flip": "np.flip(a) | np.flip(a, 0)", "fliplr": "np.fliplr(a)", "flipud": "np.flipud(a)",
    "rot90": "np.rot90(a) | np.rot90(a, 2) | np.rot90(a, -1)",
    "roll": "np.roll(a, 2) | np.roll(a, -1, axis=0) | np.roll(a, (1, 2), axis=(0, 1))",
    "repeat": "np.repeat(a, 3) | np.repeat(a, [1, 0, 2], axis=0)",
    "repeats": "np.repeat(u, j) |"
              " np.repeat(a, np.abs(k[:4]), axis=1) | np.repeat(u, 0 * j)",
    "tile": "np.tile(a, 2) | np.tile(u, (2, 1, 3))",
    "pad": "np.pad(a, 2) | np.pad(a, ((1, 2), (0, 1)), constant_values=(3, 4)) |"
           " np.pad(a, 9, mode='reflect') | np.pad(a, 7, mode='symmetric') |"
           " np.pad(a, (1, 2), 'edge') | np.pad(a, ((5, 1), (2, 2)), 'wrap') |"
           " np.pad(a, {0: 1, -1: (0, 2)}, 'reflect', reflect_type='odd') |"
           " np.pad(a, 7, 'symmetric', reflect_type='odd') |"
           " np.pad(a, (2, 3), 'linear_ramp', end_values=((1, 2), (0, -5))) |"
           " np.pad(a, 2, 'maximum') | np.pad(a, 3, 'mean', stat_length=2) |"
           " np.pad(a, ((1, 2), (3, 0)), 'median') | np.pad(a, 1, 'minimum', stat_length=9)",
    "pad integers": "np.pad(i, 9, 'reflect', reflect_type='odd') | np.pad(k, 4, 'mean') |"
                    " np.pad(k, 5, 'linear_ramp', end_values=3) |"
                    " np.pad(h, 3, 'median', stat_length=4) | np.pad(i, 2, 'minimum')",
    "trim_zeros": "np.trim_zeros(np.pad(u, 2)) | np.trim_zeros(np.array([0, 0, 1, 0]) * k[:4], 'f')"
                  " | np.trim_zeros(np.pad(a, (1, 2)))",
    "packbits": "np.packbits(m) | np.packbits(k > 0, bitorder='little') | np.packbits(i, axis=1)",
    "unpackbits": "np.unpackbits(np.astype(i, 'uint8'), axis=1) |"
                  " np.unpackbits(np.astype(i, 'uint8'), count=-3, bitorder='little') |"
                  " np.unpackbits(np.astype(i, 'uint8'), axis=0, count=29)",
    "apply_along_axis": "np.apply_along_axis(lambda r: r.sum() * r[::-1], 1, a) |"
                        " np.apply_along_axis(lambda r: r.max() - r.min(), 0, t)",
    "apply_over_axes": "np.apply_over_axes(lambda x, axis: x.sum(axis), t, [0, 2])",
    "take": "np.take(a, [0, -1], axis=1) | np.take(a, i)",
    "take_along_axis": "np.take_along_axis(a, i[:, :2], axis=1)",
    "ix_": "np.ix_(np.abs(k), j)", "choose": "np.choose(i % 2, [a, w])",
    # diagonals
    "diag": "np.diag(a, 1) | np.diag(u, -2)", "diagonal": "np.diagonal(t, 1, 1, 2)",
    "diagflat": "np.diagflat(a, 1)", "trace": "np.trace(t, 1) | np.trace(i)",
    "tri": "np.tri(3, 4, 1) * a", "tril": "np.tril(a, -1) | np.tril(u)",
    "triu": "np.triu(t, 1)", "tril_indices": "np.tril_indices(3)[0] + i[0, 0]",
    "tril_indices_from": "np.tril_indices_from(q, 1)",
    "triu_indices_from": "np.triu_indices_from(a)",
    "triu_indices": "np.triu_indices(3, 1)[1] + i[0, 0]",
    "diag_indices": "np.diag_indices(4)[0] + i[0, 0]",
    "diag_indices_from": "np.diag_indices_from(q)",
    "vander": "np.vander(u, 3) | np.vander(k, increasing=True)",
    # sequences and grids
    "arange": "np.arange(2, 9, 3) + k[0]", "eye": "np.eye(3, 4) * a",
    "identity": "np.identity(4) * q", "zeros": "np.zeros((3, 4)) + a", "ones": "np.ones(4) + a",
    "full": "np.full((3, 4), 2.5) + a", "zeros_like": "np.zeros_like(a)",
    "ones_like": "np.ones_like(i)", "full_like": "np.full_like(i, 7)",
    "empty": "np.empty((3, 4)) * 0 + a", "empty_like": "np.empty_like(i) * 0",
    "linspace": "np.linspace(u[0], u[1], 7) | np.linspace(u, 2 * v, 4, axis=-1, endpoint=False)",
    "logspace": "np.logspace(u[0], u[1], 7, base=2)",
    "geomspace": "np.geomspace(w[0, 0], w[1, 1], 7)",
    "meshgrid": "np.meshgrid(u, s) | np.meshgrid(u, s, indexing='ij', sparse=True)",
    "indices": "np.indices((3, 4))[0] * a", "fromfunction": "np.fromfunction(np.add, (3, 4)) * a",
    "bartlett": "np.bartlett(5) * u", "blackman": "np.blackman(5) * u",
    "hamming": "np.hamming(5) * u", "hanning": "np.hanning(5) * u",
    "kaiser": "np.kaiser(5, 14) * u",
    # reductions
    **{f: f"np.{f}(a) | np.{f}(a, axis=0) | np.{f}(i, axis=1, keepdims=True)"
       for f in ("sum", "prod", "max", "min", "mean", "std", "var", "ptp", "argmax", "argmin",
                 "amax", "amin")},
    **{f: f"np.{f}(m, axis=0) | np.{f}(a)" for f in ("any", "all", "count_nonzero")},
    **{f: f"np.{f}(n) | np.{f}(n, axis=0)"
       for f in ("nansum", "nanprod", "nanmean", "nanmax", "nanmin", "nanstd", "nanvar",
                 "nanargmax", "nanargmin", "nancumsum", "nancumprod")},
    "cumsum": "np.cumsum(a) | np.cumsum(i, axis=0)",
    "cumprod": "np.cumprod(a) | np.cumprod(c) | np.cumprod(c, axis=0) |"
               " np.cumprod(a, axis=1) | np.cumprod(h, dtype='int8')",
    "complex products": "np.prod(c) | np.prod(c, axis=1) | np.prod(np.tile(c, 5), keepdims=True)",
    "cumulative_sum": "np.cumulative_sum(a, axis=1, include_initial=True)",
    "cumulative_prod": "np.cumulative_prod(a, axis=0)",
    "average": "np.average(a, axis=1, weights=w) | np.average(a, 0, w[:, 0], returned=True)",
    "cov": "np.cov(a) | np.cov(u, v) | np.cov(c) | np.cov(a, rowvar=False, bias=True)",
    "corrcoef": "np.corrcoef(a) | np.corrcoef(u, v)",
    # products
    "dot": "np.dot(a, b) | np.dot(a, t[:, 0]) | np.dot(b, np.ones((2, 5, 3)))"
           .replace("t[:, 0]", "q[:, :2]"),
    "matmul": "np.matmul(t, q)", "inner": "np.inner(a, t)", "outer": "np.outer(u, v)",
    "vdot": "np.vdot(c, a)", "vecdot": "np.vecdot(c, a)", "matvec": "np.matvec(t, a[0])",
    "vecmat": "np.vecmat(a[:, 0], t)", "kron": "np.kron(a, b) | np.kron(a, u)",
    "cross": "np.cross(p, r)",
    "tensordot": "np.tensordot(a, b, 1) | np.tensordot(t, a, axes=([1, 2], [0, 1])) |"
                 " np.tensordot(u, v, 0)",
    "einsum": "np.einsum('ij,jk', a, b) | np.einsum('ii->i', q) | np.einsum('ij->', a) |"
              " np.einsum('...ij,jk->...ik', t, b) | np.einsum('ij,ij,jk,k->i', a, w, b, v) |"
              " np.einsum('bij,bj->bi', t, a[:2]) | np.einsum(a, [0, 1], b, [1, 2], [0, 2])",
    "convolve": "np.convolve(s, u) | np.convolve(u, s, 'same') | np.convolve(k, j, 'valid')",
    "correlate": "np.correlate(s, u) | np.correlate(u[:4], s, 'same') |"
                 " np.correlate(u, s, 'full')",
    # sampled functions
    "diff": "np.diff(a, 2) | np.diff(m, axis=0) | np.diff(u, prepend=0, append=[1, 2])",
    "ediff1d": "np.ediff1d(a, to_begin=[1, 2], to_end=0)",
    "gradient": "np.gradient(q) | np.gradient(u, s[:5], edge_order=2) | np.gradient(k, 2.0)",
    "trapezoid": "np.trapezoid(a, dx=0.5, axis=0) | np.trapezoid(u, v)",
    "unwrap": "np.unwrap(5 * a) | np.unwrap(k, period=4)",
    "interp": "np.interp(u, s, np.cos(s)) | np.interp(3 * u, s, s * s, left=-1, right=7)",
    "polyval": "np.polyval(u, a)", "polyadd": "np.polyadd(u, s)", "polysub": "np.polysub(s, u)",
    "polymul": "np.polymul(u, s)", "polyder": "np.polyder(u, 2)", "polyint": "np.polyint(u, 2)",
    "poly": "np.poly(u) | np.poly(np.array([1, 2, 3]) * k[:3])",
    "polydiv": "np.polydiv(s, u[:3]) | np.polydiv(u[:2], s) | np.polydiv(np.array([1., 5, 6]) +"
               " 0 * u[:3], [1.0, 2.0])",
    "polyfit": "np.polyfit(s, np.sin(s), 2) | np.polyfit(u, v, 1, w=s[:5]) |"
               " np.polyfit(p[:, 0], r, 2) | np.polyfit(s, np.sin(s), 2, cov=True) |"
               " np.polyfit(s, np.sin(s), 2, full=True)[:3] |"
               " np.polyfit(p[:, 0], r, 1, cov='unscaled')",
    "roots": "np.sort(np.roots(s) + 0j) | np.sort(np.roots(np.pad(u, 2)) + 0j) |"
             " np.sort(np.roots(k[:4]) + 0j)",
    # positions and counts
    "searchsorted": "np.searchsorted(s, u) | np.searchsorted(s, s, side='right') |"
                    " np.searchsorted(s, x) | np.searchsorted(np.sort(np.ravel(b)), n) |"
                    " np.searchsorted(s[::-1], u, 'right', np.arange(6)[::-1]) |"
                    " np.searchsorted(np.sort(np.ravel(b)), np.sort(np.ravel(b)), 'right')",
    "digitize": "np.digitize(u, s) | np.digitize(u, s[::-1], right=True)",
    "bincount": "np.bincount(np.abs(k)) | np.bincount(j, u, minlength=9)",
    "histogram": "np.histogram(a) | np.histogram(a, 5, (-1, 1)) | np.histogram(u, s, density=True)"
                 " | np.histogram(a, 4, weights=w) |"
                 " np.histogram(np.ravel(b), np.sort(np.ravel(t)))",
    "histogram_bin_edges": "np.histogram_bin_edges(a, 6)",
    "histogramdd": "np.histogramdd([u, v, u * v], 3) |"
                   " np.histogramdd([u, v], (2, [-1, 0, 1.5]), weights=s[:5]) |"
                   " np.histogramdd([u], 4, density=True)",
    "histogram2d": "np.histogram2d(u, v, bins=3)",
    "unravel_index": "np.unravel_index(np.abs(k), (3, 4))",
    "ravel_multi_index": "np.ravel_multi_index((i, i), (4, 5)) |"
                         " np.ravel_multi_index((i, k[:4]), (3, 3), mode='wrap')",
    "isin": "np.isin(i, k) | np.isin(n, np.tile(n, 3)) | np.isin(k, k[:0]) |"
            " np.isin(i, [1, 2], invert=True)",
    # elementwise
    "where": "np.where(m, a, 0) | np.where(a > w, i, a)", "clip": "np.clip(a, -0.5, w)",
    "round": "np.round(a, 1)", "around": "np.around(a)", "fix": "np.fix(x)",
    "fabs": "np.fabs(k)", "modf": "np.modf(x)", "frexp": "np.frexp(x)",
    "ldexp": "np.ldexp(x, -9) | np.ldexp(u, k[:5])", "divmod": "np.divmod(k, j[0] + 4)",
    "float_power": "np.float_power(w, i)", "sinc": "np.sinc(x[-3:])", "spacing": "np.spacing(x)",
    "nextafter": "np.nextafter(x, 1.0) | np.nextafter(x, -x)",
    "isposinf": "np.isposinf(x)", "isneginf": "np.isneginf(x)", "isreal": "np.isreal(c)",
    "iscomplex": "np.iscomplex(c)", "nan_to_num": "np.nan_to_num(x) | np.nan_to_num(n, nan=3.0)",
    "isclose": "np.isclose(a, a + 1e-9)", "allclose": "np.allclose(a, w)",
    "array_equal": "np.array_equal(a, a) | np.array_equal(n, n, equal_nan=True)",
    "array_equiv": "np.array_equiv(a, a[:1])", "bitwise_count": "np.bitwise_count(k)",
    "gcd": "np.gcd(k, h)", "lcm": "np.lcm(k, h)",
    "select": "np.select([a > 1, a < -1], [2 * a, 3 * a], default=7)",
    "piecewise": "np.piecewise(a, [a < 0, a > 1], [lambda v: -v, 5.0])",
    # complex numbers
    **{f: f"np.{f}(c)" for f in ("real", "imag", "exp", "exp2", "expm1", "log", "log2", "log10",
                                 "log1p", "sqrt", "sin", "cos", "tan", "sinh", "cosh", "tanh",
                                 "arcsin", "arccos", "arctan", "arcsinh", "arccosh", "arctanh",
                                 "sign")},
    "angle": "np.angle(c) | np.angle(c, deg=True) | np.angle(k)",
    "power": "np.power(c, a) | c ** 2 | c ** 0.5 | 2.0 ** c",
    # what is known of a variable
    "iscomplexobj": "np.iscomplexobj(c)", "isrealobj": "np.isrealobj(c)",
    "result_type": "np.zeros(2, np.result_type(i, 'float32'))",
    "common_type": "np.zeros(2, np.common_type(a, c))",
    "can_cast": "np.can_cast('int8', 'int16')",
    # arrays' methods, operators and ufuncs' methods
    "methods": "a.repeat(2, axis=1) | c.real + c.conj().imag | q.trace() | q.diagonal(1) | t.mT |"
               " a.cumprod(0) | a.sum(where=m, initial=2) | a.max(axis=0, initial=3, where=m) |"
               " a.mean(axis=1, where=a < 2) | m.any(where=a > 0) | s.searchsorted(u) |"
               " a.astype('float32') | (i % 2).choose([a, w]) | a.clip(0) | a.round(1)",
    "sort": "np.sort(a) | np.sort(i, axis=0) | np.sort(c, axis=None)",
    "argsort": "np.argsort(a) | np.argsort(i, axis=0, kind='stable')",
    "lexsort": "np.lexsort((u, v)) | np.lexsort((k, h))",
    "sort_complex": "np.sort_complex(c) | np.sort_complex(u) | np.sort_complex(h)",
    "partition": "np.partition(k, 3)[3] | np.sort(np.partition(t, 1)[..., :1]) |"
                 " np.partition(a, -2, axis=0)[1] | np.partition(k, [1, 4])[[1, 4]]",
    "argpartition": "np.take(k, np.argpartition(k, 3)[3]) | k[k.argpartition(-2)[-2]]",
    "union1d": "np.union1d(i, k)",
    "intersect1d": "np.intersect1d(i, k) | np.intersect1d(i, k, return_indices=True) |"
                   " np.intersect1d(n, a)",
    "setdiff1d": "np.setdiff1d(k, i) | np.setdiff1d(k, i, assume_unique=True)",
    "setxor1d": "np.setxor1d(i, k) | np.setxor1d(u, v)",
    **{f"unique_{f}": f"np.unique_{f}(i) | np.unique_{f}(n)" for f in ("all", "counts", "inverse")},
    "unique_values": "np.sort(np.unique_values(i))",
    "unique": "np.unique(i) | np.unique(i[:, :2] % 2, axis=0) | np.unique(t > 0, axis=2) |"
              " np.unique(i % 2, True, True, True, axis=1) | np.unique(np.round(n), axis=0) |"
              " np.unique(k, return_counts=True, return_index=True)",
    "median": "np.median(a) | np.median(t, axis=(0, 2)) | np.median(i, axis=1, keepdims=True)",
    "nanmedian": "np.nanmedian(n, axis=1) | np.nanmedian(n)",
    "quantile": "np.quantile(a, [0.2, 0.5], axis=1) | np.quantile(t, 0.3, method='hazen')",
    "percentile": "np.percentile(a, 30) | np.percentile(i, [20, 80], axis=0, method='nearest')",
    "nanquantile": "np.nanquantile(n, 0.4, axis=1)",
    "nanpercentile": "np.nanpercentile(n, [10, 60], axis=0)",
    "nonzero": "np.nonzero(m) | np.nonzero(k)",
    "flatnonzero": "np.flatnonzero(m)",
    "argwhere": "np.argwhere(m)",
    "extract": "np.extract(m, a)",
    "compress": "np.compress(m[0], a, axis=1) | np.compress(m[:, 0], a, axis=0)",
    "reduce": "np.add.reduce(a) | np.multiply.reduce(a, axis=1, keepdims=True) |"
              " np.maximum.reduce(t, axis=(0, 2)) | np.logical_and.reduce(m)",
    "accumulate": "np.add.accumulate(a, axis=1) | np.minimum.accumulate(n) |"
                  " np.maximum.accumulate(k)",
    "ufunc.outer": "np.multiply.outer(a, u) | np.greater.outer(u, v)",
    "dtype": "np.add(a, 1, dtype='float32') | np.sum(a, dtype='float32')",
}  # fmt: skip

#: Calls whose result depends smoothly on their floating arrays.
SMOOTH = [
    "reshape", "transpose", "concatenate", "block", "insert", "delete", "flip", "roll", "repeat",
    "tile", "pad", "take", "diag", "tril", "trace", "vander", "linspace", "logspace", "geomspace",
    "meshgrid", "sum", "prod", "mean", "std", "var", "ptp", "nanmean", "nanvar", "cumsum",
    "cumprod", "average", "cov", "corrcoef", "dot", "inner", "outer", "vdot", "kron", "cross",
    "tensordot", "einsum", "convolve", "correlate", "diff", "gradient", "trapezoid", "interp",
    "polyval", "polymul", "polyint", "poly", "polyfit", "histogram2d",
    "complex products", "apply_along_axis", "apply_over_axes", "partition", "repeats",
    "polydiv", "trim_zeros",    "take_along_axis", "where", "clip", "select",
    "choose", "float_power", "sinc", "real", "exp", "log", "sqrt", "sin", "tanh", "arcsin",
    "arctanh", "power", "angle", "methods", "reduce", "sort", "median", "quantile", "percentile",
]  # fmt: skip
