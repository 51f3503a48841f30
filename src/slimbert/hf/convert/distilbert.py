"""DistilBERT: Sanh et al. 2019, arXiv:1910.01108. BERT's layers under other names, without token types and pooler.

It drops nothing behind its attention, ours does at the one rate of the layer: a difference in training only.
"""

from .layout import TABLE, Layout

DISTILBERT = Layout(
    model_type="distilbert",
    class_name="DistilBert",
    prefix="distilbert.",
    body=("embeddings", "transformer"),
    names={
        TABLE: "embeddings.word_embeddings.weight",
        "encoder.embedding.position.weight": "embeddings.position_embeddings.weight",
        "encoder.embedding.norm.weight": "embeddings.LayerNorm.weight",
        "encoder.embedding.norm.bias": "embeddings.LayerNorm.bias",
        **{
            f"encoder.layers.{{}}.0.mixer.qkv.{end}": tuple(
                f"transformer.layer.{{}}.attention.{map_}.{end}" for map_ in ("q_lin", "k_lin", "v_lin")
            )
            for end in ("weight", "bias")
        },
        **{
            f"encoder.layers.{{}}.{ours}.{end}": f"transformer.layer.{{}}.{theirs}.{end}"
            for ours, theirs in {
                "0.mixer.out": "attention.out_lin",
                "0.norm": "sa_layer_norm",
                "1.mixer.up": "ffn.lin1",
                "1.mixer.down": "ffn.lin2",
                "1.norm": "output_layer_norm",
            }.items()
            for end in ("weight", "bias")
        },
    },
    heads={
        "sequence": {
            "head.dense.weight": "pre_classifier.weight",
            "head.dense.bias": "pre_classifier.bias",
            "head.classes.weight": "classifier.weight",
            "head.classes.bias": "classifier.bias",
        },
        "masked_lm": {
            "head.dense.weight": "vocab_transform.weight",
            "head.dense.bias": "vocab_transform.bias",
            "head.norm.weight": "vocab_layer_norm.weight",
            "head.norm.bias": "vocab_layer_norm.bias",
            "head.bias": "vocab_projector.bias",
            "head.decoder.weight": "vocab_projector.weight",
        },
    },
    fields={
        "dim": "dim",
        "layers": "n_layers",
        "heads": "n_heads",
        "hidden": "hidden_dim",
        "act": "activation",
        "vocab": "vocab_size",
        "rows": "max_position_embeddings",
        "dropout": "dropout",
        "attention_dropout": "attention_dropout",
        "init_std": "initializer_range",
    },
    published={  # distilbert-base-uncased
        "dim": 768,
        "n_layers": 6,
        "n_heads": 12,
        "hidden_dim": 3072,
        "activation": "gelu",
        "vocab_size": 30522,
        "max_position_embeddings": 512,
        "dropout": 0.1,
        "attention_dropout": 0.1,
        "initializer_range": 0.02,
        "pad_token_id": 0,
        "seq_classif_dropout": 0.2,
    },
    fixed={"types": 0, "eps": 1e-12},
    sequence_act="relu",
    classifier_dropout="seq_classif_dropout",
)
