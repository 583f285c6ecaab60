"""What a profile says, as objects, as a table, and as JSON."""

from __future__ import annotations

import html
import json
import math
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from os import PathLike, path
from pathlib import Path
from typing import TYPE_CHECKING, Any

from jitgraph.errors import OptionError
from jitgraph.runtime.limits import Level, Limits

if TYPE_CHECKING:
    from matplotlib.figure import Figure

#: A step that reaches more of a limit shows that it is none.
_TOO_GOOD = 1.2
#: Lines of one file that the table names.
_MOST_LINES = 6
_PREFIXES = ((1e12, "T"), (1e9, "G"), (1e6, "M"), (1e3, "k"))


@dataclass(frozen=True, slots=True)
class Step:
    """One step of a program: a kernel, a row nest (`rows`), a matrix product, or zeros.

    `seconds` is the median of all runs, `fastest` the least. `read` and `written` are the bytes
    that it must move at least, `single` and `double` floating-point operations; see
    `jitgraph.profiling`. `lines` are the user's, as file:line.
    """

    name: str
    kind: str
    loops: tuple[int, ...]
    seconds: float
    fastest: float
    read: int
    written: int
    single: int
    double: int
    lines: tuple[str, ...]
    #: Of kernels, on a device.
    launches: int = 0

    @property
    def bytes(self) -> int:
        """Bytes read and written."""
        return self.read + self.written

    @property
    def flops(self) -> int:
        """Floating-point operations."""
        return self.single + self.double

    @property
    def bandwidth(self) -> float:
        """Bytes a second."""
        return self.bytes / self.seconds if self.seconds else 0.0

    @property
    def rate(self) -> float:
        """Floating-point operations a second."""
        return self.flops / self.seconds if self.seconds else 0.0

    @property
    def intensity(self) -> float:
        """Floating-point operations per byte."""
        return self.flops / self.bytes if self.bytes else 0.0


@dataclass(frozen=True, slots=True)
class Profile:
    """What the steps of a program did, with the medians of all runs; `outside` is the time between
    the steps: checks, scalars, results. Printed, it is a table."""

    name: str
    threads: int
    runs: int
    steps: tuple[Step, ...]
    outside: float
    limits: Limits
    #: Where the program ran, and whether there are times: the simulated device has none.
    device: str = "cpu"
    timed: bool = True

    @property
    def seconds(self) -> float:
        """The time of the whole program: of all steps, and outside of them."""
        return sum((step.seconds for step in self.steps), self.outside)

    def share(self, step: Step) -> float:
        """The part of the whole time that a step takes."""
        return step.seconds / self.seconds if self.seconds else 0.0

    def limit(self, step: Step) -> tuple[float, str]:
        """The least time a step could take on this machine, and what sets it: "arithmetic", or the
        cache (or the memory) that its data fits into."""
        level = self.limits.level_for(step.bytes)
        moving = level.seconds(step.read, step.written)
        computing = step.single / self.limits.f32 + step.double / self.limits.f64
        return (moving, level.name) if moving >= computing else (computing, "arithmetic")

    def fraction(self, step: Step) -> float:
        """How much of what the machine can do a step reaches."""
        return self.limit(step)[0] / step.seconds if step.seconds else 0.0

    # --- as text --------------------------------------------------------------------------------
    def __str__(self) -> str:
        rows = self._table()
        widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
        lines = []
        for row in rows:
            cells = [c.ljust(w) if title in _LEFT else c.rjust(w)
                     for title, c, w in zip(rows[0], row, widths, strict=True)]  # fmt: skip
            lines.append("  ".join(cells).rstrip())
        return "\n".join([self._title(), "", *lines, "", *self._notes()])

    def _repr_html_(self) -> str:
        def row(cells: Sequence[str], tag: str) -> str:
            return f"<tr>{''.join(f'<{tag}>{html.escape(c)}</{tag}>' for c in cells)}</tr>"

        head, *rows = self._table()
        table = [row(head, "th"), *(row(cells, "td") for cells in rows)]
        notes = "<br>".join(map(html.escape, self._notes()))
        title = html.escape(self._title())
        return f"<p>{title}</p><table>{''.join(table)}</table><p>{notes}</p>"

    def _title(self) -> str:
        if not self.timed:
            return f"{self.name}: on {self.device}, which has no clock"
        threads = f"{self.threads} thread{'s' * (self.threads > 1)}"
        where = threads if self.device == "cpu" else f"on {self.device}"
        return f"{self.name}: {_time(self.seconds)}, {where}, medians of {self.runs} runs"

    def _table(self) -> list[list[str]]:
        """The head and the rows, without columns that say nothing here."""
        left_out = _OF_TIME if not self.timed else frozenset[str]()
        left_out |= {"launches"} if self.device == "cpu" else frozenset()
        return [[c for title, c in zip(_HEAD, row, strict=True) if title not in left_out]
                for row in (_HEAD, *self._rows())]  # fmt: skip

    def _rows(self) -> Iterator[tuple[str, ...]]:
        for step in self.steps:
            yield (
                step.name,
                " x ".join(map(str, step.loops)),
                str(step.launches),
                _time(step.seconds),
                f"{self.share(step):.0%}",
                f"{_number(step.bytes)}B",
                f"{step.bandwidth / 1e9:.1f}",
                _number(step.flops),
                f"{step.rate / 1e9:.1f}",
                f"{self.fraction(step):.0%} {self.limit(step)[1]}" if step.bytes else "",
                _places(step.lines),
            )
        share = f"{self.outside / self.seconds:.0%}" if self.seconds else ""
        if self.timed:
            yield ("outside", "", "", _time(self.outside), share, *[""] * (len(_HEAD) - 5))

    def _notes(self) -> Iterator[str]:
        if not self.timed:
            return
        for level in self.limits.levels:
            yield f"{level.name}: copies {level.copy / 1e9:.1f} GB/s, reads {level.read / 1e9:.1f}"
        found = self.limits
        if math.isfinite(found.f64):
            yield f"arithmetic: f64 {found.f64 / 1e9:.0f} GFLOP/s, f32 {found.f32 / 1e9:.0f}"
        if any(self.fraction(step) > _TOO_GOOD for step in self.steps):
            yield "above the limits, so these were measured on a busy machine:"
            yield "    jitgraph.profiling.limits(fresh=True) measures them again"

    # --- as JSON --------------------------------------------------------------------------------
    def to_json(self, path: str | PathLike[str] | None = None) -> str:
        """All of it as JSON, which is also written to `path` if there is one. Seconds, bytes,
        operations, and what follows from them; a capacity of null is the memory's."""
        data = asdict(self)
        data["seconds"] = self.seconds
        for step, fields in zip(self.steps, data["steps"], strict=True):
            least, bound = self.limit(step)
            fields |= {
                "bandwidth": step.bandwidth,
                "rate": step.rate,
                "intensity": step.intensity,
                "share": self.share(step),
                "least": least,
                "bound": bound,
                "fraction": self.fraction(step),
            }
        data["limits"] = _finite(data["limits"])
        text = json.dumps(data, indent=2)
        if path is not None:
            Path(path).write_text(text + "\n", encoding="utf-8")
        return text

    @staticmethod
    def from_json(text: str) -> Profile:
        """The profile that `to_json` wrote."""
        data = json.loads(text)
        known = _infinite(data["limits"])
        known["levels"] = tuple(Level(**level) for level in known["levels"])
        steps = tuple(
            Step(**{name: _frozen(fields[name]) for name in Step.__dataclass_fields__})
            for fields in data["steps"]
        )
        plain = {k: data[k] for k in ("name", "threads", "runs", "outside", "device", "timed")}
        return Profile(steps=steps, limits=Limits(**known), **plain)

    def plot(self, path: str | PathLike[str] | None = None) -> Figure:
        """The steps under the roofs of the machine; see `jitgraph.profiling.roofline`. Needs
        matplotlib. Written to `path` if there is one. Raises OptionError for a device."""
        if self.device != "cpu":
            raise OptionError(
                f"there is no picture of a program on {self.device}: what its arithmetic can do is "
                "not measured",
                hint="print(profile) has the table",
            )
        from jitgraph.profiling.roofline import draw

        return draw(self, path)


