"""A second look at the first hits: a fine-tuned model of pairs reads query and text together.

Far more exact than two vectors, and far slower: one pass of the model a hit (Nogueira and Cho 2019, arXiv:1901.04085).
"""

from collections.abc import Sequence
from pathlib import Path

from ...errors import InputError
from ..predict import load

PAIRS = 1024  # that are scored together, sorted by length


class Reranker:
    """Gives the probability of `label` for (query, text); `depth`: hits of each query that are read."""

    def __init__(
        self, run: str | Path, *, label: str | None = None, depth: int = 50, device: str | None = None
    ) -> None:
        """label: by default the last of two. InputError for a model of single texts, and for labels to choose from."""
        self.run, self.depth = str(run), depth
        self.predictor = load(run, device=device)
        if self.predictor.task.kind != "pair":
            raise InputError(run, "it does not judge pairs of texts", "fine-tune one: slimbert finetune --task pair")
        labels = self.predictor.kind.labels
        if label is None and len(labels) != 2:
            raise InputError(run, f"which label means a hit? it has {_named(labels)}", "name it: --rerank-label")
        if label is not None and label not in labels:
            raise InputError("--rerank-label", f"no label {label!r}", f"choose one of {_named(labels)}")
        self.label = labels[-1] if label is None else label

    def order(self, queries: Sequence[str], texts: Sequence[Sequence[str]]) -> list[list[tuple[int, float]]]:
        """texts: those found for each query -> their places, the most probable first, with the probability.

        The query is the first text of a pair. Equal probabilities: the order before.
        """
        pairs = [(query, text) for query, found in zip(queries, texts, strict=True) for text in found]
        scores: list[float] = []
        for first in range(0, len(pairs), PAIRS):
            answers = self.predictor.predict(pairs[first : first + PAIRS])
            scores += [answer.scores[self.label] for answer in answers]
        ordered, rest = [], iter(scores)
        for found in texts:
            own = [next(rest) for _ in found]
            ordered.append(sorted(enumerate(own), key=lambda one: -one[1]))
        return ordered


def _named(labels: Sequence[str]) -> str:
    return ", ".join(map(repr, labels[:12])) + ", ..." * (len(labels) > 12)
