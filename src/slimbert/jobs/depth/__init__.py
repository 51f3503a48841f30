"""Adaptive depth as a job: heads that can stop early, runs that do, calibration, curves of score against cost."""

from .calibrate import Calibrated, calibrate
from .choose import Depth, chosen_depth
from .curve import Curve, Point, depth_curve
from .head import adaptive_head
from .run import Ran, run_adaptively

__all__ = [
    "Calibrated",
    "Curve",
    "Depth",
    "Point",
    "Ran",
    "adaptive_head",
    "calibrate",
    "chosen_depth",
    "depth_curve",
    "run_adaptively",
]
