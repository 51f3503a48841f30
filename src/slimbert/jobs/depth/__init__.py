"""Adaptive depth as a job: heads that can stop early, runs that do; calibration and curves stand in files beside."""

from .choose import AskedDepth, Depth, can_stop, chosen_depth
from .head import adaptive_head, check_frozen, taught, warm_start, without_windows
from .run import Ran, run_adaptively

__all__ = [
    "AskedDepth",
    "Depth",
    "Ran",
    "adaptive_head",
    "can_stop",
    "check_frozen",
    "chosen_depth",
    "run_adaptively",
    "taught",
    "warm_start",
    "without_windows",
]
