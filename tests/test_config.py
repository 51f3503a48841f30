"""Law 1, load(dump(config)) == config, and what every wrong file is told."""

import copy
import dataclasses
import json
from typing import Any, Literal

import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from slimbert.config import Count, Share, dump, expand, kind, load, merge, override
from slimbert.errors import InputError
from slimbert.model.encoder import EncoderConfig
from slimbert.model.heads import MaskedLmConfig, SequenceConfig
from slimbert.model.model import ModelConfig, SpecialTokens, with_dropout
from slimbert.model.presets import PRESETS
from slimbert.parts.attention import AttentionConfig
from toys import configs, encoder_of, name, toy_encoder

EVERY = [c for role in ("mixer", "step", "norm", "embedding", "position", "head") for c in configs(role)]
WHOLE = ModelConfig(encoder=toy_encoder(), head=SequenceConfig(labels=("no", "yes")), special=SpecialTokens())


@pytest.mark.parametrize("config", EVERY, ids=name)
def test_every_kind_survives_its_file(config: Any):
    plain = dump(config)
    assert plain["kind"] == config.kind
    assert load(type(config), plain) == config
    for written in (json.loads(json.dumps(plain)), yaml.safe_load(yaml.safe_dump(plain))):
        assert load(type(config), written) == config
    assert set(plain) == {"kind", *(f.name for f in dataclasses.fields(config))}


@pytest.mark.parametrize("encoder", [toy_encoder(), *(make() for make in PRESETS.values())])
def test_every_encoder_survives_its_file(encoder: EncoderConfig):
    model = ModelConfig(encoder=encoder, head=MaskedLmConfig(), special=SpecialTokens(mask=4))
    assert load(ModelConfig, yaml.safe_load(yaml.safe_dump(dump(model)))) == model
    assert hash(model) == hash(load(ModelConfig, dump(model)))


def encoder_data(**changes: Any) -> dict[str, Any]:
    layer = {"kind": "layer", "mix": [{"kind": "attention", "heads": 2}, {"kind": "mlp", "hidden": 64}]}
    return {"dim": 32, "embedding": {"kind": "absolute", "vocab": 40}, "layers": [layer]} | changes


LAYER = "layers.0."
WRONG = [
    ({"layers.0.mix.1.hiden": 5}, r"config\.layers\[0\]\.mix\[1\]\.hiden: no such field, did you mean 'hidden'\?"),
    ({"layers.0.mix.1.kind": "mpl"}, r"mix\[1\]\.kind: no mixer is called 'mpl'; did you mean 'mlp'\?"),
    ({"layers.0.mix.1.kind": ["mlp"]}, r"no mixer is called \['mlp'\]"),
    ({"layers.0.mix.1": 7}, r"mix\[1\]: no kind in 7; known mixer kinds: attention, .*mlp"),
    ({"layers.0.mix.1.hidden": "many"}, r"hidden: 'many' is not of type int"),
    ({"layers.0.mix.1.hidden": True}, r"hidden: True is not of type int"),
    ({"layers.0.mix.1.hidden": 0}, r"hidden: 0 is not in 1 to"),
    ({"layers.0.mix.1.hidden": 10**5000}, r"hidden: a huge number is not in 1 to"),
    ({"layers.0.mix.1.bias": "yes"}, r"bias: 'yes' is not of type bool"),
    ({"layers.0.mix.1.act": "gleu"}, r"act: 'gleu' is not one of gelu.*did you mean 'gelu'\?"),
    ({"layers.0.dropout": float("nan")}, r"dropout: nan is not of type float"),
    ({"layers.0.dropout": 10**400}, r"dropout: a huge number is not of type float"),
    ({"layers.0.dropout": 1.01}, r"dropout: 1.01 is not in 0 to 1"),
    ({"layers.0.wiring": None}, r"wiring: None is not one of post, pre"),
    ({"layers": {}}, r"config\.layers: \{\} is not a list"),
    ({"layers": "12"}, r"config\.layers: '12' is not a list"),
    ({"layers.0.repeat": 0}, r"layers\[0\]\.repeat: 0 is not a count"),
    ({"layers.0.repeat": 10**9}, r"layers\[0\]\.repeat: 1000000000 is not a count; repeat 1 to 1000 times"),
    ({"dim": None}, r"config\.dim: None is not of type int"),
    ({"preset": "bert_tny"}, r"config\.preset: no preset is called 'bert_tny'"),
    ({"preset": ["bert_tiny"]}, r"no preset is called \['bert_tiny'\]"),
    ({"pattern": "12{sf"}, r"pattern '12\{sf': cannot read"),
    ({"pattern": "12{sf}", "dim": "x"}, r"config\.dim: 'x' is not a size"),
    ({"pattern": "12{sf}", "wiring": "both"}, r"config\.wiring: 'both' is neither post nor pre"),
    ({"embedding": None}, r"config\.embedding: no kind in None"),
    ({"embedding.norm.eps": -1.0}, r"embedding\.norm\.eps: -1.0 is not in 0 to"),
]


