"""Random numbers: known answers, distributions by SciPy's tests (seeds are fixed, so they cannot
come out otherwise), and that nothing but key and position matters."""

from __future__ import annotations

import platform
from dataclasses import replace
from typing import Any

import mpmath
import numpy as np
import pytest

import jitgraph as jg
import jitgraph.tensor as T
from jitgraph.codegen import cpu
from jitgraph.codegen.target import host
from jitgraph.errors import DomainError, DTypeError, GradientError, ShapeError
from jitgraph.ir.function import Function
from jitgraph.ir.opdef import OPS
from jitgraph.ir.types import Type
from jitgraph.ir.values import Value
from tests.native import compiled

stats = pytest.importorskip("scipy.stats")

KEY = T.random.key(2026)
N = 20_000
#: Of the p-values of many tests the smallest must not be below this; chance makes it one in 10,000.
SMALLEST = 1e-4
BITS = np.random.default_rng(3).integers(0, 2**64, 1000, dtype=np.uint64)
EDGES = np.array([0, 1, 2**12, 2**31, 2**32, 2**63 - 1, 2**63, 2**64 - 1], np.uint64)


def drawn(*expressions: Any, **options: Any) -> Any:
    """The values of expressions, from one compiled function."""
    return jg.function([], list(expressions), **options)()


def native(name: str, *operands: Any) -> Any:
    """An op of the tables, compiled."""
    arrays = [np.asarray(o) for o in operands]
    params = [Value(Type(a.dtype, (None,) * a.ndim)) for a in arrays]
    return compiled(Function(params, [OPS[name](*params)]))(*arrays)[0]  # type: ignore[operator]


# --- bits ----------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("counter", "key", "answer"),
    [
        (0, 0, 0x6B20015999BA4EFE),
        (2**64 - 1, 2**64 - 1, 0x1CB996FCBB002BE7),
        (0x243F6A8885A308D3, 0x13198A2E03707344, 0xC4923A9C483DF7A0),
    ],
)
def test_threefry_knows_its_answers(counter: int, key: int, answer: int) -> None:
    """Those of the Random123 library for 20 rounds of threefry2x32."""
    operands = np.uint64(counter), np.uint64(key)
    assert int(OPS["threefry"].evaluate(*operands)) == answer
    assert int(native("threefry", *operands)) == answer


def test_threefry_is_the_same_natively() -> None:
    keys = BITS[::-1].copy()
    np.testing.assert_array_equal(
        native("threefry", BITS, keys), OPS["threefry"].evaluate(BITS, keys)
    )


def test_jax_has_the_same_keys_and_numbers() -> None:
    """What `jax.random` gives for split(key(0)) and, up to its 23 bits, for normal(key(42))."""
    pair = T.random.split(T.random.key(0)).eval({})
    words = [[1797259609, 2579123966], [928981903, 3453687069]]
    assert pair.tolist() == [high << 32 | low for high, low in words]
    normal = T.random.normal(T.random.key(42), (), "float32").eval({})
    assert abs(normal - -0.028304616) < 2**-22


def test_bits_by_hand() -> None:
    """Bits are those of the position in C order; narrow ones are both halves together."""
    wide, narrow, byte = drawn(*(T.random.bits(KEY, (3, 4), d)
                                 for d in ("uint64", "uint32", "uint8")))  # fmt: skip
    expected = OPS["threefry"].evaluate(np.arange(12, dtype=np.uint64), np.uint64(2026))
    np.testing.assert_array_equal(wide.ravel(), expected)
    np.testing.assert_array_equal(narrow.ravel(), ((expected >> 32) ^ expected).astype("u4"))
    np.testing.assert_array_equal(byte, narrow.astype("u1"))


@pytest.mark.parametrize("dtype", ["float16", "float32", "float64"])
def test_uniform_by_hand(dtype: str) -> None:
    """The bits are the fraction of a number in [1, 2)."""
    info, size = np.finfo(dtype), np.dtype(dtype).itemsize
    unit, word, scaled = drawn(
        T.random.uniform(KEY, (1000,), dtype),
        T.random.bits(KEY, (1000,), f"uint{8 * size}"),
        T.random.uniform(KEY, (1000,), dtype, -3.0, 2.0),
    )
    assert unit.dtype == dtype
    np.testing.assert_array_equal(unit, (word >> (8 * size - info.nmant)) * 2.0**-info.nmant)
    np.testing.assert_allclose(scaled, unit.astype(float) * 5 - 3, atol=4 * info.eps)
    assert scaled.min() >= -3


