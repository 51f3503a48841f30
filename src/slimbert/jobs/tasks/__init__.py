"""What fine-tuning, evaluating and predicting need to know of a kind of task; one file each.

A kind of task is: rows of tokens from texts (`features`), a head and a judge, answers for people, scores, baselines.
"""

from .kind import Description, Kind
from .registry import KINDS, about_length, kind_for, kind_of

__all__ = ["KINDS", "Description", "Kind", "about_length", "kind_for", "kind_of"]
