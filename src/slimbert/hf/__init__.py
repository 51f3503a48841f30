"""transformers: importing this package makes its Auto classes, pipelines and Trainer read slimbert's model folders."""

from transformers import (
    AutoConfig,
    AutoModel,
    AutoModelForMaskedLM,
    AutoModelForQuestionAnswering,
    AutoModelForSequenceClassification,
    AutoModelForTokenClassification,
    AutoTokenizer,
    PreTrainedTokenizerFast,
)

from .configuration import SlimbertConfig
from .masked_lm import SlimbertForMaskedLM
from .modeling import SlimbertForSequenceClassification, SlimbertModel
from .token_tasks import SlimbertForQuestionAnswering, SlimbertForTokenClassification

AutoConfig.register("slimbert", SlimbertConfig, exist_ok=True)
AutoModel.register(SlimbertConfig, SlimbertModel, exist_ok=True)
AutoModelForMaskedLM.register(SlimbertConfig, SlimbertForMaskedLM, exist_ok=True)
AutoModelForSequenceClassification.register(SlimbertConfig, SlimbertForSequenceClassification, exist_ok=True)
AutoModelForTokenClassification.register(SlimbertConfig, SlimbertForTokenClassification, exist_ok=True)
AutoModelForQuestionAnswering.register(SlimbertConfig, SlimbertForQuestionAnswering, exist_ok=True)
AutoTokenizer.register(SlimbertConfig, fast_tokenizer_class=PreTrainedTokenizerFast, exist_ok=True)

__all__ = [
    "SlimbertConfig",
    "SlimbertForMaskedLM",
    "SlimbertForQuestionAnswering",
    "SlimbertForSequenceClassification",
    "SlimbertForTokenClassification",
    "SlimbertModel",
]
