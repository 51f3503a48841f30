"""The model card of a run folder: what the model is, what it was made from, how to use it."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ..atomic import write_atomically

CARD = """---
library_name: slimbert
tags: [slimbert, {tag}]
---

# {name}

{what} Made with slimbert.

| | |
| --- | --- |
{rows}

## Use

```python
import slimbert

{use}
```

With transformers: `import slimbert.hf`, then `AutoModel.from_pretrained("{name}")` and the other Auto classes.

## Limits

It knows the language and the domain of its training text, and repeats what stands there. It was evaluated on nothing
but what the table names.
"""


def write_card(folder: Path, result: Mapping[str, Any], *, recipe: Mapping[str, Any]) -> None:
    """README.md of the run: results as a table, and the lines that use it."""
    classes = "labels" in result
    rows: dict[str, Any] = {k: v for k, v in result.items() if isinstance(v, str | int | float) and k != "run"}
    encoder = (recipe.get("model") or {}).get("encoder") or {}
    rows |= {"width": encoder.get("dim"), "layers": len(encoder.get("layers", ()))}
    text = CARD.format(
        tag="text-classification" if classes else "fill-mask",
        name=folder.name,
        what="A text classifier." if classes else "A masked language model, to be fine-tuned.",
        rows="\n".join(f"| {name.replace('_', ' ')} | {_shown(value)} |" for name, value in rows.items()),
        use=f'slimbert.load("{folder.name}").predict(["some text"])'
        if classes
        else f'slimbert.finetune("{folder.name}", "reviews.csv", out="runs/reviews")',
    )
    write_atomically(folder / "README.md", text.encode())


def _shown(value: object) -> str:
    return f"{value:,.4g}" if isinstance(value, float) else f"{value:,}" if isinstance(value, int) else str(value)
