"""What a fine-tuning run comes to, and what it leaves in its folder."""

from collections.abc import Mapping
from typing import Any, NamedTuple

from ..config import dump
from ..data.tasks import Split, write_trained_on
from ..data.tokenizer import TextTokenizer
from ..model import Model, ModelConfig, save_model
from ..model.heads import EmbedConfig
from ..train.run import RunFolder
from .card import write_card
from .sentence_transformers import write_modules
from .tasks import Description


class Finetuned(NamedTuple):
    """What a fine-tuning run came to; `test` is None where the data left no rows for it.

    `metric`: the most important of the scores; `texts`: how many the model reads at a time, 2 for pairs; `cut_share`:
    of the training texts, those longer than the model reads at once.
    """

    run: str
    kind: str
    metric: str
    texts: int
    labels: tuple[str, ...]
    updates: int
    seconds: float
    validation: dict[str, float]
    test: dict[str, float] | None
    baselines: dict[str, Any]
    cut_share: float
    notes: tuple[str, ...]


def write_model(
    folder: RunFolder,
    model: Model,
    tokenizer: TextTokenizer,
    *,
    description: Description,
    train: Split,
) -> None:
    """The model with its tokenizer and description, and hashes of its training texts."""
    save_model(model, folder.path, extra={"task": description.plain()})
    tokenizer.save(folder.path)
    if isinstance(head := model.config.head, EmbedConfig):
        write_modules(folder.path, head, dim=model.config.encoder.dim, max_len=description.max_len)
    write_trained_on(train.texts, folder.path)


def write_result(
    folder: RunFolder, result: Finetuned, config: ModelConfig, *, splits: Mapping[str, Split], encoder: str
) -> None:
    """result.json, the curve and the card; `encoder`: what it was."""
    folder.plot()
    folder.write_json("result.json", result._asdict())
    rows = {name: len(split) for name, split in splits.items()}
    recipe = {"model": dump(config), "encoder": encoder, "rows": rows}
    write_card(folder.path, result._asdict(), recipe=recipe)
