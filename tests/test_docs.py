"""The documentation builds with every link checked, and what it says of configs and presets is true."""

import dataclasses
import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

import slimbert
from slimbert.config import KINDS, load
from slimbert.jobs.settings import Settings
from slimbert.methods.earlybird import TicketRecipe
from slimbert.methods.tickets import HeadsConfig, NeuronsConfig
from slimbert.model.cost import cost
from slimbert.model.encoder import EncoderConfig
from slimbert.model.heads import MaskedLmConfig
from slimbert.model.model import ModelConfig, SpecialTokens, skeleton
from slimbert.model.presets import PRESETS, from_pattern
from slimbert.train.halting import HaltingConfig
from slimbert.train.recipe import Recipe
from slimbert.train.replaced import GeneratorConfig, ReplacedTokensConfig

DOCS = Path(__file__).resolve().parents[1] / "docs"
MODELS = re.findall(r"```yaml\n(model:.*?)```", (DOCS / "configuration.md").read_text(), re.DOTALL)
PARTS = {page: page.read_text() for page in sorted((DOCS / "parts").glob("*.md"))}
SNIPPETS = [
    (page.stem, block) for page, text in PARTS.items() for block in re.findall(r"```yaml\n(.*?)```", text, re.DOTALL)
]
PAGES = PARTS | {DOCS / name: (DOCS / name).read_text() for name in ("replaced-tokens.md",)}
FAST = {"mixed-attention", "convolution", "narrowing", "replaced-tokens"}  # of these the page says what failed, too
TECHNIQUES = ("mixer", "step", "norm", "embedding", "position")  # roles whose kinds have a page
SETTING_ROW = re.compile(r"^\| `([\w.]+)` \| [`*](.+?)[`*] \| .+ \|$", re.MULTILINE)
PRESET_ROW = re.compile(r"^\| `(bert_\w+)` \| (\d+) \| (\d+) \| (\d+) \|$", re.MULTILINE)
GROUPBERT_ROW = re.compile(r"^\| `(groupbert_\w+)` \| (\d+) \| (\d+) \| ([\d,]+) \|$", re.MULTILINE)


def test_site_builds(tmp_path: Path):
    """Strict: a broken link or anchor, or a page outside the navigation, fails."""
    command = [sys.executable, "-W", "ignore", "-m", "mkdocs", "build", "--strict", "--site-dir", str(tmp_path)]
    environment = os.environ | {"NO_MKDOCS_2_WARNING": "1"}
    done = subprocess.run(command, cwd=DOCS.parent, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "index.html").exists()


@pytest.mark.parametrize("block", MODELS, ids=range(len(MODELS)))
def test_models_of_the_configuration_page_load(block: str):
    encoder = load(EncoderConfig, yaml.safe_load(block)["model"]["encoder"])
    encoder.check()


@pytest.mark.parametrize(("page", "block"), SNIPPETS, ids=[page for page, _ in SNIPPETS])
def test_config_lines_of_the_parts_pages_load(page: str, block: str):
    """A list is the mix of a layer; a mapping is (a piece of) an encoder."""
    given = yaml.safe_load(block)
    layers = [{"kind": "layer", "mix": given if isinstance(given, list) else [{"kind": "attention"}]}]
    piece = {} if isinstance(given, list) else given.get("encoder", given)
    encoder = load(EncoderConfig, {"dim": 256, "embedding": {"kind": "absolute"}, "layers": layers, **piece})
    encoder.check()


def test_every_technique_has_its_page():
    """With its cost and its source; a kind that a test registers needs none."""
    for page, text in PAGES.items():
        assert "**Cost**" in text and "**Combines with**" in text and "arXiv:" in text, page
    assert {page.stem for page, text in PAGES.items() if "**What failed" in text} >= FAST
    kinds = {
        name for role in TECHNIQUES for name, made in KINDS[role].items() if made.__module__.startswith("slimbert.")
    }
    assert kinds <= set(re.findall(r"\w+", " ".join(PARTS.values())))


