"""Random programs, loops and gradients on the device: tests of the CPU's. Those that take minutes
run where a device is named, or all kernels are asked for."""

import os

from tests.test_gradients import (  # noqa: F401
    test_complex_gradients,
    test_empty_arrays_have_empty_gradients,
    test_third_order,
)
from tests.test_programs import (  # noqa: F401
    test_native_agrees_with_the_interpreter,
)

if os.environ.keys() & {"JITGRAPH_TEST_DEVICE", "JITGRAPH_TEST_ASSEMBLE"}:
    from tests.test_control_programs import (  # noqa: F401
        test_every_meaning_of_a_program_with_regions,
    )
    from tests.test_gradients import (  # noqa: F401
        test_random_programs,
        test_structural_gradients,
    )
    from tests.test_programs import test_in_every_dtype  # noqa: F401
