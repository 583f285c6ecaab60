"""Numba's loops for whole programs and steps of gradient descent."""

from __future__ import annotations

import math

import numpy as np
from numba import njit, prange

from bench.cases.programs import (
    COEFFICIENTS,
    RATE,
    SOFTENING,
    SWEEPS,
    TURNS,
    VOLATILITY,
)  # fmt: skip

F = np.float32
C0, C1, C2, C3, C4, C5, C6, C7, C8 = map(F, COEFFICIENTS)
HALF_ROOT = 0.7071067811865476


def black_scholes_of(kind):
    """The loop for one dtype: constants of float64 would draw float32 up."""
    r, v, half, root = kind(RATE), kind(VOLATILITY), kind(0.5), kind(HALF_ROOT)
    drift = kind(RATE + 0.5 * VOLATILITY**2)

    def black_scholes(spot, strike, years):
        call, put = np.empty_like(spot), np.empty_like(spot)
        for i in prange(spot.size):
            s, k, t = spot[i], strike[i], years[i]
            spread = v * np.sqrt(t)
            d1 = (np.log(s / k) + drift * t) / spread
            d2 = d1 - spread
            n1 = half + half * math.erf(d1 * root)
            n2 = half + half * math.erf(d2 * root)
            discounted = k * np.exp(-r * t)
            c = s * n1 - discounted * n2
            call[i] = c
            put[i] = c - s + discounted
        return call, put

    return black_scholes


def polynomial(x):
    out = np.empty_like(x)
    for i in prange(x.size):
        v = x[i]
        out[i] = (((((((C0 * v + C1) * v + C2) * v + C3) * v + C4) * v + C5) * v + C6) * v
                  + C7) * v + C8  # fmt: skip
    return out


def attraction(x, mass):
    n = x.shape[0]
    xs, ys, zs = x[:, 0].copy(), x[:, 1].copy(), x[:, 2].copy()
    out = np.empty_like(x)
    for i in prange(n):
        ax, ay, az = F(0), F(0), F(0)
        for j in range(n):
            dx, dy, dz = xs[j] - xs[i], ys[j] - ys[i], zs[j] - zs[i]
            squared = dx * dx + dy * dy + dz * dz + F(SOFTENING)
            pull = mass[j] / (squared * np.sqrt(squared))
            ax += dx * pull
            ay += dy * pull
            az += dz * pull
        out[i, 0], out[i, 1], out[i, 2] = ax, ay, az
    return out


def stencil(u):
    n, m = u.shape
    here, there = u.copy(), np.empty_like(u)
    for sweep in range(1, SWEEPS + 1):
        for i in prange(sweep, n - sweep):
            for j in range(sweep, m - sweep):
                there[i, j] = 0.25 * (here[i - 1, j] + here[i + 1, j]
                                      + here[i, j - 1] + here[i, j + 1])  # fmt: skip
        here, there = there, here
    return here[SWEEPS : n - SWEEPS, SWEEPS : m - SWEEPS].copy()


def mandelbrot(x, y):
    out = np.empty_like(x)
    for i in prange(x.size):
        re, im, count = x[i], y[i], 0
        for _ in range(TURNS):
            re2, im2 = re * re, im * im
            if re2 + im2 > F(4):
                break
            count += 1
            im = F(2) * re * im + y[i]
            re = re2 - im2 + x[i]
        out[i] = count
    return out


@njit(fastmath=True, error_model="numpy")
def _softmax_slope(scores, y):
    n, m = scores.shape
    cost = 0.0
    for i in range(n):
        peak = scores[i].max()
        total = scores.dtype.type(0)
        for j in range(m):
            e = np.exp(scores[i, j] - peak)
            scores[i, j] = e
            total += e
        cost -= np.log(scores[i, y[i]] / total)
        for j in range(m):
            scores[i, j] /= total * n
        scores[i, y[i]] -= scores.dtype.type(1) / n
    return cost / n


@njit(fastmath=True, error_model="numpy")
def _descend(parameter, slope, rate):
    flat, down = parameter.reshape(-1), slope.reshape(-1)
    for i in range(flat.size):
        flat[i] -= rate * down[i]


@njit(fastmath=True, error_model="numpy")
def _add_row(x, row):
    for i in range(x.shape[0]):
        for j in range(x.shape[1]):
            x[i, j] += row[j]


