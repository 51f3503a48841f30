"""One folder, two readers: what the core wrote, transformers reads, and the other way round."""

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor
from torch.testing import assert_close
from transformers import (
    AutoConfig,
    AutoModel,
    AutoModelForMaskedLM,
    AutoModelForSequenceClassification,
    AutoTokenizer,
    Trainer,
    TrainingArguments,
    pipeline,
)

import slimbert.hf
from slimbert.config import HeadConfig, load
from slimbert.data.tokenizer import TextTokenizer
from slimbert.errors import InputError
from slimbert.hf.modeling import real_tokens
from slimbert.model import EncoderConfig, Model, ModelConfig, fresh, load_model, presets, save_model
from slimbert.model.heads import MaskedLmConfig, PoolerConfig, SequenceConfig
from slimbert.parts.embedding import AbsoluteConfig

VOCAB = 60
PLAIN = presets.from_pattern("2{sf}", dim=32, head_dim=16, vocab=VOCAB, max_len=32)
FACTORISED = dataclasses.replace(PLAIN, embedding=AbsoluteConfig(vocab=VOCAB, width=16, max_len=32))
MIXED = load(  # raw parameters and buffers, pre-norm, a narrowing
    EncoderConfig,
    {
        "dim": 32,
        "embedding": {"kind": "tokens", "vocab": VOCAB, "max_len": 32, "norm": {"kind": "rms_norm"}},
        "final_norm": {"kind": "rms_norm"},
        "layers": [
            {
                "kind": "layer",
                "wiring": "pre",
                "mix": [
                    {"kind": "attention", "heads": 2, "head_dim": 16, "position": {"kind": "alibi"}},
                    {"kind": "mlp", "hidden": 64, "groups": 2},
                ],
            },
            {"kind": "narrow"},
            {
                "kind": "layer",
                "mix": [{"kind": "attention", "heads": 2, "head_dim": 16}, {"kind": "glu", "hidden": 64}],
            },
        ],
    },
)
GROUPED = presets.from_pattern("1{cgsg}:1{cgsg}", dim=32, head_dim=16, vocab=VOCAB, max_len=32)
ENCODERS = {"plain": PLAIN, "factorised": FACTORISED, "mixed": MIXED, "grouped": GROUPED}
SEQUENCE = SequenceConfig(labels=("bad", "good"))


def written(folder: Path, head: HeadConfig | None, encoder: EncoderConfig = PLAIN) -> Model:
    """A model with no parameter at 0 or 1, in a folder."""
    model = fresh(ModelConfig(encoder=encoder, head=head), 0).eval()
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for value in model.parameters():
            value.add_(0.05 * torch.randn(value.shape, generator=generator))
    save_model(model, folder)
    return model


def batch() -> tuple[Tensor, Tensor]:
    ids = torch.randint(5, VOCAB, (3, 9), generator=torch.Generator().manual_seed(2))
    return ids, torch.arange(9) < torch.tensor([[9], [4], [1]])


@pytest.fixture
def run(tmp_path: Path) -> Path:
    """A masked-LM folder with a tokenizer."""
    folder = tmp_path / "run"
    written(folder, MaskedLmConfig())
    TextTokenizer.train(["the cat sat on the mat", "a dog did not sit on it"] * 3, VOCAB).save(folder)
    return folder


@pytest.mark.parametrize("encoder", ENCODERS.values(), ids=ENCODERS)
def test_what_the_core_wrote(encoder: EncoderConfig, tmp_path: Path):
    ids, mask = batch()
    for head, auto in (
        (MaskedLmConfig(tied=False), AutoModelForMaskedLM),
        (SEQUENCE, AutoModelForSequenceClassification),
    ):
        ours = written(tmp_path, head, encoder)
        theirs = auto.from_pretrained(tmp_path)
        assert not theirs.training
        assert theirs.state_dict().keys() == ours.state_dict().keys()
        with torch.no_grad():
            select = torch.zeros_like(ids[:, :1]) if head is SEQUENCE else None  # what it computes: equal to the bit
            assert torch.equal(theirs(ids, attention_mask=mask.long()).logits, ours(ids, mask=mask, select=select))
            bare = AutoModel.from_pretrained(tmp_path)
            assert torch.equal(bare(ids, mask.long()).last_hidden_state, ours.encoder(ids, mask=mask).state.x)