_HEAD = ("step", "loops", "launches", "time", "share", "moves", "GB/s", "flops", "GFLOP/s",
         "of limit", "lines")  # fmt: skip
_LEFT = frozenset({"step", "loops", "of limit", "lines"})
_OF_TIME = frozenset({"time", "share", "GB/s", "GFLOP/s", "of limit"})


def _finite(value: Any) -> Any:
    """None in place of infinities, which JSON does not know."""
    if isinstance(value, dict):
        return {k: _finite(v) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(v) for v in value]
    return None if value == math.inf else value


def _infinite(value: Any) -> Any:
    """What `_finite` was given."""
    if isinstance(value, dict):
        return {k: _infinite(v) for k, v in value.items()}
    if isinstance(value, list):
        return [_infinite(v) for v in value]
    return math.inf if value is None else value


def _frozen(value: Any) -> Any:
    return tuple(value) if isinstance(value, list) else value


def _places(lines: Sequence[str]) -> str:
    """file:line as briefly as can be: model.py:3,7,12."""
    files: dict[str, dict[int, None]] = {}
    for text in lines:
        file, _, line = text.rpartition(":")
        files.setdefault(path.basename(file), {})[int(line)] = None
    parts = []
    for file, found in files.items():
        numbers = list(map(str, sorted(found)))
        more = ",..." if len(numbers) > _MOST_LINES else ""
        parts.append(f"{file}:{','.join(numbers[:_MOST_LINES])}{more}")
    return " ".join(parts)


def _time(seconds: float) -> str:
    for factor, unit in ((1, "s"), (1e3, "ms"), (1e6, "us")):
        if seconds * factor >= 1:
            return f"{seconds * factor:.3g} {unit}"
    return f"{seconds * 1e9:.0f} ns"


def _number(value: float) -> str:
    for size, prefix in _PREFIXES:
        if value >= size:
            return f"{value / size:.3g} {prefix}"
    return f"{value:.0f} "