def settings() -> Iterator[tuple[str, Any]]:
    """(name, dataclass field) of every key of a recipe, of a model's parts, of a ticket and of fine-tuning."""
    sections = {f"{f.name}.": type(f.default) for f in dataclasses.fields(Recipe) if f.name != "model"}
    sections |= {"model.": ModelConfig, "model.special.": SpecialTokens, "": Settings}
    sections |= {"halting.": HaltingConfig, "objective.": ReplacedTokensConfig, "objective.generator.": GeneratorConfig}
    sections |= {f"ticket.{f.name}.": type(f.default) for f in dataclasses.fields(TicketRecipe)}
    sections |= {"ticket.draw.heads.": HeadsConfig, "ticket.draw.neurons.": NeuronsConfig}
    for kinds in (made for role, made in KINDS.items() if role not in ("model", "objective")):
        sections |= {f"{name}.": made for name, made in kinds.items() if made.__module__.startswith("slimbert.")}
    for prefix, made in sections.items():
        fields = [f for f in dataclasses.fields(made) if not is_section(f.default)]
        yield from ((prefix + field.name, field) for field in fields)


def is_section(default: Any) -> bool:
    """Whether it is a mapping of keys that have rows of their own."""
    return dataclasses.is_dataclass(default) and not hasattr(default, "kind")


def test_reference_names_every_setting_with_its_default():
    rows = SETTING_ROW.findall((DOCS / "reference.md").read_text())
    needed = dataclasses.MISSING
    defaults = {
        name: "needed" if f.default is needed else getattr(f.default, "kind", f.default) for name, f in settings()
    }
    assert len(rows) == len(dict(rows))
    assert dict(rows) == {name: v if isinstance(v, str) else json.dumps(v) for name, v in defaults.items()}


def test_preset_table_is_true():
    rows = PRESET_ROW.findall((DOCS / "pretraining.md").read_text())
    assert [name for name, *_ in rows] == [name for name in PRESETS if name.startswith("bert_")]
    for name, *sizes in rows:
        encoder = PRESETS[name]()
        assert [len(encoder.layers), encoder.dim, encoder.layers[0].mix[0].heads] == [int(s) for s in sizes], name


def test_groupbert_table_is_true():
    rows = GROUPBERT_ROW.findall((DOCS / "parts" / "convolution.md").read_text())
    assert [name for name, *_ in rows] == [name for name in PRESETS if name.startswith("groupbert_")]
    for name, *sizes in rows:
        encoder = PRESETS[name]()
        parameters = sum(p.numel() for p in skeleton(ModelConfig(encoder=encoder)).parameters())
        assert [len(encoder.layers), encoder.dim, parameters] == [int(s.replace(",", "")) for s in sizes], name


def test_every_public_name_stands_in_the_docs():
    page = (DOCS / "python.md").read_text()
    assert set(re.findall(r"`slimbert\.(\w+)[`(]", page)) >= set(slimbert.__all__)


@pytest.mark.parametrize("name", ["README.md", "CONTRIBUTING.md", "CHANGELOG.md"])
def test_links_of_the_repository_pages(name: str):
    """The pages outside docs/ link to files that exist."""
    text = (DOCS.parent / name).read_text()
    targets = [t.partition("#")[0] for t in re.findall(r"\]\(([^)\s]+)\)", text) if "://" not in t]
    missing = [t for t in targets if t and not (DOCS.parent / t).exists()]
    assert not missing, missing


def test_every_record_is_whole_and_linked():
    """A text, what it was measured on, its figures; and a row of the page of measurements that links to it."""
    page = (DOCS / "benchmarks.md").read_text()
    for record in sorted(path for path in (DOCS.parent / "benchmarks" / "records").iterdir() if path.is_dir()):
        names = {file.name for file in record.iterdir()}
        assert {"README.md", "environment.json"} <= names, record.name
        assert names & {"result.json", "report.json"}, record.name
        assert f"(records/{record.name}/README.md)" in page, record.name


def test_which_encoder_when_counts_right():
    """Multiply-adds of BERT over those of each encoder: an answer of row 0, 20 rows of training with a head, all."""
    page = (DOCS / "benchmarks.md").read_text().partition("## Which encoder when")[2]
    rows = re.findall(r"^\| `([^`]+)` [^|]+ \| (\d\.\d\d) \| (\d\.\d\d) \| (\d\.\d\d) \|", page, re.MULTILINE)
    assert len(rows) == 7
    wide = counted("12{sf}")
    for pattern, *said in rows:
        ratios = [bert / own for bert, own in zip(wide, counted(pattern), strict=True)]
        assert [float(one) for one in said] == pytest.approx(ratios, abs=0.0051), pattern  # rounded


def counted(pattern: str) -> list[int]:
    encoder = from_pattern(pattern, dim=768)
    model, predicts = ModelConfig(encoder=encoder), ModelConfig(encoder=encoder, head=MaskedLmConfig())
    found = cost(model, keep=1), cost(predicts, keep=20, training=True), cost(model)
    return [sum(part.macs for part in parts) for parts in found]
