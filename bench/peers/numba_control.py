"""Numba's loops where the program is a loop itself: recurrent nets, iterations, masks."""

from __future__ import annotations

import numpy as np
from numba import njit, prange

from bench.cases.loops import NEAR

F = np.float32


@njit(fastmath=True, error_model="numpy")
def _vector_states(w, u, b, start, x):
    a = x @ w
    steps, n = a.shape
    states = np.empty((steps + 1, n), x.dtype)
    states[0] = start
    for k in range(steps):
        row, old, new = a[k], states[k], states[k + 1]
        for j in range(n):
            row[j] += b[j]
        for i in range(n):
            h = old[i]
            for j in range(n):
                row[j] += h * u[i, j]
        for j in range(n):
            new[j] = np.tanh(row[j])
    return states


@njit(fastmath=True, error_model="numpy")
def _batch_states(w, u, b, start, x):
    steps, batch, n = x.shape[0], x.shape[1], u.shape[0]
    a = (x.reshape(steps * batch, x.shape[2]) @ w).reshape(steps, batch, n)
    states = np.empty((steps + 1, batch, n), x.dtype)
    states[0] = start
    for k in range(steps):
        new = states[k + 1]
        np.dot(states[k], u, new)
        for i in range(batch):
            for j in range(n):
                new[i, j] = np.tanh(new[i, j] + a[k, i, j] + b[j])
    return states


@njit(fastmath=True, error_model="numpy")
def _mean_square(states):
    flat = states.reshape(-1)
    total = F(0)
    for i in range(flat.size):
        total += flat[i] * flat[i]
    return total / F(flat.size)


def vector_cost(w, u, b, start, x):
    return _mean_square(_vector_states(w, u, b, start, x)[1:])


def batch_cost(w, u, b, start, x):
    return _mean_square(_batch_states(w, u, b, start, x)[1:])


def vector_slopes(w, u, b, start, x):
    states = _vector_states(w, u, b, start, x)
    steps, n = x.shape[0], u.shape[0]
    back = u.T.copy()
    slopes = np.empty((steps, n), x.dtype)
    carried = np.zeros(n, x.dtype)
    scale, one = F(2) / F(steps * n), F(1)
    for k in range(steps - 1, -1, -1):
        for j in range(n):
            h = states[k + 1, j]
            slopes[k, j] = (scale * h + carried[j]) * (one - h * h)
            carried[j] = 0
        for i in range(n):
            s = slopes[k, i]
            for j in range(n):
                carried[j] += s * back[i, j]
    return x.T @ slopes, states[:-1].T @ slopes, slopes.sum(axis=0)


def batch_slopes(w, u, b, start, x):
    states = _batch_states(w, u, b, start, x)
    steps, batch, n = x.shape[0], x.shape[1], u.shape[0]
    back = u.T.copy()
    slopes = np.empty((steps, batch, n), x.dtype)
    carried = np.zeros((batch, n), x.dtype)
    scale, one = F(2) / F(steps * batch * n), F(1)
    for k in range(steps - 1, -1, -1):
        for i in range(batch):
            for j in range(n):
                h = states[k + 1, i, j]
                slopes[k, i, j] = (scale * h + carried[i, j]) * (one - h * h)
        np.dot(slopes[k], back, carried)
    flat = slopes.reshape(steps * batch, n)
    before = states[:-1].reshape(steps * batch, n)
    return x.reshape(steps * batch, x.shape[2]).T @ flat, before.T @ flat, flat.sum(axis=0)


def newton_roots(a):
    """All at once: a loop for each number would not be vectorized."""
    x = np.empty_like(a)
    for i in range(a.size):
        x[i] = 0.5 * (a[i] + 1)
    far = True
    while far:
        count = 0
        for i in range(a.size):
            y = 0.5 * (x[i] + a[i] / x[i])
            count += abs(y * y - a[i]) > NEAR * a[i]
            x[i] = y
        far = count > 0
    return x


def term_sum(n, start):
    total = start
    for i in range(n):
        total += 1.0 / ((i + 1.0) * (i + 1.0))
    return total


def recurrence(n, start):
    x = start
    for i in range(n):
        x = 0.75 * x + i
    return x


def mask(x):
    out = np.empty(x.size, np.bool_)
    for i in prange(x.size):
        out[i] = x[i] > 0
    return out


def masked_sum(x):
    total = 0.0
    for i in prange(x.size):
        total += x[i] if x[i] > 0 else 0.0
    return total


def given_mask_sum(x, chosen):
    total = 0.0
    for i in prange(x.size):
        total += x[i] if chosen[i] else 0.0
    return total


LOOPS = {
    "recurrent net 2": vector_cost,
    "recurrent net 3": batch_cost,
    "recurrent net gradient 2": vector_slopes,
    "recurrent net gradient 3": batch_slopes,
    "Newton roots": newton_roots,
    "term sum": term_sum,
    "recurrence": recurrence,
    "mask": mask,
    "masked sum": masked_sum,
    "given mask sum": given_mask_sum,
}
