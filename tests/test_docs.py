"""The documentation builds with every link checked, and what it says of configs and presets is true."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from slimbert.config import load
from slimbert.model.encoder import EncoderConfig
from slimbert.model.presets import PRESETS

DOCS = Path(__file__).resolve().parents[1] / "docs"
MODELS = re.findall(r"```yaml\n(model:.*?)```", (DOCS / "configuration.md").read_text(), re.DOTALL)
PRESET_ROW = re.compile(r"^\| `(bert_\w+)` \| (\d+) \| (\d+) \| (\d+) \|$", re.MULTILINE)


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


def test_preset_table_is_true():
    rows = PRESET_ROW.findall((DOCS / "pretraining.md").read_text())
    assert [name for name, *_ in rows] == [name for name in PRESETS if name.startswith("bert_")]
    for name, *sizes in rows:
        encoder = PRESETS[name]()
        assert [len(encoder.layers), encoder.dim, encoder.layers[0].mix[0].heads] == [int(s) for s in sizes], name


@pytest.mark.parametrize("name", ["README.md", "CONTRIBUTING.md", "CHANGELOG.md"])
def test_links_of_the_repository_pages(name: str):
    """The pages outside docs/ link to files that exist."""
    text = (DOCS.parent / name).read_text()
    targets = [t.partition("#")[0] for t in re.findall(r"\]\(([^)\s]+)\)", text) if "://" not in t]
    missing = [t for t in targets if t and not (DOCS.parent / t).exists()]
    assert not missing, missing
