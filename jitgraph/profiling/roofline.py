"""The picture of a profile: each step by its arithmetic per byte, below what the machine can do."""

from __future__ import annotations

from os import PathLike
from typing import TYPE_CHECKING

from jitgraph.errors import MissingPackageError

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from jitgraph.profiling.report import Profile

#: Dots of the steps, in points², by their share of the time.
_SMALLEST, _LARGEST = 20, 400


def draw(profile: Profile, path: str | PathLike[str] | None) -> Figure:
    """The roofline plot. Steps without arithmetic are named below it."""
    try:
        from matplotlib.figure import Figure
    except ImportError as error:
        raise MissingPackageError(
            "plot() needs matplotlib", hint="pip install 'jitgraph[examples]'"
        ) from error
    figure = Figure(figsize=(9, 6), layout="constrained")
    axes = figure.add_subplot(
        xscale="log", yscale="log", xlabel="operations per byte", ylabel="GFLOP/s"
    )
    placed = [step for step in profile.steps if step.flops and step.bytes]
    intensities = [step.intensity for step in placed]
    left, right = min([0.02, *intensities]) / 2, max([100.0, *intensities]) * 2
    _draw_roofs(axes, profile, left, right)
    for step in placed:
        size = _SMALLEST + _LARGEST * profile.share(step)
        axes.scatter(step.intensity, step.rate / 1e9, size, alpha=0.7, zorder=3)
        label = f"{step.name} ({profile.share(step):.0%})"
        axes.annotate(label, (step.intensity, step.rate / 1e9), xytext=(6, 6),
                      textcoords="offset points")  # fmt: skip
    others = [step for step in profile.steps if step not in placed]
    title = f"{profile.name}: {1e3 * profile.seconds:.3g} ms, {profile.threads} thread(s)"
    if others:
        names = ", ".join(f"{s.name} {s.bandwidth / 1e9:.1f} GB/s" for s in others)
        title += f"\nwithout arithmetic: {names}"
    axes.set_title(title)
    axes.set_xlim(left, right)
    if path is not None:
        figure.savefig(path)
    return figure


def _draw_roofs(axes: Axes, profile: Profile, left: float, right: float) -> None:
    """Slopes are bandwidths, flat lines arithmetic."""
    found = profile.limits
    peak = max(found.f32, found.f64)
    for level in found.levels:
        corner = min(peak / level.copy, right)
        ends = [left, corner]
        axes.plot(ends, [x * level.copy / 1e9 for x in ends], color="0.5", linewidth=1)
        axes.annotate(f"{level.name} {level.copy / 1e9:.0f} GB/s", (left, left * level.copy / 1e9),
                      xytext=(2, 12), textcoords="offset points", color="0.4")  # fmt: skip
    slowest = min(level.copy for level in found.levels)
    fastest = max(level.copy for level in found.levels)
    for name, rate in (("f32", found.f32), ("f64", found.f64)):
        start = rate / fastest
        axes.plot([start, right], [rate / 1e9] * 2, color="0.5", linewidth=1)
        axes.annotate(f"{name} {rate / 1e9:.0f} GFLOP/s", (max(start, rate / slowest), rate / 1e9),
                      xytext=(12, 4), textcoords="offset points", color="0.4")  # fmt: skip
