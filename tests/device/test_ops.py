"""Every op on the device: the tests of `tests.test_ops_native`."""

from tests.test_ops_native import (  # noqa: F401
    test_broadcasting,
    test_casts,
    test_matrix_products,
    test_mixed_dtypes,
    test_parts,
    test_reductions,
    test_reductions_of_nothing_and_of_much,
    test_scalars,
    test_scalars_broadcast,
    test_sizes_and_layouts,
    test_small_cases,
    test_softmax_family,
    test_special_values,
)
