"""ELECTRA: Clark et al. 2020, arXiv:2003.10555. BERT's encoder behind a token table of its own width.

The generator is a masked language model; the discriminator detects replaced tokens (ElectraForPreTraining).
"""

from .bert import ENCODER, FIELDS, PUBLISHED
from .layout import Layout

ELECTRA = Layout(
    model_type="electra",
    class_name="Electra",
    prefix="electra.",
    body=("embeddings", "embeddings_project", "encoder"),
    names=ENCODER
    | {
        "encoder.embedding.project.weight": "embeddings_project.weight",
        "encoder.embedding.project.bias": "embeddings_project.bias",
    },
    heads={
        "sequence": {
            "head.dense.weight": "classifier.dense.weight",
            "head.dense.bias": "classifier.dense.bias",
            "head.classes.weight": "classifier.out_proj.weight",
            "head.classes.bias": "classifier.out_proj.bias",
        },
        "token": {"head.classes.weight": "classifier.weight", "head.classes.bias": "classifier.bias"},
        "span": {"head.ends.weight": "qa_outputs.weight", "head.ends.bias": "qa_outputs.bias"},
        "masked_lm": {
            "head.dense.weight": "generator_predictions.dense.weight",
            "head.dense.bias": "generator_predictions.dense.bias",
            "head.norm.weight": "generator_predictions.LayerNorm.weight",
            "head.norm.bias": "generator_predictions.LayerNorm.bias",
            "head.bias": "generator_lm_head.bias",
            "head.decoder.weight": "generator_lm_head.weight",
        },
        "replaced_token": {
            "head.dense.weight": "discriminator_predictions.dense.weight",
            "head.dense.bias": "discriminator_predictions.dense.bias",
            "head.out.weight": "discriminator_predictions.dense_prediction.weight",
            "head.out.bias": "discriminator_predictions.dense_prediction.bias",
        },
    },
    fields=FIELDS | {"width": "embedding_size"},
    published=PUBLISHED  # electra-small-discriminator
    | {
        "hidden_size": 256,
        "embedding_size": 128,
        "num_attention_heads": 4,
        "intermediate_size": 1024,
    },
    masked_lm_act="gelu",
    sequence_act="gelu",
)