@pytest.mark.parametrize(("dtype", "digits"), [("u4", 32), ("u8", 52)])
def test_normal_quantiles(dtype: str, digits: int) -> None:
    """In the middle, in both tails, and at either end, to a few units in the last place."""
    shift = 64 - 8 * np.dtype(dtype).itemsize
    wide = np.concatenate([BITS[:200], BITS[200:400] >> 14, ~(BITS[400:500] >> 28), EDGES])
    bits = (wide >> shift).astype(dtype)
    got = native("bits_to_normal", bits)
    with mpmath.workdps(40):
        for place, result in zip((bits >> (8 * bits.itemsize - digits)).tolist(), got, strict=True):
            q = mpmath.mpf(2 * place + 1 - 2**digits) / 2**digits
            exact = mpmath.sqrt(2) * mpmath.erfinv(q)
            assert abs(mpmath.mpf(float(result)) - exact) <= 4 * np.spacing(abs(result))


# --- only key and position matter ----------------------------------------------------------------
def everything(key: Any, n: Any) -> list[Any]:
    """Draws of every kind: bits, floats, and loops that end at different rounds."""
    r = T.random
    return [
        r.bits(key, n, "uint64"), r.uniform(key, n, "float32"), r.normal(key, n),
        r.gamma(key, 0.7, n), r.poisson(key, 3.0, n), r.poisson(key, 30.0, n),
        r.binomial(key, 40, 0.5, n), r.uniform(key, (n, 3)).sum(axis=1),
    ]  # fmt: skip


def test_threads_do_not_matter() -> None:
    n = T.lscalar("n")
    f = jg.function([n], everything(KEY, n))
    for size in (1, 13, 100_003):
        with jg.set_num_threads(1):
            alone = f(size)
        for threads in (2, 5):
            with jg.set_num_threads(threads):
                for got, want in zip(f(size), alone, strict=True):
                    np.testing.assert_array_equal(got, want)


@pytest.mark.skipif(
    platform.machine() not in ("x86_64", "AMD64") or host().vector_bytes < 32,
    reason="code for AVX2 only runs where there is AVX2",
)
@pytest.mark.parametrize("vector_bytes", [16, 32])
def test_vectors_do_not_matter(vector_bytes: int, monkeypatch: pytest.MonkeyPatch) -> None:
    n = T.lscalar("n")
    f = jg.function([n], everything(KEY, n))
    features = "+avx,+avx2,+bmi,+bmi2,+f16c,+fma,+sse4.2,-avx512f"
    target = replace(
        host(), cpu="haswell", features=features, vector_bytes=vector_bytes, vector_registers=16
    )
    monkeypatch.setattr(cpu, "host", lambda: target)
    g = jg.function([n], everything(KEY, n))
    for got, want in zip(g(203), f(203), strict=True):
        if want.dtype.kind == "f":  # logarithms may be contracted otherwise
            np.testing.assert_allclose(got, want, rtol=1e-6)
        else:
            np.testing.assert_array_equal(got, want)


def test_a_larger_sample_begins_like_a_smaller_one() -> None:
    short, long = drawn(T.random.normal(KEY, 10), T.random.normal(KEY, 1000))
    np.testing.assert_array_equal(short, long[:10])


def test_arrays_of_keys_draw_for_each() -> None:
    def draws(key: Any) -> list[Any]:
        r = T.random
        return [r.normal(key, (2, 2)), r.gamma(key, 2.0, (4,)), r.randint(key, (4,), 0, 9)]

    keys = T.random.split(KEY, 3)
    together = drawn(*draws(keys))
    for i in range(3):
        for got, want in zip(together, drawn(*draws(keys[i])), strict=True):
            np.testing.assert_array_equal(got[i], want)


def test_keys_from_keys_differ() -> None:
    many, third, beyond = drawn(
        T.random.split(KEY, (100, 10)), T.random.fold_in(KEY, 3), T.random.fold_in(KEY, 1000)
    )
    assert len({*many.ravel().tolist(), int(beyond), 2026}) == 1002
    assert third == many[0, 3]


