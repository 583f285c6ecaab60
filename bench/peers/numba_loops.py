"""Loops as a competent user of Numba writes them: fused by hand, one pass where one will do.

FORMULAS are of one element; LOOPS are whole functions, compiled with parallel=True and
fastmath=True.
"""

from __future__ import annotations

import math

import numpy as np
from numba import get_num_threads, prange

F = np.float32
HALF_ROOT = 0.7071067811865476


FORMULAS = {
    "arithmetic": lambda a, b, c: a * b + c,
    "fused": lambda a, b, c: a * np.exp(-b * b) + np.sin(c) * np.tanh(a - b),
    "call 1": lambda a: a * a,
    "call 2": lambda a, b: a + b,
    "function exp": lambda a: np.exp(a),
    "function log": lambda a: np.log(a),
    "function sin": lambda a: np.sin(a),
    "function cos": lambda a: np.cos(a),
    "function tanh": lambda a: np.tanh(a),
    "function erf": lambda a: math.erf(a),
    "function power": lambda a, b: a**b,
    "function log1p": lambda a: np.log1p(a),
    "function expm1": lambda a: np.expm1(a),
    "function sqrt": lambda a: np.sqrt(a),
    "function sigmoid": lambda a: F(1) / (F(1) + np.exp(-a)),
}


def call_8(a, b, c, d, e, f, g, h):
    out = np.empty_like(a)
    for i in range(a.size):
        out[i] = a[i] + b[i] + c[i] + d[i] + e[i] + f[i] + g[i] + h[i]
    return out


def call_scalars(a, b):
    return a + b


def contiguous(a, b):
    out = np.empty_like(a)
    for i in prange(a.shape[0]):
        for j in range(a.shape[1]):
            out[i, j] = a[i, j] * b[i, j] + a[i, j]
    return out


def every_second_column(a, b):
    n, m = a.shape[0], (a.shape[1] + 1) // 2
    out = np.empty((n, m), a.dtype)
    for i in prange(n):
        for j in range(m):
            out[i, j] = a[i, 2 * j] * b[i, 2 * j] + F(1)
    return out


