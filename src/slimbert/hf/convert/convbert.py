"""ConvBERT: Jiang et al. 2020, arXiv:2008.02496. ELECTRA's embedding, half of the attention's heads convolve.

How many heads and how wide follows transformers' rule, which agrees with the published code at a head_ratio of 2 with
an even number of heads; another network of the published code cannot be said. What is written says the ratio 2.
transformers has no class for its discriminator with the head that detects, so such a head is not written.
"""

from .bert import PUBLISHED
from .electra import ELECTRA
from .layout import Layout, Names

ATTENTION = "encoder.layer.{}.attention.self"
MIXER = "encoder.layers.{}.0.mixer"
NAMES: Names = {
    **{ours: theirs for ours, theirs in ELECTRA.names.items() if ".qkv." not in ours},
    **{
        f"{MIXER}.qkvu.{end}": tuple(
            f"{ATTENTION}.{map_}.{end}" for map_ in ("query", "key", "value", "conv_out_layer")
        )
        for end in ("weight", "bias")
    },
    f"{MIXER}.depth.weight": f"{ATTENTION}.key_conv_attn_layer.depthwise.weight",
    f"{MIXER}.point.weight": f"{ATTENTION}.key_conv_attn_layer.pointwise.weight",
    f"{MIXER}.point.bias": f"{ATTENTION}.key_conv_attn_layer.bias",
    f"{MIXER}.span.weight": f"{ATTENTION}.conv_kernel_layer.weight",
    f"{MIXER}.span.bias": f"{ATTENTION}.conv_kernel_layer.bias",
}

CONVBERT = Layout(
    model_type="convbert",
    class_name="ConvBert",
    prefix="convbert.",
    body=ELECTRA.body,
    names=NAMES,
    heads={kind: names for kind, names in ELECTRA.heads.items() if kind != "replaced_token"},
    fields={**ELECTRA.fields, "ratio": "head_ratio", "kernel": "conv_kernel_size", "groups": "num_groups"},
    published=PUBLISHED  # conv-bert-base
    | {"embedding_size": 768, "head_ratio": 2, "conv_kernel_size": 9, "num_groups": 1, "pad_token_id": 1},
    masked_lm_act="gelu",
    sequence_act=None,
    columns=("key_conv_attn_layer.pointwise.weight", "key_conv_attn_layer.bias"),
    note="its convolutions read padding as nothing, those of transformers as tokens (here: --padding published)",
)
