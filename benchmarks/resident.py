"""The resident memory of a process at its peak, as Linux counts it; pages of mapped files count, too.

VmHWM of /proc, which begins afresh with the program that a process runs. `ru_maxrss` does not: a process has from its
start the peak of the one that started it.
"""

from pathlib import Path


def peak_mb(process: int | str = "self") -> float:
    """MB (2^20 bytes) at the peak of a process that lives, by its number; self: of this one."""
    lines = Path(f"/proc/{process}/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmHWM:")) / 1024  # it is given in KB