def test_shapes_of_the_call() -> None:
    x, seed = T.dmatrix("x"), T.lscalar("seed")
    key = T.random.key(seed)
    f = jg.function([x, seed], [T.random.normal(key, x.shape), T.random.randint(key, x.shape, 0, 6),
                                T.random.exponential(key, x.shape[0])])  # fmt: skip
    for shape in ((3, 5), (0, 4), (1, 1), (257, 3)):
        normal, die, waits = f(np.zeros(shape), 5)
        assert normal.shape == die.shape == shape
        assert waits.shape == shape[:1]
    np.testing.assert_array_equal(f(np.zeros((2, 3)), 2026)[0],
                                  T.random.normal(KEY, (2, 3)).eval({}))  # fmt: skip


# --- distributions -------------------------------------------------------------------------------
def continuous_cases() -> dict[str, tuple[Any, Any]]:
    r = T.random
    return {
        "uniform": (r.uniform(KEY, N, None, -1.0, 3.0), stats.uniform(-1, 4)),
        "normal": (r.normal(KEY, N), stats.norm()),
        "exponential": (r.exponential(KEY, N), stats.expon()),
        "gumbel": (r.gumbel(KEY, N), stats.gumbel_r()),
        "logistic": (r.logistic(KEY, N), stats.logistic()),
        "laplace": (r.laplace(KEY, N), stats.laplace()),
        "cauchy": (r.cauchy(KEY, N), stats.cauchy()),
        "pareto": (r.pareto(KEY, 2.5, N), stats.pareto(2.5)),
        "weibull": (r.weibull_min(KEY, 2.0, 1.5, N), stats.weibull_min(1.5, scale=2)),
        "rayleigh": (r.rayleigh(KEY, 1.5, N), stats.rayleigh(scale=1.5)),
        "triangular": (r.triangular(KEY, -1.0, 0.0, 3.0, N), stats.triang(0.25, -1, 4)),
        "truncated": (r.truncated_normal(KEY, -0.5, 2.0, N), stats.truncnorm(-0.5, 2)),
        "lognormal": (r.lognormal(KEY, 0.7, N), stats.lognorm(0.7)),
        "maxwell": (r.maxwell(KEY, N), stats.maxwell()),
        "wald": (r.wald(KEY, 2.0, N), stats.invgauss(2.0)),
        "gamma": (r.gamma(KEY, 2.5, N), stats.gamma(2.5)),
        "small gamma": (r.gamma(KEY, 0.3, N), stats.gamma(0.3)),
        "beta": (r.beta(KEY, 0.5, 3.0, N), stats.beta(0.5, 3)),
        "chisquare": (r.chisquare(KEY, 5.0, N), stats.chi2(5)),
        "f": (r.f(KEY, 4.0, 7.0, N), stats.f(4, 7)),
        "t": (r.t(KEY, 4.0, N), stats.t(4)),
    }


def discrete_cases() -> dict[str, tuple[Any, Any]]:
    r = T.random
    third = np.array([0.2, 0.5, 0.3])
    table = stats.rv_discrete(values=(range(3), third))
    return {
        "bernoulli": (r.bernoulli(KEY, 0.3, N), stats.bernoulli(0.3)),
        "die": (r.randint(KEY, N, 1, 7), stats.randint(1, 7)),
        "wide die": (r.randint(KEY, N, -(2**62), 3 * 2**61, "int64") >> 58, None),
        "geometric": (r.geometric(KEY, 0.2, N), stats.geom(0.2)),
        "few poisson": (r.poisson(KEY, 0.5, N), stats.poisson(0.5)),
        "poisson": (r.poisson(KEY, 42.0, N), stats.poisson(42)),
        "few binomial": (r.binomial(KEY, 12, 0.3, N), stats.binom(12, 0.3)),
        "binomial": (r.binomial(KEY, 100, 0.8, N), stats.binom(100, 0.8)),
        "negative": (r.negative_binomial(KEY, 2.5, 0.4, N), stats.nbinom(2.5, 0.4)),
        "categorical": (r.categorical(KEY, np.log(third), shape=N), table),
        "choice": (r.choice(KEY, 3, N, p=third), table),
        "even choice": (r.choice(KEY, 5, N), stats.randint(0, 5)),
        "counts": (r.multinomial(KEY, 9, third, N)[:, 1], stats.binom(9, 0.5)),
    }


def test_continuous_distributions() -> None:
    cases = continuous_cases()
    samples = drawn(*(expression for expression, _ in cases.values()))
    found = {name: stats.kstest(sample, law.cdf).pvalue
             for (name, (_, law)), sample in zip(cases.items(), samples, strict=True)}  # fmt: skip
    assert min(found.values()) > SMALLEST, found