@pytest.mark.parametrize(("changes", "message"), WRONG)
def test_what_is_wrong_is_named_with_its_path(changes: dict[str, Any], message: str):
    data = encoder_data()
    for path, value in changes.items():
        *way, last = [int(k) if k.isdigit() else k for k in path.split(".")]
        place: Any = data
        for key in way:
            place = place.setdefault(key, {"kind": "layer_norm"}) if isinstance(place, dict) else place[key]
        place[last] = value
    with pytest.raises(InputError, match=message) as caught:
        load(EncoderConfig, data)
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 400


def test_missing_values_and_wrong_tops_are_named():
    with pytest.raises(InputError, match=r"config\.dim: missing"):
        load(EncoderConfig, {k: v for k, v in encoder_data().items() if k != "dim"})
    for top in (None, 3, "text", [1]):
        with pytest.raises(InputError, match=r"config: .* is not a mapping"):
            load(EncoderConfig, top)


def test_an_alias_that_contains_itself_is_an_input_error():
    data = yaml.safe_load("dim: 32\nembedding: {kind: tokens}\nlayers: &a [*a]\n")
    with pytest.raises(InputError, match="nested without end"):
        load(EncoderConfig, data)


def test_sugar_is_expanded_and_never_stored():
    layer = encoder_data()["layers"][0]
    assert len(load(EncoderConfig, encoder_data(layers=[layer | {"repeat": 3}, {"kind": "narrow"}])).layers) == 4
    tiny = load(EncoderConfig, {"preset": "bert_tiny", "embedding": {"vocab": 99}})
    assert tiny == dataclasses.replace(
        PRESETS["bert_tiny"](), embedding=dataclasses.replace(PRESETS["bert_tiny"]().embedding, vocab=99)
    )
    assert not {"repeat", "preset", "pattern"} & set(json.dumps(dump(tiny)).replace('"', " ").split())


def test_numbers_read_as_yaml_writes_them():
    loaded = load(EncoderConfig, encoder_data(init_std="1e-2", dim=32.0))
    assert (loaded.init_std, loaded.dim) == (0.01, 32)
    assert isinstance(loaded.dim, int)


def test_merge_replaces_another_kind_whole():
    base = {"a": {"x": 1, "y": 2}, "norm": {"kind": "layer_norm", "eps": 1.0}}
    assert merge(base, {"a": {"y": 3}, "norm": {"kind": "rms_norm"}}) == {
        "a": {"x": 1, "y": 3},
        "norm": {"kind": "rms_norm"},
    }
    assert base["a"] == {"x": 1, "y": 2}


def test_override_by_dotted_names():
    data = {"encoder": {"preset": "bert_tiny"}, "name": "x"}
    changed = override(data, ["encoder.layers.1.mix.0.heads=1", "encoder.preset=bert_mini", "encoder.init_std=1e-3"])
    encoder = load(EncoderConfig, changed["encoder"])
    assert (encoder.dim, len(encoder.layers), encoder.init_std) == (256, 4, 1e-3)
    assert [layer.mix[0].heads for layer in encoder.layers] == [4, 1, 4, 4]
    assert data == {"encoder": {"preset": "bert_tiny"}, "name": "x"}
    for wrong, message in {
        "encoder": "no '=' in it",
        "encoder.layers.9.mix=[]": "'9' is not a place in a list of 2",
        "name.x=3": "'x' is looked for inside 'x'",
        "name=[": "not a YAML value",
    }.items():
        with pytest.raises(InputError, match=f"--set .*{message[:20]}"):
            override(data, [wrong])


def test_two_classes_may_not_share_a_kind():
    with pytest.raises(TypeError, match="two classes call themselves mixer 'mlp'"):

        @kind("mlp")
        class Other:
            x: int = 1


