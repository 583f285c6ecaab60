"""How many CPUs this process may use: its affinity, and the quota of its control group.

A container often sees every CPU of its machine but gets the time of a few; threads beyond those
only wait for each other.
"""

from __future__ import annotations

import math
import os
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

_MEMBERSHIP = Path("/proc/self/cgroup")
_CGROUPS = Path("/sys/fs/cgroup")


def usable_cpus() -> int:
    """The number of CPUs, at least 1, this process can keep busy."""
    if hasattr(os, "sched_getaffinity"):
        allowed = len(os.sched_getaffinity(0))
    else:
        allowed = os.cpu_count() or 1
    quota = min(_quotas(_MEMBERSHIP, _CGROUPS), default=math.inf)
    return max(1, math.ceil(min(allowed, quota)))


def _quotas(membership: Path, cgroups: Path) -> Iterator[float]:
    """The CPU quotas of this process's control groups and of the groups around them.

    Version 2 has one tree of groups, version 1 a tree for each controller. A path that does not
    exist is seen from inside a container: the container's own group is the root of what it sees.
    """
    try:
        lines = membership.read_text().splitlines()
    except (OSError, ValueError):
        return
    for number, controllers, path in (line.split(":", 2) for line in lines if line.count(":") > 1):
        if number == "0":
            tree = cgroups
        elif "cpu" in controllers.split(","):
            tree = cgroups / "cpu"
        else:
            continue
        group = PurePosixPath(path)
        for relative in (group, *group.parents):
            quota = _quota(tree / str(relative).lstrip("/"))
            if quota is not None:
                yield quota


def _quota(group: Path) -> float | None:
    """The CPUs one control group may use; None where it says nothing or sets no limit."""
    try:
        if (group / "cpu.max").exists():
            time, period = (group / "cpu.max").read_text().split()
        else:
            time = (group / "cpu.cfs_quota_us").read_text()
            period = (group / "cpu.cfs_period_us").read_text()
        return int(time) / int(period) if int(time) > 0 else None
    except (OSError, ValueError, ZeroDivisionError):  # not there, or "max"
        return None
