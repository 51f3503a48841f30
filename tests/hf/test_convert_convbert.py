"""ConvBERT and ELECTRA against transformers: sizes, heads, both paddings, both rules of heads, what contradicts."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import torch
import transformers
from safetensors.torch import load_file, save_file
from torch import Tensor
from torch.testing import assert_close

from slimbert.errors import InputError
from slimbert.hf import convert
from slimbert.hf.convert.shape import encoder_of
from slimbert.jobs.models import convert as convert_folder
from slimbert.model import (
    EncoderConfig,
    Model,
    ModelConfig,
    fresh,
    headless,
    load_model,
    presets,
    save_model,
    with_dropout,
)
from slimbert.model.heads import MaskedLmConfig, ReplacedTokenConfig, SequenceConfig, SpanConfig, TokenConfig
from slimbert.parts.mixed import MixedAttentionConfig, reduced

# The published widths, two layers, a small vocabulary.
SIZES: dict[str, dict[str, int]] = {
    "small": {"hidden_size": 256, "num_attention_heads": 4, "intermediate_size": 1024, "embedding_size": 128},
    "medium_small": {
        "hidden_size": 384,
        "num_attention_heads": 8,
        "intermediate_size": 1536,
        "embedding_size": 128,
        "num_groups": 2,
    },
    "base": {},
}
TOY = {"hidden_size": 48, "num_attention_heads": 4, "intermediate_size": 96, "embedding_size": 16}
HEADS = {
    "Model": type(None),
    "ForMaskedLM": MaskedLmConfig,
    "ForSequenceClassification": SequenceConfig,
    "ForTokenClassification": TokenConfig,
    "ForQuestionAnswering": SpanConfig,
}
LABELS = {"id2label": {0: "bad", 1: "so so", 2: "good"}, "label2id": {"bad": 0, "so so": 1, "good": 2}}
# The widest sum has 3072 terms of order 1 in float32.
CLOSE: dict[str, float] = {"atol": 1e-5, "rtol": 0.0}


class Case(NamedTuple):
    """One of transformers' models, its folder, and what we read from it."""

    theirs: Any
    folder: Path
    ours: Model
    notes: tuple[str, ...]


def made(suffix: str = "Model", *, name: str = "ConvBert", **sizes: Any) -> Any:
    """A model of transformers whose every parameter matters: no bias is 0, no norm is 1, no kernel next to nothing."""
    labels = LABELS if "Classification" in suffix else {}
    config = getattr(transformers, f"{name}Config")(
        vocab_size=300, num_hidden_layers=2, pad_token_id=0, **labels, **sizes
    )
    model = getattr(transformers, name + suffix)(config).eval()
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for key, value in model.named_parameters():
            wide = 0.2 if "depthwise" in key or "conv_kernel" in key else 0.02
            value.add_(wide * torch.randn(value.shape, generator=generator))
    return model


def case_of(folder: Path, suffix: str = "Model", **options: Any) -> Case:
    theirs = made(suffix, **options)
    theirs.save_pretrained(folder)
    ours, _, notes = convert.read(folder)
    return Case(theirs, folder, ours, notes)


def ids_of(length: int = 19, rows: int = 3) -> Tensor:
    return torch.randint(5, 300, (rows, length), generator=torch.Generator().manual_seed(1))


def ragged() -> tuple[Tensor, Tensor]:
    """ids [3, 19] and mask, of lengths 19, 11 and 6."""
    mask = torch.arange(19) < torch.tensor([[19], [11], [6]])
    return ids_of().masked_fill(~mask, 0), mask


def hidden(model: Any, ids: Tensor, mask: Tensor | None = None) -> Tensor:
    given = {} if mask is None else {"attention_mask": mask.long()}
    return model(input_ids=ids, output_hidden_states=True, **given).hidden_states[-1]


def answers(output: Any) -> Tensor:
    """Logits of a model, also of one that gives starts and ends, or its states."""
    if "start_logits" in output:
        return torch.stack((output.start_logits, output.end_logits), dim=-1)
    return output.logits if "logits" in output else output.last_hidden_state