@njit(fastmath=True, error_model="numpy")
def _tanh_row(x, row):
    for i in range(x.shape[0]):
        for j in range(x.shape[1]):
            x[i, j] = np.tanh(x[i, j] + row[j])


@njit(fastmath=True, error_model="numpy")
def _sigmoid_row(x, row):
    one = x.dtype.type(1)
    for i in range(x.shape[0]):
        for j in range(x.shape[1]):
            x[i, j] = one / (one + np.exp(-(x[i, j] + row[j])))


@njit(fastmath=True, error_model="numpy")
def _through_tanh(slope, h):
    one = h.dtype.type(1)
    for i in range(h.shape[0]):
        for j in range(h.shape[1]):
            slope[i, j] *= one - h[i, j] * h[i, j]


def logistic_step(w, b, x, y, rate):
    scores = x @ w
    _add_row(scores, b)
    cost = _softmax_slope(scores, y)
    _descend(w, x.T @ scores, rate)
    _descend(b, scores.sum(axis=0), rate)
    return cost


def autoencoder_step(w, b1, b2, x, rate):
    n, one = x.shape[0], x.dtype.type(1)
    hidden = x @ w
    _sigmoid_row(hidden, b1)
    out = hidden @ w.T
    _sigmoid_row(out, b2)
    cost = 0.0
    for i in range(n):
        for j in range(x.shape[1]):
            v, o = x[i, j], out[i, j]
            cost -= v * np.log(o) + (one - v) * np.log(one - o)
            out[i, j] = (o - v) / n
    d_hidden = out @ w
    for i in range(n):
        for j in range(hidden.shape[1]):
            d_hidden[i, j] *= hidden[i, j] * (one - hidden[i, j])
    _descend(w, x.T @ d_hidden, rate)
    _descend(w, out.T @ hidden, rate)
    _descend(b1, d_hidden.sum(axis=0), rate)
    _descend(b2, out.sum(axis=0), rate)
    return cost / n


def xor_step(w1, w2, x, y, rate):
    h0 = 1 / (1 + math.exp(-(w1[0, 0] * x[0] + w1[1, 0] * x[1] + w1[2, 0])))
    h1 = 1 / (1 + math.exp(-(w1[0, 1] * x[0] + w1[1, 1] * x[1] + w1[2, 1])))
    out = 1 / (1 + math.exp(-(w2[0, 0] * h0 + w2[1, 0] * h1 + w2[2, 0])))
    d_out = 2 * (out - y) * out * (1 - out)
    d0 = rate * w2[0, 0] * d_out * h0 * (1 - h0)
    d1 = rate * w2[1, 0] * d_out * h1 * (1 - h1)
    w2[0, 0] -= rate * d_out * h0
    w2[1, 0] -= rate * d_out * h1
    w2[2, 0] -= rate * d_out
    for i in range(2):
        w1[i, 0] -= d0 * x[i]
        w1[i, 1] -= d1 * x[i]
    w1[2, 0] -= d0
    w1[2, 1] -= d1
    return (out - y) ** 2


def mlp_step(w1, b1, w2, b2, w3, b3, x, y, rate):
    h1 = x @ w1
    _tanh_row(h1, b1)
    h2 = h1 @ w2
    _tanh_row(h2, b2)
    d3 = h2 @ w3
    _add_row(d3, b3)
    cost = _softmax_slope(d3, y)
    d2 = d3 @ w3.T
    _through_tanh(d2, h2)
    d1 = d2 @ w2.T
    _through_tanh(d1, h1)
    _descend(w1, x.T @ d1, rate)
    _descend(b1, d1.sum(axis=0), rate)
    _descend(w2, h1.T @ d2, rate)
    _descend(b2, d2.sum(axis=0), rate)
    _descend(w3, h2.T @ d3, rate)
    _descend(b3, d3.sum(axis=0), rate)
    return cost


LOOPS = {
    "Black-Scholes float32": black_scholes_of(F),
    "Black-Scholes float64": black_scholes_of(float),
    "polynomial": polynomial,
    "n-body": attraction,
    "stencil": stencil,
    "mandelbrot": mandelbrot,
    "logistic step": logistic_step,
    "autoencoder step": autoencoder_step,
    "XOR step": xor_step,
    "MLP step": mlp_step,
}