@pytest.mark.parametrize("encoder", ENCODERS.values(), ids=ENCODERS)
@pytest.mark.parametrize(
    "head", [None, MaskedLmConfig(), SEQUENCE, PoolerConfig()], ids=lambda h: getattr(h, "kind", "bare")
)
def test_what_transformers_wrote(encoder: EncoderConfig, head: HeadConfig | None, tmp_path: Path):
    ours = written(tmp_path / "ours", head, encoder)
    auto = {"masked_lm": AutoModelForMaskedLM, "sequence": AutoModelForSequenceClassification}
    theirs = auto.get(getattr(head, "kind", ""), AutoModel).from_pretrained(tmp_path / "ours")
    theirs.save_pretrained(tmp_path / "theirs")
    again = load_model(tmp_path / "theirs")
    assert again.config == ours.config
    before, after = ours.state_dict(), again.state_dict()
    assert before.keys() == after.keys()
    assert all(torch.equal(before[name], after[name]) for name in before)


def test_tied_decoder_owns_no_copy(tmp_path: Path):
    written(tmp_path, MaskedLmConfig())
    model = AutoModelForMaskedLM.from_pretrained(tmp_path)
    model.save_pretrained(tmp_path / "again")
    shapes = [tuple(v.shape) for v in load_file(tmp_path / "again" / "model.safetensors").values()]
    assert shapes.count((VOCAB, 32)) == 1
    assert sum(tuple(p.shape) == (VOCAB, 32) for p in model.parameters()) == 1


def poison(monkeypatch: pytest.MonkeyPatch) -> None:
    """Uninitialised memory is NaN from here on, so that reading it shows."""
    like = torch.empty_like

    def poisoned(*args: Any, **options: Any) -> Tensor:
        made = like(*args, **options)
        return made if made.is_meta or not made.is_floating_point() else made.fill_(torch.nan)

    monkeypatch.setattr(torch, "empty_like", poisoned)


