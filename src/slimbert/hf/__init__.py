"""transformers: importing this package makes its Auto classes, pipelines and Trainer read slimbert's model folders."""

from transformers import (
    AutoConfig,
    AutoModel,
    AutoModelForMaskedLM,
    AutoModelForSequenceClassification,
    AutoTokenizer,
    PreTrainedTokenizerFast,
)

from .configuration import SlimbertConfig
from .modeling import SlimbertForMaskedLM, SlimbertForSequenceClassification, SlimbertModel

AutoConfig.register("slimbert", SlimbertConfig, exist_ok=True)
AutoModel.register(SlimbertConfig, SlimbertModel, exist_ok=True)
AutoModelForMaskedLM.register(SlimbertConfig, SlimbertForMaskedLM, exist_ok=True)
AutoModelForSequenceClassification.register(SlimbertConfig, SlimbertForSequenceClassification, exist_ok=True)
AutoTokenizer.register(SlimbertConfig, fast_tokenizer_class=PreTrainedTokenizerFast, exist_ok=True)

__all__ = ["SlimbertConfig", "SlimbertForMaskedLM", "SlimbertForSequenceClassification", "SlimbertModel"]
