"""The suites of the device, on a machine that need not have more than Python, NumPy, llvmlite and,
for a GPU, a driver and cuda-bindings.

    python -m tests.device                          every suite on "cuda"
    python -m tests.device --device simulated --only 'ops.reductions*'

Each group of tests runs in a process of its own with a time limit, so neither a hang nor an error
that costs a process its GPU touches the others. Exit status: 0 all passed, 1 something failed,
2 there is no such device.
"""

from __future__ import annotations

import argparse
import fnmatch
import json
import math
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass, field
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import Any

os.environ.setdefault("JITGRAPH_VERIFY", "1")
os.environ["JITGRAPH_CACHE"] = "0"

ROOT = Path(__file__).parents[2]
#: All that pytest finds beside this, but for the tests of this.
SUITES = sorted(path.stem.removeprefix("test_") for path in Path(__file__).parent.glob("test_*.py")
                if path.stem != "test_runner")  # fmt: skip
#: Tests of one function of a suite that share a process.
AT_ONCE = 12
#: What compute-sanitizer looks at.
SAMPLE = ("ops.reductions[[]1/*", "ops.small_cases[[]1/*", "ops.matrix_products[[]1/*",
          "twins.sizes*", "training.*")  # fmt: skip
SANITIZERS = ("memcheck", "racecheck")
_MARK = "@@ "
#: Lines of a failure that are printed.
_LINES = 12


@dataclass
class Group:
    """Tests that run in one process."""

    name: str
    tests: list[tuple[str, Callable[[], None]]] = field(default_factory=list)

    @property
    def suite(self) -> str:
        return self.name.partition(".")[0]


@dataclass
class Outcome:
    """What came of a group."""

    name: str
    passed: int = 0
    skipped: int = 0
    #: The tests that failed, and how.
    failed: list[tuple[str, str]] = field(default_factory=list)
    seconds: float = 0.0

    @property
    def suite(self) -> str:
        return self.name.partition(".")[0]

    def line(self) -> str:
        told = [f"{n} {what}" for n, what in ((self.passed, "passed"), (self.skipped, "skipped"),
                                              (len(self.failed), "FAILED")) if n]  # fmt: skip
        return f"{self.name:44} {', '.join(told) or 'nothing':28} {self.seconds:7.1f} s"


def options(argv: Sequence[str] | None) -> argparse.Namespace:
    """The command line."""
    raw = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser("python -m tests.device", description=__doc__,
                                     formatter_class=raw)  # fmt: skip
    add = parser.add_argument
    add("--device", default="cuda", help="cuda, cuda:1, ..., simulated")
    add("--only", nargs="*", default=["*"], metavar="GLOB", help="names of groups")
    add("--jobs", type=int, default=min(os.cpu_count() or 1, 8), help="groups at a time")
    add("--limit", type=float, default=300.0, help="seconds for a group")
    add("--examples", type=int, help="at most so many random programs in each test")
    add("--no-pytest", action="store_true", help="not once more under pytest, where that is")
    add("--list", action="store_true", help="print the groups and stop")
    add("--group", help=argparse.SUPPRESS)  # in the group's own process
    return parser.parse_args(argv)


# --- in the process of a group -------------------------------------------------------------------
def groups() -> dict[str, Group]:
    """All groups by name. From here on pytest and Hypothesis are those of `standins`."""
    import contextlib
    import importlib

    from tests.device import standins

    standins.install()
    from jitgraph.errors import DTypeError
    from jitgraph.ir.types import bfloat16

    with contextlib.suppress(DTypeError):
        bfloat16()
    found: dict[str, Group] = {}
    for suite in SUITES:
        try:
            module = importlib.import_module(f"tests.device.test_{suite}")
        except Exception as error:  # the other suites go on
            found[f"{suite}.import"] = Group(f"{suite}.import", [("", partial(_raise, error))])
            continue
        for name, function in vars(module).items():
            if not name.startswith("test_") or standins.fixtures(function):
                continue
            tests = list(standins.instances(function))
            parts = math.ceil(len(tests) / AT_ONCE)
            for k in range(parts):
                number = f"[{k + 1}/{parts}]" if parts > 1 else ""
                made = Group(f"{suite}.{name.removeprefix('test_')}{number}", tests[k::parts])
                found[made.name] = made
    return found