@pytest.mark.parametrize("encoder", ENCODERS.values(), ids=ENCODERS)
def test_new_classes_on_a_pretrained_run(encoder: EncoderConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """The masked-LM head's dense layer bears the name of ours (and another shape where factorised): it is not taken."""
    ours = written(tmp_path, MaskedLmConfig(), encoder)
    poison(monkeypatch)
    for options in ({"num_labels": 3}, {"num_labels": 3, "output_loading_info": True}):
        loaded = AutoModelForSequenceClassification.from_pretrained(tmp_path, **options)
        model = loaded[0] if isinstance(loaded, tuple) else loaded
        assert model.config.num_labels == 3
        assert not {name for name in model.state_dict() if not name.startswith(("encoder.", "head."))}
        for name, value in model.encoder.state_dict().items():
            assert torch.equal(value, ours.encoder.state_dict()[name])
        # 1,024 draws of 0.02: the measured deviation is off by more than 10 % once in 10^5 times.
        assert float(model.head.dense.weight.detach().std()) == pytest.approx(0.02, rel=0.1)
        assert model.head.classes.weight.shape == (3, 32)
        assert torch.isfinite(model(batch()[0]).logits).all()
        assert not model.head.classes.bias.any()
    direct = slimbert.hf.SlimbertForSequenceClassification.from_pretrained(tmp_path, num_labels=3)
    assert direct.head.classes.weight.shape == (3, 32)


@pytest.mark.parametrize("encoder", ENCODERS.values(), ids=ENCODERS)
def test_whatever_a_folder_lacks_is_filled(encoder: EncoderConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Half of every module's tensors are gone: the rest is kept, and nothing uninitialised is left."""
    ours = written(tmp_path, MaskedLmConfig(), encoder).state_dict()
    kept = {name: value for i, (name, value) in enumerate(ours.items()) if i % 2 and "slopes" not in name}
    save_file(kept, tmp_path / "model.safetensors", metadata={"format": "pt"})
    poison(monkeypatch)
    model = AutoModelForMaskedLM.from_pretrained(tmp_path).state_dict()
    fresh_ones = fresh(ModelConfig(encoder=encoder, head=MaskedLmConfig()), 0).state_dict()
    for name, value in model.items():
        if name in kept:
            assert torch.equal(value, kept[name]), name
        elif fresh_ones[name].unique().numel() == 1 or "slopes" in name:  # zeros, ones, or a rule
            assert torch.equal(value, fresh_ones[name]), name
        else:
            off = 5 / (2 * value.numel()) ** 0.5  # five standard errors of a deviation measured on so many draws
            assert float(value.std()) == pytest.approx(0.02, rel=off), name


def test_built_without_a_folder_is_filled(monkeypatch: pytest.MonkeyPatch):
    poison(monkeypatch)
    config = slimbert.hf.SlimbertConfig.of(ModelConfig(encoder=MIXED, head=SEQUENCE))
    model = AutoModelForSequenceClassification.from_config(config)
    assert all(torch.isfinite(value).all() for value in model.state_dict().values())
    assert model.config.id2label == {0: "bad", 1: "good"}


def test_a_pooler_becomes_the_dense_layer_of_a_classifier(tmp_path: Path):
    ours = written(tmp_path, PoolerConfig())
    ids, mask = batch()
    with torch.no_grad():
        pooled = AutoModel.from_pretrained(tmp_path)(ids, mask.long()).pooler_output
        assert torch.equal(pooled, ours(ids, mask=mask))
    model = AutoModelForSequenceClassification.from_pretrained(tmp_path, num_labels=3)
    assert torch.equal(model.head.dense.weight, ours.head.dense.weight)


def test_names_of_classes_follow(tmp_path: Path):
    """Renamed in transformers' config, they are renamed in ours."""
    written(tmp_path / "ours", SEQUENCE)
    model = AutoModelForSequenceClassification.from_pretrained(tmp_path / "ours")
    assert model.config.label2id == {"bad": 0, "good": 1}
    model.config.id2label = {0: "schlecht", 1: "gut"}
    model.save_pretrained(tmp_path / "theirs")
    assert load_model(tmp_path / "theirs").config.head.labels == ("schlecht", "gut")
    assert AutoConfig.from_pretrained(tmp_path / "ours").labels == ("bad", "good")


def test_losses_states_and_maps(tmp_path: Path):
    ours = written(tmp_path, MaskedLmConfig())
    model = AutoModelForMaskedLM.from_pretrained(tmp_path, attn_implementation="eager")
    ids, mask = batch()
    labels = ids.masked_fill(torch.arange(9) % 2 == 0, -100)
    with torch.no_grad():
        out = model(ids, mask.long(), labels=labels, output_hidden_states=True, output_attentions=True)
        logits = ours(ids, mask=mask)
        trace = ours.encoder(ids, mask=mask, trace="states").trace
        plain = model(ids, mask.long(), labels=labels, return_dict=False)
    kept = labels != -100
    assert_close(out.loss, torch.nn.functional.cross_entropy(logits[kept], labels[kept]))
    assert len(out.hidden_states) == 3
    assert_close(out.hidden_states[1:], tuple(state.x for state in trace))
    assert [tuple(a.shape) for a in out.attentions] == [(3, 2, 9, 9)] * 2
    assert_close(out.attentions[0].sum(-1), torch.ones(3, 2, 9))
    assert isinstance(plain, tuple)
    assert_close(plain[0], out.loss)
    assert model(ids).attentions is None


def test_a_mask_of_ones_is_no_mask():
    ones = torch.ones(2, 3, dtype=torch.long)
    assert real_tokens(None) is None
    assert real_tokens(ones) is None
    ragged = torch.tensor([[1, 1, 1], [1, 0, 0]])
    assert torch.equal(real_tokens(ragged), ragged.bool())
    with pytest.raises(InputError, match=r"attention_mask: of shape \(2, 1, 3, 3\)"):
        real_tokens(torch.ones(2, 1, 3, 3))


def test_compiles_whole(tmp_path: Path):
    """No break at the mask: looking into it is for eager runs only."""
    written(tmp_path, SEQUENCE)
    model = AutoModelForSequenceClassification.from_pretrained(tmp_path)
    ids, mask = batch()
    with torch.no_grad():
        compiled = torch.compile(model, backend="eager", fullgraph=True)(ids, mask.long()).logits
        assert_close(compiled, model(ids, mask.long()).logits)


@pytest.mark.parametrize("tied", [True, False])
def test_more_tokens(tied: bool, tmp_path: Path):
    """resize_token_embeddings: the head and both configs follow, so the folder is readable by the core."""
    written(tmp_path / "a", MaskedLmConfig(tied=tied))
    model = AutoModelForMaskedLM.from_pretrained(tmp_path / "a")
    ids, _ = batch()
    before = model(ids).logits
    model.resize_token_embeddings(VOCAB + 4, mean_resizing=False)
    after = model(ids).logits
    assert after.shape[-1] == VOCAB + 4
    assert_close(after[..., :VOCAB], before)
    model.save_pretrained(tmp_path / "b")
    assert_close(load_model(tmp_path / "b")(ids), after)


def test_pipelines(run: Path, tmp_path: Path):
    assert AutoTokenizer.from_pretrained(run).mask_token == "[MASK]"
    filled = pipeline("fill-mask", model=str(run))("the cat [MASK] on the mat", top_k=2)
    assert len(filled) == 2
    assert filled[0]["score"] >= filled[1]["score"]
    features = np.array(pipeline("feature-extraction", model=str(run))("the cat"))
    assert features.shape[-1] == 32
    folder = tmp_path / "classifier"
    written(folder, SEQUENCE)
    TextTokenizer.load(run).save(folder)
    answers = pipeline("text-classification", model=str(folder))(["the cat sat", "a dog"], batch_size=2)
    assert {a["label"] for a in answers} <= {"bad", "good"}
    ids = AutoTokenizer.from_pretrained(folder)("the cat sat", return_tensors="pt").input_ids
    with torch.no_grad():
        scores = load_model(folder)(ids).softmax(-1)[0]
    assert answers[0]["score"] == pytest.approx(float(scores.max()), abs=1e-5)  # padded beside a shorter text


def test_trainer(run: Path, tmp_path: Path):
    """Two updates move the weights; what Trainer saves is a model folder of ours."""
    model = AutoModelForSequenceClassification.from_pretrained(run, num_labels=3)
    ids, mask = batch()
    rows = [
        {"input_ids": i, "attention_mask": m.long(), "labels": n}
        for n, (i, m) in enumerate(zip(ids, mask, strict=True))
    ]
    arguments = TrainingArguments(
        output_dir=str(tmp_path / "out"), max_steps=2, per_device_train_batch_size=3, learning_rate=1e-2,
        report_to=[], disable_tqdm=True, save_strategy="no", use_cpu=True,
    )  # fmt: skip
    before = model.head.classes.weight.detach().clone()
    trainer = Trainer(model=model, args=arguments, train_dataset=rows)
    done = trainer.train()
    assert done.global_step == 2
    assert np.isfinite(done.training_loss)
    assert not torch.equal(before, model.head.classes.weight)
    trainer.save_model(str(tmp_path / "saved"))
    again = load_model(tmp_path / "saved")
    assert again.config.head.labels == ("LABEL_0", "LABEL_1", "LABEL_2")
    with torch.no_grad():
        assert_close(again(ids, mask=mask), model.eval()(ids, mask.long()).logits)