def chisquare(sample: Any, law: Any) -> float:
    """Values of a chance below 5 in N are one class."""
    values, counts = np.unique(sample, return_counts=True)
    expected = law.pmf(values) * len(sample)
    usual = expected >= 5
    counts = np.append(counts[usual], counts[~usual].sum())
    expected = np.append(expected[usual], len(sample) - expected[usual].sum())
    kept = expected > 1e-6
    assert not counts[~kept].any()
    scale = counts[kept].sum() / expected[kept].sum()
    return float(stats.chisquare(counts[kept], expected[kept] * scale).pvalue)


def test_discrete_distributions() -> None:
    cases = discrete_cases()
    samples = drawn(*(expression for expression, _ in cases.values()))
    found = {}
    for (name, (_, law)), sample in zip(cases.items(), samples, strict=True):
        assert sample.dtype.kind in "bi", name
        law = law or stats.randint(-16, 24)
        found[name] = chisquare(sample, law)
    assert min(found.values()) > SMALLEST, found


def test_samples_of_several_dimensions() -> None:
    """Neighbours along no axis have to do with each other, nor with those of another key."""
    a, b = drawn(T.random.normal(KEY, (150, 200)), T.random.normal(T.random.key(2027), (150, 200)))
    for x, y in ((a[1:], a[:-1]), (a[:, 1:], a[:, :-1]), (a, b), (a**2, b**2)):
        correlation = np.corrcoef(x.ravel(), y.ravel())[0, 1]
        assert abs(correlation) < 4 / np.sqrt(x.size)


def test_dirichlet_and_multinomial_add_up() -> None:
    alpha = np.array([[0.1, 1.0, 3.0], [5.0, 0.01, 2.0]])
    shares, counts = drawn(
        T.random.dirichlet(KEY, alpha, (2000, 2)), T.random.multinomial(KEY, 7, alpha, (50, 2))
    )
    np.testing.assert_allclose(shares.sum(-1), 1)
    np.testing.assert_allclose(shares.mean(0), alpha / alpha.sum(-1, keepdims=True), atol=0.03)
    np.testing.assert_array_equal(counts.sum(-1), np.full((50, 2), 7))


def test_permutations() -> None:
    x = np.arange(12.0).reshape(6, 2)
    many, mixed, taken, weighed = drawn(
        T.random.permutation(T.random.split(KEY, 3000), 4), T.random.permutation(KEY, x),
        T.random.choice(KEY, x, (2, 2), replace=False),
        T.random.choice(T.random.split(KEY, 500), 4, (2,), replace=False, p=[0.1, 0.2, 0, 0.7]),
    )  # fmt: skip
    np.testing.assert_array_equal(np.sort(many, axis=1), np.tile(np.arange(4), (3000, 1)))
    _, counts = np.unique(many, axis=0, return_counts=True)
    assert len(counts) == 24
    assert stats.chisquare(counts).pvalue > SMALLEST
    np.testing.assert_array_equal(mixed[np.argsort(mixed[:, 0])], x)
    assert taken.shape == (2, 2, 2)
    assert len(np.unique(taken)) == 8
    assert not (weighed == 2).any()
    assert (weighed[:, 0] != weighed[:, 1]).all()
    first = np.bincount(weighed[:, 0], minlength=4)[[0, 1, 3]]
    assert stats.chisquare(first, np.array([0.1, 0.2, 0.7]) * 500).pvalue > SMALLEST


SAMPLERS: list[tuple[str, tuple[Any, ...]]] = [
    ("sample_gamma", (np.geomspace(1, 1e4, 300),)),
    ("sample_few_poisson", (np.append(np.linspace(0, 10, 299), 0),)),
    ("sample_poisson", (np.geomspace(10, 1e6, 300),)),
    ("sample_few_binomial", (np.arange(300.0), np.minimum(0.5, 10 / (1 + np.arange(300.0))))),
    ("sample_binomial", (np.arange(20.0, 320), np.full(300, 0.5))),
]


@pytest.mark.parametrize(("name", "parameters"), SAMPLERS, ids=lambda p: str(p)[:20])
def test_rejection_means_the_same_natively(name: str, parameters: tuple[Any, ...]) -> None:
    want = OPS[name].evaluate(BITS[:300], *parameters)
    assert not np.isnan(want).any()
    np.testing.assert_allclose(native(name, BITS[:300], *parameters), want, rtol=1e-12)


