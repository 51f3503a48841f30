"""Narrow models in transformers: pipelines on texts without labels; and the two layouts of the published NarrowBERT."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import transformers
from safetensors.torch import load_file, save_file
from torch import Tensor
from torch.nn import functional
from torch.testing import assert_close
from transformers import AutoModel, AutoModelForMaskedLM, AutoModelForSequenceClassification, pipeline

from hf.test_convert import CLOSE, LABELS, TOY, edit, ragged, randomise
from slimbert.config import HeadConfig
from slimbert.data.tokenizer import TextTokenizer
from slimbert.errors import InputError
from slimbert.hf import convert
from slimbert.jobs.models import init
from slimbert.model import Model, ModelConfig, SpecialTokens, fresh, load_model, presets, save_model
from slimbert.model.heads import MaskedLmConfig, PoolerConfig, SequenceConfig, TokenConfig

TEXTS = ["the cat sat on the mat", "a dog did not sit on it"]
PATTERNS = pytest.mark.parametrize("pattern", ["1{sf}:2{sf}", "1{sf},2{s}:2{f}"])


@pytest.fixture(scope="module")
def tokenizer() -> TextTokenizer:
    return TextTokenizer.train(TEXTS * 3, 60)


def written(folder: Path, tokenizer: TextTokenizer, pattern: str, head: HeadConfig | None) -> Model:
    """A lively model in a folder with its tokenizer."""
    encoder = presets.from_pattern(pattern, dim=32, head_dim=16, vocab=tokenizer.vocab_size, max_len=32)
    special = SpecialTokens(**tokenizer.special._asdict())
    model = fresh(ModelConfig(encoder=encoder, head=head, special=special), 0).eval()
    with torch.no_grad():
        for value in model.parameters():
            value.add_(0.1 * torch.randn(value.shape, generator=torch.Generator().manual_seed(value.numel())))
    save_model(model, folder)
    tokenizer.save(folder)
    return model


def rows_of(model: Any) -> list[int]:
    """Filled with the number of rows that the last layer computes, at every call."""
    rows: list[int] = []
    model.encoder.layers[-1].register_forward_hook(lambda _, __, state: rows.append(state.x.shape[1]))
    return rows


def batch(tokenizer: TextTokenizer, *masked: tuple[int, ...]) -> tuple[Tensor, Tensor]:
    """ids [2, S] of the texts, padded, with [MASK] at the given places of each; attention mask."""
    rows = [torch.from_numpy(row).long() for row in tokenizer.encode(TEXTS, 32)]
    length = max(map(len, rows)) + 9
    ids = torch.full((2, length), tokenizer.special.pad)
    for i, (row, places) in enumerate(zip(rows, masked, strict=True)):
        ids[i, : len(row)] = row
        for place in places:
            ids[i, place] = tokenizer.special.mask
    return ids, torch.arange(length) < torch.tensor([len(row) for row in rows])[:, None]


@PATTERNS
def test_masks_are_filled_on_the_rows_that_show_one(pattern: str, tokenizer: TextTokenizer, tmp_path: Path):
    ours = written(tmp_path, tokenizer, pattern, MaskedLmConfig())
    model = AutoModelForMaskedLM.from_pretrained(tmp_path)
    rows = rows_of(model)
    ids, mask = batch(tokenizer, (2,), (1, 4))
    with torch.no_grad():
        everywhere = ours(ids, mask=mask)
        logits = model(ids, mask.long()).logits
        alone = model(ids[:1, : int(mask[0].sum())]).logits  # no padding, no other text
    assert rows == [8, 8]
    assert logits.shape == everywhere.shape
    asked = ids == tokenizer.special.mask
    assert_close(logits[asked], everywhere[asked], **CLOSE)
    assert not logits[~asked].any()
    assert_close(alone[0, 2], logits[0, 2], **CLOSE)


@PATTERNS
def test_a_text_without_a_mask_gets_all_its_rows(pattern: str, tokenizer: TextTokenizer, tmp_path: Path):
    """Whatever stands beside it in the batch; also where every row is asked for, or hidden states are."""
    ours = written(tmp_path, tokenizer, pattern, MaskedLmConfig())
    model = AutoModelForMaskedLM.from_pretrained(tmp_path)
    ids, mask = batch(tokenizer, (2,), ())
    with torch.no_grad():
        everywhere = ours(ids, mask=mask)
        logits = model(ids, mask.long()).logits
        assert_close(logits[1], everywhere[1], **CLOSE)
        assert_close(logits[0, 2], everywhere[0, 2], **CLOSE)
        assert not logits[0, 3:].any()
        assert_close(model(ids, mask.long(), every_row=True).logits, everywhere, **CLOSE)
        traced = model(ids, mask.long(), output_hidden_states=True, output_attentions=True)
        assert_close(traced.logits, everywhere, **CLOSE)
        assert {one.shape[1] for one in traced.hidden_states} == {ids.shape[1]}
        compiled = torch.compile(model, backend="eager", fullgraph=True)(ids, mask.long()).logits
        assert_close(compiled, everywhere, **CLOSE)


def test_the_loss_is_that_of_the_labels(tokenizer: TextTokenizer, tmp_path: Path):
    ours = written(tmp_path, tokenizer, "1{sf}:2{sf}", MaskedLmConfig())
    model = AutoModelForMaskedLM.from_pretrained(tmp_path)
    ids, mask = batch(tokenizer, (2,), (1, 4))
    labels = torch.full_like(ids, -100)
    labels[0, 2], labels[0, 3], labels[1, 4] = 7, int(ids[0, 3]), 11  # 3 is predicted and stayed as it is
    with torch.no_grad():
        everywhere = ours(ids, mask=mask)
        out = model(ids, mask.long(), labels=labels)
        kept = labels != -100
        assert_close(out.loss, functional.cross_entropy(everywhere[kept], labels[kept]), **CLOSE)
        asked = kept | (ids == tokenizer.special.mask)
        assert_close(out.logits[asked], everywhere[asked], **CLOSE)
        assert not out.logits[~asked].any()
        assert float(model(ids, mask.long(), labels=torch.full_like(ids, -100)).loss) == 0.0


def test_without_special_tokens_all_rows_are_computed(tokenizer: TextTokenizer, tmp_path: Path):
    ours = written(tmp_path, tokenizer, "1{sf}:2{sf}", MaskedLmConfig())
    save_model(fresh(replace(ours.config, special=None), 0), tmp_path)
    model = AutoModelForMaskedLM.from_pretrained(tmp_path)
    rows = rows_of(model)
    ids, mask = batch(tokenizer, (2,), ())
    model(ids, mask.long())
    assert rows == [ids.shape[1]]


@pytest.mark.parametrize(("vocab", "ids"), [(30522, (0, 100, 101, 102, 103)), (99, None)])
def test_a_vocabulary_of_berts_size_has_berts_special_tokens(vocab: int, ids: Any, tmp_path: Path):
    init("1{sf}:1{sf}", out=tmp_path, settings=["dim=16", "head_dim=8", f"vocab={vocab}"])
    special = load_model(tmp_path).config.special
    assert (special and (special.pad, special.unk, special.cls, special.sep, special.mask)) == ids


@PATTERNS
def test_classes_are_read_at_one_row(pattern: str, tokenizer: TextTokenizer, tmp_path: Path):
    ours = written(tmp_path, tokenizer, pattern, SequenceConfig(labels=("bad", "good")))
    model = AutoModelForSequenceClassification.from_pretrained(tmp_path)
    rows = rows_of(model)
    ids, mask = batch(tokenizer, (), ())
    with torch.no_grad():
        everywhere = ours(ids, mask=mask)
        assert_close(model(ids, mask.long()).logits, everywhere, **CLOSE)
        assert_close(model(ids, mask.long(), output_attentions=True).logits, everywhere, **CLOSE)
    assert rows == [1, ids.shape[1]]


@PATTERNS
def test_pipelines_need_no_labels(pattern: str, tokenizer: TextTokenizer, tmp_path: Path):
    """Every pipeline that transformers 5 has for these heads, alone and in a batch."""
    heads: dict[str, Any] = {
        "fill-mask": MaskedLmConfig(),
        "text-classification": SequenceConfig(labels=("bad", "good")),
        "token-classification": TokenConfig(labels=("O", "B-X", "I-X")),
        "feature-extraction": None,
    }
    for task, head in heads.items():
        folder = tmp_path / task
        written(folder, tokenizer, pattern, head)
        run = pipeline(task, model=str(folder))
        texts = ["the [MASK] sat", "a dog did [MASK] sit on it"] if task == "fill-mask" else TEXTS
        together, each = run(texts, batch_size=2), [run(text) for text in texts]
        for one, other in zip(together, each, strict=True):
            if task == "feature-extraction":
                assert np.array(other).shape[-1] == 32
            else:
                one, other = (found if isinstance(found, list) else [found] for found in (one, other))
                assert [x["score"] for x in one] == pytest.approx([x["score"] for x in other], abs=1e-5)


def test_bare_models_keep_every_row(tokenizer: TextTokenizer, tmp_path: Path):
    ours = written(tmp_path, tokenizer, "1{sf}:2{sf}", PoolerConfig())
    ids, mask = batch(tokenizer, (), ())
    with torch.no_grad():
        out = AutoModel.from_pretrained(tmp_path)(ids, mask.long())
        assert_close(out.last_hidden_state, ours.encoder(ids, mask=mask).state.x, **CLOSE)
        assert_close(out.pooler_output, ours(ids, mask=mask), **CLOSE)


# the author's layouts


def published(folder: Path, suffix: str, *, full: int, model_type: str, **more: Any) -> Any:
    """transformers' BERT of three layers, written as NarrowBERT's code would: a fabricated checkpoint."""
    sizes = {**TOY, "vocab_size": 300, "num_hidden_layers": 3, **more}
    model = getattr(transformers, f"Bert{suffix}")(transformers.BertConfig(**sizes)).eval()
    randomise(model)
    model.save_pretrained(folder)
    edit(folder, model_type=model_type, full_length_layers=full, architectures=[f"NarrowBert{suffix}"])
    tensors = {}
    for name, value in load_file(folder / "model.safetensors").items():
        for i in range(3):
            theirs = f"encoder.layer.{i}." if i < full else f"encoder_narrow.layer.{i - full}."
            if f"encoder.layer.{i}." in name:
                name = name.replace(f"encoder.layer.{i}.", theirs)
                break
        if model_type == "narrow_bert" and name.startswith("bert."):
            name = f"narrow_{name}"
        tensors[name] = value
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})
    return model


TYPES = pytest.mark.parametrize(("model_type", "layout"), [("bert", "narrowbert"), ("narrow_bert", "narrow_bert")])


@TYPES
@pytest.mark.parametrize("suffix", ["Model", "ForMaskedLM", "ForSequenceClassification"])
def test_the_published_layout_there_and_back(suffix: str, model_type: str, layout: str, tmp_path: Path):
    more = LABELS if suffix == "ForSequenceClassification" else {}
    published(tmp_path / "theirs", suffix, full=1, model_type=model_type, **more)
    ours, tokenizer, notes = convert.read(tmp_path / "theirs")
    assert (tokenizer, notes) == (None, ())
    assert [getattr(step, "kind", "") for step in ours.config.encoder.layers] == ["layer", "narrow", "layer", "layer"]
    assert convert.write(ours, tmp_path / "back", layout) == layout
    before, after = (load_file(tmp_path / name / "model.safetensors") for name in ("theirs", "back"))
    assert before.keys() == after.keys()
    assert all(torch.equal(before[name], after[name]) for name in before)
    said = json.loads((tmp_path / "back" / "config.json").read_text())
    assert (said["model_type"], said["full_length_layers"], said["num_hidden_layers"]) == (model_type, 1, 3)
    assert said["architectures"] == [f"NarrowBert{suffix}"]
    assert convert.read(tmp_path / "back")[0].config == ours.config
    assert convert.write(ours, tmp_path / "chosen") == "narrow_bert"  # transformers would read the other one as a BERT


@TYPES
@pytest.mark.parametrize("full", [2, 3])
def test_published_weights_answer_as_bert_at_the_exact_place(full: int, model_type: str, layout: str, tmp_path: Path):
    theirs = published(tmp_path, "ForMaskedLM", full=full, model_type=model_type)
    ours, _, _ = convert.read(tmp_path)
    ids, mask = ragged(0)
    select = torch.tensor([[3, 18], [0, 7], [0, 0]])
    with torch.no_grad():
        wanted = theirs(input_ids=ids, attention_mask=mask.long()).logits
        wanted = wanted.gather(1, select.unsqueeze(-1).expand(-1, -1, 300))
        assert_close(ours(ids, mask=mask, select=select), wanted, **CLOSE)


def test_a_layout_that_is_another_network_is_refused(tmp_path: Path):
    published(tmp_path, "Model", full=1, model_type="narrow_bert")
    edit(tmp_path, full_length_layers=4)
    with pytest.raises(InputError, match="full_length_layers: 4 of 3 layers"):
        convert.read(tmp_path)
    edit(tmp_path, full_length_layers="two")
    with pytest.raises(InputError, match="full_length_layers: 'two' is not a usable int"):
        convert.read(tmp_path)
    edit(tmp_path, full_length_layers=2)
    with pytest.raises(InputError, match=r"is missing, config\.json asks for"):
        convert.read(tmp_path)
    sizes: dict[str, Any] = {"dim": 32, "head_dim": 16, "vocab": 60, "max_len": 16}
    plain, first = (presets.from_pattern(text, **sizes) for text in ("3{sf}", "1{sf},2{s}:2{f}"))
    with pytest.raises(InputError, match="nothing narrows, in the layout narrow_bert something does"):
        convert.write(fresh(ModelConfig(encoder=plain), 0), tmp_path / "no", "narrow_bert")
    with pytest.raises(
        InputError, match=r"config\.encoder\.layers\[1\]\.mix: 1 entries where the layout has 2 entries"
    ):
        convert.write(fresh(ModelConfig(encoder=first), 0), tmp_path / "no")
    assert not (tmp_path / "no").exists()
