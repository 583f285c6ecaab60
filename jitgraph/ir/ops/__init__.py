"""The tables of ops, by theme. Importing this package declares all of them."""

from jitgraph.ir.ops import (
    arithmetic,
    bits,
    bundles,
    control,
    exponential,
    fourier,
    indexing,
    joining,
    linear,
    movement,
    normalisation,
    prefix,
    reduction,
    sorting,
)

__all__ = [
    "arithmetic",
    "bits",
    "bundles",
    "control",
    "exponential",
    "fourier",
    "indexing",
    "joining",
    "linear",
    "movement",
    "normalisation",
    "prefix",
    "reduction",
    "sorting",
]
