"""NarrowBERT as its author published it: Li et al. 2023, arXiv:2301.04761.

Two layouts of the same tensors, BERT's with the layers in two lists: `full_length_layers` of them in
`encoder.layer`, the others in `encoder_narrow.layer`. `narrowbert` is the published code, which calls its models bert;
`narrow_bert` is the author's port to transformers, which no release has. The second is written unless the first is
asked for: transformers would read the first as a BERT, and fill the layers behind the narrowing at random.
"""

from dataclasses import replace

from .bert import BERT

FULL_LENGTH = "full_length_layers"

NARROWBERT = replace(
    BERT,
    key="narrowbert",
    class_name="NarrowBert",
    body=(*BERT.body, "encoder_narrow"),
    fields={**BERT.fields, "full": FULL_LENGTH},
    published={**BERT.published, FULL_LENGTH: 2},
)
NARROW_BERT = replace(NARROWBERT, key="", model_type="narrow_bert", prefix="narrow_bert.")