def transposed_operand(a, b):
    n, m = a.shape
    out = np.empty_like(a)
    for block in prange((n + 31) // 32):
        for j0 in range(0, m, 32):
            for i in range(32 * block, min(32 * block + 32, n)):
                for j in range(j0, min(j0 + 32, m)):
                    out[i, j] = a[i, j] * b[j, i] + a[i, j]
    return out


def row_broadcast(a, b):
    out = np.empty_like(a)
    for i in prange(a.shape[0]):
        for j in range(a.shape[1]):
            out[i, j] = a[i, j] * b[j] + b[j]
    return out


def column_broadcast(a, b):
    out = np.empty_like(a)
    for i in prange(a.shape[0]):
        c = b[i, 0]
        for j in range(a.shape[1]):
            out[i, j] = a[i, j] * c + c
    return out


def row_and_column(a, b):
    out = np.empty((a.shape[0], b.size), a.dtype)
    for i in prange(a.shape[0]):
        c = a[i, 0]
        for j in range(b.size):
            out[i, j] = c * b[j] + b[j]
    return out


def layout_input(a, b):
    n, m = a.shape
    out = np.empty((n, m), b.dtype)
    for block in prange((n + 31) // 32):
        for j0 in range(0, m, 32):
            for i in range(32 * block, min(32 * block + 32, n)):
                for j in range(j0, min(j0 + 32, m)):
                    out[i, j] = a[i, j] * b[i, j] + b[i, j]
    return out


def softmax(x):
    n, m = x.shape
    out = np.empty_like(x)
    for i in prange(n):
        peak = x[i, 0]
        for j in range(m):
            peak = max(peak, x[i, j])
        total = F(0)
        for j in range(m):
            e = np.exp(x[i, j] - peak)
            out[i, j] = e
            total += e
        scale = F(1) / total
        for j in range(m):
            out[i, j] *= scale
    return out


def logsumexp(x):
    n, m = x.shape
    out = np.empty(n, x.dtype)
    for i in prange(n):
        peak = x[i, 0]
        for j in range(m):
            peak = max(peak, x[i, j])
        total = F(0)
        for j in range(m):
            total += np.exp(x[i, j] - peak)
        out[i] = peak + np.log(total)
    return out


def likelihood(x, y):
    n, m = x.shape
    cost = 0.0
    for i in prange(n):
        peak = x[i, 0]
        for j in range(m):
            peak = max(peak, x[i, j])
        total = F(0)
        for j in range(m):
            total += np.exp(x[i, j] - peak)
        cost += peak + np.log(total) - x[i, y[i]]
    return F(cost / n)


def layer_norm(x, gamma, beta):
    n, m = x.shape
    out = np.empty_like(x)
    for i in prange(n):
        total = F(0)
        for j in range(m):
            total += x[i, j]
        mean = total / F(m)
        square = F(0)
        for j in range(m):
            d = x[i, j] - mean
            square += d * d
        scale = F(1) / np.sqrt(square / F(m) + F(1e-5))
        for j in range(m):
            out[i, j] = (x[i, j] - mean) * scale * gamma[j] + beta[j]
    return out


def gelu(x):
    n, m = x.shape
    out = np.empty_like(x)
    for i in prange(n):
        for j in range(m):
            v = x[i, j]
            out[i, j] = F(0.5) * v * (F(1) + math.erf(v * F(HALF_ROOT)))
    return out


def softmax_gradient(x, w):
    n, m = x.shape
    out = np.empty_like(x)
    for i in prange(n):
        peak = x[i, 0]
        for j in range(m):
            peak = max(peak, x[i, j])
        total, inner = F(0), F(0)
        for j in range(m):
            e = np.exp(x[i, j] - peak)
            out[i, j] = e
            total += e
            inner += e * w[i, j]
        scale = F(1) / total
        inner *= scale
        for j in range(m):
            out[i, j] *= scale * (w[i, j] - inner)
    return out


def logsumexp_gradient(x, w):
    n, m = x.shape
    out = np.empty_like(x)
    for i in prange(n):
        peak = x[i, 0]
        for j in range(m):
            peak = max(peak, x[i, j])
        total = F(0)
        for j in range(m):
            e = np.exp(x[i, j] - peak)
            out[i, j] = e
            total += e
        scale = w[i] / total
        for j in range(m):
            out[i, j] *= scale
    return out


def likelihood_gradient(x, y):
    n, m = x.shape
    out = np.empty_like(x)
    for i in prange(n):
        peak = x[i, 0]
        for j in range(m):
            peak = max(peak, x[i, j])
        total = F(0)
        for j in range(m):
            e = np.exp(x[i, j] - peak)
            out[i, j] = e
            total += e
        scale = F(1) / (total * F(n))
        for j in range(m):
            out[i, j] *= scale
        out[i, y[i]] -= F(1) / F(n)
    return out


def gelu_gradient(x, w):
    n, m = x.shape
    out = np.empty_like(x)
    for i in prange(n):
        for j in range(m):
            v = x[i, j]
            bell = np.exp(F(-0.5) * v * v) * F(0.3989422804014327)
            cumulated = F(0.5) * (F(1) + math.erf(v * F(HALF_ROOT)))
            out[i, j] = w[i, j] * (cumulated + v * bell)
    return out


def layer_norm_gradient(x, gamma, beta, w):
    n, m = x.shape
    dx = np.empty_like(x)
    parts = get_num_threads()
    d_gamma, d_beta = np.zeros((parts, m), x.dtype), np.zeros((parts, m), x.dtype)
    for part in prange(parts):
        for i in range(part * n // parts, (part + 1) * n // parts):
            total = F(0)
            for j in range(m):
                total += x[i, j]
            mean = total / F(m)
            square = F(0)
            for j in range(m):
                square += (x[i, j] - mean) * (x[i, j] - mean)
            scale = F(1) / np.sqrt(square / F(m) + F(1e-5))
            d, du = F(0), F(0)
            for j in range(m):
                unit = (x[i, j] - mean) * scale
                d += w[i, j] * gamma[j]
                du += w[i, j] * gamma[j] * unit
                d_gamma[part, j] += w[i, j] * unit
                d_beta[part, j] += w[i, j]
            d, du = d / F(m), du / F(m)
            for j in range(m):
                unit = (x[i, j] - mean) * scale
                dx[i, j] = scale * (w[i, j] * gamma[j] - d - unit * du)
    return dx, d_gamma.sum(axis=0), d_beta.sum(axis=0)


def sum_all(x):
    total = 0.0
    for i in prange(x.shape[0]):
        part = 0.0
        for j in range(x.shape[1]):
            part += x[i, j]
        total += part
    return total


def sum_1(x):
    out = np.empty(x.shape[0], x.dtype)
    for i in prange(x.shape[0]):
        total = 0.0
        for j in range(x.shape[1]):
            total += x[i, j]
        out[i] = total
    return out


def sum_0(x):
    n, m = x.shape
    parts = get_num_threads()
    out = np.zeros((parts, m), x.dtype)
    for part in prange(parts):
        for i in range(part * n // parts, (part + 1) * n // parts):
            for j in range(m):
                out[part, j] += x[i, j]
    return out.sum(axis=0)


def mean_all(x):
    total = 0.0
    for i in prange(x.shape[0]):
        part = 0.0
        for j in range(x.shape[1]):
            part += x[i, j]
        total += part
    return total / x.size


def mean_1(x):
    out = np.empty(x.shape[0], x.dtype)
    for i in prange(x.shape[0]):
        total = 0.0
        for j in range(x.shape[1]):
            total += x[i, j]
        out[i] = total / x.shape[1]
    return out


def mean_0(x):
    n, m = x.shape
    parts = get_num_threads()
    out = np.zeros((parts, m), x.dtype)
    for part in prange(parts):
        for i in range(part * n // parts, (part + 1) * n // parts):
            for j in range(m):
                out[part, j] += x[i, j]
    return out.sum(axis=0) / n


def var_all(x):
    total = 0.0
    for i in prange(x.shape[0]):
        for j in range(x.shape[1]):
            total += x[i, j]
    mean = total / x.size
    square = 0.0
    for i in prange(x.shape[0]):
        for j in range(x.shape[1]):
            square += (x[i, j] - mean) * (x[i, j] - mean)
    return square / x.size


def var_1(x):
    n, m = x.shape
    out = np.empty(n, x.dtype)
    for i in prange(n):
        total = 0.0
        for j in range(m):
            total += x[i, j]
        mean = total / m
        square = 0.0
        for j in range(m):
            square += (x[i, j] - mean) * (x[i, j] - mean)
        out[i] = square / m
    return out


def var_0(x):
    n, m = x.shape
    parts = get_num_threads()
    sums, squares = np.zeros((parts, m), x.dtype), np.zeros((parts, m), x.dtype)
    for part in prange(parts):
        for i in range(part * n // parts, (part + 1) * n // parts):
            for j in range(m):
                sums[part, j] += x[i, j]
    mean = sums.sum(axis=0) / n
    for part in prange(parts):
        for i in range(part * n // parts, (part + 1) * n // parts):
            for j in range(m):
                squares[part, j] += (x[i, j] - mean[j]) * (x[i, j] - mean[j])
    return squares.sum(axis=0) / n


def max_all(x):
    best = -np.inf
    for i in prange(x.shape[0]):
        row = x[i, 0]
        for j in range(x.shape[1]):
            row = max(row, x[i, j])
        best = max(best, row)
    return best


def max_1(x):
    out = np.empty(x.shape[0], x.dtype)
    for i in prange(x.shape[0]):
        best = x[i, 0]
        for j in range(x.shape[1]):
            best = max(best, x[i, j])
        out[i] = best
    return out


def max_0(x):
    n, m = x.shape
    parts = get_num_threads()
    out = np.empty((parts, m), x.dtype)
    for part in prange(parts):
        out[part] = x[part * n // parts]
        for i in range(part * n // parts, (part + 1) * n // parts):
            for j in range(m):
                out[part, j] = max(out[part, j], x[i, j])
    best = out[0].copy()
    for part in range(1, parts):
        best = np.maximum(best, out[part])
    return best


def argmax_1(x):
    out = np.empty(x.shape[0], np.int64)
    for i in prange(x.shape[0]):
        best = x[i, 0]
        for j in range(x.shape[1]):
            best = max(best, x[i, j])
        at = 0
        while x[i, at] != best:
            at += 1
        out[i] = at
    return out


def argmax_all(x):
    n, m = x.shape
    peaks = np.empty(n, x.dtype)
    for i in prange(n):
        best = x[i, 0]
        for j in range(m):
            best = max(best, x[i, j])
        peaks[i] = best
    row = np.argmax(peaks)
    return row * m + np.argmax(x[row])


def argmax_0(x):
    n, m = x.shape
    parts = get_num_threads()
    peaks, places = np.empty((parts, m), x.dtype), np.empty((parts, m), np.int64)
    for part in prange(parts):
        first = part * n // parts
        peaks[part], places[part] = x[first], first
        for i in range(first, (part + 1) * n // parts):
            for j in range(m):
                better = x[i, j] > peaks[part, j]
                places[part, j] = i if better else places[part, j]
                peaks[part, j] = x[i, j] if better else peaks[part, j]
    out = places[0].copy()
    best = peaks[0].copy()
    for part in range(1, parts):
        for j in range(m):
            if peaks[part, j] > best[j]:
                best[j], out[j] = peaks[part, j], places[part, j]
    return out


def cumsum_0(x):
    n, parts = x.size, get_num_threads()
    out, ends = np.empty_like(x), np.zeros(parts + 1, x.dtype)
    for part in prange(parts):
        total = 0.0
        for i in range(part * n // parts, (part + 1) * n // parts):
            total += x[i]
        ends[part + 1] = total
    ends = np.cumsum(ends)
    for part in prange(parts):
        total = ends[part]
        for i in range(part * n // parts, (part + 1) * n // parts):
            total += x[i]
            out[i] = total
    return out


def cumsum_1(x):
    out = np.empty_like(x)
    for i in prange(x.shape[0]):
        total = 0.0
        for j in range(x.shape[1]):
            total += x[i, j]
            out[i, j] = total
    return out


def product(a, b):
    return a @ b


def products(a, b):
    n, m, inner, k = a.shape[0], a.shape[1], a.shape[2], b.shape[2]
    out = np.zeros((n, m, k), a.dtype)
    for at in prange(n):
        for i in range(m):
            for j in range(inner):
                v = a[at, i, j]
                for c in range(k):
                    out[at, i, c] += v * b[at, j, c]
    return out


LOOPS = {
    "call 8": call_8,
    "call scalars": call_scalars,
    "layout contiguous": contiguous,
    "layout every second column": every_second_column,
    "layout transposed operand": transposed_operand,
    "layout row broadcast": row_broadcast,
    "layout column broadcast": column_broadcast,
    "layout row and column": row_and_column,
    "layout input": layout_input,
    "softmax": softmax,
    "logsumexp": logsumexp,
    "log-softmax NLL": likelihood,
    "layer norm": layer_norm,
    "gelu": gelu,
    "softmax gradient": softmax_gradient,
    "logsumexp gradient": logsumexp_gradient,
    "log-softmax NLL gradient": likelihood_gradient,
    "layer norm gradient": layer_norm_gradient,
    "gelu gradient": gelu_gradient,
    "cumsum 0": cumsum_0,
    "cumsum 1": cumsum_1,
    "product": product,
    "products": products,
    **{f"reduce {f} {axis}": globals()[f"{f}_{'all' if axis is None else axis}"]
       for f in ("sum", "mean", "var", "max", "argmax") for axis in (0, 1, None)},
}  # fmt: skip
