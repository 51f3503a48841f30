"""A model as a pipeline: transformers' own where it has one; ours for questions, which it dropped, and for vectors.

classify = slimbert.pipeline("text-classification", "runs/b")
answer = slimbert.pipeline("question-answering", "runs/qa")
answer(question="Who was here?", context="Ada was here.")   # {"score": .., "start": 0, "end": 3, "answer": "Ada"}
near = slimbert.pipeline("sentence-similarity", "runs/vectors")
near("How do I reset it?", ["Resetting the device", "Replacing the battery"])   # [0.83, 0.21]
"""

from collections.abc import Mapping, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from ..errors import InputError
from ..model.folder import answers_like, is_ours, read_description
from ..train.engine import device_of
from .predict import Predictor, load

QUESTIONS, SIMILARITY = "question-answering", "sentence-similarity"
HEADS: dict[str, str | None] = {  # task -> the kind of head that a folder of ours needs for it; None: any
    "text-classification": "sequence",
    "token-classification": "token",
    "fill-mask": "masked_lm",
    "feature-extraction": None,
    QUESTIONS: "span",
    SIMILARITY: None,
}
OTHER_NAMES = {"sentiment-analysis": "text-classification", "ner": "token-classification"}  # as in transformers
Answer = dict[str, Any]  # score, start, end, answer


class QuestionAnswering:
    """Answers to questions, called as transformers' pipeline was: `answer(question=..., context=...)`, each a text or a
    list, or a mapping (or several) with both. One context may stand for many questions."""

    def __init__(self, predictor: Predictor) -> None:
        self.predictor = predictor

    def __call__(
        self,
        inputs: Mapping[str, str] | Sequence[Mapping[str, str]] | None = None,
        *,
        question: str | Sequence[str] | None = None,
        context: str | Sequence[str] | None = None,
    ) -> Answer | list[Answer]:
        """One answer for one question, a list for a list. context[start:end] is the answer; "" where it is withheld."""
        if inputs is not None:
            many = [inputs] if isinstance(inputs, Mapping) else list(inputs)
            question = [_part(one, "question", place) for place, one in enumerate(many)]
            context = [_part(one, "context", place) for place, one in enumerate(many)]
            single = isinstance(inputs, Mapping)
        elif question is None or context is None:
            raise InputError("pipeline", "no question or no context", "call it with question=..., context=...")
        else:
            single = isinstance(question, str)
        questions = [question] if isinstance(question, str) else list(question)
        contexts = [context] * len(questions) if isinstance(context, str) else list(context)
        if len(questions) != len(contexts):
            problem = f"{len(questions)} questions and {len(contexts)} contexts"
            raise InputError("pipeline", problem, "give one context, or one for each question")
        found = self.predictor.predict(list(zip(questions, contexts, strict=True)))
        made = [{"score": one.score, "start": one.start, "end": one.end, "answer": one.answer} for one in found]
        return made[0] if single else made


class SentenceSimilarity:
    """The cosine of a text with each of some others, called as huggingface_hub's `sentence_similarity` is."""

    def __init__(self, predictor: Predictor) -> None:
        self.predictor = predictor

    def __call__(self, sentence: str, other_sentences: Sequence[str]) -> list[float]:
        """From -1 to 1, in the order of `other_sentences`."""
        if isinstance(other_sentences, str):
            raise InputError("other_sentences", "one string instead of a list", "give the texts as a list")
        vectors = self.predictor.embed([sentence, *other_sentences], normalise=True)
        cosines: list[float] = (vectors[1:] @ vectors[0]).tolist()
        return cosines


def pipeline(task: str, model: str | Path, *, device: str | None = None) -> Any:
    """What answers texts as transformers' pipelines do. model: a run, a model folder, one of transformers, a Hub name.

    Raises InputError on a task that is none of HEADS, and on a folder of ours whose head was trained for another.
    """
    asked = OTHER_NAMES.get(task, task)
    if asked not in HEADS:
        raise InputError(f"pipeline {task!r}", "no such task", f"choose one of {', '.join(HEADS)}")
    if is_ours(model):
        _check_head(asked, model)
    if asked == QUESTIONS:
        return QuestionAnswering(load(model, device=device))
    if asked == SIMILARITY:
        return SentenceSimilarity(load(model, device=device))
    if find_spec("transformers") is None:
        raise InputError(f"pipeline {task!r}", "it needs transformers", 'pip install "slimbert[hf]"')
    from ..hf.pipelines import of_transformers  # only here: transformers takes seconds to load

    return of_transformers(asked, model, device=device_of(device))


def _check_head(task: str, folder: str | Path) -> None:
    """Raises InputError where transformers would answer with a fresh head, at random."""
    head = read_description(folder).get("model", {}).get("head") or {}
    if HEADS[task] not in (None, answers_like(head)):
        fitting = ", ".join(name for name, wanted in HEADS.items() if wanted in (None, answers_like(head)))
        raise InputError(folder, f"its head ({head.get('kind', 'none')}) is not for {task}", f"it can do {fitting}")


def _part(given: Mapping[str, str], name: str, place: int) -> str:
    if not isinstance(given, Mapping) or not isinstance(given.get(name), str):
        problem = f"{given!r:.80} has no {name}"
        raise InputError(f"inputs[{place}]", problem, 'give {"question": "...", "context": "..."}')
    return given[name]