def _raise(error: Exception) -> None:
    raise error


def run_group(given: argparse.Namespace) -> None:
    """Run one group, and tell each result in a line of its own."""
    import traceback

    from tests.device import standins

    group = groups()[given.group]
    from jitgraph.config import config

    config.device = given.device
    standins.most_examples = given.examples
    for label, test in group.tests:
        _tell("begin", label)
        try:
            test()
        except standins.Skipped as reason:
            _tell("skipped", label, str(reason))
        except Exception as error:
            _tell("failed", label, "".join(traceback.format_exception(error)))
            if getattr(error, "sticky", False):
                raise SystemExit(1) from None
        else:
            _tell("passed", label)
    _tell("end")


def _tell(what: str, label: str = "", text: str = "") -> None:
    print(_MARK + json.dumps([what, label, text]), flush=True)


# --- around it -----------------------------------------------------------------------------------
def run(name: str, given: argparse.Namespace, before: Sequence[str] = ()) -> Outcome:
    """Run a group in a process of its own. `before`: a program that looks on."""
    command = [*before, sys.executable, "-m", "tests.device", "--device", given.device,
               "--group", name]  # fmt: skip
    if given.examples is not None:
        command += ["--examples", str(given.examples)]
    title = f"sanitizer.{before[-1]}.{name}" if before else name
    text, code, seconds = _ran(command, given.limit * (4 if before else 1), given.device)
    return _read(Outcome(title, seconds=seconds), text, code, given.limit)


def _ran(command: list[str], limit: float, device: str) -> tuple[str, int | None, float]:
    """What a command printed, its exit status (None: it took too long), and seconds."""
    environment = {**os.environ, "JITGRAPH_TEST_DEVICE": device, "PYTHONUNBUFFERED": "1"}
    start = time.perf_counter()
    with tempfile.TemporaryFile("w+", errors="replace") as out:
        child = subprocess.Popen(command, stdout=out, stderr=subprocess.STDOUT, cwd=ROOT,
                                 env=environment, start_new_session=True)  # fmt: skip
        code: int | None
        try:
            code = child.wait(limit)
        except subprocess.TimeoutExpired:
            code = None
        finally:
            if child.poll() is None:
                os.killpg(child.pid, signal.SIGKILL)
                child.wait()
        out.seek(0)
        return out.read(), code, time.perf_counter() - start


def _read(outcome: Outcome, text: str, code: int | None, limit: float) -> Outcome:
    """What the lines of a group's process say."""
    doing, ended, others = "", False, list[str]()
    for line in text.splitlines():
        if not line.startswith(_MARK):
            others.append(line)
            continue
        what, label, more = json.loads(line.removeprefix(_MARK))
        doing = label if what == "begin" else ""
        ended |= what == "end"
        outcome.passed += what == "passed"
        outcome.skipped += what == "skipped"
        if what == "failed":
            outcome.failed.append((label, more))
    if code == 0 and ended:
        return outcome
    said = "\n".join(others[-_LINES:])
    if code is None:
        outcome.failed.append((doing, f"took more than {limit:.0f} seconds\n{said}"))
    elif not ended and not outcome.failed:
        outcome.failed.append((doing, f"the process ended with status {code}\n{said}"))
    elif not ended or code:
        outcome.failed.append(("", f"the rest was not run (status {code})\n{said}"))
    return outcome


def described(device: str) -> tuple[bool, str]:
    """Whether there is such a device, and what it is or why there is none."""
    code = ("import sys\nfrom jitgraph.errors import JitgraphError\n"
            "from jitgraph.runtime import devices\ntry:\n"
            f"    print(devices.device({device!r}))\n"
            "except JitgraphError as error:\n    print(error)\n    sys.exit(2)")  # fmt: skip
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT,
                          check=False)  # fmt: skip
    return done.returncode == 0, (done.stdout + done.stderr).strip()


