"""Labelled data as tasks: what a row's text and label are, how they are found, read, checked and split.

One file per shape of labels (`classes`, `numbers`, `label_sets`, ...); `load` finds files, splits and the shape.
"""

from .classes import RARE
from .load import KINDS, find_splits, load_split, load_task, load_texts
from .named import NAMED
from .seen import count_trained_on, write_trained_on
from .task import Split, Task, fingerprint

__all__ = [
    "KINDS",
    "NAMED",
    "RARE",
    "Split",
    "Task",
    "count_trained_on",
    "find_splits",
    "fingerprint",
    "load_split",
    "load_task",
    "load_texts",
    "write_trained_on",
]
