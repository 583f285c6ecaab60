"""Random numbers: `T.random`.

Functions of a key, in the manner and with the names of `jax.random`, and `RandomStreams`, whose
state lives in shared variables that compiled functions move on.

| room | what is in it |
|---|---|
| `bits` | keys, random bits, uniform numbers |
| `continuous` | distributions of real numbers |
| `discrete` | distributions of whole numbers |
| `choices` | categories, choices, permutations |
| `streams` | `RandomStreams` |
"""

from jitgraph.tensor.random.bits import bits, fold_in, key, split, uniform
from jitgraph.tensor.random.choices import categorical, choice, multinomial, permutation
from jitgraph.tensor.random.continuous import (
    beta,
    cauchy,
    chisquare,
    dirichlet,
    exponential,
    f,
    gamma,
    gumbel,
    laplace,
    loggamma,
    logistic,
    lognormal,
    maxwell,
    normal,
    pareto,
    rayleigh,
    t,
    triangular,
    truncated_normal,
    wald,
    weibull_min,
)
from jitgraph.tensor.random.discrete import (
    bernoulli,
    binomial,
    geometric,
    negative_binomial,
    poisson,
    rademacher,
    randint,
)
from jitgraph.tensor.random.streams import RandomStreams

PRNGKey = key

__all__ = [
    "PRNGKey", "RandomStreams", "bernoulli", "beta", "binomial", "bits", "categorical", "cauchy",
    "chisquare", "choice", "dirichlet", "exponential", "f", "fold_in", "gamma", "geometric",
    "gumbel", "key", "laplace", "loggamma", "logistic", "lognormal", "maxwell", "multinomial",
    "negative_binomial", "normal", "pareto", "permutation", "poisson", "rademacher", "randint",
    "rayleigh", "split", "t", "triangular", "truncated_normal", "uniform", "wald", "weibull_min",
]  # fmt: skip
