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
    """`transformers.pipeline` for a task of SETTINGS. Texts are cut where the run cuts them; those to be tagged, which
    the run reads in windows, at the end of the table of positions."""
    made = make(task, model=str(model), device=device, **SETTINGS[task])
    config = made.model.config
    if isinstance(config, SlimbertConfig):
        whole = task == "token-classification"
        made.tokenizer.model_max_length = config.core().encoder.embedding.max_len if whole else config.max_len
    return made
