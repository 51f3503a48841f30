"""config.json of a model folder, as transformers sees it: an envelope around the core's ModelConfig."""

from pathlib import Path
from typing import Any

from transformers import PreTrainedConfig

from ..atomic import forget_hashes
from ..config import load
from ..model import ModelConfig
from ..model.folder import describe


class SlimbertConfig(PreTrainedConfig):
    """config.json of a model folder; `model` holds the core's ModelConfig as plain data."""

    model_type = "slimbert"

    @classmethod
    def of(cls, config: ModelConfig) -> "SlimbertConfig":
        """The envelope around a ModelConfig."""
        return cls(**{name: value for name, value in describe(config).items() if name != "model_type"})

    def core(self) -> ModelConfig:
        """The ModelConfig inside. Raises InputError where there is none or it does not fit."""
        return load(ModelConfig, getattr(self, "model", None), "config.json: model")

    def hold(self, config: ModelConfig) -> None:
        """Put another ModelConfig inside; labels and sizes outside follow."""
        for name, value in describe(config).items():
            if name not in ("model_type", "dtype", "label2id", "id2label"):
                setattr(self, name, value)
        labels = getattr(config.head, "labels", ())
        if labels:
            self.id2label = dict(enumerate(labels))
            self.label2id = {label: i for i, label in enumerate(labels)}

    @property
    def max_len(self) -> int:
        """Tokens of a text that are read: those of the task it was trained for, at most the table of positions."""
        table, task = self.core().encoder.embedding.max_len, getattr(self, "task", None) or {}
        return min(table, int(task.get("max_len", table)))

    @property
    def labels(self) -> tuple[str, ...]:
        """The names of the classes, by their number."""
        return tuple(str(self.id2label[i]) for i in sorted(self.id2label))

    def save_pretrained(self, save_directory: Any, *args: Any, **kwargs: Any) -> Any:
        """As in transformers; a hash that slimbert kept of config.json there no longer holds."""
        if Path(save_directory).is_dir():
            forget_hashes(Path(save_directory), ["config.json"])
        return super().save_pretrained(save_directory, *args, **kwargs)

    def to_dict(self) -> dict[str, Any]:
        """Plain data; labels that were renamed outside are renamed inside too."""
        out: dict[str, Any] = super().to_dict()
        head = (out.get("model") or {}).get("head") or {}
        if len(head.get("labels") or ()) == len(self.labels):
            head["labels"] = list(self.labels)
        return out
