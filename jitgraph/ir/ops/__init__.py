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
    linalg,
    linear,
    movement,
    normalisation,
    prefix,
    reduction,
    selection,
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
    "linalg",
    "linear",
    "movement",
    "normalisation",
    "prefix",
    "reduction",
    "selection",
    "sorting",
]
