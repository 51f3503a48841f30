"""transformers' pipelines on slimbert's model folders, set up as the models were trained."""

from pathlib import Path
from typing import Any

from transformers import pipeline as make

from .configuration import SlimbertConfig

SETTINGS: dict[str, dict[str, Any]] = {  # task -> what its pipeline is given beside the model
    "text-classification": {"truncation": True},
    "token-classification": {"aggregation_strategy": "first"},  # a word is judged at its first piece
    "fill-mask": {},
    "feature-extraction": {"truncation": True},
}


def of_transformers(task: str, model: str | Path, *, device: str) -> Any:
    """`transformers.pipeline` for a task of SETTINGS. Texts are cut where the model stops reading; a folder of ours
    without that would fail at its table of positions."""
    made = make(task, model=str(model), device=device, **SETTINGS[task])
    if isinstance(made.model.config, SlimbertConfig):
        made.tokenizer.model_max_length = made.model.config.core().encoder.embedding.max_len
    return made
