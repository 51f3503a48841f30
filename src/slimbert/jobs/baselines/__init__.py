"""What needs no encoder, beside every result and on the same rows: the least that an encoder has to beat."""

from .answers import whole_sentences
from .baseline import Baseline
from .classes import majority, tfidf
from .label_sets import frequent_labels, tfidf_labels
from .numbers import mean_number, tfidf_ridge
from .tags import frequent_tags
from .vectors import bm25_ranking, missing, static_cosine, tfidf_cosine

__all__ = [
    "Baseline",
    "bm25_ranking",
    "frequent_labels",
    "frequent_tags",
    "majority",
    "mean_number",
    "missing",
    "static_cosine",
    "tfidf",
    "tfidf_cosine",
    "tfidf_labels",
    "tfidf_ridge",
    "whole_sentences",
]
