"""Benchmarks by name: their kind, their columns as the Hugging Face data sets call them, their own score.

GLUE: Wang et al. 2018, arXiv:1804.07461, table 1.
"""

from dataclasses import dataclass


@dataclass(frozen=True)
class Named:
    """`texts`, `label`: the columns; empty where the form of the file tells. `metric`: the score by which validation
    selects and which is shown first."""

    kind: str
    texts: tuple[str, ...]
    label: str
    metric: str


NAMED = {
    "cola": Named("classification", ("sentence",), "label", "matthews"),
    "sst2": Named("classification", ("sentence",), "label", "accuracy"),
    "mrpc": Named("pair", ("sentence1", "sentence2"), "label", "f1"),
    "stsb": Named("regression", ("sentence1", "sentence2"), "label", "spearman"),
    "qqp": Named("pair", ("question1", "question2"), "label", "f1"),
    "mnli": Named("pair", ("premise", "hypothesis"), "label", "accuracy"),
    "qnli": Named("pair", ("question", "sentence"), "label", "accuracy"),
    "rte": Named("pair", ("sentence1", "sentence2"), "label", "accuracy"),
    "wnli": Named("pair", ("sentence1", "sentence2"), "label", "accuracy"),
    "imdb": Named("classification", ("text",), "label", "accuracy"),
    "amazon_polarity": Named("classification", ("content",), "label", "accuracy"),
    "ag_news": Named("classification", ("text",), "label", "accuracy"),
    "conll2003": Named("ner", (), "", "f1"),
    "squad": Named("qa", (), "", "f1"),
    "squad_v2": Named("qa", (), "", "f1"),
    "product_match": Named("pair", ("text_left", "text_right"), "label", "f1"),
}
