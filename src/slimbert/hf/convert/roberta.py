"""RoBERTa: Liu et al. 2019, arXiv:1907.11692. BERT's encoder; places begin at row 2 of its table."""

from .bert import ENCODER, FIELDS, POOLER, PUBLISHED
from .layout import Layout

ROBERTA = Layout(
    model_type="roberta",
    class_name="Roberta",
    prefix="roberta.",
    body=("embeddings", "encoder", "pooler"),
    names=ENCODER,
    heads={
        "pooler": POOLER,
        "sequence": {
            "head.dense.weight": "classifier.dense.weight",
            "head.dense.bias": "classifier.dense.bias",
            "head.classes.weight": "classifier.out_proj.weight",
            "head.classes.bias": "classifier.out_proj.bias",
        },
        "masked_lm": {
            "head.dense.weight": "lm_head.dense.weight",
            "head.dense.bias": "lm_head.dense.bias",
            "head.norm.weight": "lm_head.layer_norm.weight",
            "head.norm.bias": "lm_head.layer_norm.bias",
            "head.bias": "lm_head.bias",
            "head.decoder.weight": "lm_head.decoder.weight",
        },
    },
    copies={"lm_head.decoder.bias": "lm_head.bias"},
    fields=FIELDS,
    published=PUBLISHED  # roberta-base
    | {
        "vocab_size": 50265,
        "max_position_embeddings": 514,
        "type_vocab_size": 1,
        "layer_norm_eps": 1e-5,
        "pad_token_id": 1,
    },
    offset_after_pad=True,
    masked_lm_act="gelu",
)