def edit(folder: Path, **changes: Any) -> None:
    path = folder / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


def as_made_here(encoder: EncoderConfig) -> EncoderConfig:
    """A preset with the dropout of transformers, two layers and the small vocabulary."""
    encoder = with_dropout(encoder, 0.1)
    return replace(encoder, layers=encoder.layers[:2], embedding=replace(encoder.embedding, vocab=300))


def refused(folder: Path) -> str:
    with pytest.raises(InputError) as caught:
        convert.read(folder)
    return str(caught.value)


@pytest.fixture(
    scope="module",
    params=[(size, suffix) for size in SIZES for suffix in HEADS],
    ids="-".join,
)
def case(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Case:
    size, suffix = request.param
    return case_of(tmp_path_factory.mktemp("theirs"), suffix, **SIZES[size])


@pytest.mark.parametrize("length", [3, 19, 128])
def test_without_padding_states_are_transformers_own(case: Case, length: int):
    """Also shorter than the kernel of 9, and long enough for every form of the convolution."""
    ids = ids_of(length)
    with torch.no_grad():
        assert_close(case.ours.encoder(ids).state.x, hidden(case.theirs, ids), **CLOSE)


def test_heads_answer_as_theirs(case: Case):
    head = case.ours.config.head
    assert isinstance(head, HEADS[type(case.theirs).__name__.removeprefix("ConvBert")])
    with torch.no_grad():
        assert_close(case.ours(ids_of()), answers(case.theirs(input_ids=ids_of())), **CLOSE)
    if isinstance(head, SequenceConfig | TokenConfig):
        assert head.labels == ("bad", "so so", "good")


def test_there_and_back_is_the_identity(case: Case, tmp_path: Path):
    """Names, shapes ([A, d, 1], [A, 1], [g, in/g, out/g]) and numbers; and the same config is read again."""
    assert len(case.notes) == 1
    assert "--padding published" in case.notes[0]
    assert convert.write(case.ours, tmp_path) == "convbert"
    before, after = load_file(case.folder / "model.safetensors"), load_file(tmp_path / "model.safetensors")
    assert before.keys() == after.keys()
    assert all(torch.equal(before[name], after[name]) for name in before)
    assert convert.read(tmp_path)[0].config == case.ours.config
    old, new = (json.loads((folder / "config.json").read_text()) for folder in (case.folder, tmp_path))
    effective = {"classifier_dropout", "tie_word_embeddings"}  # theirs leaves out what follows from other fields
    assert {key: old.get(key) for key in new if key not in effective} == {k: new[k] for k in new if k not in effective}


def test_transformers_reads_what_was_written(case: Case, tmp_path: Path):
    convert.write(case.ours, tmp_path)
    loaded, info = type(case.theirs).from_pretrained(tmp_path, output_loading_info=True)
    assert not any(info[name] for name in ("missing_keys", "unexpected_keys", "mismatched_keys"))
    with torch.no_grad():
        again = answers(loaded.eval()(input_ids=ids_of()))
        assert torch.equal(again, answers(case.theirs(input_ids=ids_of())))


@pytest.mark.parametrize("size", SIZES)
def test_all_twelve_layers(size: str, tmp_path: Path):
    """With weights as transformers draws them; at the lengths that benchmarks/encoders.py times, and with padding, in
    parity mode (without padding both modes are the same function)."""
    torch.manual_seed(0)
    config = transformers.ConvBertConfig(vocab_size=300, pad_token_id=0, **SIZES[size])
    theirs = transformers.ConvBertModel(config).eval()
    theirs.save_pretrained(tmp_path)
    ours, _, _ = convert.read(tmp_path, padding="published")
    assert len(ours.config.encoder.layers) == 12
    with torch.no_grad():
        for ids in (ids_of(), ids_of(128, rows=1), ids_of(512, rows=1)):
            assert_close(ours(ids), hidden(theirs, ids), **CLOSE)
        ids, mask = ragged()
        assert_close(ours(ids, mask=mask)[mask], hidden(theirs, ids, mask)[mask], **CLOSE)


@pytest.mark.parametrize("size", SIZES)
def test_published_padding_is_transformers_own(size: str, tmp_path: Path):
    """With padding: in parity mode every state is theirs; by default a text's answer is that of the text alone."""
    theirs = made(**SIZES[size])
    theirs.save_pretrained(tmp_path)
    ids, mask = ragged()
    parity, _, notes = convert.read(tmp_path, padding="published")
    ours, _, _ = convert.read(tmp_path)
    assert notes == ()
    assert {m.padding for _, m in parity.config.encoder.mixers() if m.kind == "mixed_attention"} == {"published"}
    with torch.no_grad():
        expected = hidden(theirs, ids, mask)
        assert_close(parity(ids, mask=mask)[mask], expected[mask], **CLOSE)
        for row, length in enumerate((19, 11, 6)):
            alone = hidden(theirs, ids[row : row + 1, :length])[0]
            assert_close(ours(ids, mask=mask)[row, :length], alone, **CLOSE)
        assert (parity(ids, mask=mask) - ours(ids, mask=mask))[mask].abs().max() > 1e-2


@pytest.mark.parametrize(("heads", "ratio"), [(4, 1), (4, 2), (4, 4), (6, 2), (6, 3), (3, 2), (1, 2), (2, 4)])
def test_heads_follow_transformers_rule(heads: int, ratio: int, tmp_path: Path):
    """Half of the width attends, whatever the ratio: as many heads as the official rule has, mostly wider ones."""
    case = case_of(tmp_path / "theirs", **{**TOY, "num_attention_heads": heads}, head_ratio=ratio)
    mixer = case.ours.config.encoder.layers[0].mix[0]
    assert mixer.heads * mixer.head_dim == 24
    official = reduced(48, heads, ratio=ratio)
    assert mixer.heads == official[0]
    if ratio == 2 and heads % 2 == 0:
        assert mixer.head_dim == official[1]
    with torch.no_grad():
        assert_close(case.ours(ids_of()), hidden(case.theirs, ids_of()), **CLOSE)
        convert.write(case.ours, tmp_path / "back")
        again = transformers.AutoModel.from_pretrained(tmp_path / "back").eval()
        assert_close(hidden(again, ids_of()), hidden(case.theirs, ids_of()), **CLOSE)


def test_a_bottleneck_of_the_official_rule_cannot_be_said(tmp_path: Path):
    """Ratio 4 in the published code: 3 heads of 64 in a width of 768; transformers would make them 128 wide."""
    heads, head_dim = reduced(768, 12, ratio=4)
    plain = presets.from_pattern("1{mf}", dim=768, vocab=60, max_len=16)
    layer = plain.layers[0]
    mixed = MixedAttentionConfig(heads=heads, head_dim=head_dim)
    encoder = replace(plain, layers=(replace(layer, mix=(mixed, layer.mix[1])),))
    model = fresh(ModelConfig(encoder=encoder), 0)
    with pytest.raises(InputError, match=r"layers\[0\]\.mix\[0\]\.head_dim: 64 where the layout has 128"):
        convert.write(model, tmp_path)


def test_plain_and_mixed_do_not_change_places(tmp_path: Path):
    plain, mixed = (
        fresh(ModelConfig(encoder=presets.from_pattern(text, dim=32, head_dim=8, vocab=60, max_len=16)), 0)
        for text in ("2{sf}", "2{mf}")
    )
    with pytest.raises(InputError, match=r"config\.encoder: plain attention, which the layout convbert does not have"):
        convert.write(plain, tmp_path, "convbert")
    with pytest.raises(InputError, match=r"config\.encoder: mixed attention, which the layout bert does not have"):
        convert.write(mixed, tmp_path, "bert")
    assert not list(tmp_path.iterdir())
    assert convert.write(mixed, tmp_path) == "convbert"


def test_old_type_prefix_and_buffers(tmp_path: Path):
    """As checkpoints lie about: `conv_bert`, the encoder's names with a prefix and no head, position_ids."""
    case = case_of(tmp_path, **TOY)
    tensors = {f"convbert.{name}": value for name, value in load_file(tmp_path / "model.safetensors").items()}
    tensors["convbert.embeddings.position_ids"] = torch.arange(512)[None]
    save_file(tensors, tmp_path / "model.safetensors", metadata={"format": "pt"})
    edit(tmp_path, model_type="conv_bert")
    ours, _, _ = convert.read(tmp_path)
    assert ours.config == case.ours.config
    assert all(torch.equal(value, case.ours.state_dict()[name]) for name, value in ours.state_dict().items())


def test_what_contradicts_is_refused_with_its_place(tmp_path: Path):
    case_of(tmp_path, **TOY, num_groups=2)
    edit(tmp_path, num_groups=1)
    assert "intermediate.dense.weight' is (2, 24, 48), config.json asks for (96, 48)" in refused(tmp_path)
    edit(tmp_path, num_groups=4)
    assert "intermediate.dense.weight' is (2, 24, 48), config.json asks for (4, 12, 24)" in refused(tmp_path)
    edit(tmp_path, num_groups=5)
    assert "config.json: num_groups: 5 groups do not divide 48 and 96" in refused(tmp_path)
    edit(tmp_path, num_groups=2, conv_kernel_size=8)
    assert "config.json: conv_kernel_size: 8 is even" in refused(tmp_path)
    edit(tmp_path, conv_kernel_size=7)
    assert "depthwise.weight' is (48, 1, 9), config.json asks for (48, 1, 7)" in refused(tmp_path)
    edit(tmp_path, conv_kernel_size=9, num_attention_heads=10)
    assert "config.json: num_attention_heads: 10 heads do not divide the width 48" in refused(tmp_path)
    edit(tmp_path, num_attention_heads=4, head_ratio=0)
    assert "config.json: head_ratio: 0" in refused(tmp_path)
    edit(tmp_path, head_ratio=2, embedding_size=17)
    assert "word_embeddings.weight' is (300, 16), config.json asks for (300, 17)" in refused(tmp_path)
    edit(tmp_path, embedding_size=16, is_decoder=True)
    assert "is_decoder: True is another network" in refused(tmp_path)
    (tmp_path / "model.safetensors").rename(tmp_path / "pytorch_model.bin")
    edit(tmp_path, is_decoder=False)
    assert "pytorch_model.bin, which is not read (it may run code); re-save it" in refused(tmp_path)


def test_the_padding_is_kept_in_our_folder(tmp_path: Path):
    """`convert --padding published` writes the mode into config.json; models that do not convolve refuse it."""
    case_of(tmp_path / "theirs", **TOY)
    found = convert_folder(tmp_path / "theirs", out=tmp_path / "ours", padding="published")
    assert not any("padding" in note for note in found.notes)
    model = load_model(tmp_path / "ours")
    assert model.config.encoder.layers[1].mix[0].padding == "published"
    assert any("padding" in note for note in convert_folder(tmp_path / "theirs", out=tmp_path / "masked").notes)
    told = convert_folder(tmp_path / "masked", out=tmp_path / "back", to="transformers").notes
    assert [note for note in told if "padding" in note]
    told = convert_folder(tmp_path / "ours", out=tmp_path / "there", to="transformers").notes
    assert told == ("written in the layout convbert",)
    with pytest.raises(InputError, match=r"--padding: .* is ours and has it in config\.json"):
        convert_folder(tmp_path / "ours", out=tmp_path / "again", padding="published")
    made(name="Electra", hidden_size=32, num_attention_heads=2, intermediate_size=64).save_pretrained(tmp_path / "e")
    with pytest.raises(InputError, match="--padding: 'published', the layout electra has no such convolutions"):
        convert_folder(tmp_path / "e", out=tmp_path / "no", padding="published")


def test_several_choices_are_no_labels(tmp_path: Path):
    case = case_of(tmp_path, "ForMultipleChoice", **TOY)
    assert case.ours.head is None
    assert any("dropped classifier" in note for note in case.notes)


ELECTRAS = {name: HEADS[name] for name in ("ForTokenClassification", "ForQuestionAnswering", "ForMaskedLM")}
ELECTRAS["ForPreTraining"] = ReplacedTokenConfig


@pytest.mark.parametrize("suffix", ELECTRAS)
def test_electras_go_there_and_back(suffix: str, tmp_path: Path):
    """The generator (one head of 64 behind a table of 128), the discriminator, and the heads of tokens and answers."""
    sizes = {"hidden_size": 64, "num_attention_heads": 1, "intermediate_size": 256, "embedding_size": 128}
    theirs = made(suffix, name="Electra", **sizes)
    theirs.save_pretrained(tmp_path / "theirs")
    ours, _, notes = convert.read(tmp_path / "theirs")
    assert notes == ()
    assert isinstance(ours.config.head, ELECTRAS[suffix])
    assert convert.write(ours, tmp_path / "back") == "electra"
    assert convert.read(tmp_path / "back")[0].config == ours.config
    before, after = (load_file(tmp_path / name / "model.safetensors") for name in ("theirs", "back"))
    assert before.keys() == after.keys()
    again, info = type(theirs).from_pretrained(tmp_path / "back", output_loading_info=True)
    assert not any(info[name] for name in ("missing_keys", "unexpected_keys", "mismatched_keys"))
    again = again.eval()
    with torch.no_grad():
        wanted = answers(theirs(input_ids=ids_of()))
        assert_close(ours(ids_of()).squeeze(-1), wanted, **CLOSE)  # [B, S, 1] of a discriminator, theirs [B, S]
        assert torch.equal(answers(again(input_ids=ids_of())), wanted)


@pytest.mark.parametrize("act", ["gelu", "relu"])
def test_discriminators_detect_as_theirs(act: str, tmp_path: Path):
    """ELECTRA-small's widths; also through a folder of ours, with padding, and the encoder alone."""
    theirs = made("ForPreTraining", name="Electra", hidden_act=act)
    theirs.save_pretrained(tmp_path / "theirs")
    read, _, notes = convert.read(tmp_path / "theirs")
    assert notes == ()
    assert read.config.head == ReplacedTokenConfig(act=act)
    if act == "gelu":
        assert read.config.encoder == as_made_here(presets.electra_small())
    ours = load_model(save_model(read, tmp_path / "ours"))
    ids, mask = ragged()
    with torch.no_grad():
        wanted = theirs(input_ids=ids, attention_mask=mask.long()).logits
        assert wanted[mask].std() > 0.01  # equal answers say something
        assert_close(ours(ids, mask=mask).squeeze(-1)[mask], wanted[mask], **CLOSE)
    convert.write(headless(ours), tmp_path / "back", "electra")
    again = transformers.ElectraModel.from_pretrained(tmp_path / "back").eval()
    with torch.no_grad():
        assert torch.equal(hidden(again, ids), hidden(theirs, ids))


def test_detecting_heads_that_transformers_lacks_are_not_written(tmp_path: Path):
    """ConvBERT's discriminator has a class there, but not with its head."""
    sizes: dict[str, Any] = {"dim": 32, "head_dim": 8, "vocab": 60, "max_len": 16}
    model = fresh(ModelConfig(encoder=presets.from_pattern("2{mf}", **sizes), head=ReplacedTokenConfig()), 0)
    with pytest.raises(InputError, match=r"the layout convbert has no head of kind replaced_token.*--encoder-only"):
        convert.write(model, tmp_path / "no")
    assert convert.write(headless(model), tmp_path / "back") == "convbert"
    encoder = presets.from_pattern("2{sf}", **sizes)
    plain = fresh(ModelConfig(encoder=encoder, head=ReplacedTokenConfig()), 0)
    assert convert.write(plain, tmp_path / "plain") == "electra"  # of the layouts that say its encoder, the one


@pytest.mark.parametrize("size", SIZES)
def test_presets_are_the_published_sizes(size: str):
    """The config of transformers' model of that size is the preset, but for dropout, vocabulary and depth."""
    theirs = transformers.ConvBertConfig(vocab_size=300, num_hidden_layers=2, pad_token_id=0, **SIZES[size]).to_dict()
    layout = convert.LAYOUTS["convbert"]
    assert encoder_of(layout.shape(theirs, "config.json")) == as_made_here(getattr(presets, f"convbert_{size}")())