def all_of(names: list[str], given: argparse.Namespace) -> list[Outcome]:
    """Run the groups, several at a time, and the same under other programs where there are any."""
    jobs: list[tuple[str, Sequence[str]]] = [(name, ()) for name in names]
    if given.device.startswith("cuda"):
        jobs += sanitized(names)
    found: list[Outcome] = []
    with ThreadPoolExecutor(given.jobs) as pool:
        waiting = [pool.submit(run, name, given, before) for name, before in jobs]
        for done in as_completed(waiting):
            found.append(done.result())
            print(f"[{len(found):3}/{len(jobs)}] {found[-1].line()}", flush=True)
    if not given.no_pytest and given.only == ["*"] and _has("pytest", "hypothesis"):
        found.append(_by_pytest(given))
        print(found[-1].line(), flush=True)
    return found


def sanitized(names: list[str]) -> list[tuple[str, Sequence[str]]]:
    """Of these groups a sample under NVIDIA's compute-sanitizer, if that is there."""
    from jitgraph.codegen.gpu.ptx import tool
    from jitgraph.errors import MissingPackageError

    try:
        program = str(tool("compute-sanitizer"))
    except MissingPackageError as missing:
        print(f"nothing runs under compute-sanitizer: {missing}", flush=True)
        return []
    chosen = [name for name in names if any(fnmatch.fnmatch(name, p) for p in SAMPLE)]
    return [(name, (program, "--error-exitcode", "9", "--tool", kind))
            for kind in SANITIZERS for name in chosen]  # fmt: skip


def _has(*packages: str) -> bool:
    return all(find_spec(package) is not None for package in packages)


def _by_pytest(given: argparse.Namespace) -> Outcome:
    """The same suites as pytest runs them, with Hypothesis' examples."""
    command = [sys.executable, "-m", "pytest", "tests/device", "-q", "--no-header", "--tb=short"]
    if _has("xdist"):
        command += ["-n", str(given.jobs)]
    text, code, seconds = _ran(command, 12 * given.limit, given.device)
    outcome = Outcome("pytest tests/device", passed=int(code == 0), seconds=seconds)
    if code:
        outcome.failed.append(("", text[-4000:]))
    elif code is None:
        outcome.failed.append(("", "took too long"))
    return outcome


def table(found: Sequence[Outcome]) -> str:
    """A row for each suite."""
    rows = [("suite", "groups", "passed", "skipped", "failed", "seconds")]
    for suite in dict.fromkeys(o.suite for o in found):
        own = [o for o in found if o.suite == suite]
        rows.append((suite, str(len(own)), *(str(sum(f(o) for o in own)) for f in _COLUMNS),
                     f"{sum(o.seconds for o in own):.0f}"))  # fmt: skip
    width = max(len(row[0]) for row in rows)
    return "\n".join(row[0].ljust(width) + "".join(c.rjust(10) for c in row[1:]) for row in rows)


_COLUMNS: tuple[Callable[[Outcome], int], ...] = (
    lambda o: o.passed, lambda o: o.skipped, lambda o: len(o.failed),
)  # fmt: skip


def failures(found: Sequence[Outcome]) -> str:
    """The ends of what failed."""
    parts: list[Any] = []
    for outcome in found:
        for label, text in outcome.failed:
            shown = text.strip().splitlines()[-_LINES:]
            parts += [f"--- {outcome.name} {label}", *(f"    {line[:200]}" for line in shown)]
    return "\n".join(parts)


def main(argv: Sequence[str] | None = None) -> int:
    """Run what the command line says; the exit status."""
    given = options(argv)
    os.environ["JITGRAPH_TEST_DEVICE"] = given.device  # whole suites, no samples
    if given.group:
        run_group(given)
        return 0
    names = [n for n in groups() if any(fnmatch.fnmatch(n, pattern) for pattern in given.only)]
    if given.list:
        print("\n".join(names))
        return 0
    there, what = described(given.device)
    print(what, flush=True)
    if not there:
        return 2
    start = time.perf_counter()
    found = sorted(all_of(names, given), key=lambda o: o.name)
    print("", table(found), "", sep="\n")
    if bad := failures(found):
        print(bad, end="\n\n")
    count = sum(len(o.failed) for o in found)
    print(f"{sum(o.passed for o in found)} passed, {count} failed in "
          f"{time.perf_counter() - start:.0f} s")  # fmt: skip
    return int(count > 0 or not found)


if __name__ == "__main__":
    sys.exit(main())
