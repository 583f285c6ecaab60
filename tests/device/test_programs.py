"""Random programs, loops and gradients on the device: tests of the CPU's. Of three that take
minutes each day has one, and a run where a device is named all."""

import numpy as np
import pytest

from jitgraph.ir.function import Function
from jitgraph.ir.ops.joining import concatenate
from jitgraph.ir.types import F64, Extent, Type
from jitgraph.ir.values import Value
from tests import test_control_programs as regions
from tests import test_gradients as gradients
from tests import test_programs as programs
from tests.device.conftest import some
from tests.native import compiled
from tests.test_gradients import (  # noqa: F401
    STRUCTURAL,
    adjoints,
    check_cases,
    test_complex_gradients,
    test_empty_arrays_have_empty_gradients,
    test_third_order,
    total,
)
from tests.test_programs import (  # noqa: F401
    test_native_agrees_with_the_interpreter,
)

LONG = (
    gradients.test_random_programs,
    programs.test_in_every_dtype,
    regions.test_every_meaning_of_a_program_with_regions,
)
globals().update({test.__name__: test for test in some(LONG, 1)})


@pytest.mark.filterwarnings("ignore::numpy.exceptions.ComplexWarning")
@pytest.mark.parametrize("orders", [1, 2], ids=["unknown extents", "second order"])
def test_structural_gradients(orders: int) -> None:
    check_cases({name: STRUCTURAL[name] for name in some(list(STRUCTURAL), 12 // orders)}, orders)


def test_sums_over_loops_that_each_call_chooses() -> None:
    """The total's, and the gradient's of what is repeated if it is one element, in one kernel."""
    x = Value(Type(F64, (Extent("n"),)), name="x")
    cost = total(x * concatenate([x, x], 0) + x)
    f = compiled(Function([x], [cost, *adjoints(cost, [x])]), arrays=[np.ones(1)])
    found = f(np.array([1.5]))
    np.testing.assert_allclose(found[0], 7.5)
    np.testing.assert_allclose(found[1], [8.0])