@dataclasses.dataclass(frozen=True, kw_only=True)
class Plain:
    """Every form of annotation that a recipe may use."""

    number: float = 1.0
    count: Count = 1
    share: Share | None = None
    either: int | str = "all"
    pair: tuple[int, str] = (1, "a")
    names: tuple[str, ...] = ()
    choice: Literal["a", 3] = "a"
    table: dict[str, int] = dataclasses.field(default_factory=dict)
    anything: Any = None


def test_every_form_of_annotation():
    data = {
        "number": 2, "count": 3, "share": 0.5, "either": 7, "pair": [2, "b"], "names": ["x"], "choice": 3,
        "table": {"a": 1}, "anything": {"free": [1]},
    }  # fmt: skip
    loaded = load(Plain, data)
    assert loaded == Plain(
        number=2.0, count=3, share=0.5, either=7, pair=(2, "b"), names=("x",), choice=3, table={"a": 1},
        anything={"free": [1]},
    )  # fmt: skip
    assert load(Plain, dump(loaded)) == loaded
    for wrong in ({"pair": [1]}, {"table": [1]}, {"table": {"a": "b"}}, {"share": 2}, {"names": "x"}, {"choice": []}):
        with pytest.raises(InputError, match=rf"config\.{next(iter(wrong))}"):
            load(Plain, wrong)


def test_dropout_is_set_everywhere():
    changed = with_dropout(WHOLE, 0.25)
    assert json.dumps(dump(changed)).count('"dropout": 0.25') == json.dumps(dump(WHOLE)).count('"dropout": 0.0')
    assert with_dropout(changed, 0.0) == WHOLE


VALUES = st.one_of(
    st.none(), st.booleans(), st.integers(-3, 70), st.integers(), st.floats(), st.text(max_size=8),
    st.sampled_from(["attention", "narrow", "rotary", "12{sf}:2f", "bert_tiny", "1e9", "nan"]),
    st.lists(st.integers(0, 3), max_size=3),
    st.dictionaries(st.sampled_from(["kind", "preset", "pattern", "repeat", "x"]), st.text(max_size=5), max_size=2),
)  # fmt: skip
KEYS = st.sampled_from(["kind", "repeat", "preset", "pattern", "hidden", "mix", "norm", "vocab", "zzz", 3, None])


def mappings(data: Any) -> list[Any]:
    """Every container within plain data."""
    inner = list(data.values()) if isinstance(data, dict) else data if isinstance(data, list) else []
    return ([data] if isinstance(data, dict | list) else []) + [m for item in inner for m in mappings(item)]


@given(st.data())
@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_a_corrupted_config_is_an_input_error_or_a_config(data: st.DataObject):
    """Whatever stands in a file: a config that says the same when written again and builds, or one clear line."""
    import torch

    plain = copy.deepcopy(dump(WHOLE))
    for _ in range(data.draw(st.integers(1, 3))):
        place = data.draw(st.sampled_from(mappings(plain)))
        keys = list(place) if isinstance(place, dict) else list(range(len(place)))
        if keys and data.draw(st.booleans()):
            key = data.draw(st.sampled_from(keys))
            if isinstance(place, dict) and data.draw(st.booleans()):
                del place[key]
            else:
                place[key] = data.draw(VALUES)
        elif isinstance(place, dict):
            place[data.draw(KEYS)] = data.draw(VALUES)
        else:
            place.append(data.draw(VALUES))
    try:
        config = load(ModelConfig, plain)
        assert load(ModelConfig, dump(config)) == config
        with torch.device("meta"):
            config.build()
    except InputError as error:
        assert "\n" not in str(error)


def test_expanding_leaves_its_argument_alone():
    data = {"layers": [{"repeat": 2, "x": 1}], "encoder": {"preset": "bert_tiny"}}
    before = copy.deepcopy(data)
    expand(data)
    assert data == before
    assert encoder_of(*WHOLE.encoder.layers) == encoder_of(*WHOLE.encoder.layers)


@pytest.mark.parametrize("text", ["1e3", "1.0e+3", "1000", "1_000"])
def test_whole_numbers_as_yaml_writes_them(text: str):
    assert load(AttentionConfig, yaml.safe_load(f"heads: {text}")).heads == 1000


@pytest.mark.parametrize("text", ["1.5", "15e-1", "1e-3", "'12'", "true"])
def test_what_is_no_whole_number(text: str):
    with pytest.raises(InputError, match="heads"):
        load(AttentionConfig, yaml.safe_load(f"heads: {text}"))
