"""All cases by name."""

from __future__ import annotations

from bench.case import Case
from bench.cases import elementwise, rows

CASES: dict[str, Case] = {}
for _module in (elementwise, rows):
    for _case in _module.cases():
        assert _case.name not in CASES, f"two cases {_case.name}"
        CASES[_case.name] = _case