def test_rejection_ends_where_parameters_have_no_meaning() -> None:
    a = T.dvector("a")
    f = jg.function([a], [T.random.gamma(KEY, a), T.random.poisson(KEY, a),
                          T.random.binomial(KEY, 5, a)])  # fmt: skip
    gamma, poisson, binomial = f(np.array([np.nan, -1.0, 0.0, 0.5, 50.0, 1.0]))
    np.testing.assert_array_equal(np.isnan(gamma), [True, True, True, False, False, False])
    np.testing.assert_array_equal(poisson < 0, [True, True, False, False, False, False])
    np.testing.assert_array_equal(binomial < 0, [True, True, False, False, True, False])


def test_a_mask_takes_no_memory() -> None:
    """Drawing fuses into the arithmetic that uses it."""
    x, key = T.dmatrix("x"), T.random.key(T.lscalar("seed"))
    seed = key.op.args[0]
    dropped = T.where(T.random.bernoulli(key, 0.5, x.shape), x * 2, 0.0)
    f = jg.function([x, seed], dropped.sum(axis=1))
    assert "temp" not in f.dump("schedule")


# --- gradients -----------------------------------------------------------------------------------
def test_gradients_of_reparameterised_samples() -> None:
    mu, sigma = T.dvector("mu"), T.dvector("sigma")
    streams = T.random.RandomStreams(1)
    z = streams.normal(None, mu, sigma)
    cost = (z * z).sum() + streams.uniform((3,), mu, mu + sigma).sum()
    f = jg.function([mu, sigma], [z, *T.grad(cost, [mu, sigma])], no_default_updates=True)
    m, s = np.array([0.5, -1.0, 2.0]), np.array([1.0, 2.0, 0.5])
    sample, by_mu, by_sigma = f(m, s)
    np.testing.assert_allclose(by_mu, 2 * sample + 1)
    noise = (sample - m) / s
    unit = by_sigma - 2 * sample * noise
    assert ((unit > 0) & (unit < 1)).all()


def test_gradients_that_do_not_exist() -> None:
    rate = T.dscalar("rate")
    with pytest.raises(GradientError):
        T.grad(T.random.gamma(KEY, rate, 3).sum(), rate)
    counts = T.grad(T.random.poisson(KEY, rate, 3).sum() * rate, rate)
    f = jg.function([rate], [counts, T.random.poisson(KEY, rate, 3).sum()])
    slope, total = f(4.0)
    assert slope == total


# --- errors --------------------------------------------------------------------------------------
def test_errors() -> None:
    r, x = T.random, T.dvector("x")
    with pytest.raises(DTypeError, match=r"no key.*\n.*T.random.key|T.random.key"):
        r.uniform(5, (3,))
    with pytest.raises(DTypeError, match="seed must be an integer"):
        r.key(1.5)
    with pytest.raises(DTypeError, match="are floats"):
        r.normal(KEY, 3, "int64")
    with pytest.raises(DTypeError, match="are integers"):
        r.poisson(KEY, 3.0, 3, "float64")
    with pytest.raises(ShapeError, match="negative"):
        r.uniform(KEY, (-1,))
    with pytest.raises(ShapeError, match="more parameters"):
        r.gamma(KEY, x, ())
    for wrong in (lambda: r.gamma(KEY, -1.0, 3), lambda: r.bernoulli(KEY, 1.5),
                  lambda: r.poisson(KEY, [-1.0]), lambda: r.randint(KEY, 3, 5, 5),
                  lambda: r.randint(KEY, 3, 0, 300, "uint8"),
                  lambda: r.choice(KEY, 3, 4, replace=False)):  # fmt: skip
        with pytest.raises(DomainError):
            wrong()


def test_bounds_of_integers() -> None:
    low, high = T.lscalar("low"), T.lscalar("high")
    every, whole, some = (
        T.random.randint(KEY, 5000, 0, 256, "uint8"),
        T.random.randint(KEY, 50, -(2**63), 2**63), T.random.randint(KEY, 200, low, high),
    )  # fmt: skip
    f = jg.function([low, high], [every, whole, some])
    bytes_, words, between = f(-3, 4)
    assert set(bytes_.tolist()) == set(range(256))
    np.testing.assert_array_equal(words, T.random.bits(KEY, 50, "uint64").eval({})
                                  .view(np.int64) ^ np.int64(-(2**63)))  # fmt: skip
    assert set(between.tolist()) == set(range(-3, 4))
    assert set(f(7, 7)[2].tolist()) == {7}
