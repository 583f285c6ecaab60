"""Every case's program, written by hand and differentiated, agrees with itself on small arrays."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import pytest

pytest.importorskip("scipy")

from bench.case import Case, chosen, disagreement, distance
from bench.cases import CASES
from bench.peers import PEERS, QUICK, RIVALS, on_jitgraph, on_numpy
from bench.peers.base import NotHere

#: One case of each family, of those whose programs do not depend on the size of their inputs.
FAMILIES = {
    c.family: c for c in reversed(CASES.values()) if c.group not in ("products", "probes")
}


def shrunk(case: Case) -> Case:
    """The same program on arrays whose long axes are cut to a few elements; parameters of a
    training step stay whole."""

    def inputs(random: np.random.Generator) -> list[Any]:
        given = case.inputs(random)
        return [*given[: case.state], *(_cut(a) for a in given[case.state :])]

    return dataclasses.replace(case, inputs=inputs)


def _cut(a: Any) -> Any:
    if not isinstance(a, np.ndarray):
        return a
    if a.dtype.kind == "i":
        return a[:40] % 8
    return a[tuple(slice(40) for _ in range(a.ndim))].copy()


@pytest.mark.parametrize("family", [
    f for f, c in FAMILIES.items() if c.group in ("calls", "elementwise", "functions", "rows",
                                                  "row gradients", "reductions", "random", "loops",
                                                  "masks", "convolutions")
    or f in ("Black-Scholes", "polynomial", "XOR step")
])  # fmt: skip
def test_jitgraph_and_numpy_agree(family: str) -> None:
    case = FAMILIES[family]
    small = shrunk(case)
    wanted = small.reference(on_numpy.NAMESPACE)
    for adapter in (on_numpy, on_jitgraph):
        try:
            prepared = adapter.Adapter(1).prepare(small, small.arrays())
        except NotHere:
            continue
        assert disagreement(small, prepared.fetch(), wanted) is None
        exec(prepared.statement, prepared.names)


def test_wrong_results_are_told() -> None:
    case = shrunk(CASES["fused f32 1e4"])
    right = case.reference(on_numpy.NAMESPACE)[0]
    single = right.astype(np.float32)
    assert disagreement(case, [single], [right]) is None
    assert "shape" in str(disagreement(case, [single[:-1]], [right]))
    assert "computed in float64" in str(disagreement(case, [right], [right]))
    assert "results" in str(disagreement(case, [], [right]))
    for wrong in (np.nan, np.inf, single[3] + 1):
        off = single.copy()
        off[3] = wrong
        assert "off by" in str(disagreement(case, [off], [right]))


def test_distance_is_zero_between_equal_special_values() -> None:
    a = np.array([np.nan, np.inf, -np.inf, 0.0, 1.0])
    assert distance(a, a) == 0
    assert distance(np.array([]), np.array([])) == 0


def test_cases_are_chosen_by_name_group_and_family() -> None:
    assert {c.group for c in chosen(CASES.values(), ["rows"], quick=False)} == {"rows"}
    assert all(c.quick for c in chosen(CASES.values(), [], quick=True))
    assert [c.name for c in chosen(CASES.values(), ["exp f32*"], quick=False)] == ["exp f32 1e4"]


def test_peers_are_known() -> None:
    assert set(QUICK) <= set(PEERS)
    assert "jitgraph" not in RIVALS
