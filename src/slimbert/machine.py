"""How many cores and how much memory this process may use: a container is often allowed less than its machine has."""

import math
import os
from collections.abc import Iterator
from pathlib import Path

import psutil

CGROUP, GROUPS = Path("/sys/fs/cgroup"), Path("/proc/self/cgroup")


def cores() -> int:
    """Cores this process may use: by its affinity and by the quota of its control group, rounded up."""
    allowed = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    quotas = [int(quota) / int(period) for quota, period in _cpu_quotas() if int(quota) > 0]
    return max(1, min([allowed, *(math.ceil(quota) for quota in quotas)]))


def memory_bytes() -> int:
    """Memory this process may use, in bytes: the machine's, or the limit of its control group if that is lower."""
    limits = [*_group_files("", "memory.max"), *_group_files("memory", "memory.limit_in_bytes")]
    return min([int(psutil.virtual_memory().total), *(int(text) for text in limits if text.isdigit())])


def _cpu_quotas() -> Iterator[tuple[str, str]]:
    """(microseconds allowed, per microseconds) of this process's control groups, both versions of them."""
    for text in _group_files("", "cpu.max"):
        quota, _, period = text.partition(" ")
        if quota.isdigit() and period.isdigit():
            yield quota, period
    quotas, periods = _group_files("cpu", "cpu.cfs_quota_us"), _group_files("cpu", "cpu.cfs_period_us")
    yield from zip(quotas, periods)


def _group_files(controller: str, name: str) -> Iterator[str]:
    """The texts of a control file in this process's group and every group above it; controller "" is version 2."""
    for line in GROUPS.read_text().splitlines() if GROUPS.is_file() else []:
        _, controllers, path = line.split(":", 2)
        if controller not in controllers.split(","):
            continue
        roots = [CGROUP / controller] if controller else [CGROUP, CGROUP / "unified"]
        for root in roots:
            group = root / path.lstrip("/")
            for folder in (group, *group.parents):
                if (folder / name).is_file():
                    yield (folder / name).read_text().strip()
                if folder == root:
                    break
