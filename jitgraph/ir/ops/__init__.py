"""The tables of ops, by theme. Importing this package declares all of them."""

from jitgraph.ir.ops import (
    arithmetic,
    bits,
    bundles,
    control,
    exponential,
    indexing,
    joining,
    linear,
    marks,
    movement,
    normalisation,
    prefix,
    random,
    reduction,
    sampling,
    special,
)

__all__ = [
    "arithmetic",
    "bits",
    "bundles",
    "control",
    "exponential",
    "indexing",
    "joining",
    "linear",
    "marks",
    "movement",
    "normalisation",
    "prefix",
    "random",
    "reduction",
    "sampling",
    "special",
]
