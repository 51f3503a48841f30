"""Labelled data as tasks: what a row's text and label are, how they are found, read, checked and split.

One file per shape of labels (`classes`, `numbers`, `label_sets`, ...); `load` finds files, splits and the shape.
"""

from .file import DataFile
from .folder import find_splits
from .label_sets import is_list, separator
from .load import KINDS, benchmark, load_split, load_task, load_texts, spans_of
from .named import NAMED
from .seen import count_trained_on, write_trained_on
from .tags import FILE_OF_WORDS
from .task import Split, Task, fingerprint

__all__ = [
    "FILE_OF_WORDS",
    "KINDS",
    "NAMED",
    "DataFile",
    "Split",
    "Task",
    "benchmark",
    "count_trained_on",
    "find_splits",
    "fingerprint",
    "is_list",
    "load_split",
    "load_task",
    "load_texts",
    "separator",
    "spans_of",
    "write_trained_on",
]
