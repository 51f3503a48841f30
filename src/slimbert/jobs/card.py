"""The model card of a run folder: what the model is, what it was made from, how good it is, how to use it."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ..atomic import write_atomically
from .scores import Score, ordered

CARD = """---
library_name: slimbert
tags: [slimbert, {tag}]
---

# {name}

{what} Made with slimbert.

| | |
| --- | --- |
{rows}

## Use

```python
import slimbert

{use}
```

With transformers: `import slimbert.hf`, then `{auto}.from_pretrained("{folder}")`.

## Limits

It knows the language and the domain of its training text, and repeats what stands there. It was evaluated on nothing
but what the table names.
"""


SEQUENCE = "AutoModelForSequenceClassification"
KINDS = {  # kind of task -> the Hub's tag, a sentence, the class of transformers
    "masked_lm": (
        "fill-mask",
        "A masked language model, to be fine-tuned.",
        "AutoModelForMaskedLM",
    ),
    "replaced_tokens": (
        "feature-extraction",
        "An encoder that tells replaced tokens from original ones, to be fine-tuned.",
        "AutoModel",
    ),
    "classification": ("text-classification", "A text classifier.", SEQUENCE),
    "pair": ("text-classification", "A classifier of pairs of texts.", SEQUENCE),
    "multilabel": ("text-classification", "It gives a text every label that fits.", SEQUENCE),
    "embedding": ("sentence-similarity", "It turns texts into vectors.", "AutoModel"),
    "ner": ("token-classification", "It tags words: entities, parts of speech.", "AutoModelForTokenClassification"),
    "qa": ("question-answering", "It finds answers in a context.", "AutoModelForQuestionAnswering"),
    "regression": ("text-classification", "It gives a text a number.", SEQUENCE),
}


def write_card(folder: Path, result: Mapping[str, Any], *, recipe: Mapping[str, Any]) -> None:
    """README.md of the run: what it came to as a table, and the lines that use it from where it was made.

    result: a Finetuned or Pretrained as a mapping. recipe: its `model` is the dumped ModelConfig; of a fine-tuned run
    `encoder` names what it came from, and `rows` says how many rows each part of the data has.
    """
    tuned = "labels" in result
    objective = (recipe.get("objective") or {}).get("kind", "masked_lm")
    tag, what, auto = KINDS[result["kind"] if tuned else objective]
    table = (_finetuned if tuned else _pretrained)(result, recipe) | _shape(recipe)
    text = CARD.format(
        tag=tag,
        name=folder.name,
        folder=folder,
        what=what,
        rows="\n".join(f"| {name} | {_cell(value)} |" for name, value in table.items() if value is not None),
        use=f'slimbert.load("{folder}").predict([{_example(result)}])'
        if tuned
        else f'slimbert.finetune("{folder}", "reviews.csv", out="runs/reviews")',
        auto=auto,
    )
    write_atomically(folder / "README.md", text.encode())


def _finetuned(result: Mapping[str, Any], recipe: Mapping[str, Any]) -> dict[str, Any]:
    test, labels = result.get("test"), result["labels"]
    scores = test or result.get("validation") or {}
    metric = result.get("metric", "accuracy")
    rows = recipe.get("rows") or {}
    table = {
        "encoder": recipe.get("encoder"),
        "labels": ", ".join(labels) or None,
        "rows": ", ".join(f"{count:,} {part}" for part, count in rows.items()) or None,
        "updates": result.get("updates"),
        "scored on": f"{scores['rows']:,} rows of {'test' if test else 'validation'}" if "rows" in scores else None,
    }
    others = result.get("baselines") or {}
    found = {f"{ordered(score, metric)[0].name} of {name}": score[metric] for name, score in others.items()}
    return table | {score.name: _with_interval(score) for score in ordered(scores, metric)} | found


def _with_interval(score: Score) -> str | float:
    return score.value if score.low is None else f"{score.value:.3f}, 95% interval {score.low:.3f} to {score.high:.3f}"


def _pretrained(result: Mapping[str, Any], recipe: Mapping[str, Any]) -> dict[str, Any]:
    named = {"loss": "loss of the last update", "val_loss": "loss on the validation rows"}
    return {named.get(name, name): value for name, value in result.items() if name != "run"}


def _shape(recipe: Mapping[str, Any]) -> dict[str, Any]:
    encoder = (recipe.get("model") or {}).get("encoder") or {}
    return {"width": encoder.get("dim"), "layers": sum("mix" in step for step in encoder.get("layers", ())) or None}


def _example(result: Mapping[str, Any]) -> str:
    return '("first text", "second text")' if result.get("texts") == 2 else '"some text"'


def _cell(value: object) -> str:
    text = f"{value:,.4g}" if isinstance(value, float) else f"{value:,}" if isinstance(value, int) else str(value)
    return text.replace("|", "\\|").replace("\n", " ")
