"""BERT: Devlin et al. 2018, arXiv:1810.04805. Also the encoder's names of RoBERTa and ELECTRA."""

from .layout import TABLE, Layout, Names

ENCODER: Names = {
    TABLE: "embeddings.word_embeddings.weight",
    "encoder.embedding.position.weight": "embeddings.position_embeddings.weight",
    "encoder.embedding.token_type.weight": "embeddings.token_type_embeddings.weight",
    "encoder.embedding.norm.weight": "embeddings.LayerNorm.weight",
    "encoder.embedding.norm.bias": "embeddings.LayerNorm.bias",
    **{
        f"encoder.layers.{{}}.0.mixer.qkv.{end}": tuple(
            f"encoder.layer.{{}}.attention.self.{map_}.{end}" for map_ in ("query", "key", "value")
        )
        for end in ("weight", "bias")
    },
    **{
        f"encoder.layers.{{}}.{ours}.{end}": f"encoder.layer.{{}}.{theirs}.{end}"
        for ours, theirs in {
            "0.mixer.out": "attention.output.dense",
            "0.norm": "attention.output.LayerNorm",
            "1.mixer.up": "intermediate.dense",
            "1.mixer.down": "output.dense",
            "1.norm": "output.LayerNorm",
        }.items()
        for end in ("weight", "bias")
    },
}
POOLER: Names = {"head.dense.weight": "pooler.dense.weight", "head.dense.bias": "pooler.dense.bias"}
FIELDS = {
    "dim": "hidden_size",
    "layers": "num_hidden_layers",
    "heads": "num_attention_heads",
    "hidden": "intermediate_size",
    "act": "hidden_act",
    "vocab": "vocab_size",
    "rows": "max_position_embeddings",
    "types": "type_vocab_size",
    "eps": "layer_norm_eps",
    "dropout": "hidden_dropout_prob",
    "attention_dropout": "attention_probs_dropout_prob",
    "init_std": "initializer_range",
}
PUBLISHED = {  # bert-base-uncased
    "hidden_size": 768,
    "num_hidden_layers": 12,
    "num_attention_heads": 12,
    "intermediate_size": 3072,
    "hidden_act": "gelu",
    "vocab_size": 30522,
    "max_position_embeddings": 512,
    "type_vocab_size": 2,
    "layer_norm_eps": 1e-12,
    "hidden_dropout_prob": 0.1,
    "attention_probs_dropout_prob": 0.1,
    "initializer_range": 0.02,
    "pad_token_id": 0,
}

BERT = Layout(
    model_type="bert",
    class_name="Bert",
    prefix="bert.",
    body=("embeddings", "encoder", "pooler"),
    names=ENCODER,
    heads={
        "pooler": POOLER,
        "sequence": POOLER | {"head.classes.weight": "classifier.weight", "head.classes.bias": "classifier.bias"},
        "masked_lm": {
            "head.dense.weight": "cls.predictions.transform.dense.weight",
            "head.dense.bias": "cls.predictions.transform.dense.bias",
            "head.norm.weight": "cls.predictions.transform.LayerNorm.weight",
            "head.norm.bias": "cls.predictions.transform.LayerNorm.bias",
            "head.bias": "cls.predictions.bias",
            "head.decoder.weight": "cls.predictions.decoder.weight",
        },
    },
    copies={"cls.predictions.decoder.bias": "cls.predictions.bias"},
    fields=FIELDS,
    published=PUBLISHED,
)
